"""A rotated peak seen in other units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.tables.calibrate import calibrate_columns, local_scale, scale_peak


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


def test_columns_that_are_owned_are_written_to_and_come_out_the_same():
    rng = np.random.default_rng(5)
    y_px, x_px = rng.uniform(0, 40, (2, 700))
    axes = Axis("y", 50, "nm", scale=0.2, offset=1.0), Axis("x", 60, "nm", scale=-0.3, offset=2.0)
    names = ("y_std_px", "x_std_px", "width_y_px", "width_x_px", "rotation", "yx_corr")
    given = {name: rng.uniform(0.1, 0.9, 700).astype(np.float32) for name in names}
    given["height"] = rng.random(700)
    kept = {name: values.copy() for name, values in given.items()}
    made = calibrate_columns(given, y_px, x_px, *axes)
    assert all(np.array_equal(given[name], kept[name]) for name in kept)
    owned = calibrate_columns(kept, y_px, x_px, *axes, owned=True)
    assert list(owned) == list(made)
    for name in made:
        np.testing.assert_array_equal(owned[name], made[name])
    assert owned["width_y"] is kept["width_y_px"] and owned["y_std"] is kept["y_std_px"]
