from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.bridge.axes import Axis, axis_of_coordinate, choose_names, straight_line

UNIFORM = Axis(name="x", size=5, units="nm", scale=0.5, offset=-1.0)
RISING = Axis(name="x", size=4, units="nm", values=np.array([1, 2, 4, 8]))
FALLING = Axis(name="x", size=4, units="nm", values=np.array([8, 4, 2, 1]))


def test_values_of_indices_between_and_beyond_pixels():
    np.testing.assert_allclose(UNIFORM.to_value([0, 1.5, -2]), [-1, -0.25, -2])
    np.testing.assert_allclose(RISING.to_value([0, 1.5, 3, 4, -1]), [1, 3, 8, 12, 0])
    np.testing.assert_allclose(FALLING.to_value([0, 1.5, 3, 4, -1]), [8, 3, 1, 0, 12])


@pytest.mark.parametrize("axis", [UNIFORM, RISING, FALLING])
def test_index_is_the_inverse_of_value(axis):
    index = np.linspace(-1, axis.size + 1, 37)
    np.testing.assert_allclose(axis.to_index(axis.to_value(index)), index, atol=1e-9)


def test_step_is_positive():
    assert UNIFORM.step == 0.5
    assert Axis(name="x", size=5, scale=-0.5).step == 0.5
    assert RISING.step == FALLING.step == pytest.approx(7 / 3)


@pytest.mark.parametrize("axis", [UNIFORM, RISING, FALLING])
def test_dictionary_is_json_and_comes_back(axis):
    assert Axis.from_dict(json.loads(json.dumps(axis.as_dict()))) == axis


@pytest.mark.parametrize("axis", [UNIFORM, RISING])
def test_cropped_axis_keeps_its_values(axis):
    np.testing.assert_array_equal(axis.cropped(1, 4).coordinates(), axis.coordinates()[1:4])


@pytest.mark.parametrize(
    ("values", "units"),
    [([0, 1, 2], "px"), ([0.0, 0.1, 0.2], "a.u."), ([10, 11, 12], "a.u."), ([0, 1, 3], "a.u."), ([0], "px")],
)
def test_undefined_units_are_pixels_only_where_the_values_are_indices(values, units):
    axis = axis_of_coordinate(np.array(values), name="x", size=len(values), units=None, navigate=False)
    assert axis.units == units and axis.own_units is None


def test_pole_of_a_functional_axis_is_passed_over():
    axis = Axis(name="x", size=4, values=np.array([np.nan, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(axis.to_value([0, 1.5]), [0, 1.5])


@pytest.mark.parametrize(
    ("names", "navigate", "expected"),
    [
        ([None, None, None], [True, False, False], ["nav_0", "y", "x"]),
        (["", "<undefined>"], [False, False], ["y", "x"]),
        ([None, "energy"], [True, False], ["nav_0", "energy"]),
        ([None], [False], ["x"]),
        (["x", "x", "y", "x"], [True, True, False, False], ["nav_x", "x_2", "y", "x"]),
        (["y", "x", None, None], [True, True, False, False], ["y", "x", "sig_y", "sig_x"]),
        (["a/b", ".", "a_b"], [True, False, False], ["nav_a_b", "y", "a_b"]),
    ],
)
def test_names(names, navigate, expected):
    assert choose_names(names, navigate) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.text(), st.sampled_from(["x", "y", "nav_x", "x_1"])), st.booleans())))
def test_names_are_never_empty_or_twice(axes):
    chosen = choose_names([name for name, _ in axes], [navigate for _, navigate in axes])
    assert len(set(chosen)) == len(axes)
    assert all(name.strip() and "/" not in name for name in chosen)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(1e-12, 1e12).flatmap(lambda s: st.sampled_from([s, -s])),
    steps=st.floats(-1e6, 1e6),
    size=st.integers(2, 500),
)
def test_equal_spacing_is_recognised(scale, steps, size):
    offset = scale * steps
    found = straight_line(offset + scale * np.arange(size))
    assert found == (pytest.approx(scale, rel=1e-6), pytest.approx(offset))


def test_unequal_spacing_is_not():
    assert straight_line(np.array([0, 1, 2.001])) is None
    assert straight_line(np.array([0, np.nan, 2])) is None


def test_labels_and_repeated_values_are_pixels_and_times_are_seconds():
    def read(values):
        return axis_of_coordinate(np.array(values), name="t", size=len(values), units="nm", navigate=True)

    assert read(["a", "b"]).as_dict() == read([2.0, 2.0]).as_dict() == Axis(name="t", size=2, navigate=True).as_dict()
    times = read(np.array(["2024-01-01T00:00:00", "2024-01-01T00:00:02", "2024-01-01T00:00:04"], "M8[ns]"))
    assert (times.units, times.scale, times.offset) == ("s", 2.0, 0.0)
