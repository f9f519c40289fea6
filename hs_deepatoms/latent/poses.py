"""Where the pixels of a patch lie in the canonical frame of its motif, and back. Pure functions on tensors.

A pose is (angle, shift y, shift x, log scale), tensors of shape (n, 4): the motif is scaled, turned by the angle (rad,
from +x towards +y) and then shifted (pixels), all about the middle of the patch. Spectra are patches of height 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

ANGLE, SHIFT_Y, SHIFT_X, LOG_SCALE = range(4)


@dataclass(frozen=True)
class Frame:
    """Sizes of a patch and of the canonical image that it is a view of.

    Attributes
    ----------
    shape : (int, int)
        Height and width of a patch, pixels.
    size : (int, int)
        Height and width of the canonical image, samples.
    step : float
        Distance of its samples, in pixels of the patch.
    round : bool
        Whether poses are judged inside the inscribed disc only: what lies outside leaves the patch when it turns.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    step: float = 1.0
    round: bool = False


def make_frame(shape: tuple[int, int], invariances: tuple[str, ...], oversampling: float = 1.0) -> Frame:
    """The canonical frame: as large as the patch, or as its diagonal where it can turn.

    Examples
    --------
    >>> make_frame((28, 28), ("rotation",)).size
    (40, 40)
    """
    h, w = shape
    turns = "rotation" in invariances
    extent = (math.hypot(h, w),) * 2 if turns else (h, w)
    size = tuple(max(1, round(oversampling * one)) if one > 1 else 1 for one in extent)
    return Frame((h, w), size, 1.0 / oversampling, turns)


def pixel_grid(shape: tuple[int, int], *, step: float = 1.0, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates y, x (h, w) from the middle, pixels."""
    y, x = (step * (torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2) for n in shape)
    return torch.meshgrid(y, x, indexing="ij")


def disc(frame: Frame, device=None) -> torch.Tensor:
    """Weights (h, w) of pixels: 1, or the inscribed disc with a soft rim."""
    if not frame.round:
        return torch.ones(frame.shape, device=device)
    y, x = pixel_grid(frame.shape, device=device)
    return torch.clamp(min(frame.shape) / 2 - torch.sqrt(y**2 + x**2), 0, 1)


def to_motif(y: torch.Tensor, x: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Patch coordinates (..., broadcast with (n, 1, 1)) as coordinates (n, h, w) of the motif."""
    angle, ty, tx, log_scale = (one[:, None, None] for one in pose.unbind(1))
    cos, sin, scale = torch.cos(angle), torch.sin(angle), torch.exp(-log_scale)
    dy, dx = y - ty, x - tx
    return scale * (cos * dy - sin * dx), scale * (cos * dx + sin * dy)


def to_patch(v: torch.Tensor, u: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Motif coordinates as coordinates (n, h, w) of the patch; the inverse of `to_motif`."""
    angle, ty, tx, log_scale = (one[:, None, None] for one in pose.unbind(1))
    cos, sin, scale = torch.cos(angle), torch.sin(angle), torch.exp(log_scale)
    return scale * (sin * u + cos * v) + ty, scale * (cos * u - sin * v) + tx


def sample(images: torch.Tensor, y: torch.Tensor, x: torch.Tensor, step: float = 1.0) -> torch.Tensor:
    """Images (n, c, H, W) at coordinates (n, h, w) from their middle, linear between samples; the rim goes on."""
    height, width = images.shape[2:]
    grid = torch.stack([2 * x / (width * step), 2 * y / (height * step)], -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def render(motif: torch.Tensor, pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Canonical images (n, c, *frame.size) as patches (n, c, h, w) in their poses."""
    y, x = pixel_grid(frame.shape, device=motif.device)
    return sample(motif, *to_motif(y, x, pose), frame.step)


def straighten(patches: torch.Tensor, pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Patches (n, c, h, w) without their poses, same size; inside the disc only where they can turn."""
    y, x = pixel_grid(frame.shape, device=patches.device)
    return sample(patches, *to_patch(y, x, pose)) * disc(frame, patches.device)


def grid_of_size(frame: Frame, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates (H, W) of the samples of the canonical image, pixels from its middle."""
    return pixel_grid(frame.size, step=frame.step, device=device)
