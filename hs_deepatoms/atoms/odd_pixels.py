"""Single pixels that a fit of columns cannot explain: hot and dead ones that lie on a narrow column."""

from __future__ import annotations

from dataclasses import replace

import torch

from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.residue import pooled, residue
from hs_deepatoms.atoms.state import State, expected, guessed

CHANCE = 14.0  # -log of the probability with which noise may do the same
# times as far off, in its own noise, as any of the pixels around it that are off the same way, and the other way: where
# a column has been drawn to the pixel
ALONE, DRAWN = 2.0, 1.2
FEW = 0.02  # of the columns, at most: where more pixels are odd, the columns have another shape than the fit's
LEAST = 10  # odd pixels that there may be in any case
SIDES = (-1, 0, 1)


def without_odd(state: State) -> State:
    """The state without the pixels that are farther from the fit than noise takes them, each alone.

    How far that is: :meth:`hs_deepatoms.atoms.noise.Noise.beyond`. The state itself comes back where there are none.
    """
    mean = expected(state)
    y, x = kernels(mean).beyond(state.noise, state.image, mean, state.valid, CHANCE)
    if not len(y):
        return state
    off = _clear(state, mean, y, x)
    around = torch.stack([_clear(state, mean, y + dy, x + dx) for dy in SIDES for dx in SIDES if (dy, dx) != (0, 0)])
    around *= torch.sign(off)
    alone = (off.abs() > ALONE * around.amax(0)) & (off.abs() > DRAWN * -around.amin(0))
    if not alone.any() or int(alone.sum()) > _most(state):
        return state
    valid = state.valid.clone()
    valid[y[alone], x[alone]] = False
    return replace(state, valid=valid, before=None, last=None, ahead=None, settled=None, change=torch.inf)


def without_odd_in_doubt(state: State) -> State:
    """As :func:`without_odd` for a fit whose noise is not known yet.

    The pixels that are farthest off tell nothing of it: a single hot one would raise the noise several times, and then
    pass for noise.
    """
    mean = expected(state)
    square = torch.where(state.valid, state.image - mean, 0.0).square_().div_(guessed(state).noise.variance(mean))
    farthest = square.flatten().topk(min(_most(state), square.numel()))[0][-1]
    usual = replace(state, valid=state.valid & (square < farthest))
    noise = guessed(usual).noise
    if not len(kernels(mean).beyond(noise, state.image, mean, state.valid, CHANCE)[0]):
        return state
    good = without_odd(replace(state, noise=pooled([residue(usual)], state.noise_kind)))
    return state if good.valid is state.valid else guessed(good)


def _most(state: State) -> int:
    """Pixels that may be odd."""
    return max(LEAST, int(FEW * len(state.columns)))


def _clear(state: State, mean: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """How far off pixels are in their own noise; 0 where there is none."""
    height, width = mean.shape
    inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    there = mean[y, x]
    off = (state.image[y, x] - there) / torch.sqrt(state.noise.variance(there))
    return torch.where(inside & state.valid[y, x], off, 0.0)
