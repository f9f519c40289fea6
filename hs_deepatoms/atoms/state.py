"""A fit of columns in progress: what is fitted, to which image, and the first guess from which it begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import cho_solve_banded

from hs_deepatoms.atoms.belief import near_pairs
from hs_deepatoms.atoms.ground import KNOT, Ground
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.noise import Noise, noise_of
from hs_deepatoms.atoms.peaks import Columns, Window

if TYPE_CHECKING:
    from hs_deepatoms.atoms.equations import Equations

STIFFNESS = 1e-3
FIRM = 1e-3  # of a leeway: what is held by that does not move
LEEWAY = 0.25, 0.7  # of a place around the detector's, at least and at most so many column sigmas
# a column goes no farther from where it was found than so many leeways, sigmas, and shares of the way to the next one
FARTHEST, WANDER, CROWD = 3.0, 1.5, 0.35
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
    free: torch.Tensor | None = None  # (n,) bool: place and shape are fitted, not the height alone; none ``beyond``
    beyond: torch.Tensor | None = None  # (n,) bool: stands beyond the rim, or in a hole
    held: torch.Tensor | None = None  # (n,) precision with which the heights of these are held at zero, as in doubt
    wanted: torch.Tensor | None = None  # (n,) bool: asked for; steps go on until these are there
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
    root: np.ndarray | None = None  # of the background's matrix in a step that changed little, for the next ones

    @property
    def parameters(self) -> int:
        heights = 0 if self.beyond is None else int(self.beyond.sum())  # of these hardly anything else is fitted
        return (6 if self.elliptical else 4) * (len(self.columns) - heights) + heights + self.ground.size

    def kept(self, rows: torch.Tensor) -> State:
        """With only the columns of a mask or of some indices."""
        last, settled, ahead = (None if v is None else v[rows] for v in (self.last, self.settled, self.ahead))
        return replace(self, columns=self.columns[rows], start=self.start[rows], leeway=self.leeway[rows],
                       reach=self.reach[rows], free=self.free[rows], held=self.held[rows], beyond=self.beyond[rows],
                       wanted=self.wanted[rows], settled=settled, last=last, ahead=ahead, before=None,
                       change=np.inf)  # fmt: skip

    def joined(self, new: Columns, beyond: bool = False) -> State:
        """With further columns, of which little is known. They are free to move, but those ``beyond`` the rim are
        held until it is known how well they are seen."""
        leeway = torch.cat([self.leeway, torch.full_like(new.y, (FIRM if beyond else 1.0) * LEEWAY[1] * self.sigma)])
        held = torch.cat([self.held, torch.zeros_like(new.y)])
        out = torch.cat([self.beyond, torch.full_like(new.y, beyond, dtype=torch.bool)])
        free, wanted = (torch.cat([v, torch.full_like(out[len(v) :], not beyond)]) for v in (self.free, self.wanted))
        start = Columns.join(self.start, new)
        # of those beyond the rim it is known later how well they are placed
        reach = torch.where(out, WANDER * self.sigma, _reach(start, leeway, self.sigma))
        state = replace(self, columns=Columns.join(self.columns, new), start=start, leeway=leeway, reach=reach,
                        free=free, held=held, beyond=out, wanted=wanted, settled=None, last=None, ahead=None,
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


# those of the last few windows: in a stack they are the same for every frame
_ground = lru_cache(maxsize=4)(Ground.over)


def begin(
    image, valid, y, x, sigma: float, *, knot=None, origin=(0, 0), noise: Noise | None = None, kind="auto", std=None
) -> State:
    """Columns of one width at given places, with a first guess of heights and background, and of unknown noise."""
    shape = tuple(image.shape)
    ground = _ground(shape, float(knot or KNOT * sigma), tuple(origin), str(image.device))
    window = Window.around(sigma, shape)
    y, x = (torch.as_tensor(v, dtype=torch.float64, device=image.device) for v in (y, x))
    one = torch.ones_like(y)
    columns = Columns(y, x, 0.1 * one, np.log(sigma) * one, 0 * one, 0 * one)
    leeway = 0.5 * sigma * one if std is None else 2 * torch.as_tensor(std, dtype=torch.float64, device=image.device)
    leeway = leeway.clamp(LEEWAY[0] * sigma, LEEWAY[1] * sigma)
    state = State(image, valid, columns, ground, torch.zeros(ground.size, dtype=torch.float64, device=image.device),
                  window, Noise(0.0, 1.0, 0.0, 1e-12), sigma, noise_kind=kind, leeway=leeway)  # fmt: skip
    state = _first_guess(state, noise)
    state = replace(
        state, start=state.columns, reach=_reach(columns, leeway, sigma), free=torch.ones_like(y, dtype=torch.bool),
        beyond=torch.zeros_like(y, dtype=torch.bool), held=torch.zeros_like(y),
        wanted=torch.ones_like(y, dtype=torch.bool),
    )  # fmt: skip
    return guessed(state) if noise is None else replace(state, noise=noise, judged=True)


def _reach(start: Columns, leeway: torch.Tensor, sigma: float) -> torch.Tensor:
    """How far (n,) columns may go from where they start: none takes the place of another one."""
    reach = (FARTHEST * leeway).clamp(max=WANDER * sigma)
    i, j = near_pairs(start, WANDER * sigma / CROWD)  # none that is farther matters
    apart = torch.hypot(start.y[i] - start.y[j], start.x[i] - start.x[j])
    nearest = torch.full_like(reach, torch.inf)
    nearest = nearest.scatter_reduce(0, torch.cat([i, j]), torch.cat([apart, apart]), "amin")
    return torch.minimum(reach, CROWD * nearest).clamp(min=1e-3 * sigma)


def _first_guess(state: State, noise: Noise | None = None) -> State:
    """Heights of the columns one by one, and the background under what they leave."""
    window, work = state.window, kernels(state.image)
    inner = replace(window, half=max(3, int(2 * state.sigma) + 1))  # a column's tails say little of its height
    height = work.local_heights(state.columns, state.image, state.valid, inner)
    typical = noise.height if noise else None  # of the frame, or tiles would differ
    if typical is None or not typical > 0:
        typical = height[height > 0].median() if (height > 0).any() else 0.0
    state = replace(state, columns=replace(state.columns, height=height.clamp(min=0.05 * typical + 1e-6)))
    drawn = torch.zeros_like(state.image)
    work.draw_on(drawn, state.columns, window)
    weight, rest, _ = work.weigh(state.noise, state.image, drawn, state.valid, judged=False)  # all pixels alike
    slope = work.project(state.ground, rest).cpu().numpy()
    splines = cho_solve_banded((_even_factor(state, weight), True), slope, check_finite=False)
    splines = torch.from_numpy(splines).to(rest.device)
    drawn += work.surface(state.ground, splines)
    return replace(state, splines=splines, drawn=(state.columns, splines, drawn))


def _even_factor(state: State, weight: torch.Tensor) -> np.ndarray:
    """Factor of the background's matrix with the same weight for all pixels that are valid; kept if all of them are.

    The weight of a first guess depends neither on the image nor on its noise."""
    ground, whole = state.ground, bool(state.valid.cpu().numpy().all())
    if whole and ground.even is not None:
        return ground.even
    factor = kernels(weight).hessian(ground, weight, STIFFNESS).factor()
    if whole:
        ground.even = factor
    return factor


def guessed(state: State) -> State:
    """The state with the noise that its residual shows, whatever else that may be."""
    mean = expected(state)
    mean, rest = (picked(values, state.valid) for values in (mean, state.image - mean))
    return replace(state, noise=noise_of(mean, rest, state.parameters, state.noise_kind), before=None, root=None)


def picked(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return values.flatten() if where.all() else values[where]
