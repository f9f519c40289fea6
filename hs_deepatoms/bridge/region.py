"""Cut the part of an image that a HyperSpy region of interest names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain

if TYPE_CHECKING:
    from hs_deepatoms.bridge.axes import Axis
    from hs_deepatoms.bridge.source import Source

EDGE = 1e-6  # of a pixel: rounding of calibrated values


def crop_region(source: Source, region: Any, margin: int = 0) -> tuple[Source, tuple[int, int], np.ndarray | None]:
    """The part of a source inside a region, lazily, and where it lies.

    Parameters
    ----------
    source : Source
        Images; the last two axes are y and x.
    region : hyperspy RectangularROI or CircleROI
        In the signal axes' calibrated units. A rectangle holds the pixels from the one nearest to its left up to, not
        including, the one nearest to its right, as HyperSpy cuts it; a circle those whose centres are at most r (and
        at least r_inner) away from its own.
    margin : int
        Pixels around the region to take along, as far as the image has them; then nothing counts as outside a circle.

    Returns
    -------
    Source
        Cropped; its axes are calibrated as before.
    (int, int)
        Row and column of its first pixel in the source.
    numpy.ndarray of bool, shape (h, w), or None
        True outside a circle; None for a rectangle.

    Raises
    ------
    InvalidArgumentError
        Another kind of region, one that is not set, or one that has no pixel in the image.

    Examples
    --------
    >>> import numpy as np, hyperspy.api as hs
    >>> from hs_deepatoms.bridge.source import read_source
    >>> source = read_source(np.zeros((48, 64)))
    >>> part, origin, _ = crop_region(source, hs.roi.RectangularROI(left=10, top=4, right=50, bottom=30))
    >>> part.data.shape, origin
    ((26, 40), (4, 10))
    """
    y_axis, x_axis = source.signal[-2:]
    (top, bottom), (left, right) = _bounds(region)
    circle = _is_circle(region)
    cut = _within if circle else _nearest
    rows, columns = cut(y_axis, top, bottom), cut(x_axis, left, right)
    outside = None
    if rows and columns and circle:
        outside = _outside(region, y_axis.cropped(*rows), x_axis.cropped(*columns))
    if not rows or not columns or (outside is not None and outside.all()):
        raise _refused(region, f"one with pixels of the image, y from {_span(y_axis)}, x from {_span(x_axis)}",
                       "Give a larger region inside the image, in calibrated units.")  # fmt: skip
    if margin:
        rows, columns = ((max(0, a - margin), min(axis.size, b + margin))
                         for (a, b), axis in ((rows, y_axis), (columns, x_axis)))  # fmt: skip
        outside = None
    signal = (*source.signal[:-2], y_axis.cropped(*rows), x_axis.cropped(*columns))
    data = source.data[..., slice(*rows), slice(*columns)]
    return replace(source, data=data, signal=signal), (rows[0], columns[0]), outside


def _bounds(region: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    valid = getattr(region, "is_valid", None)
    circle, rectangle = _is_circle(region), all(hasattr(region, n) for n in ("left", "right", "top", "bottom"))
    if not callable(valid) or not (circle or rectangle):
        raise _refused(region, "hs.roi.RectangularROI or hs.roi.CircleROI", "Give one of these, in calibrated units.")
    if not valid():
        raise _refused(region, "a region whose limits are set", "Set its limits, or put it on a plot first.")
    if circle:
        return (region.cy - region.r, region.cy + region.r), (region.cx - region.r, region.cx + region.r)
    return (region.top, region.bottom), (region.left, region.right)


def _is_circle(region: Any) -> bool:
    return all(hasattr(region, name) for name in ("cx", "cy", "r"))


def _nearest(axis: Axis, low: float, high: float) -> tuple[int, int] | None:
    """First pixel and the one after the last, from the pixel nearest to low up to the one nearest to high.

    As HyperSpy's rectangles cut: the one nearest to high is left out.
    """
    ends = np.clip(axis.to_index([low, high]), -1, axis.size + 1)  # a limit may be infinite
    first, last = (int(np.ceil(index - 0.5 - EDGE)) for index in ends)
    start, stop = (first, last) if first <= last else (last + 1, first + 1)
    start, stop = max(start, 0), min(stop, axis.size)
    return (start, stop) if start < stop else None


def _within(axis: Axis, low: float, high: float) -> tuple[int, int] | None:
    """First pixel and the one after the last whose centres lie from low to high."""
    values, slack = axis.coordinates(), EDGE * axis.step
    found = np.flatnonzero((values >= low - slack) & (values <= high + slack))
    return (int(found[0]), int(found[-1]) + 1) if found.size else None


def _outside(region: Any, y_axis: Axis, x_axis: Axis) -> np.ndarray:
    slack = EDGE * min(y_axis.step, x_axis.step)
    distance = np.hypot(y_axis.coordinates()[:, None] - region.cy, x_axis.coordinates()[None, :] - region.cx)
    return (distance > region.r + slack) | (distance < region.r_inner - slack)


def _span(axis: Axis) -> str:
    ends = np.sort(axis.coordinates()[[0, -1]])
    return f"{ends[0]:.6g} to {ends[1]:.6g} {axis.units}"


def _refused(region: Any, allowed: str, todo: str) -> InvalidArgumentError:
    return InvalidArgumentError(explain(f"region={region!r}", allowed, todo))
