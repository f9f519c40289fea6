"""Columns, order, ids and units of a new table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.errors import TableError
from hs_deepatoms.tables.build import build_table

Y = Axis(name="row", size=24, units="nm", scale=0.03, offset=-3.0)
X = Axis(name="column", size=40, units="nm", scale=0.02, offset=5.0)
TIME = Axis(name="time", size=3, units="s", scale=0.5, offset=1.0, navigate=True)
ATOM = Axis(name="y", size=2, units="nm", scale=10.0, offset=0.0, navigate=True)


def test_sorted_by_frame_then_row_major():
    ds = build_table([3, 1, 1, 0], [2, 7, 5, 9], frame=[0, 0, 0, 1], navigation=[TIME], signal=[Y, X])
    assert ds.y_px.values.tolist() == [1, 1, 3, 0]
    assert ds.x_px.values.tolist() == [5, 7, 2, 9]
    assert ds.atom.values.tolist() == [0, 1, 2, 3]
    assert ds.time_index.values.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(ds.time, [1.0, 1.0, 1.0, 1.5])


def test_calibrated_with_units_and_the_axis_names():
    ds = build_table([2.5], [10.25], signal=[Y, X])
    assert ds.y.item() == pytest.approx(-3 + 2.5 * 0.03)
    assert ds.x.item() == pytest.approx(5 + 10.25 * 0.02)
    assert ds.y.attrs == {"units": "nm", "long_name": "row"}
    assert ds.x.attrs["long_name"] == "column"
    assert ds.y_px.attrs["units"] == "px"
    assert set(ds.coords) == {"atom", "y", "x"}


def test_navigation_axis_called_y_is_renamed():
    ds = build_table([1.0], [1.0], frame=[5], navigation=[TIME, ATOM], signal=[Y, X])
    assert ds.nav_y.item() == 10.0
    assert (ds.time_index.item(), ds.nav_y_index.item()) == (2, 1)


def test_pixel_columns_become_calibrated():
    columns = {"y_std_px": [0.5], "x_std_px": [0.5], "yx_corr": [0.2], "width_y_px": [2.0], "width_x_px": [3.0]}
    flipped = Axis(name="x", size=40, units="nm", scale=-0.02, offset=5.0)
    ds = build_table([1.0], [1.0], columns=columns, signal=[Y, flipped])
    assert ds.y_std.item() == pytest.approx(0.015)
    assert ds.x_std.item() == pytest.approx(0.01)
    assert ds.yx_corr.item() == pytest.approx(-0.2)
    assert (ds.width_y.item(), ds.width_x.item()) == pytest.approx((0.06, 0.06))
    assert ds.width_y.attrs["units"] == "nm"
    assert not {"y_std_px", "width_x_px"} & set(ds.variables)


def test_non_uniform_axis():
    values = np.array([0.0, 1.0, 3.0, 6.0, 10.0])
    ds = build_table(
        [2.5], [1.0], columns={"y_std_px": [0.1]}, signal=[Axis(name="y", size=5, units="nm", values=values), X]
    )
    assert ds.y.item() == pytest.approx(4.5)
    assert ds.y_std.item() == pytest.approx(0.3)


def test_species_names_and_numbers():
    ds = build_table([1, 2], [1, 2], columns={"species": ["Ti", "Sr"]}, signal=[Y, X])
    assert ds.species.values.tolist() == [1, 0]
    assert ds.species.attrs["flag_meanings"] == "Sr Ti"
    assert json.loads(ds.species.attrs["names"]) == {"0": "Sr", "1": "Ti"}
    given = build_table([1], [1], columns={"species": [3]}, names={"species": {3: "O 2-", 4: "Ti"}}, signal=[Y, X])
    assert given.species.item() == 3
    assert given.species.attrs["flag_meanings"] == "O_2- Ti"


def test_no_atoms():
    ds = build_table([], [], frame=[], columns={"probability": []}, navigation=[TIME], signal=[Y, X])
    assert ds.sizes == {"atom": 0}
    assert ds.y.dtype == np.float64
    assert ds.time_index.dtype == np.int64


def test_attributes_are_plain():
    ds = build_table([1.0], [1.0], signal=[Y, X], metadata={"General": {"title": "t"}}, provenance=[{"operation": "o"}])
    assert json.loads(ds.attrs["provenance"]) == [{"operation": "o"}]
    assert [entry["size"] for entry in json.loads(ds.attrs["axes"])] == [24, 40]
    assert (ds.attrs["kind"], ds.attrs["format_version"]) == ("positions", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x_px": [1.0, 2.0]}, "different length"),
        ({"y_px": [np.nan]}, "not finite"),
        ({"frame": [3], "navigation": [TIME]}, "0 to 2"),
        ({"frame": [0.5], "navigation": [TIME]}, "whole numbers"),
        ({"columns": {"height": [[1.0]]}}, "n_atoms"),
        ({"columns": {"height": [None]}}, "numbers or text"),
        ({"columns": {"x": [1.0]}}, "not axes"),
        ({"ids": [0, 0], "y_px": [1.0, 2.0], "x_px": [1.0, 2.0]}, "different"),
    ],
)
def test_named_errors(arguments, message):
    with pytest.raises(TableError, match=message):
        build_table(**{"y_px": [1.0], "x_px": [1.0], "signal": [Y, X], **arguments})
