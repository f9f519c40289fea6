"""The normal equations of all columns of a window at a state of their fit, and earlier matrices that will do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hs_deepatoms.atoms.belief import near_pairs
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.normal import Normal
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.state import FIRM, LEEWAY, STIFFNESS, State, expected

# widths of a pair: columns nearer than this share normal equations, or those of dense columns would not be positive
FAR = 7.2
WIDE = 1.6  # of the usual width: pairs of columns that grow beyond all bounds are not looked for
MANY = 0.9  # share of the columns that are looked at to tell how far they are
ALIKE = 0.02  # relative change of the columns between matrices that are as good as the same
RESTLESS = 0.01  # standard deviations: who has farther to go in the end has not converged
STALE = 0.1  # change of a column that still moves, from where it needs a matrix of its own place


@dataclass
class Equations:
    """Normal equations and gradients at a state, and how badly the state fits (twice the negative log likelihood)."""

    normal: Normal
    columns: torch.Tensor  # (n, k)
    splines: torch.Tensor  # (m,)
    misfit: float
    at: Columns  # where the matrix is that of
    kept: torch.Tensor  # (n, k), 1 for parameters that it is free in


def matrix(state: State) -> Normal:
    """The matrix of the normal equations at a state."""
    weight, weighed, _ = weights_of(state, judged=False)
    return _assembled(state, weight, weighed, pulls(state), stiffness_of(state), free_parameters(state))[0]


def weights_of(state: State, judged: bool = True) -> tuple[torch.Tensor, torch.Tensor, float]:
    return kernels(state.image).weigh(state.noise, state.image, expected(state), state.valid, judged=judged)


def stiffness_of(state: State) -> float:
    return STIFFNESS / (state.noise.offset + state.noise.gain + state.noise.least)


def equations(state: State, near: Equations | None = None) -> Equations:
    """Normal equations at a state; only the gradients are new where the matrix ``near`` will do."""
    weight, weighed, misfit = weights_of(state)
    stiffness = stiffness_of(state)
    pull = state.ground.smoothness(state.splines, stiffness)
    prior = pulls(state)
    misfit += float(state.splines @ pull) + prior.misfit
    if near is not None:
        gradient = kernels(weighed).slopes(state.columns, weighed, state.window, state.sigma, state.elliptical)
        kept = free_parameters(state, gradient + prior.gradient)
    if near is not None and torch.equal(kept, near.kept):
        normal, at = near.normal, near.at
    else:
        normal, gradient, kept = _assembled(state, weight, weighed, prior, stiffness)
        at = state.columns
    gradient = (gradient + prior.gradient) * kept
    return Equations(normal, gradient, kernels(weighed).project(state.ground, weighed) - pull, misfit, at, kept)


def _assembled(state: State, weight, weighed, prior: Prior, stiffness: float, kept: torch.Tensor | None = None):
    """The matrix, the slopes of the likelihood, and which parameters are free."""
    c, work = state.columns, kernels(weight)
    total = work.sums(c, weighed, weight, state.window, state.sigma, state.elliptical)
    work.hold(total.hessian, prior.hessian)
    splines = work.hessian(state.ground, weight, stiffness)
    normal = work.assemble(total, touching_pairs(state, weight), c, state.ground, splines, state.sigma)
    kept = free_parameters(state, total.gradient + prior.gradient) if kept is None else kept
    _freeze(normal, kept)
    return normal, total.gradient, kept


def touching_pairs(state: State, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of columns that touch, and their blocks of the normal equations."""
    i, j = touching(state)
    return kernels(weight).blocks(state.columns, i, j, weight, state.window, state.sigma, state.elliptical)


def touching(state: State) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs (p,), (p,) of columns that touch, by their own widths along their longer axes."""
    c = state.columns
    width = torch.exp(c.log_width + torch.hypot(c.plus, c.cross) / 2) if state.elliptical else torch.exp(c.log_width)
    most = min(float(width.max()), WIDE * state.sigma) if len(c) else 0.0
    return kernels(c.y).within(c, *near_pairs(c, FAR * most), FAR / 2 * width)


@dataclass
class Prior:
    """Weak pulls to the typical shape and to where the detector saw a column; nothing beside a column plain to see.
    Heights are pulled to nothing where it is in doubt whether there is a column at all."""

    hessian: torch.Tensor  # (n, k), diagonal
    gradient: torch.Tensor  # (n, k)
    misfit: float


def pulls(state: State) -> Prior:
    c, start = state.columns, state.start or state.columns
    typical = [np.log(state.sigma)]
    if state.elliptical:
        typical += state.shape or ((c.plus.median(), c.cross.median()) if len(c) else (0.0, 0.0))
    held = c.table, start.table, state.leeway, state.held
    return Prior(*kernels(c.y).pulled(*held, tuple(float(v) for v in typical)))


def matrix_near(state: State, share: float = MANY, within: float = ALIKE) -> Equations | None:
    """Normal equations of an earlier step that will do: of the same free parameters, and of columns much the same.

    ``share`` of the columns have not changed by more than ``within`` since, relative to their size, and none that still
    moves by more than ``STALE``.
    """
    if state.before is None or state.before[0].free is not state.free:
        return None
    earlier = state.before[1]
    changes = changes_between(earlier.at, state.columns)
    if not of_most(changes, share) < within:
        return None
    old = changes > STALE
    return earlier if state.ahead is None or not bool((old & (state.ahead > RESTLESS)).any()) else None


def of_most(values: torch.Tensor, share: float = MANY) -> float:
    """The largest of the values (n,) but for a few."""
    return float(values.kthvalue(max(1, int(share * len(values))))[0]) if len(values) else 0.0


def changes_between(old: Columns, new: Columns) -> torch.Tensor:
    """How much columns (n,) have changed, relative to their size."""
    return kernels(new.y).changes(old.table, new.table)


def placed(state: State) -> torch.Tensor:
    """True (n,) for columns whose places are fitted; those beyond the rim have to be plain to see."""
    return state.free | (state.beyond & (state.leeway > 2 * FIRM * LEEWAY[1] * state.sigma))


def free_parameters(state: State, gradient: torch.Tensor | None = None) -> torch.Tensor:
    """1 for parameters (n, k) in the equations, 0 for others: of frozen columns only the height is free, of those
    beyond the rim the height and, as far as they are let, the place. With a ``gradient`` (n, k) neither are places of
    those that it would take farther than they may go: all others would make way for a step that is not taken."""
    c, k = state.columns, 6 if state.elliptical else 4
    return kernels(c.y).in_equations(c.table, state.start.table, state.reach, state.free, placed(state), gradient, k)


def _freeze(normal: Normal, keep: torch.Tensor) -> None:
    held = ~keep.all(1)
    if not held.any():
        return
    rows, few = torch.nonzero(held)[:, 0], keep[held]
    normal.ground[rows] *= few[:, :, None]
    normal.own[rows] = normal.own[rows] * few[:, :, None] * few[:, None, :] + torch.diag_embed(1 - few)
    i, j, block = normal.pairs
    rows = torch.nonzero(held[i] | held[j])[:, 0]
    block[rows] *= keep[i[rows]][:, :, None] * keep[j[rows]][:, None, :]
