"""Births and deaths during a fit: columns that were missed, and columns that nothing speaks for."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from hs_deepatoms.atoms.belief import near_pairs
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.residue import evidence
from hs_deepatoms.atoms.state import State

APART = 1.3  # sigmas: two columns nearer than this are one
FAINTEST = 0.02  # of the median height: in an image without noise the rims of the drawn columns stand out
OUTSIDE, HIGHER = 2.5, 1.2  # sigmas: how far outside columns are looked for; and how high, in heights of the highest
WEAKEST = 0.1  # of the neighbours' height: what is left beside a strong column may be its tail


def births(state: State, ratio: torch.Tensor, height: torch.Tensor, least: float) -> Columns:
    """Columns to add: maxima of the evidence above ``least``, away from what is there."""
    return _in_the_open(state, _maxima(state, ratio, height, least))


def _maxima(state: State, ratio: torch.Tensor, height: torch.Tensor, least: float, origin=(0, 0)) -> Columns:
    """Columns at the maxima of maps that begin at the pixel ``origin``."""
    best = _highest(ratio, 2)
    lowest = FAINTEST * state.columns.height.median() if len(state.columns) else 0.0
    y, x = torch.nonzero((ratio == best) & (ratio > least) & (height > lowest), as_tuple=True)
    return _like(state, y.double() + origin[0], x.double() + origin[1], height[y, x].double())


def _highest(image: torch.Tensor, reach: int) -> torch.Tensor:
    """The largest value around each pixel, so many to every side; by shifts: faster than pooling."""
    for axis in (0, 1):
        n, best = image.shape[axis], image.clone()
        for k in range(1, min(reach, n - 1) + 1):
            low, high = image.narrow(axis, 0, n - k), image.narrow(axis, k, n - k)
            for part, other in ((best.narrow(axis, k, n - k), low), (best.narrow(axis, 0, n - k), high)):
                torch.maximum(part, other, out=part)
        image = best
    return image


def _in_the_open(state: State, new: Columns) -> Columns:
    """Those that are neither an old column nor its tail."""
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
    keep = torch.ones(len(new), dtype=torch.bool, device=new.y.device)
    keep[j[shadow]] = False
    return new[keep]


def births_at_rim(state: State, mean: torch.Tensor, least: float) -> Columns:
    """Columns to add whose centres lie outside of the image: their flanks show in its outermost pixels.

    Each where a column of the usual width, and no higher than the highest, would explain most of what is left there.
    """
    deep = int(6 * state.sigma) + 2  # what the outermost pixels' evidence depends on
    rim, out = max(1, int(0.5 * state.sigma)), int(OUTSIDE * state.sigma) + 1
    height, width = mean.shape
    found = []
    for side in range(4):
        strip, edge = _side(side, deep), _side(side, rim + out)
        image, valid, there = (F.pad(v[strip], [out] * 4) for v in (state.image, state.valid, mean))
        ratio, amount = _no_higher(state, *evidence(replace(state, image=image, valid=valid), there))
        first = [-out, -out]
        if side % 2:
            first[side // 2] = max(0, mean.shape[side // 2] - rim)
        found.append(_maxima(state, ratio[edge], amount[edge], least, first))
    new = Columns.join(*found)
    return _in_the_open(state, new[~doubles(new, state.sigma, new.height)])  # corners are seen twice


def outside(state: State) -> torch.Tensor:
    """Columns (n,) that came from beyond the image: only their flanks are seen, and often their height alone."""
    y, x, (height, width) = state.start.y, state.start.x, state.image.shape
    return (y < 0) | (x < 0) | (y > height - 1) | (x > width - 1)


def _no_higher(state: State, ratio: torch.Tensor, height: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Evidence of one more column that is no higher than those of the image."""
    if not len(state.columns):
        return ratio, height
    most = float(state.columns.height.quantile(0.95)) * HIGHER
    over = ((height - most) / height.clamp(min=most)).clamp(min=0)
    return ratio * torch.sqrt(1 - over**2) * (ratio > 0), height.clamp(max=most)


def _side(side: int, deep: int) -> tuple[slice, slice]:
    """Slices of the outermost ``deep`` lines of an image: top, bottom, left, right."""
    lines = slice(None, deep) if side % 2 == 0 else slice(-deep, None)
    return (lines, slice(None)) if side < 2 else (slice(None), lines)


def sent_back(state: State, new: Columns) -> State:
    """Columns beside new ones start anew: without its neighbour a column had moved half way towards it."""
    i, j = near_pairs(Columns.join(state.columns, new), 4 * state.sigma)
    n = len(state.columns)
    beside = torch.zeros(n, dtype=torch.bool, device=new.y.device)
    beside[i[(i < n) & (j >= n)]] = True
    start = state.start.table.clone()
    start[:, 2] = state.columns.height
    return replace(state, columns=Columns.of(torch.where(beside[:, None], start, state.columns.table)))


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
