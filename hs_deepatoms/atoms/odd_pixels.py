"""Single pixels that a fit of columns cannot explain: hot and dead ones that lie on a narrow column."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from hs_deepatoms.atoms.state import State, expected

CHANCE = 16.0  # -log of the probability with which noise may do the same
ALONE = 2.0  # times as far off, in its own noise, as any of the pixels around it
FEW = 0.02  # of the columns, at most: where more pixels are odd, the columns have another shape than the fit's
LEAST = 10  # odd pixels that there may be in any case


def without_odd(state: State) -> State:
    """The state without the pixels that are farther from the fit than noise takes them, each alone.

    How far noise reaches is Bernstein's inequality (Boucheron, Lugosi and Massart, Concentration Inequalities (2013),
    theorem 2.10, doi:10.1093/acprof:oso/9780199535255.001.0001), which holds for single counts too. The state itself
    comes back where there are none.
    """
    mean = expected(state)
    rest, variance = torch.where(state.valid, state.image - mean, 0.0), state.noise.variance(mean)
    size, step = rest.abs(), 2 * CHANCE / 3 * state.noise.gain
    far = size * (size - step) > 2 * CHANCE * variance
    far &= size > step
    y, x = torch.nonzero(far, as_tuple=True)
    if not len(y):
        return state
    clear = F.pad((size / torch.sqrt(variance))[None, None], (1, 1, 1, 1))[0, 0]
    around = torch.stack([clear[y + dy, x + dx] for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1)])
    alone = clear[y + 1, x + 1] > ALONE * around.amax(0)
    if not alone.any() or int(alone.sum()) > max(LEAST, FEW * len(state.columns)):
        return state
    valid = state.valid.clone()
    valid[y[alone], x[alone]] = False
    return replace(state, valid=valid, before=None, last=None, ahead=None, settled=None, change=torch.inf)
