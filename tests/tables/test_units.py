"""Other length units."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from tests.tables.samples import image_table, stack_table


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


@pytest.mark.parametrize("units", ["s", "no such unit", "px"])
def test_wrong_units(units):
    with pytest.raises(InvalidArgumentError):
        image_table()[0].deepatoms.to_units(units)


def test_an_image_without_calibration():
    with pytest.raises(InvalidArgumentError, match="px"):
        hs_deepatoms.positions([1.0], [2.0]).deepatoms.to_units("nm")
