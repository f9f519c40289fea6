"""An image and a spectrum image read as one pair: which pixel of one belongs to which of the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.lengths import NO_UNITS, read_length, unit_factor
from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.source import Source, read_source
from hs_deepatoms.spectra.grid import Line

LARGEST = 64  # pixels: a window wider than this is refused
FIELDS_DIFFER = 0.02  # of the pitch


@dataclass(frozen=True, eq=False)
class Pair:
    """Images and spectra that belong together.

    Attributes
    ----------
    images : numpy.ndarray, float32, shape (c, h, w)
        Channels; NaN where an image has none.
    image, spectra : Source
        The first image, and the spectrum image.
    lines : (Line, Line)
        Where rows and columns of spectra lie in the images.
    inside : numpy.ndarray of bool, shape (ny, nx)
        Spectra whose place is in the images.
    whose : str
        Of several spectra, which these are, for messages: `` (spectrum_1, core loss)``.
    """

    images: np.ndarray
    image: Source
    spectra: Source
    lines: tuple[Line, Line]
    inside: np.ndarray
    whose: str = ""


def read_pairs(image: Any, spectra: Any, *, region: Any, shift: Any, operation: str) -> list[Pair]:
    """Read an image with its spectra, or with each of a list of them that were taken in one scan.

    Raises
    ------
    InvalidImageError, InvalidAxesError
        As `read_pair`; scans that are not the same.
    """
    if not isinstance(spectra, list | tuple):
        return [read_pair(image, spectra, region=region, shift=shift, operation=operation)]
    sources = read_scans(spectra, operation)
    for number, one in enumerate(sources):
        _check_spectra(one, f"{operation}, {name_of(number)}")
    lead = next((one for one in sources if _is_calibrated(one)), sources[0])
    pair = _paired(image, lead, region, shift, operation)
    on_one_grid = [replace(one, navigation=lead.navigation) for one in sources]
    return [replace(pair, spectra=one, whose=whose(number, one)) for number, one in enumerate(on_one_grid)]


def read_scans(spectra: Sequence[Any], operation: str) -> list[Source]:
    """Several spectrum images of one scan.

    Raises
    ------
    InvalidArgumentError
        An empty list.
    InvalidImageError, InvalidAxesError
        What is no spectrum image; scans that are not the same.
    """
    if not spectra:
        raise InvalidArgumentError(explain("an empty list of spectra", "at least one", "Give a spectrum image."))
    sources = [read_spectra(one, f"{operation}, {name_of(number)}") for number, one in enumerate(spectra)]
    lead = next((number for number, one in enumerate(sources) if _is_calibrated(one)), 0)
    for number, one in enumerate(sources):
        _check_scan(sources[lead], one, (lead, number))
    return sources


def name_of(number: int) -> str:
    """What one of several spectra is called in messages and trees."""
    return f"spectrum_{number}"


def whose(number: int, source: Source) -> str:
    """Which of several spectra, in brackets."""
    return f" ({name_of(number)}{f', {source.title}' if source.title else ''})"


def joined_titles(sources: Sequence[Source]) -> str:
    """Titles of all that have one."""
    return " + ".join(one.title for one in sources if one.title)


def read_pair(image: Any, spectra: Any, *, region: Any, shift: Any, operation: str) -> Pair:
    """Read both, and find out how their pixels correspond.

    Raises
    ------
    InvalidImageError
        Data that are no images or no spectrum image, or without enough pixels.
    InvalidAxesError
        Grids that cannot be brought together, or that do not overlap.
    """
    cube = read_spectra(spectra, operation)
    _check_spectra(cube, operation)
    return _paired(image, cube, region, shift, operation)


def _paired(image: Any, cube: Source, region: Any, shift: Any, operation: str) -> Pair:
    images, first = read_images(image, operation)
    lines = _lines(first, cube, region, operation)
    lines = _shifted(lines, shift, first)
    inside = [line.inside(axis.size) for line, axis in zip(lines, first.signal, strict=True)]
    inside = inside[0][:, None] & inside[1][None, :]
    share = float(inside.mean())
    if share == 0:
        where = " and ".join(
            f"{name} from {line.first:.4g} px" for name, line in zip(("rows", "columns"), lines, strict=True)
        )
        got = f"a spectrum image that lies outside of the image ({where} of it)"
        todo = "Check units, scales and offsets of both, or say where it lies with region= or shift=."
        raise InvalidAxesError(explain(got, "grids that overlap", todo))
    if share < 0.999:
        warn_user(f"{100 * (1 - share):.0f} % of the spectra lie outside of the image and are left out")
    return Pair(images, first, cube, lines, inside)


def read_images(image: Any, operation: str) -> tuple[np.ndarray, Source]:
    """Channels (c, h, w) in float32, and the first image as it was read.

    One image; an image with one navigation axis, which is the channels; or a list of images on one grid.
    """
    given = list(image) if isinstance(image, list | tuple) else [image]
    if not given:
        raise InvalidArgumentError(explain("an empty list of images", "at least one", "Give one image."))
    sources = [read_source(one, n_signal=2, operation=operation) for one in given]
    for one in sources:
        if one.data.dtype.kind not in "buif":
            got = f"images of type {one.data.dtype} for {operation}"
            raise InvalidImageError(explain(got, "real numbers", "Take the amplitude, or convert them."))
        if [a.size for a in one.signal] != [a.size for a in sources[0].signal]:
            sizes = [tuple(a.size for a in s.signal) for s in sources]
            got = f"images of different sizes, {sizes}"
            raise InvalidAxesError(explain(got, "one grid for all channels", "Resample them first."))
        if len(one.navigation) > 1 or (len(sources) > 1 and one.navigation):
            got = f"images with {len(one.navigation)} navigation dimensions for {operation}"
            todo = "Give one image, one axis of channels, or a list of images."
            raise InvalidAxesError(explain(got, "channels of one place", todo))
    parts = [np.asarray(one.data.compute() if one.lazy else one.data, np.float32) for one in sources]
    parts = [part.reshape(-1, *part.shape[-2:]) for part in parts]
    return np.concatenate(parts), sources[0]


def read_window(window: Any, pair: Pair) -> int:
    """Side of the window in pixels of the image aligned with the spectra.

    Raises
    ------
    InvalidArgumentError
        A window that is no length, smaller than the pixel of a spectrum, or wider than 64 pixels.
    """
    line, axis = pair.lines[0], pair.image.signal[0]
    fine = abs(line.pitch) / line.step
    if window is None:
        smallest = min(line.size for line in pair.lines)
        return int(max(line.step, min(16 * line.step if line.step < 3 else 6 * line.step, smallest * line.step // 6,
                                      LARGEST)))  # fmt: skip
    side = round(read_length(window, axis) / fine)
    if not line.step <= side <= LARGEST:
        got = f"window={window!r}, {side} pixels of the image"
        allowed = f"{line.step} (one spectrum) to {LARGEST} pixels"
        raise InvalidArgumentError(explain(got, allowed, "Choose another window, or rebin the image."))
    return side


def read_spectra(spectra: Any, operation: str) -> Source:
    """A spectrum image.

    Raises
    ------
    InvalidImageError, InvalidAxesError
        What is none.
    """
    cube = read_source(spectra, n_signal=1, operation=operation)
    if len(cube.navigation) != 2:
        got = f"spectra with {len(cube.navigation)} navigation dimensions for {operation}"
        todo = "Give a spectrum image (y, x | energy); of a series, one at a time: eels.inav[:, :, 0]."
        if len(cube.navigation) == 3:
            todo += (
                f" Several spectra of every pixel: as a list, [eels.inav[:, :, k] for k in range({len(cube.data)})]."
            )
        raise InvalidAxesError(explain(got, "two: rows and columns of a map", todo))
    return cube


def _is_calibrated(cube: Source) -> bool:
    return all(axis.units not in NO_UNITS for axis in cube.navigation)


def _check_scan(first: Source, other: Source, numbers: tuple[int, int]) -> None:
    """Refuse spectra that were not taken where the first ones were; what has no units is known by its size alone."""
    for axis, own in zip(first.navigation, other.navigation, strict=True):
        line = None
        if axis.size == own.size and (axis.units in NO_UNITS) == (own.units in NO_UNITS):
            line = _calibrated(axis, own)
        if axis.size != own.size or (line is not None and line != Line(0.0, 1.0, own.size)):
            places = [f"{name_of(number)} with {one.size} pixels along {one.name} from {one.to_value(0):.4g} to "
                      f"{one.to_value(one.size - 1):.4g} {one.units}"
                      for number, one in zip(numbers, (axis, own), strict=True)]  # fmt: skip
            todo = "Crop, rebin or align them to one grid first."
            raise InvalidAxesError(explain(" and ".join(places), "spectra of one scan, on one grid", todo))


def _check_spectra(cube: Source, operation: str) -> None:
    if cube.data.dtype.kind not in "buif":
        got = f"spectra of type {cube.data.dtype} for {operation}"
        raise InvalidImageError(explain(got, "real numbers", "Take the amplitude, or convert them."))
    ny, nx = (axis.size for axis in cube.navigation)
    if cube.signal[0].size < 4 or min(ny, nx) < 4 or ny * nx < 64:
        got = f"{ny} x {nx} spectra of {cube.signal[0].size} channels for {operation}"
        todo = "One spectrum or a line of them teaches nothing about an image: give a spectrum image."
        raise InvalidImageError(explain(got, "a map of at least 64 spectra (4 x 16) of 4 channels", todo))


def _lines(image: Source, cube: Source, region: Any, operation: str) -> tuple[Line, Line]:
    if region is not None:
        part, origin, outside = crop_region(image, region)
        if outside is not None:
            todo = "Give hs.roi.RectangularROI."
            raise InvalidArgumentError(explain("a circle as region", "a rectangle", todo))
        return tuple(_spanned(start, axis.size, own.size)
                     for start, axis, own in zip(origin, part.signal, cube.navigation, strict=True))  # fmt: skip
    same = [a.size for a in image.signal] == [b.size for b in cube.navigation]
    lines = tuple(_calibrated(axis, own) for axis, own in zip(image.signal, cube.navigation, strict=True))
    if None not in lines:
        return lines
    if same:
        return tuple(Line(0.0, 1.0, own.size) for own in cube.navigation)
    ratios = [axis.size / own.size for axis, own in zip(image.signal, cube.navigation, strict=True)]
    if max(ratios) / min(ratios) < 1.01 and min(ratios) > 1:
        warn_user(f"image and spectra have no common calibration: the {operation} takes it that they show the same "
                  f"area, with {ratios[0]:.4g} pixels of the image per spectrum")  # fmt: skip
        return tuple(_spanned(0, axis.size, own.size)
                     for axis, own in zip(image.signal, cube.navigation, strict=True))  # fmt: skip
    sizes = " and ".join(" x ".join(str(a.size) for a in axes) for axes in (image.signal, cube.navigation))
    got = f"an image and a spectrum image of {sizes} pixels without a common calibration for {operation}"
    todo = "Calibrate the axes of both in the same kind of units, or give region=, the part of the image."
    raise InvalidAxesError(explain(got, "grids whose relation is known", todo))


def _spanned(start: int, length: int, size: int) -> Line:
    """A line of spectra that covers so many pixels of the image."""
    pitch = length / size
    return Line(start + (pitch - 1) / 2, pitch, size)


def _calibrated(axis: Axis, own: Axis) -> Line | None:
    """Where spectra lie by the calibrations; None where these do not tell."""
    if not axis.is_uniform or not own.is_uniform:
        return None
    if (axis.units in NO_UNITS) != (own.units in NO_UNITS):
        return None
    if axis.units in NO_UNITS and axis.units != own.units:
        return None
    if axis.units in NO_UNITS and axis.size != own.size and (axis.scale, axis.offset) == (own.scale, own.offset):
        return None  # two grids of other sizes in pixels say nothing about each other
    factor = unit_factor(own.units, axis.units)
    pitch = own.scale * factor / axis.scale
    if pitch < 0:
        scales = f"(scales {axis.scale:.4g} and {own.scale:.4g})"
        got = f"axes {axis.name} and {own.name} that run in opposite directions {scales}"
        todo = "Flip one of them, for instance s.isig[::-1], or give region=."
        raise InvalidAxesError(explain(got, "axes of one direction", todo))
    line = Line(float(axis.to_index(own.offset * factor)), pitch, own.size)
    if abs(pitch - 1) < FIELDS_DIFFER and own.size == axis.size and abs(line.first) < 0.25:
        return Line(0.0, 1.0, own.size)
    return line


def _shifted(lines: tuple[Line, Line], shift: Any, image: Source) -> tuple[Line, Line]:
    if shift is None:
        return lines
    if not isinstance(shift, Sequence) or isinstance(shift, str) or len(shift) != 2:
        raise InvalidArgumentError(explain(f"shift={shift!r}", "two lengths, along y and x", "Give (dy, dx)."))
    moved = [_signed(one, axis) for one, axis in zip(shift, image.signal, strict=True)]
    return tuple(replace(line, first=line.first + one) for line, one in zip(lines, moved, strict=True))


def _signed(value: Any, axis: Axis) -> float:
    if isinstance(value, str):
        found = re.match(r"\s*-(.*)$", value)
        return -read_length(found.group(1), axis) if found else read_length(value, axis)
    negative = isinstance(value, int | float | np.number) and value < 0
    return -read_length(-value, axis) if negative else read_length(value, axis)
