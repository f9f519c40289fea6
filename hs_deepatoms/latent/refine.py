"""Gauss-Newton on poses and latents: from the nearest node of a lattice to the maximum of the posterior."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import torch

from hs_deepatoms.latent.poses import Frame, at_grid, disc, motif_grid
from hs_deepatoms.latent.search import Lattice

LARGEST = (0.35, 1.5, 1.5, 0.15)  # one step: rad, pixels, pixels, log scale
SETTLED = 0.01  # chi squared that a further step would gain: a tenth of a standard deviation
STUCK = 0.25  # as much, where the step was tried and gained nothing: interpolation has kinks


@dataclass(frozen=True)
class Prior:
    """Precision (1 / variance) of angle, shift y, shift x and log scale around 0; None: not free."""

    precision: tuple[float | None, float | None, float | None, float | None]

    @property
    def free(self) -> list[int]:
        """Which of the four are fitted."""
        return [k for k, one in enumerate(self.precision) if one is not None]


def prior_of(lattice: Lattice) -> Prior:
    """The full circle is free; smaller angles, shifts and scales have their largest value as two sigma."""
    widths = [one / 2 for one in (*lattice.shift, lattice.scale)]
    rest = (1 / w**2 if w > 0 else None for w in widths)
    turns = 0.0 if lattice.angle >= math.pi else (2 / lattice.angle) ** 2
    return Prior((turns if lattice.rotation else None, *rest))


@dataclass(frozen=True, eq=False)
class Refined:
    """Poses (n, 4), latents (n, d) or None, covariance (n, p, p) of free poses and latents, squared residual (n,).

    ``cost`` (n,) is minus twice the logarithm of the posterior, but for a constant.
    """

    pose: torch.Tensor
    z: torch.Tensor | None
    covariance: torch.Tensor
    residual: torch.Tensor
    cost: torch.Tensor


def slopes(motif: torch.Tensor, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivatives of images (n, c, H, W) along y and x, per pixel."""
    found = []
    for dim in (2, 3):
        if motif.shape[dim] < 2:
            found.append(torch.zeros_like(motif))
        else:
            found.append(torch.gradient(motif, spacing=step, dim=dim)[0])
    return found[0], found[1]


def pose_basis(views: torch.Tensor, grid: torch.Tensor, frame: Frame, free: list[int]) -> list[torch.Tensor]:
    """Pictures (n, c, h, w) of which the derivatives of rendered patches with respect to the pose are made.

    ``views`` (n, 2, c, h, w) are the slopes of the motif along its own y and x. The first two are these slopes; one
    more for the angle and one for the scale, where they are free.
    """
    dv, du = views[:, 0], views[:, 1]
    basis = [dv, du]
    if 0 in free or 3 in free:
        v, u = (grid[:, None, ..., k] * (frame.size[1 - k] * frame.step / 2) for k in (1, 0))
        basis += [du * v - dv * u] if 0 in free else []
        basis += [-(dv * v + du * u)] if 3 in free else []
    return basis


def pose_mixing(pose: torch.Tensor, free: list[int]) -> torch.Tensor:
    """How the free derivatives are made of that basis: (n, free, basis)."""
    scale = torch.exp(-pose[:, 3])
    cos, sin = scale * torch.cos(pose[:, 0]), scale * torch.sin(pose[:, 0])
    more = [k for k in (0, 3) if k in free]
    mixing = torch.zeros(len(pose), len(free), 2 + len(more), device=pose.device)
    for row, k in enumerate(free):
        if k in more:
            mixing[:, row, 2 + more.index(k)] = 1
        else:
            along_y = k == 1
            mixing[:, row, 0] = -cos if along_y else sin
            mixing[:, row, 1] = -sin if along_y else -cos
    return mixing


