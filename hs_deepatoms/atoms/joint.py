"""All columns of a window fitted together, with the background under them: Gauss-Newton steps of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hs_deepatoms.atoms.belief import near_pairs, unseen
from hs_deepatoms.atoms.ground import Ground
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.noise import Noise, noise_of
from hs_deepatoms.atoms.normal import Normal, damped
from hs_deepatoms.atoms.peaks import Columns, Window

KNOT = 8.0  # knots of the background in column sigmas: smooth over a column, bent over a few spacings
NEAR, FAR = 6.0, 7.5  # sigmas: columns nearer than this share normal equations (ellipses, round ones)
STIFFNESS = 1e-3
# weak priors: log width and ellipticity around the frame's own; place around the detector's, at least and at most so
# many column sigmas
WIDTH_SPREAD, SHAPE_SPREAD, LEEWAY = 0.3, 0.15, (0.25, 0.7)
LONGEST = (0.6, 0.6, np.inf, 0.25, 0.15, 0.15)  # of a step: y, x in sigmas, height, log width, plus, cross
SWING = 0.5  # of the step before: a step back as long as this is more than a correction
LONGEST_SHAPE = 0.7  # of an ellipse: axes as 1 to 2
# a column goes no farther from where it was found than so many leeways, sigmas, and shares of the way to the next one
FARTHEST, WANDER, CROWD = 3.0, 1.5, 0.35
TOLERANCE = 1e-3  # of misfit per column
# signal-to-noise ratio of what is left over where a column was missed, and the share of the pixels where that may be;
# where more are odd the model does not fit, and that is to be seen in the error bars
MISSED, FEW = 6.0, 0.05
LONG = 0.1  # relative change of the columns in a step that is looked at even if it is the last
# of a step, relative, after a long one and after a short one: the next step corrects it
EXACT, ROUGH = 1e-3, 0.02
MANY = 0.9  # share of the columns that are looked at to tell how far they are
ALIKE = 0.02  # relative change of the columns between matrices that are as good as the same
# in standard deviations: a smaller step changes nothing; who has farther to go in the end has not converged
SETTLED, RESTLESS = 0.005, 0.01
SHRINKING = 2 / 3  # of a step to the next one, at most: then twice the last step is left of the way
# least share by which the diagonal is raised (Levenberg): what columns and background hardly tell apart stays where it
# was instead of running off, and what they do tell is off by hardly a hundredth of a step
DAMPING = 0.03


@dataclass
class State:
    """A fit in progress: the window's image and weights of validity, the columns, the background, the noise."""

    image: torch.Tensor  # (h, w) float32
    valid: torch.Tensor  # (h, w) bool
    columns: Columns
    ground: Ground
    splines: torch.Tensor  # coefficients
    window: Window
    noise: Noise
    sigma: float  # typical width, pixels
    elliptical: bool = False
    noise_kind: str = "auto"
    shape: tuple | None = None  # the typical plus and cross, if not those of the columns
    leeway: torch.Tensor | None = None  # (n,) how well a column's place was known before, one sigma, pixels
    start: Columns | None = None  # as they came, to go back to
    reach: torch.Tensor | None = None  # (n,) how far from there they may go, pixels
    free: torch.Tensor | None = None  # (n,) bool: place and shape are fitted, not the height alone
    settled: torch.Tensor | None = None  # (n,) bool
    judged: bool = False  # the noise is that of a fit, not of a first guess
    damping: float = 0.0
    least: float = DAMPING  # damping of any step
    last: torch.Tensor | None = None  # (n, k) the step before, in standard deviations
    ahead: torch.Tensor | None = None  # (n,) how far a place may still have to go, in standard deviations
    taken: int = 0  # steps that were not undone
    change: float = np.inf  # of most columns in the last step, relative to their size
    drawn: tuple | None = None  # columns and splines whose image was made last, and the image
    before: tuple[State, Equations] | None = None  # the last step, to go back to if it was a mistake

    @property
    def parameters(self) -> int:
        return (6 if self.elliptical else 4) * len(self.columns) + self.ground.size

    def kept(self, rows: torch.Tensor) -> State:
        """With only the columns of a mask or of some indices."""
        last, settled, ahead = (None if v is None else v[rows] for v in (self.last, self.settled, self.ahead))
        return replace(self, columns=self.columns[rows], start=self.start[rows], leeway=self.leeway[rows],
                       reach=self.reach[rows], free=self.free[rows], settled=settled, last=last, ahead=ahead,
                       before=None, change=np.inf)  # fmt: skip

    def joined(self, new: Columns) -> State:
        """With further columns, of which little is known, and all of them free to move."""
        leeway = torch.cat([self.leeway, torch.full_like(new.y, LEEWAY[1] * self.sigma)])
        free = torch.ones_like(leeway, dtype=torch.bool)
        start = Columns.join(self.start, new)
        state = replace(self, columns=Columns.join(self.columns, new), start=start, leeway=leeway,
                        reach=_reach(start, leeway, self.sigma), free=free, settled=None, last=None, ahead=None,
                        before=None, change=np.inf)  # fmt: skip
        if is_drawn(self):
            mean = self.drawn[2].clone()
            kernels(mean).draw_on(mean, new, self.window, self.elliptical)
            state.drawn = (state.columns, state.splines, mean)
        return state


