from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.errors import InvalidArgumentError
from tests.bridge.images import standard

# rows 20 x 0.02 nm from 3.0, columns 27 x 30 pm from -5
RECTANGLE = hs.roi.RectangularROI(left=54.0, top=3.085, right=406.0, bottom=3.25)


@pytest.mark.parametrize("lazy", [False, True])
def test_rectangle_cuts_as_hyperspy_does(lazy):
    signal = standard(lazy=lazy)
    part, origin, outside = crop_region(read_source(signal), RECTANGLE)
    expected = RECTANGLE(signal)
    np.testing.assert_array_equal(np.asarray(part.data), np.asarray(expected.data))
    assert origin == (4, 2) and outside is None and part.lazy is lazy and hasattr(part.data, "dask") is lazy
    for axis, theirs in zip(part.signal, expected.axes_manager.signal_axes[::-1], strict=True):
        np.testing.assert_allclose(axis.coordinates(), theirs.axis)


@settings(max_examples=20, deadline=None)
@given(st.floats(-4, 16), st.floats(1.1, 20), st.floats(-4, 20), st.floats(1.1, 24))
def test_any_rectangle_that_hyperspy_cuts(row, height, column, width):
    signal = standard()
    y0, x0 = 3.0 + 0.02 * row, -5.0 + 30 * column
    roi = hs.roi.RectangularROI(left=x0, top=y0, right=x0 + 30 * width, bottom=y0 + 0.02 * height)
    halves = [abs((v % 1) - 0.5) for v in (row, row + height, column, column + width)]
    if min(halves) < 1e-3 or row + height < 0.6 or column + width < 0.6:
        return  # half a pixel may fall either way
    np.testing.assert_array_equal(crop_region(read_source(signal), roi)[0].data, roi(signal).data)


def test_circle_holds_the_pixels_whose_centres_are_inside():
    signal = standard(0)
    for axis in signal.axes_manager.signal_axes:
        axis.units, axis.scale, axis.offset = "nm", 0.5, 2.0
    circle = hs.roi.CircleROI(cx=7.0, cy=6.5, r=2.0, r_inner=0.6)
    part, (y0, x0), outside = crop_region(read_source(signal), circle)
    y, x = np.indices((20, 27)) * 0.5 + 2.0
    away = np.hypot(y - 6.5, x - 7.0)
    inside = (away <= 2.0) & (away >= 0.6)
    found = np.zeros_like(inside)
    found[y0 : y0 + part.data.shape[0], x0 : x0 + part.data.shape[1]] = ~outside
    np.testing.assert_array_equal(found, inside)
    assert not outside.all(axis=0).any() and not outside.all(axis=1).any()  # nothing cut in vain


def test_pixels_of_different_sizes_and_a_falling_axis():
    signal = standard(0)
    signal.axes_manager["row"].scale = -0.02
    roi = hs.roi.RectangularROI(left=55.0, top=2.83, right=85.0, bottom=2.93)
    part, origin, _ = crop_region(read_source(signal), roi)
    assert origin == (4, 2) and part.data.shape == (3, 5, 1)[1:]
    assert part.signal[0].coordinates().min() >= 2.83 - 0.011 and part.signal[0].coordinates().max() < 2.93


@pytest.mark.parametrize(
    "region",
    [hs.roi.RectangularROI(left=5000, top=3.1, right=6000, bottom=3.2),
     hs.roi.RectangularROI(left=54, top=-10, right=400, bottom=-9), hs.roi.CircleROI(cx=5000, cy=3.1, r=20),
     hs.roi.CircleROI(cx=100, cy=3.205, r=0.001), hs.roi.RectangularROI(), hs.roi.SpanROI(1, 2), "roi", (1, 2, 3, 4)],
)  # fmt: skip
def test_regions_that_hold_nothing_are_named_errors(region):
    with pytest.raises(InvalidArgumentError, match=r"Got region=.* Allowed"):
        crop_region(read_source(standard()), region)


def test_a_limit_may_be_infinite_and_a_region_between_pixels_says_so():
    source = read_source(standard())
    part, origin, _ = crop_region(source, hs.roi.RectangularROI(left=54.0, top=3.085, right=np.inf, bottom=np.inf))
    assert origin == (4, 2) and part.data.shape[-2:] == (20 - 4, 27 - 2)
    between = hs.roi.RectangularROI(left=54.0, top=3.1, right=56.0, bottom=3.101)
    with pytest.raises(InvalidArgumentError, match=r"one with pixels of the image.*larger region"):
        crop_region(source, between)
