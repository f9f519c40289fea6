import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import TableError


@pytest.fixture
def stack():
    s = hs.signals.Signal2D(np.zeros((3, 20, 30)))
    for axis, name, scale in zip(s.axes_manager._axes, ("time", "y", "x"), (0.5, 0.02, 0.025), strict=True):
        axis.name, axis.scale, axis.units = name, scale, "s" if name == "time" else "nm"
    return s


@pytest.fixture
def atoms(stack):
    return hs_deepatoms.positions([1.0, 2.0, 8.5], [3.0, 4.0, 20.0], signal=stack, frame=[0, 2, 2])


def test_counts_include_empty_frames(atoms):
    assert atoms.deepatoms.count().values.tolist() == [1, 0, 2]


def test_units_and_data_frame(atoms):
    pm = atoms.deepatoms.to_units("pm")
    np.testing.assert_allclose(pm["x"], 1000 * atoms["x"])
    assert pm["y"].attrs["units"] == "pm" and (pm["x_px"] == atoms["x_px"]).all()
    frame = atoms.deepatoms.to_dataframe()
    assert len(frame) == 3 and {"y", "x", "time"} <= set(frame.columns)


@pytest.mark.parametrize("name", ["atoms.zarr", "atoms.nc", "atoms.csv"])
def test_save_and_load(atoms, tmp_path, name):
    path = tmp_path / name
    atoms.deepatoms.save(path)
    atoms.deepatoms.save(path)
    again = hs_deepatoms.load(path)
    for column in ("y", "x", "y_px", "x_px", "time_index"):
        np.testing.assert_array_equal(again[column], atoms[column])
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_select_and_map(atoms, stack):
    last = atoms.deepatoms.select(frames=2)
    assert last["atom"].values.tolist() == [1, 2]
    made = atoms.assign(height=("atom", [1.0, 2.0, 3.0])).deepatoms.to_signal("height")
    assert made.data.shape == stack.data.shape


def test_a_dataset_that_is_no_table_says_so_only_when_asked():
    other = xr.Dataset({"a": ("t", [1, 2])})
    assert other.deepatoms is not None
    with pytest.raises((TableError, AttributeError)):
        other.deepatoms.count()


def test_dataarray_carries_the_same_methods():
    array = xr.DataArray(np.zeros((20, 30)), dims=("y", "x"))
    assert {"find_atoms", "segment"} <= set(dir(array.deepatoms))
