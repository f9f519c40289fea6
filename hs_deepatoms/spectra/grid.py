"""Where the pixels of a spectrum image lie in an image, and the image on a grid that fits them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WHOLE = 1e-3  # pixels: a position this near to a whole pixel is one


@dataclass(frozen=True)
class Line:
    """One axis of a spectrum image in pixels of the image.

    Attributes
    ----------
    first, pitch : float
        Position of the first spectrum, and the distance from one to the next.
    size : int
        Spectra along the axis.
    forced : int
        Pixels of the aligned image per spectrum, where they are not the pitch rounded.
    """

    first: float
    pitch: float
    size: int
    forced: int = 0

    @property
    def step(self) -> int:
        """Pixels of the aligned image per spectrum."""
        return self.forced or max(1, round(abs(self.pitch)))

    @property
    def shared(self) -> int:
        """Spectra by which windows have to be farther apart not to share a pixel of the image, as interpolation looks
        at the next one, too; 0 where pixels are only copied."""
        if (self.positions(self.step) % 1 == 0).all():
            return 0
        pitch = abs(self.pitch)  # places two pixels apart are between other pixels; neighbours in windows are nearer
        return int(np.ceil((2 - pitch / self.step) / pitch - WHOLE))

    def positions(self, window: int) -> np.ndarray:
        """Positions in the image of the pixels of the aligned one, ((size - 1) * step + window,).

        The window of spectrum i is made of the pixels ``i * step`` to ``i * step + window - 1``.
        """
        fine = self.pitch / self.step
        index = np.arange((self.size - 1) * self.step + window) - first_pixel(window, self.step)
        found = self.first - (self.step - 1) / 2 * fine + index * fine
        near = np.round(found)
        return np.where(np.abs(found - near) < WHOLE, near, found)

    def inside(self, length: int) -> np.ndarray:
        """Which spectra (size,) have their centre in an image of this length."""
        centre = self.first + self.pitch * np.arange(self.size)
        return (centre > -0.5 - WHOLE) & (centre < length - 0.5 + WHOLE)


def first_pixel(window: int, step: int) -> int:
    """How far the window of a spectrum begins before the first of the ``step`` pixels it covers."""
    return (window - step + 1) // 2 if window >= step else -((step - window) // 2)


def aligned(images: np.ndarray, lines: tuple[Line, Line], window: int) -> np.ndarray:
    """Images (c, h, w) resampled so that windows of whole pixels belong to every spectrum; mirrored at the rim.

    Where the grids fit, pixels are only copied; else they are interpolated linearly.

    Returns
    -------
    numpy.ndarray, float32, shape (c, (ny - 1) * step + window, (nx - 1) * step + window)
    """
    out = images.astype(np.float32)
    for axis, line in ((1, lines[0]), (2, lines[1])):
        out = _taken(out, line.positions(window), axis)
    return np.ascontiguousarray(out)


def _taken(images: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    length = images.shape[axis]
    low = np.floor(positions)
    share = (positions - low).astype(np.float32)
    first = np.take(images, mirrored(low.astype(int), length), axis)
    if not share.any():
        return first
    shape = [1] * images.ndim
    shape[axis] = -1
    share = share.reshape(shape)
    return first * (1 - share) + np.take(images, mirrored(low.astype(int) + 1, length), axis) * share


def mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Indices inside an axis, mirrored at its ends, which are repeated."""
    place = np.mod(index, 2 * length)
    return np.where(place < length, place, 2 * length - 1 - place)
