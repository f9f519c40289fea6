"""Where the pixels of a patch lie in the canonical frame of its motif, and back. Pure functions on tensors.

A pose is (angle, shift y, shift x, log scale), tensors of shape (n, 4): the motif is scaled, turned by the angle (rad,
from +x towards +y) and then shifted (pixels), all about the middle of the patch. Spectra are patches of height 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

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
    return at_grid(images, grid)


def motif_grid(pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Where the pixels of patches lie in the canonical image, (n, h, w, 2): x and y from -1 to 1, for `at_grid`.

    The same as `to_motif` on all pixels, as one matrix product per patch: several times faster.
    """
    angle, ty, tx, log_scale = pose.unbind(1)
    scale = torch.exp(-log_scale)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    along_x = torch.stack([cos, sin, -cos * tx - sin * ty], 1)
    along_y = torch.stack([-sin, cos, sin * tx - cos * ty], 1)
    return _grid(along_x, along_y, frame.shape, [n * frame.step for n in frame.size])


def patch_grid(pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Where the pixels of straightened patches lie in the patches, (n, h, w, 2), as `motif_grid`."""
    angle, ty, tx, log_scale = pose.unbind(1)
    scale = torch.exp(log_scale)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    return _grid(torch.stack([cos, -sin, tx], 1), torch.stack([sin, cos, ty], 1), frame.shape, frame.shape)


def _grid(along_x, along_y, shape: tuple[int, int], extent) -> torch.Tensor:
    """Rows (n, 3) of maps of (x, y, 1) in pixels, as coordinates of an image of that extent (height, width)."""
    along = torch.cat([along_x * (2 / extent[1]), along_y * (2 / extent[0])], 1)
    return (along @ _places(*shape).to(along)).unflatten(1, (*shape, 2))


@lru_cache(maxsize=16)
def _places(h: int, w: int) -> torch.Tensor:
    """x, y and 1 of all pixels, for both numbers of a grid: (6, h * w * 2), so that a grid is one matrix product."""
    y, x = pixel_grid((h, w))
    rows = torch.zeros(2, 3, h, w, 2)
    for k in range(2):
        rows[k, :, ..., k] = torch.stack([x, y, torch.ones_like(x)])
    return rows.reshape(6, -1)


def at_grid(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Images (n, c, H, W) at a grid, linear between samples; the rim goes on."""
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def render(motif: torch.Tensor, pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Canonical images (n, c, *frame.size) as patches (n, c, h, w) in their poses."""
    return at_grid(motif, motif_grid(pose, frame))


def straighten(patches: torch.Tensor, pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Patches (n, c, h, w) without their poses, same size; inside the disc only where they can turn."""
    straight = at_grid(patches, patch_grid(pose, frame))
    return straight * disc(frame, patches.device) if frame.round else straight


def grid_of_size(frame: Frame, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates (H, W) of the samples of the canonical image, pixels from its middle."""
    return pixel_grid(frame.size, step=frame.step, device=device)
