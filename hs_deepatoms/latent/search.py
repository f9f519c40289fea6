"""The best of all poses on a lattice of angles, shifts and scales: a search that cannot end beside the maximum.

A Gaussian posterior over the angle, as in spatial-VAE (Bepler et al., NeurIPS 2019, arXiv:1909.11663), stays where it
began when the motif can turn by more than about 60 degrees. Here every angle is tried at once: in polar coordinates a
turn is a shift, and the match at all angles is one correlation along the circle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from hs_deepatoms.latent.poses import Frame, render, sample

ANGLES = 64
WAVES = 24  # angular frequencies that are compared; higher ones are noise
SHIFT_STEP = 1.7  # pixels: the refinement that follows reaches the next node
SHARE = 0.06  # of the window: in large windows what is seen is larger, too


@dataclass(frozen=True)
class Lattice:
    """What is tried.

    Attributes
    ----------
    rotation : bool
    shift : (float, float)
        Largest shift along y and x, pixels; 0: none.
    scale : float
        Largest logarithm of the scale; 0: none.
    step : float
        Distance of the shifts that are tried, pixels.
    angle : float
        Largest angle, rad.
    """

    rotation: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 0.0
    step: float = SHIFT_STEP
    angle: float = math.pi

    @property
    def movable(self) -> bool:
        """Whether anything is shifted."""
        return max(self.shift) > 0


def nodes(lattice: Lattice, device=None) -> torch.Tensor:
    """Poses (s, 4) with angle 0: all shifts and scales to be tried."""
    rows = [_nodes(reach, lattice.step) for reach in lattice.shift] + [_nodes(lattice.scale, 0.12)]
    y, x, scale = (one.ravel() for one in torch.meshgrid(*rows, indexing="ij"))
    return torch.stack([torch.zeros_like(y), y, x, scale], 1).to(device)


def _nodes(reach: float, step: float) -> torch.Tensor:
    if reach <= 0:
        return torch.zeros(1)
    k = max(1, math.ceil(reach / step - 0.5))
    return torch.linspace(-k, k, 2 * k + 1) * min(step, reach / k)


def search(
    patches: torch.Tensor, motifs: torch.Tensor, frame: Frame, lattice: Lattice
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Best motif and pose of every patch.

    Parameters
    ----------
    patches : tensor, shape (n, c, h, w)
    motifs : tensor, shape (m, c, *frame.size)
    frame : Frame
    lattice : Lattice

    Returns
    -------
    motif : tensor, int, shape (n,)
    pose : tensor, shape (n, 4)
    distance : tensor, shape (n,)
        Squared distance of the best.
    """
    table, shifts = distances(patches, motifs, frame, lattice)
    m, a = table.shape[2:]
    best, place = table.flatten(1).min(1)
    angle = 2 * math.pi * (place % a) / a
    pose = shifts[place // (m * a)].clone()
    pose[:, 0] = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    return (place // a) % m, pose, best


def distances(patches, motifs, frame: Frame, lattice: Lattice) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances (n, s, m, a) and the poses (s, 4) of the s: shift and scale; a are the angles."""
    shifts = nodes(lattice, patches.device)
    table = (_turned if lattice.rotation else _plain)(patches, motifs, frame, shifts)
    if lattice.rotation and lattice.angle < math.pi:
        turn = torch.arange(ANGLES, device=table.device) * (2 * math.pi / ANGLES)
        far = torch.minimum(turn, 2 * math.pi - turn) > lattice.angle
        table.masked_fill_(far, torch.inf)
    return table, shifts


def _turned(patches, motifs, frame: Frame, shifts: torch.Tensor) -> torch.Tensor:
    n, s, m, c = len(patches), len(shifts), len(motifs), patches.shape[1]
    y, x, area = polar_grid(frame, patches.device)
    r, a = y.shape
    scale = torch.exp(shifts[:, 3])[:, None, None]
    ys, xs = scale * y + shifts[:, 1, None, None], scale * x + shifts[:, 2, None, None]
    views = sample(patches, ys.reshape(1, s * r, a).expand(n, -1, -1), xs.reshape(1, s * r, a).expand(n, -1, -1))
    known = sample(motifs, y.expand(m, -1, -1), x.expand(m, -1, -1), frame.step)
    one = torch.fft.rfft(views)[..., :WAVES].reshape(n, c, s, r, -1)
    two = torch.fft.rfft(known * (2 * area[:, None]))[..., :WAVES].conj()
    match = torch.fft.irfft(torch.einsum("ncsrf,mcrf->nsmf", one, two).contiguous(), n=a)
    own = torch.einsum("ncsra,r->ns", views.reshape(n, c, s, r, a).square(), area)
    other = torch.einsum("mcra,r->m", known.square(), area)
    return match.neg_().add_((own[:, :, None] + other)[..., None])


def _plain(patches, motifs, frame: Frame, shifts: torch.Tensor) -> torch.Tensor:
    n, s, m = len(patches), len(shifts), len(motifs)
    moved = render(motifs.repeat_interleave(s, 0), shifts.repeat(m, 1), frame).reshape(m, s, -1)
    flat = patches.reshape(n, -1)
    size = (flat**2).sum(1)[:, None, None] + (moved**2).sum(2)
    return (size - 2 * torch.einsum("nk,msk->nms", flat, moved)).transpose(1, 2)[..., None]


def polar_grid(frame: Frame, device=None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """y, x (r, a) of circles, and the area (r,) of a sample on each."""
    radius = torch.arange(1.0, max(2.0, min(frame.shape) / 2), device=device)
    angle = torch.arange(ANGLES, device=device) * (2 * math.pi / ANGLES)
    y, x = (radius[:, None] * f(angle) for f in (torch.sin, torch.cos))
    return y, x, 2 * math.pi * radius / ANGLES
