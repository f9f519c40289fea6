"""A rotated peak seen in other units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.tables.calibrate import local_scale, scale_peak


def covariance(width_y, width_x, rotation):
    along, across = (np.cos(rotation), np.sin(rotation)), (-np.sin(rotation), np.cos(rotation))
    return width_x**2 * np.outer(along, along) + width_y**2 * np.outer(across, across)


@settings(max_examples=60, deadline=None)
@given(
    width_y=st.floats(0.5, 5),
    width_x=st.floats(0.5, 5),
    rotation=st.floats(-1.5, 1.5),
    scale_y=st.floats(0.1, 3),
    scale_x=st.floats(0.1, 3),
    sign=st.sampled_from([1, -1]),
)
def test_covariance_is_transformed(width_y, width_x, rotation, scale_y, scale_x, sign):
    made = scale_peak(*(np.array([v]) for v in (width_y, width_x, rotation, sign * scale_y, scale_x)))
    stretch = np.diag([scale_x, sign * scale_y])
    expected = stretch @ covariance(width_y, width_x, rotation) @ stretch
    np.testing.assert_allclose(covariance(*(value[0] for value in made)), expected, rtol=1e-6, atol=1e-9)


def test_equal_scales_change_only_the_size():
    made = scale_peak(*(np.array([v]) for v in (1.0, 2.0, 0.4, 0.1, 0.1)))
    np.testing.assert_allclose([value[0] for value in made], [0.1, 0.2, 0.4])


def test_unrotated_widths_keep_their_axes():
    width_y, width_x, rotation = scale_peak(*(np.array([v]) for v in (1.0, 2.0, 0.0, 5.0, 0.1)))
    assert (width_y[0], width_x[0], rotation[0]) == pytest.approx((5.0, 0.2, 0.0))


def test_local_scale_at_the_ends_of_a_non_uniform_axis():
    axis = Axis(name="y", size=4, units="nm", values=np.array([0.0, 1.0, 3.0, 7.0]))
    np.testing.assert_allclose(local_scale(axis, np.array([-0.4, 0.0, 1.5, 3.0])), [1.0, 1.0, 2.0, 4.0])