def refine(
    patches: torch.Tensor,
    pose: torch.Tensor,
    decode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | torch.Tensor,
    frame: Frame,
    prior: Prior,
    *,
    variance: float,
    z: torch.Tensor | None = None,
    steps: int = 2,
) -> Refined:
    """Maximise the posterior of pose (and latents) by Gauss-Newton steps that never make it worse.

    Parameters
    ----------
    patches : tensor, shape (n, c, h, w)
    pose : tensor, shape (n, 4)
        Where to begin.
    decode : callable or tensor
        Canonical images (n, c, *frame.size), or the function ``decode(z, rows)`` that gives those of some rows.
    frame : Frame
    prior : Prior
        Of the pose; latents have a standard normal one.
    variance : float
        Of the noise of a pixel.
    z : tensor, shape (n, d), optional
        Latents to begin with; None: they stay as they are.
    steps : int
        At most; a patch that has settled is left alone.

    Returns
    -------
    Refined
    """
    problem = _Problem(patches, decode, frame, prior, variance, z is not None)
    best = problem.look(pose.clone(), None if z is None else z.clone())
    damping = torch.full((len(patches),), 1e-3, device=patches.device)
    enough = torch.full((len(patches),), SETTLED, device=patches.device)
    for _ in range(steps):
        going = (best.promised() > enough).nonzero()[:, 0]
        if not len(going):
            break
        part, now = problem.of(going), best.of(going)
        tried = part.look(*part.stepped(now, damping[going]))
        better = tried.cost < now.cost
        damping[going] *= torch.where(better, 0.2, 10.0)
        enough[going] = torch.where(better, SETTLED, STUCK)
        best.put(going[better], tried.of(better))
    covariance = torch.linalg.inv(best.normal + 1e-9 * torch.eye(best.normal.shape[1], device=patches.device))
    return Refined(best.pose, best.z, covariance, best.residual, best.cost)


