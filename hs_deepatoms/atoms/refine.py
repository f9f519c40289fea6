"""Refine detected columns: one joint maximum-likelihood fit of all columns of a frame and the background under them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from hs_deepatoms.atoms.belief import known, trust, unseen
from hs_deepatoms.atoms.census import births, births_at_rim, doubles, sent_back
from hs_deepatoms.atoms.equations import free_parameters, matrix, matrix_near
from hs_deepatoms.atoms.joint import (
    arrived,
    held_by_doubt,
    settle,
    step,
    still_moving,
    verified,
)
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.normal import Normal
from hs_deepatoms.atoms.odd_pixels import without_odd, without_odd_in_doubt
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.residue import evidence, measured
from hs_deepatoms.atoms.shape import as_ellipses
from hs_deepatoms.atoms.state import State, begin, expected, guessed
from hs_deepatoms.prepare.scaling import FrameScale

STEPS = {"quick": 4, "full": 12}
LEAST = {"quick": 0.01, "full": 0.03}  # damping: with few steps a smaller one, or they would not arrive
NEARLY_THERE = 3e-4  # damping of the last steps
STUCK = 0.1  # damping of a step after two that made things worse: further ones get nowhere
MORE = 2  # steps with columns beyond the rim: their heights are free, and then held, in the first two
# further steps at most, until hardly a column moves: where columns or those beyond the rim are hardly seen, or columns
# and background hardly told apart, steps are slow, and windows that stopped after as many would differ
FURTHER = 12
ALONE = 4  # further steps of those that have not settled then
# relative change of all columns for which error bars of an earlier matrix will do, and the share of columns of which
# these decide where they are that is worth a new one
SAME, MANY_VAGUE = 0.05, 0.02
# standard deviations: who has no farther to go has converged, and is so close that it no longer shows in the residual
THERE, CLOSE = {"quick": 0.003, "full": 0.0}, 0.3
SURE = 5.0  # signal-to-noise ratio of a column that the detector did not see
# the same beyond the rim, from where it counts at all and fully: those inside have swallowed most of what it was
AT_RIM = 2.0, 3.0
STILL_AT_RIM = 4.0, 6.0  # and of those looked for once more two steps later: what the first ones left hides them


@dataclass
class Fitted:
    """Refined columns of one frame; arrays of shape (n,), pixels of the fitted window, the image's own units.

    ``origin`` is the index of the detected column, -1 for one that the fit added. Columns that did not converge keep
    the place they came with, and no error bar of the fit. ``clearness`` is the signal-to-noise ratio of the height, all
    else known.
    """

    origin: np.ndarray
    y: np.ndarray
    x: np.ndarray
    height: np.ndarray
    background: np.ndarray
    width_y: np.ndarray
    width_x: np.ndarray
    rotation: np.ndarray
    intensity: np.ndarray
    y_std: np.ndarray
    x_std: np.ndarray
    yx_corr: np.ndarray
    height_std: np.ndarray
    clearness: np.ndarray
    converged: np.ndarray

    def found_before(self) -> Fitted:
        """Without the columns that the fit added."""
        known = self.origin >= 0
        return Fitted(**{name: values[known] for name, values in vars(self).items()})


@dataclass(frozen=True)
class FrameFit:
    """The fit to one frame's part of a block.

    ``image`` is what was fitted, bright columns, to the pixels ``box`` (y0, y1, x0, x1); ``chosen`` are the indices of
    the candidates among the columns.
    """

    image: np.ndarray
    fit: Fitted
    chosen: np.ndarray
    noise: Noise
    box: tuple[int, int, int, int]
    bad: np.ndarray
    scaling: FrameScale

    @property
    def known(self) -> np.ndarray:
        """True for fitted columns that were candidates."""
        return self.fit.origin >= 0

    @property
    def rows(self) -> np.ndarray:
        """The candidates that the known columns were."""
        return self.chosen[self.fit.origin[self.known]]


def fit_columns(
    image: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    sigma: float,
    *,
    std: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    wanted: np.ndarray | None = None,
    how: str = "full",
    origin: tuple[int, int] = (0, 0),
    knot: float | None = None,
    noise: str | Noise = "auto",
    elliptical: bool = False,
    ellipse: tuple[float, float] | None = None,
    device: str = "cpu",
) -> Fitted:
    """Fit Gaussian columns on a smooth background to one image, all at once.

    Parameters
    ----------
    image : ndarray, shape (h, w)
        Bright columns; any units, but of order one for single precision.
    y, x : ndarray, shape (n,)
        Where the columns are, to within a sigma; pixels.
    sigma : float
        Typical column sigma, pixels.
    std : ndarray, shape (n,), optional
        How well their places are known, one sigma; pixels. They are a weak prior.
    valid : ndarray, bool, shape (h, w), optional
        False where pixels are left out.
    wanted : ndarray, bool, shape (n,), optional
        Columns that are asked for, by default all: others are fitted for the sake of these, and not to the end.
    how : {"quick", "full"}
        A few steps, or steps until nothing moves, with columns added where the residual shows them.
    origin : tuple of int
        Row and column of the image in its frame: knots of the background stand still when a frame is tiled.
    knot : float, optional
        Distance of these knots, pixels; by default 8 sigmas.
    noise : {"auto", "poisson", "gaussian"} or Noise
        How the variance grows with brightness; by default as found in the residual of a first fit.
    elliptical : bool
        Free ellipticity and rotation.
    ellipse : tuple of float, optional
        Plus and cross that most columns have, where that is known before.
    device : str

    Returns
    -------
    Fitted

    Notes
    -----
    Likelihood of independent pixels with variance ``gain * mean + offset``, by Gauss-Newton steps; error bars from
    the joint Fisher information (den Dekker et al., Ultramicroscopy 104, 83 (2005),
    doi:10.1016/j.ultramic.2005.03.001; De Backer et al., Ultramicroscopy 171, 104 (2016),
    doi:10.1016/j.ultramic.2016.08.018).

    Examples
    --------
    >>> import numpy as np
    >>> rows, columns = np.mgrid[:32, :40]
    >>> image = np.exp(-((rows - 14.3) ** 2 + (columns - 20.8) ** 2) / 8)
    >>> fitted = fit_columns(image, np.array([14.0]), np.array([21.0]), 2.2)
    >>> bool(np.hypot(fitted.y[0] - 14.3, fitted.x[0] - 20.8) < 0.01)
    True
    """
    state = begin_fit(image, y, x, sigma, std=std, valid=valid, origin=origin, knot=knot, noise=noise, device=device)
    if wanted is not None:
        state = replace(state, wanted=torch.as_tensor(wanted, device=device))
    source = torch.arange(len(y), device=device)
    if elliptical:
        state = as_ellipses(state, ellipse)
    if not state.judged:
        state = replace(state, noise=measured(first_fit(state, how, at_rim=True)).noise, judged=True)
    state = replace(state, least=LEAST[how])
    state, source = _with_rim(_converge(state, 1), source, AT_RIM)
    state, source = _with_rim(_converge(state, 2), source, STILL_AT_RIM)
    state = _arrive(_steps_left(state, how))
    if (good := without_odd(state)) is not state:
        state = _arrive(_converge(good, STEPS[how], there=THERE[how]))
    if how == "full":
        state, source = _census(state, source)
    fit = _result(settle(state, ALONE), source)
    return fit if how == "full" else fit.found_before()


def begin_fit(
    image, y, x, sigma: float, *, std=None, valid=None, origin=(0, 0), knot=None, noise="auto", device="cpu"
) -> State:
    """The state from which a fit of arrays begins."""
    pixels = np.ascontiguousarray(image, np.float32)
    there = np.isfinite(pixels)  # in a tenth of the time that tensors take
    if valid is not None:
        there &= valid
    pixels, there = (torch.as_tensor(v, device=device) for v in (np.where(there, pixels, np.float32(0)), there))
    known = {"noise": noise} if isinstance(noise, Noise) else {"kind": noise}
    return begin(pixels, there, y, x, sigma, knot=knot, origin=origin, std=std, **known)


def first_fit(state: State, how: str, there: float = CLOSE, at_rim: bool = False) -> State:
    """Close enough for the residual to show the noise; missed columns are not noise, nor are those beyond a rim."""
    source = torch.zeros(len(state.columns), dtype=torch.long, device=state.image.device)
    if how == "quick":  # the noise of a first guess drowns sharp columns in their priors
        state = guessed(_converge(state, 1))
        if at_rim:
            state, _ = _with_rim(state, source, AT_RIM)
        return _unspoilt(_converge(state, 3 - state.taken, there=there))
    state = measured(_converge(_converge(state, 2), 2))
    if at_rim:
        state, source = _with_rim(state, source, AT_RIM)
    state = _unspoilt(_converge(replace(state, judged=True), 2))
    return _census(state, source)[0]


def _unspoilt(state: State) -> State:
    """Without the pixels that a fit whose noise is not known yet cannot explain, and as it would be without them."""
    good = without_odd_in_doubt(state)
    return state if good is state else _converge(good, 2)


def _converge(state: State, most: int, there: float = 0.0) -> State:
    """Up to ``most`` steps that hold, however many are undone on the way, or until most columns are ``there``."""
    goal = state.taken + most
    for _ in range(3 * most):
        taken, state = state.taken, step(state)
        if state.taken <= taken:  # it was undone, or columns were called back whose heights have yet to follow
            continue
        if state.taken >= goal or bool(state.settled.all()) or arrived(state, there):
            break
    return verified(state)


def _steps_left(state: State, how: str) -> State:
    """The state after all the steps that it is worth."""
    if not state.beyond.any():
        return _converge(state, STEPS[how] - state.taken, THERE[how])
    if how == "quick" and arrived(state, THERE[how]) and not still_moving(state):
        return state  # heights beyond the rim that are still on their way move hardly anyone: those go on by themselves
    # as many steps in every tile: else these heights are on their way when most columns are there
    return _converge(state, STEPS[how] - state.taken + MORE)


def _arrive(state: State) -> State:
    """Further steps until hardly a column has any farther to go; hardly damped, as what damping holds back is all that
    is left."""
    usual, goal = state.least, state.taken + FURTHER
    state = replace(state, least=NEARLY_THERE)
    for _ in range(2 * FURTHER):  # a step in which columns were called back is not counted
        if state.taken >= goal or state.damping > STUCK or not still_moving(state):
            break
        state = step(state)
    return replace(verified(state), least=usual)


def _with_rim(state: State, source: torch.Tensor, least: tuple[float, float]) -> tuple[State, torch.Tensor]:
    """With columns outside of the image, or in its holes, that shine in: those inside would be drawn towards them.

    After a step with all of their heights free these are held by what it says of them. From the signal-to-noise ratios
    ``least`` on they count at all, and fully.
    """
    new, ratio = births_at_rim(state, expected(state), least[0])
    if len(new) == 0:
        return state, source
    shown = ((ratio - least[0]) / (least[1] - least[0])).clamp(0, 1)
    state = held_by_doubt(_converge(state.joined(new, beyond=True), 1), shown)
    return state, F.pad(source, (0, len(state.columns) - len(source)), value=-1)


def _census(state: State, source: torch.Tensor, rounds: int = 2) -> tuple[State, torch.Tensor]:
    """Add what was missed, drop doubles and what was added for nothing, fit again."""
    for k in range(rounds + 1):
        # an added column that ran away or proved faint was none
        rank = torch.where(source < 0, -torch.inf, -source.double())
        none = (source < 0) & ~state.beyond & ~(state.free & (trust(state) > 0))
        gone = doubles(state.columns, state.sigma, rank) | none
        new = births(state, *evidence(state, expected(state)), SURE if k < rounds else torch.inf)
        if len(new) == 0 and not gone.any():
            break
        state = sent_back(state, new)
        double = doubles(Columns.join(state.columns, new), state.sigma, _older_first(state.columns, new))
        new = new[~double[len(state.columns) :]]
        state = state.kept(~gone).joined(new)
        source = torch.cat([source[~gone], torch.full((len(new),), -1, device=source.device)])
        state = _converge(state, 5)
    keep = (source >= 0) | state.free | state.beyond
    return (state, source) if keep.all() else (state.kept(keep), source[keep])


def _older_first(old: Columns, new: Columns) -> torch.Tensor:
    return torch.cat([torch.ones_like(old.y), torch.zeros_like(new.y)])


def _result(state: State, source: torch.Tensor) -> Fitted:
    near = matrix_near(state, 1.0, SAME)
    reused = near is not None and torch.equal(near.kept, free_parameters(state))
    normal = near.normal if reused else matrix(state)
    covariance, variance = _covariance(state, normal)
    asked = state.free & state.wanted
    share = known(variance[asked, :2], state.sigma)
    if reused and int(((share > 0) & (share < 1)).sum()) > MANY_VAGUE * len(share):
        normal = matrix(state)  # how far these are believed depends on it, and with that where they are
        covariance, variance = _covariance(state, normal)
    c = state.columns
    believed = trust(state) * known(variance[:, :2], state.sigma)
    variance[:, :2] += _left_over(state, normal, believed)[:, None]
    std = torch.sqrt(variance)
    table = {
        "y": c.y,
        "x": c.x,
        "height": c.height,
        "background": kernels(c.y).level(state.ground, state.splines, c.y, c.x),
        "intensity": 2 * torch.pi * c.height * torch.exp(2 * c.log_width),
        "y_std": std[:, 0],
        "x_std": std[:, 1],
        "yx_corr": covariance[:, 0, 1] / (std[:, 0] * std[:, 1]).clamp(min=1e-30),
        "height_std": std[:, 2],
        "clearness": c.height * torch.sqrt(normal.own[:, 2, 2]),
    }
    table = {name: v.cpu().numpy() for name, v in table.items()}
    table |= _axes(c)
    source = source.cpu().numpy()
    fine = (
        (state.free & ~unseen(state.columns, normal) & (believed > 0)).cpu().numpy()
        & (table["height"] > 0)
        & np.isfinite(table["y_std"])
    )
    fine &= (table["y_std"] > 0) & (table["x_std"] > 0)
    fine &= np.abs(np.log(np.sqrt(table["width_y"] * table["width_x"]) / state.sigma)) < 0.89
    for name, first in (("y", state.start.y), ("x", state.start.x)):
        first = first.cpu().numpy()
        table[name] = np.where(fine, first + believed.cpu().numpy() * (table[name] - first), first)
    for name in ("y_std", "x_std", "yx_corr"):
        table[name] = np.where(fine, table[name], np.nan)
    keep = fine | (source >= 0)  # an added column that did not converge is none
    return Fitted(origin=source[keep], converged=fine[keep], **{name: v[keep] for name, v in table.items()})


def _covariance(state: State, normal: Normal) -> tuple[torch.Tensor, torch.Tensor]:
    """Covariance (n, k, k) of each column's parameters, and their variances, those of places without their priors."""
    covariance = kernels(normal.own).covariances(normal)
    variance = covariance.diagonal(dim1=1, dim2=2).clamp(min=0).clone()
    variance[:, :2] = _unaided(variance[:, :2], state.leeway[:, None])
    return covariance, variance


