"""All columns of a window fitted together, with the background under them: Gauss-Newton steps of the likelihood."""

from __future__ import annotations

from dataclasses import replace

import torch

from hs_deepatoms.atoms.belief import near_pairs, unseen
from hs_deepatoms.atoms.equations import (
    ALIKE,
    MANY,
    RESTLESS,
    Equations,
    changes_between,
    equations,
    free_parameters,
    matrix_near,
    of_most,
    placed,
    pulls,
    stiffness_of,
    touching_pairs,
    weights_of,
)
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.normal import Normal, damped
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.state import FIRM, State, expected

NEAR = 6.0  # sigmas: columns nearer than this are disturbed by each other's steps
TOLERANCE = 1e-3  # of misfit per column
# of the misfit that the first step, from a guess, may add to it: of dense columns it hardly takes anything away, and
# whether it is taken back would be the whole window's doing, not that of the columns in each part of it
FIRST = 0.02
LONG = 0.1  # relative change of the columns in a step that is looked at even if it is the last
# of a step, relative, after a long one and after a short one: the next step corrects it
EXACT, ROUGH = 1e-4, 0.02
LENT = 0.3  # of that where the accuracy is measured by the background's factor of an earlier step
FINE = 5e-4  # pixels: who has farther to go than this has not converged either, however badly it is known
# signal-to-noise ratio of a height beyond the rim, all else free: from where it counts at all, and fully; and from
# where the place is fitted as well, and as free as that of any other new column
DOUBT, PLACED = (3.0, 8.0), (12.0, 50.0)
NOTHING = 0.01  # of a height
ODD_ONES = 0.05  # of the square root of the number of columns: that many may still move, and go on by themselves


def step(state: State) -> State:
    """One bounded Gauss-Newton step; where the last one made things worse, a shorter one from where that began.

    Where the last one hardly changed the columns, its matrix serves again (a chord step).
    """
    old = state.before
    now = equations(state, matrix_near(state))
    if old is not None and not now.misfit <= _most_misfit(state):
        state, now = replace(old[0], damping=10 * state.damping), old[1]
        if now.at is not state.columns:  # a matrix of another place may have been the mistake
            now = equations(state)
    else:
        state = replace(state, damping=max(0.2 * state.damping, state.least))
    normal = now.normal
    accuracy = ROUGH if state.change < LONG else EXACT
    system, root = damped(normal, state.damping, state.noise.information()), state.root
    if root is None:
        root = system.eliminated.root
    else:
        accuracy *= LENT
    da, db = kernels(normal.own).solve(system, now.columns, now.splines, root=root, accuracy=accuracy)
    columns, last, settled, share = _strode(state, normal.own, da)
    change = of_most(changes_between(state.columns, columns))
    new = replace(state, columns=columns, splines=state.splines + db, settled=settled, last=last,
                  ahead=_ahead(last, share), taken=state.taken + 1, change=change,
                  before=(replace(state, before=None, drawn=None), now),
                  root=root if change < LONG else None)  # fmt: skip
    return _called_back(new, normal)


def _strode(state: State, own: torch.Tensor, da: torch.Tensor):
    """The columns after a bounded step, that step in standard deviations (n, k), which have settled (n,), and the step
    in shares of the last one (n,)."""
    last = state.last if state.last is not None and state.last.shape == da.shape else None
    table, *more = kernels(da).stride(state.columns.table, state.start.table, state.reach, state.beyond, placed(state),
                                      own, da, last, state.change < ALIKE, tuple(state.image.shape),
                                      state.sigma)  # fmt: skip
    return Columns.of(table), *more


def verified(state: State) -> State:
    """The state, or the one before its last step if that was a long one and made things worse."""
    if state.before is None or not state.change > LONG:
        return state
    misfit = weights_of(state)[2] + pulls(state).misfit
    misfit += float(state.splines @ state.ground.smoothness(state.splines, stiffness_of(state)))
    return state if misfit <= _most_misfit(state) else replace(state.before[0], change=state.change)


def _most_misfit(state: State) -> float:
    """What the misfit may be after the last step, or it was a mistake."""
    before = state.before[1].misfit
    return before * (1 + FIRST * (state.taken <= 1)) + TOLERANCE * len(state.columns)


def held_by_doubt(state: State, shown: torch.Tensor) -> State:
    """Heights and places of the last columns, which stand beyond the rim, held as firmly as they are in doubt, after a
    step with their heights free.

    Each is multiplied by a share that grows from nothing to one with its signal-to-noise ratio (firm shrinkage, Gao &
    Bruce, Statistica Sinica 7, 855 (1997)), and with how far (n,) the image had ``shown`` it before: a jump would be
    one of the result at the least change of the image. Those of which hardly anything is left are dropped.
    """
    now = equations(state) if state.before is None else state.before[1]
    new = torch.arange(len(state.beyond), device=shown.device) >= len(state.beyond) - len(shown)
    sure = _marginal(now, new)
    ratio = state.columns.height[new] * torch.sqrt(sure)
    share = shown * ((ratio - DOUBT[0]) / (DOUBT[1] - DOUBT[0])).clamp(0, 1)
    held, leeway = state.held.clone(), state.leeway.clone()
    held[new] = torch.where(share > NOTHING, sure * (1 - share) / share, torch.inf)
    leeway[new] *= (shown * (ratio - PLACED[0]) / (PLACED[1] - PLACED[0])).clamp(FIRM, 1.0) / FIRM
    # what neighbours find back in the next step is no swinging
    state = replace(state, held=held, leeway=leeway, before=None, last=None)
    return state if (keep := torch.isfinite(held)).all() else state.kept(keep)