def is_drawn(state: State) -> bool:
    """Whether the image that is kept is that of the state's columns and background."""
    return state.drawn is not None and state.drawn[0] is state.columns and state.drawn[1] is state.splines


def expected(state: State) -> torch.Tensor:
    """The fitted image (h, w); the last one is kept with the state, and not to be written to."""
    if not is_drawn(state):
        mean = kernels(state.image).surface(state.ground, state.splines)
        kernels(mean).draw_on(mean, state.columns, state.window, state.elliptical)
        state.drawn = (state.columns, state.splines, mean)
    return state.drawn[2]


def begin(
    image, valid, y, x, sigma: float, *, origin=(0, 0), noise: Noise | None = None, kind="auto", std=None
) -> State:
    """Columns of one width at given places, with a first guess of heights and background, and of unknown noise."""
    shape = tuple(image.shape)
    ground = Ground.over(shape, KNOT * sigma, origin, image.device)
    window = Window.around(sigma, shape)
    y, x = (torch.as_tensor(v, dtype=torch.float64, device=image.device) for v in (y, x))
    one = torch.ones_like(y)
    columns = Columns(y, x, 0.1 * one, np.log(sigma) * one, 0 * one, 0 * one)
    leeway = 0.5 * sigma * one if std is None else 2 * torch.as_tensor(std, dtype=torch.float64, device=image.device)
    leeway = leeway.clamp(LEEWAY[0] * sigma, LEEWAY[1] * sigma)
    state = State(image, valid, columns, ground, torch.zeros(ground.size, dtype=torch.float64, device=image.device),
                  window, Noise(0.0, 1.0, 0.0, 1e-12), sigma, noise_kind=kind, leeway=leeway)  # fmt: skip
    state = _first_guess(state)
    state = replace(
        state, start=state.columns, reach=_reach(columns, leeway, sigma), free=torch.ones_like(y, dtype=torch.bool)
    )
    return _guessed(state) if noise is None else replace(state, noise=noise, judged=True)


def _reach(start: Columns, leeway: torch.Tensor, sigma: float) -> torch.Tensor:
    """How far (n,) columns may go from where they start: none takes the place of another one."""
    reach = (FARTHEST * leeway).clamp(max=WANDER * sigma)
    i, j = near_pairs(start, WANDER * sigma / CROWD)  # none that is farther matters
    apart = torch.hypot(start.y[i] - start.y[j], start.x[i] - start.x[j])
    nearest = torch.full_like(reach, torch.inf)
    nearest = nearest.scatter_reduce(0, torch.cat([i, j]), torch.cat([apart, apart]), "amin")
    return torch.minimum(reach, CROWD * nearest).clamp(min=1e-3 * sigma)


def _first_guess(state: State) -> State:
    """Heights of the columns one by one, and the background under what they leave."""
    window, work = state.window, kernels(state.image)
    inner = replace(window, half=max(3, int(2 * state.sigma) + 1))  # a column's tails say little of its height
    height = work.local_heights(state.columns, state.image, state.valid, inner)
    typical = height[height > 0].median() if (height > 0).any() else 0.0
    state = replace(state, columns=replace(state.columns, height=height.clamp(min=0.05 * typical + 1e-6)))
    drawn = torch.zeros_like(state.image)
    work.draw_on(drawn, state.columns, window)
    weight, rest, _ = work.weigh(state.noise, state.image, drawn, state.valid, judged=False)  # all pixels alike
    matrix, slope = work.hessian(state.ground, weight, STIFFNESS), work.project(state.ground, rest)
    splines = torch.from_numpy(matrix.solved(slope.cpu().numpy())).to(rest.device)
    drawn += work.surface(state.ground, splines)
    return replace(state, splines=splines, drawn=(state.columns, splines, drawn))


def _guessed(state: State) -> State:
    """The state with the noise that its residual shows, whatever else that may be."""
    mean = expected(state)
    mean, rest = (_picked(values, state.valid) for values in (mean, state.image - mean))
    return replace(state, noise=noise_of(mean, rest, state.parameters, state.noise_kind))