def _unaided(variance: torch.Tensor, leeway: torch.Tensor) -> torch.Tensor:
    """Variance of places without what their prior, of spread ``leeway``, pretends to know.

    The detector looked at the same counts, so its error is that of the fit once more and averages nothing away. Where
    the prior decides, what it says is as uncertain as itself.
    """
    share = (variance / leeway**2).clamp(max=1 - 1e-9)  # of the prior in the place
    alone = torch.sqrt(variance / (1 - share))
    return ((1 - share) * alone + share * torch.minimum(alone, leeway)) ** 2


def _left_over(state: State, normal: Normal, believed: torch.Tensor) -> torch.Tensor:
    """Variance (n,) of a coordinate beyond that of the noise: of steps not taken, and of fitted places not believed."""
    c, start = state.columns, state.start
    back = (1 - believed) ** 2 * ((c.y - start.y) ** 2 + (c.x - start.x) ** 2) / 2
    if state.ahead is None:
        return back
    diagonal = normal.own.diagonal(dim1=1, dim2=2)
    return back + state.ahead**2 / torch.minimum(diagonal[:, 0], diagonal[:, 1])


def _axes(c: Columns) -> dict[str, np.ndarray]:
    """Sigmas along the two axes (``width_y`` the one nearer to y), and the angle of ``width_x`` from +x towards +y."""
    e = torch.hypot(c.plus, c.cross)
    angle = 0.5 * torch.atan2(c.cross, c.plus)  # of the long axis against y
    long, short = torch.exp(c.log_width + e / 2), torch.exp(c.log_width - e / 2)
    upright = angle.abs() <= torch.pi / 4
    turn = torch.where(upright, angle, angle - torch.sign(angle) * torch.pi / 2)
    named = {
        "width_y": torch.where(upright, long, short),
        "width_x": torch.where(upright, short, long),
        "rotation": -turn,
    }
    return {name: v.cpu().numpy() for name, v in named.items()}
