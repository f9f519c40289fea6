"""Geometric changes of an image, its labels and its coordinates: the same map for all three.

Coordinates are pixels, 0 is the centre of the first one. What an image shows beyond its rim is its mirror image, in the
labels and in the coordinates too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

APART = 1.0  # pixels: a column this near to the rim and its mirror image are one


@dataclass(frozen=True)
class Symmetry:
    """One of the eight symmetries of the square: transpose, then mirror rows, then mirror columns. Exact."""

    transpose: bool = False
    mirror_y: bool = False
    mirror_x: bool = False

    def of_map(self, array: torch.Tensor) -> torch.Tensor:
        """Of the last two axes."""
        array = array.transpose(-1, -2) if self.transpose else array
        axes = [axis for axis, wanted in ((-2, self.mirror_y), (-1, self.mirror_x)) if wanted]
        return array.flip(axes) if axes else array

    def of_points(self, y: np.ndarray, x: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Of coordinates in an image of this shape."""
        height, width = shape
        if self.transpose:
            y, x, height, width = x, y, width, height
        return (height - 1 - y if self.mirror_y else y), (width - 1 - x if self.mirror_x else x)


def random_symmetry(rng: np.random.Generator, shape: tuple[int, int]) -> Symmetry:
    """One of eight, or of the four that keep the shape of an image that is not square."""
    transpose, mirror_y, mirror_x = rng.random(3) < 0.5
    return Symmetry(bool(transpose) and shape[0] == shape[1], bool(mirror_y), bool(mirror_x))


@dataclass(frozen=True)
class Motion:
    """Rotation, zoom, new size, and what a scan that jitters and drifts does to it.

    Output pixel p shows the source at ``linear @ (p + shift[row] - middle_out) + middle_in``.

    Parameters
    ----------
    source, size : (int, int)
        Shape of the image before and after.
    angle : float
        Rotation from +x towards +y, radians.
    zoom : (float, float)
        Magnification along y and x.
    shift_y, shift_x : ndarray, shape (size[0],), optional
        Of every scan line, pixels; ``shift_y`` must rise more slowly than the rows do.
    """

    source: tuple[int, int]
    size: tuple[int, int]
    angle: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift_y: np.ndarray | None = field(default=None, repr=False)
    shift_x: np.ndarray | None = field(default=None, repr=False)

    @property
    def linear(self) -> np.ndarray:
        """(2, 2), output (y, x) -> source (y, x)."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s], [s, c]]) @ np.diag(1 / np.asarray(self.zoom, float))

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in the source every output pixel looks: y and x, shape ``size`` each."""
        rows, columns = (np.arange(n, dtype=float) for n in self.size)
        y = rows if self.shift_y is None else rows + self.shift_y
        x_shift = np.zeros(len(rows)) if self.shift_x is None else self.shift_x
        y = (y - (self.size[0] - 1) / 2)[:, None]
        x = columns + x_shift[:, None] - (self.size[1] - 1) / 2
        (a, b), (c, d) = self.linear
        return a * y + b * x + (self.source[0] - 1) / 2, c * y + d * x + (self.source[1] - 1) / 2

    def of_map(self, array: torch.Tensor, *, mode: str = "bicubic") -> torch.Tensor:
        """Of maps (..., h, w): bicubic for images, bilinear for shares, nearest for classes."""
        y, x = self.places()
        scaled = [2 * p / max(n - 1, 1) - 1 for p, n in zip((x, y), self.source[::-1], strict=True)]
        grid = torch.from_numpy(np.stack(scaled, -1)).to(array.device, torch.float32)[None]
        flat = array.reshape(1, -1, *array.shape[-2:]).float()
        out = F.grid_sample(flat, grid, mode=mode, padding_mode="reflection", align_corners=True)
        return out.reshape(*array.shape[:-2], *self.size).to(array.dtype)

    def of_points(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of source coordinates, and of their mirror images beyond the rim: y, x, and the number of each in the input.

        Those that lie outside of the output are left out.
        """
        y, x, number = _mirrored(np.asarray(y, float), np.asarray(x, float), self.source)
        dy, dx = y - (self.source[0] - 1) / 2, x - (self.source[1] - 1) / 2
        (a, b), (c, d) = np.linalg.inv(self.linear)
        y, x = a * dy + b * dx + (self.size[0] - 1) / 2, c * dy + d * dx + (self.size[1] - 1) / 2
        rows = np.arange(self.size[0], dtype=float)
        if self.shift_y is not None:
            seen = rows + self.shift_y
            y = np.interp(y, seen, rows) + np.minimum(y - seen[0], 0) + np.maximum(y - seen[-1], 0)
        if self.shift_x is not None:
            x = x - np.interp(y, rows, self.shift_x)
        inside = (y > -0.5) & (x > -0.5) & (y < self.size[0] - 0.5) & (x < self.size[1] - 0.5)
        return y[inside], x[inside], number[inside]


def _mirrored(y: np.ndarray, x: np.ndarray, shape: tuple[int, int]):
    """The points and their mirror images in the eight neighbouring fields."""
    parts = []
    for ys, rim_y in _images(y, shape[0]):
        for xs, rim_x in _images(x, shape[1]):
            parts.append((ys, xs, np.arange(len(y)), rim_y & rim_x))
    ys, xs, number, there = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ys[there], xs[there], number[there]


def _images(position: np.ndarray, size: int):
    """A coordinate and its two mirror images, and where these are apart from it."""
    yield position, np.ones(len(position), bool)
    for image in (-position, 2 * (size - 1) - position):
        yield image, np.abs(image - position) > APART
