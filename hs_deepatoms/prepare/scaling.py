"""Robust intensity scale of one frame, estimated once and independent of how the frame is tiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms.prepare.blank import LineRange, blank_lines

LOW, HIGH = 0.5, 99.5  # percentiles: ten hot pixels or a dark corner must not move the scale
PIXELS = 2**16  # that are scaled at a time
KINDS = 2**16  # of counts, at most, that are counted rather than sorted
SPARSE = 0.3  # then a lone pixel stands out far enough to be taken for a hot one, a column (more than a pixel) does not


class FrameScale(NamedTuple):
    """Intensity scale of a frame, and its lines that were never recorded.

    ``centre`` and ``span`` are in the units of the frame, ``span`` is 0 where nothing is to be seen; ``blank`` holds
    two bool arrays, shapes (h,) and (w,), or is None.
    """

    centre: float
    span: float
    blank: tuple[np.ndarray, np.ndarray] | None = None


def frame_scale(frame: np.ndarray, masked: np.ndarray | None = None) -> FrameScale:
    """Scale of a whole frame, shape (h, w), from its recorded lines; ``masked`` pixels are left out."""
    return scale_without(blank_lines(LineRange.of(frame), frame), frame, masked)


def scale_without(blank, pixels: np.ndarray, masked: np.ndarray | None = None, stride: int = 1) -> FrameScale:
    """Scale from the pixels ``frame[::stride, ::stride]`` that lie on no blank line."""
    if blank is not None:
        lost = blank[0][::stride, None] | blank[1][::stride]
        masked = lost if masked is None else masked | lost
    return FrameScale(*frame_scaling(pixels, masked), blank)


def frame_scaling(values: np.ndarray, masked: np.ndarray | None = None) -> tuple[float, float]:
    """Centre and range of a frame's valid pixels.

    Parameters
    ----------
    values : ndarray
        Pixels of one frame (or a regular subset of them), any shape and real dtype; NaN and infinities are ignored.
    masked : ndarray, bool, shape of ``values``, optional
        True where pixels are left out.

    Returns
    -------
    centre, span : float
        Median, and the distance from the 0.5th to the 99.5th percentile, in the units of ``values``. ``span`` is 0
        for a frame that is constant or has no valid pixel.

    Examples
    --------
    >>> import numpy as np
    >>> frame_scaling(np.arange(101.0))
    (50.0, 99.0)
    """
    values = np.asarray(values)
    values = values.ravel() if masked is None else values[~masked]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 0.0
    low, centre, high = _percentiles(values, (LOW, 50, HIGH))
    span = high - low
    if span == 0:  # fewer than half a per cent of the pixels differ: noise-free pictures of a few atoms
        span = SPARSE * (float(values.max()) - float(values.min()))
    return float(centre), float(span)


def _percentiles(values: np.ndarray, which: tuple[float, ...]) -> np.ndarray:
    """As numpy's, for values (n,) without NaN.

    What is interpolated is doubles: differences of extreme values would overflow in their own type.
    """
    place = np.asarray(which) / 100 * (len(values) - 1)
    below = np.floor(place).astype(int)
    low, high = _in_order(values, np.stack([below, np.minimum(below + 1, len(values) - 1)]))
    return low + (place - below) * (high - low)


def _in_order(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What stands at some places of the values once these are in order, as doubles.

    Counts of few kinds are counted, in a fifth of the time; single precision is sorted in a third.
    """
    if values.dtype.kind in "iu":
        least = values.min()
        if int(values.max()) - int(least) < KINDS:
            # integers go round: their difference is right in any type of that size
            counts = np.bincount(np.subtract(values, least, dtype=np.int64, casting="unsafe"))
            return np.searchsorted(np.cumsum(counts), places, side="right") + float(least)
    exact = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return np.sort(values.astype(np.float32 if exact else np.float64, copy=False))[places].astype(np.float64)


def apply_scaling(frame: np.ndarray, scaling: tuple[float, float]) -> np.ndarray:
    """``(frame - centre) / span`` as float32; zeros where ``span`` is 0."""
    centre, span = scaling
    if span == 0:
        return np.zeros(frame.shape, np.float32)
    # float32 holds 8- and 16-bit data exactly; wider types are centred before they are rounded
    wide = np.float32 if frame.dtype.itemsize <= 2 or frame.dtype == np.float32 else np.float64
    out = np.empty(frame.shape, np.float32)
    few = max(1, PIXELS // max(1, frame[:1].size))  # rows that stay in the processor's cache
    for k in range(0, len(frame), few):
        part = frame[k : k + few].astype(wide)
        part -= wide(centre)
        np.divide(part, wide(span), out=out[k : k + few], casting="same_kind")
    return out
