"""All columns of a window fitted together, with the background under them: Gauss-Newton steps of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hs_deepatoms.atoms.belief import near_pairs, unseen
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.normal import Normal, damped
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.state import FIRM, LEEWAY, STIFFNESS, State, expected

# widths of a pair: columns nearer than this share normal equations, or those of dense columns would not be positive
FAR = 7.2
WIDE = 1.6  # of the usual width: pairs of columns that grow beyond all bounds are not looked for
NEAR = 6.0  # sigmas: columns nearer than this are disturbed by each other's steps
WIDTH_SPREAD, SHAPE_SPREAD = 0.3, 0.15  # weak priors: log width and ellipticity around the frame's own
LONGEST = (0.6, 0.6, np.inf, 0.25, 0.15, 0.15)  # of a step: y, x in sigmas, height, log width, plus, cross
SWING = 0.5  # of the step before: a step back as long as this is more than a correction
LONGEST_SHAPE = 0.7  # of an ellipse: axes as 1 to 2
TOLERANCE = 1e-3  # of misfit per column
LONG = 0.1  # relative change of the columns in a step that is looked at even if it is the last
# of a step, relative, after a long one and after a short one: the next step corrects it
EXACT, ROUGH = 1e-3, 0.02
MANY = 0.9  # share of the columns that are looked at to tell how far they are
ALIKE = 0.02  # relative change of the columns between matrices that are as good as the same
# in standard deviations: a smaller step changes nothing; who has farther to go in the end has not converged
SETTLED, RESTLESS = 0.005, 0.01
FINE = 5e-4  # pixels: who has farther to go than this has not converged either, however badly it is known
# signal-to-noise ratio of a height beyond the rim, all else free: from where it counts at all, and fully; and from
# where the place is fitted as well, and as free as that of any other new column
DOUBT, PLACED = (3.0, 8.0), (12.0, 50.0)
FEW = 0.1  # share of the columns for which an old matrix is mended rather than made anew
STALE = 0.1  # change of a column that still moves, from where it needs a matrix of its own place
NOTHING = 0.01  # of a height
AT_END = 1 - 1e-6  # of a reach
ODD_ONES = 0.2  # of the square root of the number of columns: that many may still move, and go on by themselves
SHRINKING = 2 / 3  # of a step to the next one, at most: then twice the last step is left of the way


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
    weight, weighed, _ = _weighed(state, judged=False)
    return _assembled(state, weight, weighed, _prior(state), _stiffness(state), free_parameters(state))[0]


def matrix_within(state: State, within: float) -> Normal:
    """The matrix at a state: that of an earlier step, made anew around columns that have changed by more than
    ``within`` since, relative to their size; all of it where these are many or others are free."""
    near = state.before[1] if state.before is not None and state.before[0].free is state.free else None
    if near is None or not torch.equal(near.kept, free_parameters(state)):
        return matrix(state)
    changed = _changes(near.at, state.columns) > within
    if not changed.any():
        return near.normal
    i, j = touching(state)
    around = changed.clone()
    around[i[changed[j]]] = True
    around[j[changed[i]]] = True
    return matrix(state) if around.sum() > FEW * len(around) else _renewed(near, state, around, (i, j))


def _renewed(near: Equations, state: State, which: torch.Tensor, pairs: tuple[torch.Tensor, torch.Tensor]) -> Normal:
    """An earlier matrix with the blocks of some columns (n,), and of the ``pairs`` that they are part of, made anew."""
    weight, weighed, _ = _weighed(state, judged=False)
    old, work, rows, (i, j) = near.normal, kernels(weight), torch.nonzero(which)[:, 0], pairs
    few, prior, shape = state.columns[rows], _prior(state), (state.window, state.sigma, state.elliptical)
    total = work.sums(few, weighed, weight, *shape)
    _held(total.hessian, replace(prior, hessian=prior.hessian[rows]))
    new, kept = which[i] | which[j], ~(which[old.pairs[0]] | which[old.pairs[1]])
    blocks = work.blocks(state.columns, i[new], j[new], weight, *shape)
    some = work.assemble(total, blocks, few, state.ground, old.splines, state.sigma)
    own, index, ground = (v.clone() for v in (old.own, old.index, old.ground))
    own[rows], index[rows], ground[rows] = some.own, some.index, some.ground
    joined = tuple(torch.cat([a[kept], b]) for a, b in zip(old.pairs, blocks, strict=True))
    normal = Normal(own, joined, index, ground, old.splines)
    _freeze(normal, near.kept)
    return normal


def _weighed(state: State, judged: bool = True) -> tuple[torch.Tensor, torch.Tensor, float]:
    return kernels(state.image).weigh(state.noise, state.image, expected(state), state.valid, judged=judged)


def _stiffness(state: State) -> float:
    return STIFFNESS / (state.noise.offset + state.noise.gain + state.noise.least)


def equations(state: State, near: Equations | None = None) -> Equations:
    """Normal equations at a state; only the gradients are new where the matrix ``near`` will do."""
    weight, weighed, misfit = _weighed(state)
    stiffness = _stiffness(state)
    pull = state.ground.smoothness(state.splines, stiffness)
    prior = _prior(state)
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
    _held(total.hessian, prior)
    splines = work.hessian(state.ground, weight, stiffness)
    normal = work.assemble(total, _pairs(state, weight), c, state.ground, splines, state.sigma)
    kept = free_parameters(state, total.gradient + prior.gradient) if kept is None else kept
    _freeze(normal, kept)
    return normal, total.gradient, kept


def _held(hessian: torch.Tensor, prior: Prior) -> None:
    """Add the pulls, and enough for a matrix that is positive where hardly a pixel is valid."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += prior.hessian
    diagonal *= 1 + 1e-6  # moments are of single precision
    if len(diagonal):
        diagonal[:, 2] += 1e-12 + 1e-9 * diagonal[:, 2].mean()


