"""Births and deaths during a fit: columns that were missed, and columns that nothing speaks for."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from hs_deepatoms.atoms.joint import State, near_pairs
from hs_deepatoms.atoms.peaks import Columns

APART = 1.3  # sigmas: two columns nearer than this are one
FAINTEST = 0.02  # of the median height: in an image without noise the rims of the drawn columns stand out
WEAKEST = 0.1  # of the neighbours' height: what is left beside a strong column may be its tail


def births(state: State, ratio: torch.Tensor, height: torch.Tensor, least: float) -> Columns:
    """Columns to add: maxima of the evidence above ``least``, away from what is there."""
    best = F.max_pool2d(ratio[None, None], 5, 1, 2)[0, 0]
    lowest = FAINTEST * state.columns.height.median() if len(state.columns) else 0.0
    y, x = torch.nonzero((ratio == best) & (ratio > least) & (height > lowest), as_tuple=True)
    new = _like(state, y.double(), x.double(), height[y, x].double())
    if len(new) == 0 or len(state.columns) == 0:
        return new
    both = Columns.join(state.columns, new)
    i, j = near_pairs(both, 4 * state.sigma)
    n = len(state.columns)
    mixed = (i < n) & (j >= n)
    i, j = i[mixed], j[mixed] - n
    c = state.columns
    distance = torch.hypot(c.y[i] - new.y[j], c.x[i] - new.x[j])
    shadow = (distance < APART * state.sigma) | (new.height[j] < WEAKEST * c.height[i])
    keep = torch.ones(len(new), dtype=torch.bool, device=y.device)
    keep[j[shadow]] = False
    return new[keep]


def sent_back(state: State, new: Columns) -> State:
    """Columns beside new ones start anew: without its neighbour a column had moved half way towards it."""
    i, j = near_pairs(Columns.join(state.columns, new), 4 * state.sigma)
    n = len(state.columns)
    beside = torch.zeros(n, dtype=torch.bool, device=new.y.device)
    beside[i[(i < n) & (j >= n)]] = True
    start = state.start.stacked()
    start[:, 2] = state.columns.height
    return replace(state, columns=Columns.of(torch.where(beside[:, None], start, state.columns.stacked())))


def _like(state: State, y, x, height) -> Columns:
    """Columns of the frame's typical shape."""
    c, one = state.columns, torch.ones_like(y)

    def typical(values, otherwise):
        return (values.median() if len(values) else otherwise) * one

    width = typical(c.log_width, torch.log(torch.tensor(state.sigma, dtype=torch.float64)))
    return Columns(y, x, height, width, typical(c.plus, 0.0), typical(c.cross, 0.0))


def doubles(columns: Columns, sigma: float, rank: torch.Tensor) -> torch.Tensor:
    """True for the lower-ranked of two columns that have become one, shape (n,)."""
    i, j = near_pairs(columns, APART * sigma)
    gone = torch.zeros(len(columns), dtype=torch.bool, device=columns.y.device)
    gone[torch.where(rank[i] < rank[j], i, j)] = True
    return gone
