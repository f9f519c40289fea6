from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.bridge.checks import check_region_size
from hs_deepatoms.bridge.source import check_image_source, read_source
from hs_deepatoms.errors import InvalidAxesError, InvalidImageError
from tests.bridge.images import standard


def with_units(units):
    signal = standard()
    signal.axes_manager["column"].units = units
    return signal


def with_type(signal_type):
    signal = standard()
    signal.metadata.Signal.signal_type = signal_type
    return signal


def rgb():
    signal = hs.signals.Signal1D(np.ones((20, 27, 3), "u1"))
    signal.change_dtype("rgb8")
    return signal


def unordered():
    return xr.DataArray(np.zeros((20, 27)), dims=("y", "x"), coords={"x": np.arange(27) % 5})


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "f2", ">f4", "f8", "i8"])
def test_real_images_pass(dtype):
    check_image_source(read_source(standard(dtype=dtype)), "find_atoms")


@pytest.mark.parametrize(
    "units", ["nm", "Å", "px", "", "odd", "µm", "Nm", "NM", "Angstroem", "nanometre", "a", "AA", "counts", "kV"]
)
def test_real_space_passes(units):
    check_image_source(read_source(with_units(units)), "find_atoms")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (np.zeros((20, 27), complex), "complex.*amplitude"),
        (hs.signals.ComplexSignal2D(np.zeros((20, 27), complex)), "complex"),
        (rgb(), "RGB.*one channel"),
        (np.zeros((20, 27), object), "object"),
        (np.zeros((20, 27), "U3"), "type <U3"),
        (np.zeros((20, 27), "M8[s]"), "datetime64"),
        (np.zeros((0, 20, 27)), "empty stack"),
        (np.zeros((0, 27)), "empty image"),
        (np.zeros((20, 15)), "too small.*at least 16 x 16"),
        (np.zeros((200, 270, 3)), "colour"),
    ],
)
def test_refused_images(given, match):
    with pytest.raises(InvalidImageError, match=rf"Got .*{match}"):
        check_image_source(read_source(given), "find_atoms")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        *[(with_units(units), "axis 'column'") for units in ("1/nm", "1 / nm", "nm^-1", "1/Å", "mrad", "deg", "nm⁻¹")],
        *[(with_units(units), "axis 'column'") for units in ("2π/nm", "k", "eV", "keV", "s", "ms")],
        *[(with_type(kind), "set_signal_type") for kind in ("diffraction", "electron_diffraction", "EBSD")],
        (unordered(), "not ordered"),
    ],
)
def test_refused_axes(given, match):
    with pytest.raises(InvalidAxesError, match=rf"Got .*{match}"):
        check_image_source(read_source(given), "find_atoms")


def test_the_advice_for_colour_works():
    gray = rgb()
    gray.change_dtype("uint8")
    check_image_source(read_source(gray.mean("RGB index").T), "find_atoms")


@pytest.mark.parametrize(("offset", "fine"), [(1e9, True), (-1e9, True), (1e16, False), (-1e16, False)])
def test_offsets_at_which_positions_would_be_rounded(offset, fine):
    signal = with_units("nm")
    signal.axes_manager["column"].offset = offset
    if fine:
        check_image_source(read_source(signal), "find_atoms")
        return
    with pytest.raises(InvalidAxesError, match=r"axis 'column' with offset .*Correct the axis"):
        check_image_source(read_source(signal), "find_atoms")


def test_a_small_region_is_not_called_a_small_image():
    part = read_source(np.zeros((65, 15)))
    with pytest.raises(InvalidImageError, match=r"Got region=.*65 x 15 pixels.*larger region"):
        check_region_size(part, hs.roi.RectangularROI(left=0, top=0, right=15, bottom=65), "find_atoms")