def _picked(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return values.flatten() if where.all() else values[where]


def measured(state: State) -> State:
    """The state with its noise estimated anew, from its own residual."""
    return replace(state, noise=pooled([residue(state)], state.noise_kind), before=None)


@dataclass
class Residue:
    """What a fit leaves over: fitted and remaining intensity of every valid pixel, and the fit's parameters.

    ``state`` is kept for the ratio of column-sized remains to the noise, which is only known after pooling.
    """

    mean: torch.Tensor
    rest: torch.Tensor
    parameters: int
    state: State


def residue(state: State) -> Residue:
    mean = expected(state)
    # what travels between processes is small
    state = replace(state, before=None, last=None, drawn=None, ground=replace(state.ground, numbers=None))
    return Residue(mean, state.image - mean, state.parameters, state)


def pooled(parts: list[Residue], kind: str = "auto") -> Noise:
    """The noise of a frame from fits to parts of it; a column that was missed here or there is none of it."""
    used = [p.state.valid for p in parts]
    noise, ratio = _noise_and_ratio(parts, used, kind)
    odd = [r > MISSED for r in ratio]
    if 0 < sum(int(o.sum()) for o in odd) < FEW * sum(o.numel() for o in odd):
        used = [u & ~o for u, o in zip(used, odd, strict=True)]
        noise, ratio = _noise_and_ratio(parts, used, kind)
    ratio = torch.cat([_picked(r, u) for r, u in zip(ratio, used, strict=True)])
    excess = float((1.4826 * ratio.median()) ** 2) if len(ratio) else 1.0
    noise = replace(noise, excess=max(excess, 1.0))
    clear = torch.cat([_clearness(p, noise) for p in parts])
    return replace(noise, faintest=float(clear.quantile(0.05)) if len(clear) else 0.0)


def _noise_and_ratio(parts: list[Residue], used: list[torch.Tensor], kind: str):
    """Noise by the pixels used, and how far column-sized remains stand out of it at every pixel of each part."""
    mean, rest = (
        torch.cat([_picked(getattr(p, n), u) for p, u in zip(parts, used, strict=True)]) for n in ("mean", "rest")
    )
    noise = noise_of(mean, rest, sum(p.parameters for p in parts), kind)
    return noise, [evidence(replace(p.state, noise=noise), p.mean)[0].abs() for p in parts]


def _clearness(part: Residue, noise: Noise) -> torch.Tensor:
    """Signal-to-noise ratio (n,) of columns as if each stood alone, by the noise at their centres."""
    c, (rows, columns) = part.state.columns, part.mean.shape
    there = part.mean[c.y.round().long().clamp(0, rows - 1), c.x.round().long().clamp(0, columns - 1)]
    return c.height * torch.exp(c.log_width) * torch.sqrt(torch.pi / noise.variance(there))


def evidence(state: State, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Signal-to-noise ratio and height of one more column at every pixel of the residual, (h, w) both."""
    weight, rest, _ = kernels(mean).weigh(state.noise, state.image, mean, state.valid, judged=False)
    reach = int(3 * state.sigma) + 1
    place = torch.arange(-reach, reach + 1, device=mean.device)
    bell = torch.exp(-0.5 * (place / state.sigma) ** 2)
    work = kernels(mean)
    power, overlap = work.filtered(weight, bell**2).clamp(min=1e-12), work.filtered(rest, bell)
    return overlap / torch.sqrt(power), overlap / power


@dataclass
class Equations:
    """Normal equations and gradients at a state, and how badly the state fits (twice the negative log likelihood)."""

    normal: Normal
    columns: torch.Tensor  # (n, k)
    splines: torch.Tensor  # (m,)
    misfit: float
    at: Columns  # where the matrix is that of


def matrix(state: State) -> Normal:
    """The matrix of the normal equations at a state."""
    weight, weighed, _ = _weighed(state, judged=False)
    return _assembled(state, weight, weighed, _prior(state), _stiffness(state))[0]


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
    if near is None:
        normal, gradient = _assembled(state, weight, weighed, prior, stiffness)
    else:
        normal = near.normal
        gradient = kernels(weighed).slopes(state.columns, weighed, state.window, state.sigma, state.elliptical)
    gradient = (gradient + prior.gradient) * _kept(state, gradient)
    at = state.columns if near is None else near.at
    return Equations(normal, gradient, kernels(weighed).project(state.ground, weighed) - pull, misfit, at)


def _assembled(state: State, weight, weighed, prior: Prior, stiffness: float) -> tuple[Normal, torch.Tensor]:
    c, work = state.columns, kernels(weight)
    total = work.sums(c, weighed, weight, state.window, state.sigma, state.elliptical)
    _held(total.hessian, prior)
    splines = work.hessian(state.ground, weight, stiffness)
    normal = work.assemble(total, _pairs(state, weight), c, state.ground, splines, state.sigma)
    _freeze(normal, _kept(state, total.gradient))
    return normal, total.gradient


def _held(hessian: torch.Tensor, prior: Prior) -> None:
    """Add the pulls, and enough for a matrix that is positive where hardly a pixel is valid."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += prior.hessian
    diagonal *= 1 + 1e-6  # moments are of single precision
    if len(diagonal):
        diagonal[:, 2] += 1e-12 + 1e-9 * diagonal[:, 2].mean()


def _pairs(state: State, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of columns that touch, and their blocks of the normal equations."""
    i, j = near_pairs(state.columns, (NEAR if state.elliptical else FAR) * state.sigma)
    return kernels(weight).blocks(state.columns, i, j, weight, state.window, state.sigma, state.elliptical)


@dataclass
class Prior:
    """Weak pulls to the typical shape and to where the detector saw a column; nothing beside a column plain to see."""

    hessian: torch.Tensor  # (n, k), diagonal
    gradient: torch.Tensor  # (n, k)
    misfit: float


def _prior(state: State) -> Prior:
    c, start = state.columns, state.start or state.columns
    one, known = torch.ones_like(state.leeway), 1 / state.leeway**2
    middle, precision = [start.y, start.x, c.height, np.log(state.sigma) * one], [known, known, 0 * one]
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
                  ahead=_ahead(da * scale, state.last), taken=state.taken + 1, change=_change(state.columns, columns),
                  before=before)  # fmt: skip
    return _called_back(new, normal)


def verified(state: State) -> State:
    """The state, or the one before its last step if that was a long one and made things worse."""
    if state.before is None or not state.change > LONG:
        return state
    misfit = _weighed(state)[2] + _prior(state).misfit
    misfit += float(state.splines @ state.ground.smoothness(state.splines, _stiffness(state)))
    old, then = state.before
    return state if misfit <= then.misfit + TOLERANCE * len(state.columns) else replace(old, change=state.change)


def matrix_near(state: State, share: float = MANY, within: float = ALIKE) -> Equations | None:
    """Normal equations of an earlier step that will do: of the same free parameters, and of columns much the same.

    ``share`` of the columns have not changed by more than ``within`` since, relative to their size.
    """
    if state.before is None or state.before[0].free is not state.free:
        return None
    earlier = state.before[1]
    return earlier if _change(earlier.at, state.columns, share) < within else None


def _change(old: Columns, new: Columns, share: float = MANY) -> float:
    """How much most columns have changed, relative to their size."""
    if not len(new):
        return 0.0
    width, one = torch.exp(new.log_width), torch.ones_like(new.y)
    size = torch.stack([width, width, new.height, one], 1)
    change = ((new.table - old.table)[:, :4] / size).abs().amax(1).nan_to_num(1.0)
    return float(change.kthvalue(max(1, int(share * len(change))))[0])


def _moved(state: State, da: torch.Tensor) -> Columns:
    """The columns after a bounded step."""
    c, k = state.columns, da.shape[1]
    limit = torch.tensor(LONGEST[:k], dtype=da.dtype, device=da.device).repeat(len(c), 1)
    limit[:, :2] *= torch.exp(c.log_width)[:, None]
    new = c.table.clone()
    new[:, :k] += torch.minimum(torch.maximum(da, -limit), limit)
    # a column may fade, not turn into a hole
    new[:, 2] = torch.where(state.free, torch.maximum(new[:, 2], 0.2 * c.height), new[:, 2])
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


def settle(state: State, rounds: int) -> State:
    """Let the few columns that still move go on by themselves, while all others and the background stand still."""
    if state.last is None:
        return state
    rows = torch.nonzero((state.ahead > RESTLESS) & state.free)[:, 0]
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


def _alone_moved(few: State, weighed: torch.Tensor, weight: torch.Tensor) -> State:
    """A step of every column by itself, short enough for all of them to take theirs at once."""
    work = kernels(weight)
    total = work.sums(few.columns, weighed, weight, few.window, few.sigma, few.elliptical)
    prior = _prior(few)
    _held(total.hessian, prior)
    own = work.majorant(total.hessian, _pairs(few, weight))
    da = torch.linalg.solve(own, total.gradient + prior.gradient)
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


def _kept(state: State, like: torch.Tensor) -> torch.Tensor:
    """1 for parameters (n, k) in the equations, 0 for those of frozen columns, of which only the height is free."""
    keep = state.free[:, None].to(like.dtype).repeat(1, like.shape[1])
    keep[:, 2] = 1.0
    return keep


def _freeze(normal: Normal, keep: torch.Tensor) -> None:
    if keep.all():
        return
    normal.ground *= keep[:, :, None]
    normal.own *= keep[:, :, None] * keep[:, None, :]
    normal.own += torch.diag_embed(1 - keep)
    i, j, block = normal.pairs
    block *= keep[i][:, :, None] * keep[j][:, None, :]


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
