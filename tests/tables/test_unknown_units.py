"""Axes that have a scale but no units: their values are no pixels, and everybody who reads them knows."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from tests.tables.samples import SHAPE, image_signal

Y, X = np.array([3.0, 7.25, 15.5, 21.0]), np.array([30.0, 11.5, 2.0, 38.0])


@pytest.fixture
def image():
    signal = hs.signals.Signal2D(np.zeros(SHAPE))
    for axis, scale, offset in zip(signal.axes_manager.signal_axes, (0.02, 0.03), (0.0, 0.1), strict=True):
        axis.scale, axis.offset = scale, offset
    return signal


@pytest.fixture
def atoms(image):
    columns = {"y_std_px": np.full(4, 0.1), "x_std_px": np.full(4, 0.2)}
    return hs_deepatoms.positions(Y, X, signal=image, columns=columns)


def test_the_table_does_not_call_them_pixels(atoms):
    np.testing.assert_allclose(atoms.y, 0.1 + 0.03 * Y)
    assert [atoms[name].attrs["units"] for name in ("y", "x", "y_std", "y_px")] == ["a.u.", "a.u.", "a.u.", "px"]


def test_axes_that_count_pixels_are_pixels():
    assert hs_deepatoms.positions(Y, X, signal=np.zeros(SHAPE)).y.attrs["units"] == "px"
    plain = hs_deepatoms.positions(Y, X, signal=hs.signals.Signal2D(np.zeros(SHAPE)))
    assert (plain.y.attrs["units"], plain.x.attrs["units"]) == ("px", "px")


def test_a_navigation_axis_too():
    stack = hs.signals.Signal2D(np.zeros((3, *SHAPE)))
    stack.axes_manager[0].scale = 0.5
    ds = hs_deepatoms.positions(Y, X, signal=stack, frame=[0, 1, 2, 2])
    assert ds.nav_0.attrs["units"] == "a.u." and ds.nav_0.max() == 1.0


def test_lengths(atoms):
    assert atoms.deepatoms.select(border=5).sizes["atom"] == 1
    assert atoms.deepatoms.select(border=0.1).sizes["atom"] == 2
    assert atoms.deepatoms.select(border="5 px").sizes["atom"] == 1
    with pytest.raises(InvalidArgumentError, match="units are not set"):
        atoms.deepatoms.select(border="1 nm")


def test_there_and_back(atoms, image, tmp_path):
    for name in ("a.zarr", "a.nc"):
        atoms.deepatoms.save(tmp_path / name)
        assert hs_deepatoms.load(tmp_path / name).identical(atoms)
    atoms.deepatoms.save(tmp_path / "a.csv")
    again = hs_deepatoms.load(tmp_path / "a.csv")
    assert again.y.attrs["units"] == "a.u."
    axes = atoms.deepatoms.to_signal("y_px").axes_manager.signal_axes
    assert [(axis.scale, str(axis.units)) for axis in axes] == [(0.02, "<undefined>"), (0.03, "<undefined>")]


@pytest.mark.parametrize("kind", ["ours", "columns", "arrays", "csv", "table"])
def test_positions_are_read_as_what_they_are(atoms, image, kind, tmp_path):
    frame = atoms.deepatoms.to_dataframe()
    given = {"ours": (frame,), "columns": (frame[["y", "x"]],), "arrays": (atoms.y, atoms.x)}
    if kind == "csv":
        frame[["y", "x"]].assign(units="a.u.").to_csv(tmp_path / "a.csv")
        given["csv"] = (tmp_path / "a.csv",)
    given["table"] = (atoms.drop_vars(["y_px", "x_px"]),)
    again = hs_deepatoms.positions(*given[kind], signal=image)
    np.testing.assert_allclose(again.y_px, Y)
    np.testing.assert_allclose(again.y, atoms.y)


def test_columns_in_nm_are_not_read_as_pixels():
    image = image_signal()
    atoms = hs_deepatoms.positions(Y, X, signal=image)
    again = hs_deepatoms.positions(atoms.deepatoms.to_units("pm").deepatoms.to_dataframe()[["y", "x"]], signal=image)
    np.testing.assert_allclose(again.y_px, Y)


def test_bare_numbers_that_look_calibrated_are_read_as_pixels_with_a_warning(atoms, image):
    bare = pd.DataFrame({"y": atoms.y.values, "x": atoms.x.values})
    with pytest.warns(UserWarning, match="units='calibrated'"):
        assert hs_deepatoms.positions(bare, signal=image).y_px.max() < 1
    np.testing.assert_allclose(hs_deepatoms.positions(bare, signal=image, units="calibrated").y_px, Y)


def test_calibrated_later(atoms, image):
    for axis in image.axes_manager.signal_axes:
        axis.units = "nm"
    ds = hs_deepatoms.positions(atoms, signal=image)
    np.testing.assert_allclose(ds.y, atoms.y)
    np.testing.assert_allclose(ds.y_std, atoms.y_std)
    assert ds.y.attrs["units"] == ds.y_std.attrs["units"] == "nm"
    pixels = hs_deepatoms.positions(atoms.deepatoms.to_units("px"), signal=image)
    np.testing.assert_allclose(pixels.x_std, atoms.x_std)


def test_other_units_say_what_to_do(atoms):
    with pytest.raises(InvalidArgumentError, match="Set units and scale"):
        atoms.deepatoms.to_units("pm")
    np.testing.assert_allclose(atoms.deepatoms.to_units("px").y, Y)
