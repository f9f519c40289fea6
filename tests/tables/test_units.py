"""Other length units."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from tests.tables.samples import image_signal, image_table, stack_table


def test_lengths_are_converted_and_nothing_else():
    ds, _, _ = image_table()
    made = ds.deepatoms.to_units("pm")
    for name in ("y", "x", "y_std", "x_std"):
        np.testing.assert_allclose(made[name], ds[name] * 1000)
        assert made[name].attrs["units"] == "pm"
    for name in ("y_px", "x_px", "probability", "height", "number"):
        assert made[name].identical(ds[name].assign_coords(made[name].coords))
    assert [entry["scale"] for entry in json.loads(made.attrs["axes"])] == pytest.approx([30, 20])
    assert ds.y.attrs["units"] == "nm"


def test_there_and_back():
    ds, _ = stack_table()
    back = ds.deepatoms.to_units("Å").deepatoms.to_units("nm")
    np.testing.assert_allclose(back.y, ds.y, rtol=1e-12)
    assert back.time.identical(ds.time.assign_coords(back.time.coords))


@pytest.mark.parametrize("units", ["s", "no such unit", "a.u."])
def test_wrong_units(units):
    with pytest.raises(InvalidArgumentError):
        image_table()[0].deepatoms.to_units(units)


def test_pixels():
    ds, y, x = image_table()
    made = ds.deepatoms.to_units("px")
    np.testing.assert_allclose(made.y, y)
    np.testing.assert_allclose(made.x, x)
    np.testing.assert_allclose(made.y_std, 0.1)
    np.testing.assert_allclose(made.x_std, 0.2)
    assert made.y.attrs["units"] == made.x_std.attrs["units"] == "px" and ds.y.attrs["units"] == "nm"
    assert [(a["scale"], a["offset"], a["units"]) for a in json.loads(made.attrs["axes"])] == [(1.0, 0.0, "px")] * 2
    again = made.deepatoms.to_units("px")
    np.testing.assert_array_equal(again.y, made.y)


def test_pixels_of_a_rotated_peak_on_oblong_pixels():
    peak = {"width_y_px": [2.0], "width_x_px": [3.0], "rotation": [0.4], "y_std_px": [0.1], "x_std_px": [0.1]}
    columns = {name: np.array(values) for name, values in peak.items()} | {"yx_corr": np.array([0.3])}
    signal = image_signal()
    signal.axes_manager["y"].scale *= -1
    ds = hs_deepatoms.positions([5.0], [9.0], signal=signal, columns=columns)
    made = ds.deepatoms.to_units("px")
    for name, value in (("width_y", 2.0), ("width_x", 3.0), ("rotation", 0.4), ("yx_corr", 0.3)):
        assert made[name].item() == pytest.approx(value)


def test_a_csv_has_no_pixels_to_go_back_to(tmp_path):
    ds, _, _ = image_table()
    ds.deepatoms.save(tmp_path / "a.csv")
    with pytest.raises(TableError, match="signal=image"):
        hs_deepatoms.load(tmp_path / "a.csv").deepatoms.to_units("px")


def test_an_image_without_calibration():
    with pytest.raises(InvalidArgumentError, match="px"):
        hs_deepatoms.positions([1.0], [2.0]).deepatoms.to_units("nm")
