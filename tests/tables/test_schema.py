"""What is a table and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.errors import TableError
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names, encode_categories
from tests.tables.samples import image_table


@pytest.mark.parametrize(
    "ds",
    [
        None,
        xr.Dataset(),
        xr.Dataset(coords={"y": ("atom", [1.0])}),
        xr.Dataset(coords={"y": ("point", [1.0]), "x": ("point", [1.0])}),
        xr.Dataset(coords={"y": ("atom", ["a"]), "x": ("atom", [1.0])}),
    ],
)
def test_not_a_table(ds):
    assert not schema.is_table(ds)
    with pytest.raises(TableError, match="Allowed"):
        schema.check_table(ds)


def test_minimal_table():
    assert schema.is_table(xr.Dataset(coords={"y": ("atom", [1.0]), "x": ("atom", [2.0])}))


def test_navigation_columns():
    assert schema.navigation_columns(["time", "y", "atom", "height"]) == ["time", "nav_y", "nav_atom", "nav_height"]
    assert schema.navigation_columns(["a", "a_index"]) == ["a", "nav_a_index"]


def test_damaged_attributes_are_missing_ones():
    ds, _, _ = image_table()
    ds.attrs |= {"axes": "{", "provenance": 3}
    assert schema.stored_axes(ds) is None
    assert schema.read_json(ds.attrs, "provenance", []) == []
    assert ds.deepatoms.count().item() == 11


def test_categories():
    codes, attrs = encode_categories(np.array(["b", "a", "b"]))
    assert codes.tolist() == [1, 0, 1]
    assert attrs["flag_values"] == [0, 1]
    assert category_names(attrs) == {0: "a", 1: "b"}
    assert encode_categories(np.array([1.5]))[1] == {}
    with pytest.raises(TableError, match="Name every class"):
        encode_categories(np.array(["a", "c"]), {0: "a"})
    with pytest.raises(TableError, match="integers"):
        encode_categories(np.array([0.5]), {0: "a"})
