"""What the image methods refuse, each with what was got, what is allowed and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidAxesError, InvalidImageError, explain
from hs_deepatoms.bridge.lengths import unit_kind

if TYPE_CHECKING:
    from hs_deepatoms.bridge.axes import Axis
    from hs_deepatoms.bridge.source import Source

SMALLEST = 16  # pixels
FINEST = 1000 * np.finfo(float).eps  # of an offset, that a pixel must be
DIFFRACTION = ("diffraction", "ebsd")


def check_image_source(source: Source, operation: str) -> None:
    """Refuse what cannot hold images of atoms in real space.

    Parameters
    ----------
    source : Source
        From `read_source` with ``n_signal=2``.
    operation : str
        Name of the method, for the message.

    Raises
    ------
    InvalidImageError
        Complex, RGB(A), text or object data; an empty image; one smaller than 16 pixels.
    InvalidAxesError
        Signal axes in reciprocal space, in angles, energies or times, or a diffraction signal type.
    """
    check_numbers(source, operation)
    _check_shape(source, operation)
    _check_space(source, operation)


def check_region_size(part: Source, region: Any, operation: str) -> None:
    """Refuse a region of fewer pixels than an image must have.

    Raises
    ------
    InvalidImageError
        That names the region: its image is large enough.
    """
    height, width = part.data.shape[-2:]
    if min(height, width) < SMALLEST:
        got = f"region={region!r}, too small for {operation} ({height} x {width} pixels)"
        todo = "Give a larger region, in calibrated units."
        raise InvalidImageError(explain(got, f"regions of at least {SMALLEST} x {SMALLEST} pixels", todo))


def check_numbers(source: Source, operation: str) -> None:
    """Refuse data that are no real numbers.

    Raises
    ------
    InvalidImageError
        Complex, RGB(A), text or object data.
    """
    dtype = source.data.dtype
    if dtype.names:
        what = f"colour images (RGB, dtype {dtype})"
        todo = 'Convert them to one channel: signal.change_dtype("uint8"), then for example signal.mean("RGB index").T.'
    elif dtype.kind == "c":
        what, todo = f"complex images ({dtype})", "Take the amplitude or phase first: signal.amplitude or signal.phase."
    elif dtype.kind == "O":
        what, todo = "ragged or object data", "Give arrays of numbers that all have one shape."
    elif dtype.kind not in "buif":
        what, todo = f"data of type {dtype}", "Convert the data to numbers."
    else:
        return
    raise InvalidImageError(explain(f"{what} for {operation}", "real numbers (bool, integers, floats)", todo))


def _check_shape(source: Source, operation: str) -> None:
    shape = tuple(source.data.shape)
    if 0 in shape:
        what, todo = "an empty image" if len(shape) == 2 else "an empty stack", "Check how it was sliced or read."
    elif min(shape[-2:]) < SMALLEST:
        colours = shape[-1] in (3, 4) and len(shape) > 2
        what = "an image that is too small"
        todo = "Give a larger image, or name its dimensions with signal_dims."
        if colours:
            todo = "If the last dimension is colour, convert to one channel; else name the image's with signal_dims."
    else:
        return
    got = f"{what} for {operation} (shape {shape})"
    raise InvalidImageError(explain(got, f"images of at least {SMALLEST} x {SMALLEST} pixels", todo))


def _check_space(source: Source, operation: str) -> None:
    allowed = "images in real space, axes in lengths or pixels"
    kind = source.signal_type.lower()
    if any(word in kind for word in DIFFRACTION):
        got = f"signal type {source.signal_type!r} for {operation}"
        raise InvalidAxesError(explain(got, allowed, 'If it is an image, use signal.set_signal_type("") first.'))
    for axis in source.signal:
        if not _is_ordered(axis):
            got = f"values of axis {axis.name!r} that are not ordered, for {operation}"
            raise InvalidAxesError(explain(got, "rising or falling values", "Sort or recalibrate the axis."))
        if not _resolves(axis):
            got = f"axis {axis.name!r} with offset {axis.offset:g} and scale {axis.scale:g} for {operation}"
            allowed_offset = f"offsets up to {abs(axis.scale) / FINEST:.2g} at this scale"
            todo = "Correct the axis: so far out its positions are rounded to whole pixels."
            raise InvalidAxesError(explain(got, allowed_offset, todo))
        measured = unit_kind(axis.units)
        if measured in ("energy", "time"):
            got = f"images with an axis of {measured} for {operation} (axis {axis.name!r} in {axis.units})"
            todo = "Choose the axes of the image: signal.transpose; if only the units are wrong, correct the axis."
            raise InvalidAxesError(explain(got, allowed, todo))
        if measured in ("reciprocal", "angle"):
            got = f"a diffraction pattern or Fourier transform for {operation} (axis {axis.name!r} in {axis.units})"
            todo = "Give the image itself; if only the units are wrong, correct the axis."
            raise InvalidAxesError(explain(got, allowed, todo))


def _resolves(axis: Axis) -> bool:
    """Whether float64 tells positions apart to a thousandth of a pixel, as far from 0 as the axis is."""
    return axis.values is not None or abs(axis.scale) >= FINEST * abs(axis.offset)


def _is_ordered(axis: Axis) -> bool:
    if axis.values is None:
        return True
    steps = np.diff(axis.values[np.isfinite(axis.values)])
    return bool(steps.size and ((steps > 0).all() or (steps < 0).all()))