def posterior_cost(
    patches: torch.Tensor, pose: torch.Tensor, motif: torch.Tensor, frame: Frame, prior: Prior, *, variance: float,
    z: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """``Refined.cost`` (n,) of poses, latents and their motifs as they are, without any derivative."""
    residual = (patches - at_grid(motif, motif_grid(pose, frame))) * disc(frame, patches.device)
    precision = torch.tensor([prior.precision[k] for k in prior.free], device=patches.device)
    inside = (precision * pose[:, prior.free] ** 2).sum(1) + (z**2).sum(1)
    return residual.square().sum((1, 2, 3)) / variance + inside


@dataclass(frozen=True, eq=False)
class _Look:
    """The posterior at a point: cost, gradient and normal matrix."""

    pose: torch.Tensor
    z: torch.Tensor | None
    cost: torch.Tensor
    gradient: torch.Tensor
    normal: torch.Tensor
    residual: torch.Tensor

    def promised(self) -> torch.Tensor:
        """What a step without damping would take from the cost, (n,)."""
        ridge = 1e-9 * torch.eye(self.normal.shape[1], device=self.normal.device)
        return (self.gradient * torch.linalg.solve(self.normal + ridge, self.gradient)).sum(1)

    def of(self, rows: torch.Tensor) -> _Look:
        """Some rows."""
        return _Look(*(None if one is None else one[rows] for one in self._all()))

    def put(self, rows: torch.Tensor, other: _Look) -> None:
        """Write over some rows."""
        for own, new in zip(self._all(), other._all(), strict=True):
            if own is not None:
                own[rows] = new

    def _all(self) -> list:
        return [getattr(self, name) for name in self.__dataclass_fields__]


class _Problem:
    def __init__(self, patches, decode, frame: Frame, prior: Prior, variance: float, joint: bool):
        self.patches, self.decode, self.frame, self.prior = patches, decode, frame, prior
        self.variance, self.joint, self.free = variance, joint, prior.free
        self.weight = disc(frame, patches.device)
        self.rows = torch.arange(len(patches), device=patches.device)
        self._fixed: torch.Tensor | None = None
        self.precision = torch.tensor([prior.precision[k] for k in self.free], device=patches.device)

    def look(self, pose, z) -> _Look:
        stack = self._stack(z)
        grid = motif_grid(pose, self.frame)
        views = at_grid(stack, grid).unflatten(1, (-1, self.patches.shape[1]))
        # sums over pixels once, of pictures that no pose mixes; the mixing is then one of small matrices
        basis = pose_basis(views[:, 1:3], grid, self.frame, self.free)
        pictures = torch.stack([self.patches - views[:, 0], *basis, *views[:, 3:].unbind(1)], 1)
        if self.frame.round:
            pictures *= self.weight
        pictures = pictures.flatten(2)
        sums = pictures @ pictures.transpose(1, 2)
        mixing = self._mixing(pose, len(basis), pictures.shape[1] - 1)
        normal = mixing @ sums[:, 1:, 1:] @ mixing.transpose(1, 2) / self.variance
        gradient = (mixing @ sums[:, 1:, :1])[..., 0] / self.variance
        precision, values = self._prior(pose, z)
        normal = normal + torch.diag(precision)
        residual = sums[:, 0, 0]
        cost = residual / self.variance + (precision * values**2).sum(1)
        return _Look(pose, z, cost, gradient - precision * values, normal, residual)

    def _mixing(self, pose, first: int, n: int) -> torch.Tensor:
        """That of the pose, and the latents' derivatives as they are."""
        free = len(self.free)
        mixing = torch.zeros(len(pose), free + n - first, n, device=pose.device)
        mixing[:, :free, :first] = pose_mixing(pose, self.free)
        mixing[:, free:, first:] = torch.eye(n - first, device=pose.device)
        return mixing

    def _stack(self, z) -> torch.Tensor:
        """Motifs, their slopes and the derivatives by the latents, (n, k * c, H, W)."""
        if z is None and self._fixed is not None:
            return self._fixed
        motif, along_z = self._motif(z)
        stack = torch.cat([motif, *slopes(motif, self.frame.step), *along_z], 1)
        if not callable(self.decode):
            self._fixed = stack  # the same at every step
        return stack

    def stepped(self, at: _Look, damping) -> tuple[torch.Tensor, torch.Tensor | None]:
        extra = torch.diagonal(at.normal, dim1=1, dim2=2) * damping[:, None] + 1e-9
        change = torch.linalg.solve(at.normal + torch.diag_embed(extra), at.gradient)
        step = torch.zeros_like(at.pose)
        step[:, self.free] = change[:, : len(self.free)]
        limit = torch.tensor(LARGEST, device=step.device)
        pose = at.pose + step.clamp(-limit, limit)
        z = at.z + change[:, len(self.free) :].clamp(-1, 1) if self.joint else at.z
        return pose, z

    def of(self, rows: torch.Tensor) -> _Problem:
        """The same for some of the patches."""
        part = copy(self)
        part.patches, part.rows = self.patches[rows], self.rows[rows]
        part._fixed = None if self._fixed is None else self._fixed[rows]
        return part

    def _motif(self, z) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not callable(self.decode):
            return self.decode[self.rows], []

        def decode(one):
            return self.decode(one, self.rows)

        if not self.joint:
            return decode(z), []
        units = torch.eye(z.shape[1], device=z.device)[:, None].expand(-1, *z.shape)
        both = torch.func.vmap(lambda unit: torch.func.jvp(decode, (z,), (unit,)), out_dims=(None, 0))
        motif, along = both(units)  # the motif is made once, whatever the number of latents
        return motif, list(along)

    def _prior(self, pose, z) -> tuple[torch.Tensor, torch.Tensor]:
        values = pose[:, self.free]
        if not self.joint:
            return self.precision, values
        return torch.cat([self.precision, torch.ones(z.shape[1], device=z.device)]), torch.cat([values, z], 1)
