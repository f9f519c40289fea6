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
BEYOND = 3.0  # the same for columns beyond the rim: nearer ones, if there are any, can't be told from those inside
FAINTEST = 0.02  # of the median height: in an image without noise the rims of the drawn columns stand out
OUTSIDE = 2.5  # sigmas: how far outside of the image columns are looked for
HIGHER = 1.2  # and how high, in the 0.95 quantile of heights
HOLE = 0.5  # share of the pixels around that have no value, where a column can't be seen itself
WEAKEST = 0.1  # of the neighbours' height: what is left beside a strong column may be its tail


def births(state: State, ratio: torch.Tensor, height: torch.Tensor, least: float) -> Columns:
    """Columns to add: maxima of the evidence above ``least``, away from what is there."""
    new = _like(state, *_maxima(ratio, height, least, _faintest(state))[:3])
    return new[_in_the_open(state, new)]


def _faintest(state: State) -> float:
    """Height below which nothing is looked for."""
    return FAINTEST * float(state.columns.height.median()) if len(state.columns) else 0.0


def _maxima(ratio: torch.Tensor, height: torch.Tensor, least: float, lowest: float, origin=(0, 0)) -> torch.Tensor:
    """Where (y, x) maps have maxima, heights and ratios there, (4, n); the maps begin at the pixel ``origin``."""
    y, x = torch.nonzero((ratio == _highest(ratio, 2)) & (ratio > least) & (height > lowest), as_tuple=True)
    if not len(y):
        return ratio.new_zeros(4, 0, dtype=torch.float64)
    there = [p + _to_the_top(ratio, y, x, axis) + origin[axis] for axis, p in enumerate((y, x))]
    return torch.stack([*there, height[y, x].double(), ratio[y, x].double()])


def _to_the_top(ratio: torch.Tensor, y: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """Maxima of a map -> tops of parabolas through them and their neighbours along an axis; as they are at its rim."""
    at = torch.stack([y, x])
    before, after = at.clone(), at.clone()
    before[axis], after[axis] = (at[axis] - 1).clamp(min=0), (at[axis] + 1).clamp(max=ratio.shape[axis] - 1)
    low, middle, high = (ratio[tuple(p)].double() for p in (before, at, after))
    bend = (2 * middle - low - high).clamp(min=1e-12)
    inside = (before[axis] < at[axis]) & (after[axis] > at[axis])
    return torch.where(inside, 0.5 * (high - low) / bend, 0.0).clamp(-0.5, 0.5)


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


def _in_the_open(state: State, new: Columns, apart: float = APART) -> torch.Tensor:
    """True (n,) for those that are neither an old column nor its tail."""
    keep = torch.ones(len(new), dtype=torch.bool, device=new.y.device)
    if len(new) == 0 or len(state.columns) == 0:
        return keep
    both = Columns.join(state.columns, new)
    i, j = near_pairs(both, 4 * state.sigma)
    n = len(state.columns)
    mixed = (i < n) & (j >= n)
    i, j = i[mixed], j[mixed] - n
    c = state.columns
    distance = torch.hypot(c.y[i] - new.y[j], c.x[i] - new.x[j])
    shadow = (distance < apart * state.sigma) | (new.height[j] < WEAKEST * c.height[i])
    keep[j[shadow]] = False
    return keep


def births_at_rim(state: State, mean: torch.Tensor, least: float) -> tuple[Columns, torch.Tensor]:
    """Columns to add whose centres lie outside of the image, where their flanks show in its outermost pixels, or in its
    holes; and their signal-to-noise ratios (n,), above ``least``.

    Each stands where a column of the usual width, and hardly higher than those of the image, would explain most of what
    is left there.
    """
    deep = int(6 * state.sigma) + 2  # what the outermost pixels' evidence depends on
    rim, out = max(1, int(0.5 * state.sigma)), int(OUTSIDE * state.sigma) + 1
    found, lowest = [], _faintest(state)
    for side in range(4):
        strip, edge = _side(side, deep), _side(side, rim + out)
        image, valid, there = (F.pad(v[strip], [out] * 4) for v in (state.image, state.valid, mean))
        ratio, amount = (v[edge] for v in evidence(replace(state, image=image, valid=valid), there))
        first = [-out, -out]
        if side % 2:
            first[side // 2] = mean.shape[side // 2] - rim
        found.append(_maxima(*_no_higher(state, ratio, amount), least, lowest, first))
    found.append(_in_holes(state, mean, least, lowest))
    *new, ratio = torch.cat(found, 1)
    if not len(ratio):
        return state.columns[:0], ratio
    new = _like(state, *new)
    once = ~doubles(new, state.sigma, -torch.arange(len(new), device=ratio.device))  # corners are seen twice
    once[once.clone()] = _in_the_open(state, new[once], BEYOND)
    return new[once], ratio[once]


def _in_holes(state: State, mean: torch.Tensor, least: float, lowest: float) -> torch.Tensor:
    """The same for columns on pixels without a value, whose flanks show beside these: as of `_maxima`."""
    none, side = mean.new_zeros(4, 0, dtype=torch.float64), 2 * int(state.sigma) + 1
    missing = state.valid.numel() - int(state.valid.count_nonzero())
    if missing <= HOLE * (side // 2 + 1) ** 2:  # too few for half of any square, cut by corners
        return none
    lost = F.avg_pool2d((~state.valid).float()[None], side, 1, side // 2, count_include_pad=False)[0]
    if not (lost > HOLE).any():
        return none
    new = _maxima(*_no_higher(state, *evidence(state, mean)), least, lowest)
    y, x = (p.round().long().clamp(0, n - 1) for p, n in zip(new[:2], mean.shape, strict=True))
    return new[:, lost[y, x] > HOLE]


def _no_higher(state: State, ratio: torch.Tensor, height: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Evidence of one more column that is hardly higher than those of the image; its texture counts as noise."""
    if not len(state.columns):
        return ratio, height
    high = state.noise.high  # of the frame, or tiles would differ
    most = max((float(state.columns.height.quantile(0.95)) if high is None else high) * HIGHER, 1e-6)
    over = ((height - most) / height.clamp(min=most)).clamp(min=0)
    return ratio * torch.sqrt((1 - over**2) / state.noise.excess) * (ratio > 0), height.clamp(max=most)


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

    if state.noise.log_width is None:
        width = typical(c.log_width, torch.log(torch.tensor(state.sigma, dtype=torch.float64)))
    else:
        width = state.noise.log_width * one  # of the frame, or tiles would differ
    return Columns(y, x, height, width, typical(c.plus, 0.0), typical(c.cross, 0.0))


def doubles(columns: Columns, sigma: float, rank: torch.Tensor) -> torch.Tensor:
    """True for the lower-ranked of two columns that have become one, shape (n,)."""
    i, j = near_pairs(columns, APART * sigma)
    gone = torch.zeros(len(columns), dtype=torch.bool, device=columns.y.device)
    gone[torch.where(rank[i] < rank[j], i, j)] = True
    return gone