def _marginal(now: Equations, which: torch.Tensor) -> torch.Tensor:
    """Precision with which the image knows heights, all else free; where that cannot be told, all else known."""
    variance = kernels(now.normal.own).covariances(now.normal, which)[which, 2, 2]
    return torch.minimum(1 / variance.nan_to_num(0.0).clamp(min=0), now.normal.own[which, 2, 2])


def _ahead(taken: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """How far (n,) places may still have to go if steps go on to shrink as they did from the last one to this."""
    if len(share):
        share = share.clamp(min=float(share.median()))  # one alone may be small by chance
    return taken[:, :2].abs().amax(1) * share / (1 - share)


def arrived(state: State, within: float) -> bool:
    """Whether most columns have no farther to go than that, in standard deviations."""
    if state.ahead is None:
        return False
    ahead = state.ahead[state.wanted]
    return not len(ahead) or bool(ahead.kthvalue(max(1, int(MANY * len(ahead))))[0] < within)


def still_moving(state: State) -> bool:
    """Whether more than a few columns in the image may have farther to go than ``FINE``, or nobody knows."""
    if state.ahead is None or state.before is None:
        return True
    far = (_pixels_ahead(state) > FINE)[state.free & state.wanted]
    return int(far.sum()) > ODD_ONES * len(far) ** 0.5


def settle(state: State, rounds: int) -> State:
    """Let the few columns that still move go on by themselves, while all others and the background stand still."""
    if state.last is None:
        return state
    rows = ((state.ahead > RESTLESS) | (_pixels_ahead(state) > FINE)) & (state.wanted | state.beyond)
    i, j = near_pairs(state.columns, NEAR * state.sigma)
    wider = rows.clone()  # with their neighbours, which have to give way
    wider[i[rows[j]]] = True
    wider[j[rows[i]]] = True
    rows = torch.nonzero(wider & (state.free | state.beyond))[:, 0]
    if not len(rows):
        return state
    few = replace(state.kept(rows), shape=(state.columns.plus.median(), state.columns.cross.median()))
    mean = expected(state).clone()
    weight, weighed, work = torch.zeros_like(mean), torch.zeros_like(mean), kernels(mean)
    noise, known = state.noise, (state.image, mean, state.valid, weight, weighed)
    work.weigh_under(noise, few.columns, state.window, *known)
    for _ in range(rounds):
        new = _alone_moved(few, weighed, weight)
        for part, sign in ((new, 1.0), (few, -1.0)):
            work.draw_on(mean, part.columns, state.window, state.elliptical, sign)
        for part in (new, few):
            work.weigh_under(noise, part.columns, state.window, *known)
        few = new
        if bool(few.settled.all()):
            break
    columns, settled = state.columns.table.clone(), state.settled.clone()
    columns[rows], settled[rows] = few.columns.table, few.settled
    there = replace(state, columns=Columns.of(columns), settled=settled)
    there.drawn = (there.columns, there.splines, mean)
    lost = ~torch.isfinite(columns).all(1)
    if not lost.any():
        return there
    return replace(there, columns=Columns.of(torch.where(lost[:, None], state.columns.table, columns)))


def _pixels_ahead(state: State) -> torch.Tensor:
    """How far (n,) places may still have to go, in pixels."""
    if state.before is None or len(state.before[1].normal.own) != len(state.ahead):
        return torch.zeros_like(state.ahead)
    diagonal = state.before[1].normal.own.diagonal(dim1=1, dim2=2)[:, :2]
    return state.ahead / torch.sqrt(diagonal.amin(1))


def _alone_moved(few: State, weighed: torch.Tensor, weight: torch.Tensor) -> State:
    """A step of every column by itself, short enough for all of them to take theirs at once."""
    work = kernels(weight)
    total = work.sums(few.columns, weighed, weight, few.window, few.sigma, few.elliptical)
    prior = pulls(few)
    work.hold(total.hessian, prior.hessian)
    keep = free_parameters(few, total.gradient + prior.gradient)
    own = work.majorant(total.hessian, touching_pairs(few, weight)) * keep[:, :, None] * keep[:, None, :]
    own += torch.diag_embed(1 - keep)
    da = torch.linalg.solve(own, (total.gradient + prior.gradient) * keep)
    columns, _, settled, _ = _strode(replace(few, last=None), own, da)
    return replace(few, columns=columns, settled=settled)


def _called_back(state: State, normal: Normal) -> State:
    """Columns too faint to be placed go back to where they came from and stay.

    The step that led there is undone.
    """
    if not state.judged or state.taken <= 2 or not len(state.columns):  # not near its place yet
        return state
    start, lost = state.start, unseen(state.columns, normal) & state.free
    if not lost.any():
        return state
    old = state.before[0]
    back = replace(start, height=old.columns.height)
    back = Columns.of(torch.where(lost[:, None], back.table, old.columns.table))
    settled = torch.zeros_like(lost)
    return replace(old, columns=back, free=state.free & ~lost, settled=settled)
