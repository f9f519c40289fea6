"""Gauss-Newton on poses and latents: from the nearest node of a lattice to the maximum of the posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hs_deepatoms.latent.poses import Frame, disc, pixel_grid, sample, to_motif
from hs_deepatoms.latent.search import Lattice

LARGEST = (0.35, 1.5, 1.5, 0.15)  # one step: rad, pixels, pixels, log scale


@dataclass(frozen=True)
class Prior:
    """Precision (1 / variance) of angle, shift y, shift x and log scale around 0; None: not free."""

    precision: tuple[float | None, float | None, float | None, float | None]

    @property
    def free(self) -> list[int]:
        """Which of the four are fitted."""
        return [k for k, one in enumerate(self.precision) if one is not None]


def prior_of(lattice: Lattice) -> Prior:
    """The angle is free; shifts and scales have their largest value as two sigma."""
    widths = [one / 2 for one in (*lattice.shift, lattice.scale)]
    rest = (1 / w**2 if w > 0 else None for w in widths)
    return Prior((0.0 if lattice.rotation else None, *rest))


@dataclass(frozen=True, eq=False)
class Refined:
    """Poses (n, 4), latents (n, d) or None, covariance (n, p, p) of free poses and latents, squared residual (n,)."""

    pose: torch.Tensor
    z: torch.Tensor | None
    covariance: torch.Tensor
    residual: torch.Tensor


def slopes(motif: torch.Tensor, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivatives of images (n, c, H, W) along y and x, per pixel."""
    found = []
    for dim in (2, 3):
        if motif.shape[dim] < 2:
            found.append(torch.zeros_like(motif))
        else:
            found.append(torch.gradient(motif, spacing=step, dim=dim)[0])
    return found[0], found[1]


def pose_columns(views: torch.Tensor, pose: torch.Tensor, v: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Derivatives (n, 4, c, h, w) of rendered patches with respect to the pose.

    ``views`` (n, 2, c, h, w) are the slopes of the motif along its own y and x at the motif coordinates v, u (n, h, w).
    """
    dv, du = views[:, 0], views[:, 1]
    v, u = v[:, None], u[:, None]
    scale = torch.exp(-pose[:, 3])[:, None, None, None]
    cos, sin = (f(pose[:, 0])[:, None, None, None] for f in (torch.cos, torch.sin))
    angle = du * v - dv * u
    along_y = -scale * (dv * cos + du * sin)
    along_x = -scale * (du * cos - dv * sin)
    return torch.stack([angle, along_y, along_x, -(dv * v + du * u)], 1)


def refine(
    patches: torch.Tensor,
    pose: torch.Tensor,
    decode: Callable[[torch.Tensor], torch.Tensor] | torch.Tensor,
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
        Canonical images (n, c, *frame.size), or the function of z that gives them.
    frame : Frame
    prior : Prior
        Of the pose; latents have a standard normal one.
    variance : float
        Of the noise of a pixel.
    z : tensor, shape (n, d), optional
        Latents to begin with; None: they stay as they are.
    steps : int

    Returns
    -------
    Refined
    """
    problem = _Problem(patches, decode, frame, prior, variance, z is not None)
    best = problem.look(pose, z)
    damping = torch.full((len(patches),), 1e-3, device=patches.device)
    for _ in range(steps):
        tried = problem.look(*problem.stepped(best, damping))
        better = tried.cost < best.cost
        damping = torch.where(better, damping / 5, damping * 10)
        best = problem.chosen(better, tried, best)
    covariance = torch.linalg.inv(best.normal + 1e-9 * torch.eye(best.normal.shape[1], device=patches.device))
    return Refined(best.pose, best.z, covariance, best.residual)


@dataclass(frozen=True, eq=False)
class _Look:
    """The posterior at a point: cost, gradient and normal matrix."""

    pose: torch.Tensor
    z: torch.Tensor | None
    cost: torch.Tensor
    gradient: torch.Tensor
    normal: torch.Tensor
    residual: torch.Tensor


class _Problem:
    def __init__(self, patches, decode, frame: Frame, prior: Prior, variance: float, joint: bool):
        self.patches, self.decode, self.frame, self.prior = patches, decode, frame, prior
        self.variance, self.joint, self.free = variance, joint, prior.free
        self.weight = disc(frame, patches.device)
        self.grid = pixel_grid(frame.shape, device=patches.device)
        self.precision = torch.tensor([prior.precision[k] for k in self.free], device=patches.device)

    def look(self, pose, z) -> _Look:
        motif, along_z = self._motif(z)
        c = motif.shape[1]
        v, u = to_motif(*self.grid, pose)
        stack = torch.cat([motif, *slopes(motif, self.frame.step), *along_z], 1)
        views = sample(stack, v, u, self.frame.step).unflatten(1, (-1, c))
        difference = (self.patches - views[:, 0]) * self.weight
        columns = pose_columns(views[:, 1:3], pose, v, u)[:, self.free]
        columns = (torch.cat([columns, views[:, 3:]], 1) * self.weight).flatten(2)
        normal = columns @ columns.transpose(1, 2) / self.variance
        gradient = (columns @ difference.flatten(1)[:, :, None])[..., 0] / self.variance
        precision, values = self._prior(pose, z)
        normal = normal + torch.diag(precision)
        residual = (difference**2).sum((1, 2, 3))
        cost = residual / self.variance + (precision * values**2).sum(1)
        return _Look(pose, z, cost, gradient - precision * values, normal, residual)

    def stepped(self, at: _Look, damping) -> tuple[torch.Tensor, torch.Tensor | None]:
        extra = torch.diagonal(at.normal, dim1=1, dim2=2) * damping[:, None] + 1e-9
        change = torch.linalg.solve(at.normal + torch.diag_embed(extra), at.gradient)
        step = torch.zeros_like(at.pose)
        step[:, self.free] = change[:, : len(self.free)]
        limit = torch.tensor(LARGEST, device=step.device)
        pose = at.pose + step.clamp(-limit, limit)
        z = at.z + change[:, len(self.free) :].clamp(-1, 1) if self.joint else at.z
        return pose, z

    def chosen(self, better, tried: _Look, best: _Look) -> _Look:
        def choose(one, two):
            return two if one is None else torch.where(better.view(-1, *(1,) * (one.ndim - 1)), one, two)

        return _Look(*(choose(getattr(tried, k), getattr(best, k)) for k in _Look.__dataclass_fields__))

    def _motif(self, z) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not callable(self.decode):
            return self.decode, []
        if not self.joint:
            return self.decode(z), []
        along = []
        for k in range(z.shape[1]):
            unit = torch.zeros_like(z)
            unit[:, k] = 1
            motif, slope = torch.func.jvp(self.decode, (z,), (unit,))
            along.append(slope)
        return motif, along

    def _prior(self, pose, z) -> tuple[torch.Tensor, torch.Tensor]:
        values = pose[:, self.free]
        if not self.joint:
            return self.precision, values
        return torch.cat([self.precision, torch.ones(z.shape[1], device=z.device)]), torch.cat([values, z], 1)
