"""Where the pixels of a patch lie along one axis of the image. Pure functions on arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EDGES = ("drop", "reflect", "mask")
CENTRINGS = ("subpixel", "integer")
ROUNDING = 1e-6  # pixels: a window this much over the rim still fits


class Window(NamedTuple):
    """Rows (or columns) of n patches.

    Attributes
    ----------
    index : numpy.ndarray, int64, shape (n, size) or (n, size + 3)
        Pixels of the image to take, inside it; three more where taps interpolate between them.
    taps : numpy.ndarray, shape (n, 4), or None
        Weights of four neighbouring pixels; None for whole pixels.
    outside : numpy.ndarray, bool, shape (n, size)
        Which pixels of the patch lie outside of the image.
    """

    index: np.ndarray
    taps: np.ndarray | None
    outside: np.ndarray


def place_windows(position: np.ndarray, size: int, length: int, *, centring: str, edge: str) -> Window:
    """Windows of ``size`` pixels around positions along an axis of ``length`` pixels.

    Parameters
    ----------
    position : numpy.ndarray, float, shape (n,)
        In pixels; pixel 0 is the centre of the first.
    size, length : int
        Pixels of the window and of the axis.
    centring : {"subpixel", "integer"}
        Whether the window is centred exactly, or on whole pixels (at most half a pixel off).
    edge : {"drop", "reflect", "mask"}
        What is taken outside: the nearest pixel (``drop``, ``mask``) or the mirrored one (``reflect``).

    Returns
    -------
    Window

    Examples
    --------
    >>> place_windows(np.array([0.0, 4.2]), 3, 9, centring="integer", edge="reflect").index.tolist()
    [[1, 0, 1], [3, 4, 5]]
    """
    start = np.asarray(position, float) - (size - 1) / 2
    first = _whole(start) if centring == "integer" else np.floor(start + ROUNDING)
    taps = None if centring == "integer" else cubic_taps(np.clip(start - first, 0, 1))
    places = (first if taps is None else start)[:, None] + np.arange(size)
    outside = (places < -0.5 - ROUNDING) | (places > length - 0.5 + ROUNDING)
    more = np.arange(size) if taps is None else np.arange(-1, size + 2)
    index = first.astype(np.int64)[:, None] + more
    index = _mirrored(index, length) if edge == "reflect" else np.clip(index, 0, length - 1)
    return Window(index, taps, outside)


def whole_centres(position: np.ndarray, size: int) -> np.ndarray:
    """Middle (n,), in pixels of the image, of windows of whole pixels around positions (n,)."""
    return _whole(np.asarray(position, float) - (size - 1) / 2) + (size - 1) / 2


def windows_fit(position: np.ndarray, size: int, length: int, *, centring: str) -> np.ndarray:
    """Boolean (n,): whether the whole window lies in the image."""
    start = np.asarray(position, float) - (size - 1) / 2
    if centring == "integer":
        start = _whole(start)
    return (start >= -ROUNDING) & (start + size - 1 <= length - 1 + ROUNDING)


def cubic_taps(shift: np.ndarray) -> np.ndarray:
    """Weights (n, 4) of pixels -1, 0, 1, 2 for a value ``shift`` (0 to 1) after pixel 0.

    Cubic convolution with a = -1/2 (Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1153 (1981),
    doi:10.1109/TASSP.1981.1163711): local, so that a patch does not depend on how the image was cut into blocks.
    """
    t = np.asarray(shift, float)
    return np.stack(
        [
            t * (-0.5 + t * (1.0 - 0.5 * t)),
            1.0 + t * t * (-2.5 + 1.5 * t),
            t * (0.5 + t * (2.0 - 1.5 * t)),
            t * t * (-0.5 + 0.5 * t),
        ],
        axis=1,
    )


def grid_nodes(size: int, length: int, step: float, *, edge: str) -> np.ndarray:
    """Centres (n,) in pixels of windows every ``step`` pixels along an axis.

    With ``drop`` as many as fit, in the middle of the axis; else from the first pixel to the last.
    """
    if edge != "drop":
        return np.arange(0, length - 1 + ROUNDING, step, dtype=float)
    room = length - size
    count = int(np.floor(room / step + ROUNDING)) + 1
    spare = np.floor((room - (count - 1) * step) / 2 + ROUNDING)
    return spare + (size - 1) / 2 + step * np.arange(count)


def _whole(start: np.ndarray) -> np.ndarray:
    # a tie is rounded in one direction: the choice must not depend on where the window is
    return np.floor(start + 0.5)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    index = np.abs(index) % period
    return np.where(index >= length, period - index, index)