def _pairs(state: State, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of columns that touch, and their blocks of the normal equations."""
    i, j = touching(state)
    return kernels(weight).blocks(state.columns, i, j, weight, state.window, state.sigma, state.elliptical)


def touching(state: State) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs (p,), (p,) of columns that touch, by their own widths along their longer axes."""
    c = state.columns
    width = torch.exp(c.log_width + torch.hypot(c.plus, c.cross) / 2) if state.elliptical else torch.exp(c.log_width)
    most = min(float(width.max()), WIDE * state.sigma) if len(c) else 0.0
    i, j = near_pairs(c, FAR * most)
    near = torch.hypot(c.y[i] - c.y[j], c.x[i] - c.x[j]) < FAR / 2 * (width[i] + width[j])
    return i[near], j[near]


@dataclass
class Prior:
    """Weak pulls to the typical shape and to where the detector saw a column; nothing beside a column plain to see.
    Heights are pulled to nothing where it is in doubt whether there is a column at all."""

    hessian: torch.Tensor  # (n, k), diagonal
    gradient: torch.Tensor  # (n, k)
    misfit: float


def _prior(state: State) -> Prior:
    c, start = state.columns, state.start or state.columns
    one, known = torch.ones_like(state.leeway), 1 / state.leeway**2
    middle, precision = [start.y, start.x, 0 * one, np.log(state.sigma) * one], [known, known, state.held]
    precision.append(one / WIDTH_SPREAD**2)
    if state.elliptical and len(c):
        middle += [shape * one for shape in state.shape or (c.plus.median(), c.cross.median())]
        precision += [one / SHAPE_SPREAD**2] * 2
    elif state.elliptical:
        middle, precision = middle + [one] * 2, precision + [one] * 2
    away, precision = torch.stack(middle, 1) - c.table[:, : len(middle)], torch.stack(precision, 1)
    gradient = away * precision
    return Prior(precision, gradient, float((gradient * away).sum()))


def step(state: State) -> State:
    """One bounded Gauss-Newton step; where the last one made things worse, a shorter one from where that began.

    Where the last one hardly changed the columns, its matrix serves again (a chord step).
    """
    old = state.before
    now = equations(state, matrix_near(state))
    if old is not None and not now.misfit <= old[1].misfit + TOLERANCE * len(state.columns):
        state, now = replace(old[0], damping=10 * state.damping), old[1]
        if now.at is not state.columns:  # a matrix of another place may have been the mistake
            now = equations(state)
    else:
        state = replace(state, damping=max(0.2 * state.damping, state.least))
    normal = now.normal
    accuracy = ROUGH if state.change < LONG else EXACT
    da, db = kernels(normal.own).solve(damped(normal, state.damping), now.columns, now.splines, accuracy=accuracy)
    scale = torch.sqrt(normal.own.diagonal(dim1=1, dim2=2))
    da = da * _against_swinging(da * scale, state.last, state.change < ALIKE)[:, None]
    before = (replace(state, before=None, drawn=None), now)
    columns = _moved(state, da)
    new = replace(state, columns=columns, splines=state.splines + db, settled=_settled(da * scale), last=da * scale,
                  ahead=_ahead(da * scale, state.last), taken=state.taken + 1,
                  change=_of_most(_changes(state.columns, columns)), before=before)  # fmt: skip
    return _called_back(new, normal)


def verified(state: State) -> State:
    """The state, or the one before its last step if that was a long one and made things worse."""
    if state.before is None or not state.change > LONG:
        return state
    misfit = _weighed(state)[2] + _prior(state).misfit
    misfit += float(state.splines @ state.ground.smoothness(state.splines, _stiffness(state)))
    there = misfit <= state.before[1].misfit + TOLERANCE * len(state.columns)
    return state if there else replace(state.before[0], change=state.change)


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


def matrix_near(state: State, share: float = MANY, within: float = ALIKE) -> Equations | None:
    """Normal equations of an earlier step that will do: of the same free parameters, and of columns much the same.

    ``share`` of the columns have not changed by more than ``within`` since, relative to their size, and none that still
    moves by more than ``STALE``.
    """
    if state.before is None or state.before[0].free is not state.free:
        return None
    earlier = state.before[1]
    changes = _changes(earlier.at, state.columns)
    if not _of_most(changes, share) < within:
        return None
    old = changes > STALE
    return earlier if state.ahead is None or not bool((old & (state.ahead > RESTLESS)).any()) else None


def _of_most(values: torch.Tensor, share: float = MANY) -> float:
    """The largest of the values (n,) but for a few."""
    return float(values.kthvalue(max(1, int(share * len(values))))[0]) if len(values) else 0.0


def _changes(old: Columns, new: Columns) -> torch.Tensor:
    """How much columns (n,) have changed, relative to their size."""
    width, one = torch.exp(new.log_width), torch.ones_like(new.y)
    size = torch.stack([width, width, new.height, one, one, one], 1)
    return ((new.table - old.table) / size).abs().amax(1).nan_to_num(1.0)


def _moved(state: State, da: torch.Tensor) -> Columns:
    """The columns after a bounded step."""
    c, k = state.columns, da.shape[1]
    limit = torch.tensor(LONGEST[:k], dtype=da.dtype, device=da.device).repeat(len(c), 1)
    limit[:, :2] *= torch.exp(c.log_width)[:, None]
    new = c.table.clone()
    new[:, :k] += torch.minimum(torch.maximum(da, -limit), limit)
    new[:, 2] = _flank_kept(state, new)
    # a column may fade, not turn into a hole
    new[:, 2] = torch.where(_placed(state), torch.maximum(new[:, 2], 0.2 * c.height), new[:, 2])
    first = state.start.table[:, :2]
    way = new[:, :2] - first
    share = (state.reach / torch.hypot(way[:, 0], way[:, 1]).clamp(min=1e-9)).clamp(max=1.0)
    new[:, :2] = first + share[:, None] * way
    # bounds of the whole way: no column becomes a pixel or a cloud
    new[:, 3].clamp_(np.log(state.sigma) - 0.9, np.log(state.sigma) + 0.9)
    if k > 4:
        long = torch.hypot(new[:, 4], new[:, 5]).clamp(min=LONGEST_SHAPE) / LONGEST_SHAPE
        new[:, 4:] /= long[:, None]
    return Columns.of(new)


def _flank_kept(state: State, new: torch.Tensor) -> torch.Tensor:
    """Heights (n,) of moved columns; of those beyond the rim as high as their flanks at the rim were to become.

    Of a flank, all that is seen of them, place and height are told apart by its bend alone: along a step as it is the
    flank would grow by the exponential of what the step meant, and the next one would go back.
    """
    c, edge = state.columns, [n - 0.5 for n in state.image.shape]
    y, x = c.y.clamp(-0.5, edge[0]), c.x.clamp(-0.5, edge[1])
    out = state.beyond & ((y != c.y) | (x != c.x))
    if not out.any():
        return new[:, 2]
    narrow = torch.exp(-2 * c.log_width)
    dy, dx = y - c.y, x - c.x
    there, then = dy**2 + dx**2, (y - new[:, 0]) ** 2 + (x - new[:, 1]) ** 2
    along = dy * (new[:, 0] - c.y) + dx * (new[:, 1] - c.x)
    meant = new[:, 2] + c.height * along * narrow
    return torch.where(out, meant * torch.exp(0.5 * (then - there) * narrow), new[:, 2])


def _settled(step: torch.Tensor) -> torch.Tensor:
    return (step[:, :2].abs() < SETTLED).all(1)


def _ahead(step: torch.Tensor, last: torch.Tensor | None) -> torch.Tensor:
    """How far (n,) places may still have to go if steps go on to shrink as they did from the last one to this."""
    share = torch.full_like(step[:, 0], SHRINKING)
    if last is not None and last.shape == step.shape and len(step):
        now, then = step.norm(dim=1), last.norm(dim=1)
        share = (now / then.clamp(min=1e-30)).clamp(max=SHRINKING)
        share = share.clamp(min=float(share.median()))  # one alone may be small by chance
    return step[:, :2].abs().amax(1) * share / (1 - share)


def arrived(state: State, within: float) -> bool:
    """Whether most columns have no farther to go than that, in standard deviations."""
    ahead = state.ahead
    if ahead is None:
        return False
    return not len(ahead) or bool(ahead.kthvalue(max(1, int(MANY * len(ahead))))[0] < within)


def still_moving(state: State) -> bool:
    """Whether more than a few columns in the image may have farther to go than ``FINE``, or nobody knows."""
    if state.ahead is None or state.before is None:
        return True
    far = (_pixels_ahead(state) > FINE)[state.free]
    return int(far.sum()) > ODD_ONES * len(far) ** 0.5


def settle(state: State, rounds: int) -> State:
    """Let the few columns that still move go on by themselves, while all others and the background stand still."""
    if state.last is None:
        return state
    rows = (state.ahead > RESTLESS) | (_pixels_ahead(state) > FINE)
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
    prior = _prior(few)
    _held(total.hessian, prior)
    keep = free_parameters(few, total.gradient + prior.gradient)
    own = work.majorant(total.hessian, _pairs(few, weight)) * keep[:, :, None] * keep[:, None, :]
    own += torch.diag_embed(1 - keep)
    da = torch.linalg.solve(own, (total.gradient + prior.gradient) * keep)
    return replace(few, columns=_moved(few, da), settled=_settled(da * torch.sqrt(own.diagonal(dim1=1, dim2=2))))


def _against_swinging(step: torch.Tensor, last: torch.Tensor | None, small: bool) -> torch.Tensor:
    """A factor (n,) for columns that would go back where they just came from: to where the slope is zero in between.

    A large step back that is much shorter than the one before is a correction, and taken whole.
    """
    if last is None or last.shape != step.shape:
        return torch.ones_like(step[:, 0])
    now, then = step.norm(dim=1), last.norm(dim=1)
    back = (step * last).sum(1) < -0.5 * now * then
    if not small:
        back &= now > SWING * then
    return torch.where(back, then / (then + now), 1.0)


def _placed(state: State) -> torch.Tensor:
    """True (n,) for columns whose places are fitted; those beyond the rim have to be plain to see."""
    return state.free | (state.beyond & (state.leeway > 2 * FIRM * LEEWAY[1] * state.sigma))


def free_parameters(state: State, gradient: torch.Tensor | None = None) -> torch.Tensor:
    """1 for parameters (n, k) in the equations, 0 for others: of frozen columns only the height is free, of those
    beyond the rim the height and, as far as they are let, the place. With a ``gradient`` (n, k) neither are places of
    those that it would take farther than they may go: all others would make way for a step that is not taken."""
    keep = state.free[:, None].double().repeat(1, 6 if state.elliptical else 4)
    keep[:, 2] = 1.0
    placed = _placed(state)
    keep[:, :2] = (placed if gradient is None else placed & ~_at_the_end(state, gradient))[:, None].double()
    return keep


def _at_the_end(state: State, gradient: torch.Tensor) -> torch.Tensor:
    """True (n,) for columns that are as far from where they came as they may go, and would go on."""
    way = state.columns.table[:, :2] - state.start.table[:, :2]
    return (way.norm(dim=1) > AT_END * state.reach) & ((way * gradient[:, :2]).sum(1) > 0)


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
