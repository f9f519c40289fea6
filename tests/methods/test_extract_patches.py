"""Patches with their table, in every kind of input."""

from __future__ import annotations

import json

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, InvalidAxesError, TableError

Y, X = np.array([10.0, 20.5, 1.0, 30.25]), np.array([12.0, 30.25, 20.0, 41.5])


def stack(lazy=False):
    rows, columns = np.mgrid[:40, :52]
    data = np.stack([np.sin(0.2 * rows) + np.cos(0.3 * columns) + k for k in range(3)]).astype(np.float32)
    s = hs.signals.Signal2D(data)
    for axis, name, scale in zip(s.axes_manager._axes, ("time", "y", "x"), (2.0, 0.05, 0.04), strict=True):
        axis.name, axis.scale, axis.units = name, scale, "s" if name == "time" else "nm"
    s.metadata.General.title = "movie"
    return s.as_lazy() if lazy else s


@pytest.fixture
def atoms():
    table = hs_deepatoms.positions(np.tile(Y, 3) * 0.05, np.tile(X, 3) * 0.04, units="nm", signal=stack(),
                                   frame=np.repeat(np.arange(3), 4))  # fmt: skip
    return table.assign(height=("atom", np.arange(12.0), {"units": "counts"}))


@pytest.mark.parametrize("lazy", [False, True])
def test_signal(atoms, lazy):
    with pytest.warns(UserWarning, match=r"3 of 12 .*3 \(edge\)"):
        patches = stack(lazy).extract_patches(atoms, window=("0.35 nm", 9))
    assert type(patches).__name__ == ("LazyAtomPatches" if lazy else "AtomPatches")
    assert patches.data.shape == (9, 7, 9) and patches.data.dtype == np.float32
    atom, y, x = patches.axes_manager._axes
    assert (atom.name, y.units, y.scale, round(y.offset, 6), round(x.offset, 6)) == ("atom", "nm", 0.05, -0.15, -0.16)
    lost = atoms.atom.values[np.isclose(atoms.y, 0.05)]
    assert patches.dropped == {"edge": lost.tolist()}
    np.testing.assert_array_equal(atom.axis, np.setdiff1d(atoms.atom, lost))
    table = patches.atoms
    assert table.height.attrs["units"] == "counts" and table.deepatoms.count().values.tolist() == [3, 3, 3]
    np.testing.assert_array_equal(table.time_index, np.repeat([0, 1, 2], 3))
    middle = np.asarray(patches.data)[:, 3, 4]
    truth = np.sin(0.2 * table.y_px) + np.cos(0.3 * table.x_px) + table.time_index
    np.testing.assert_allclose(middle, truth, atol=2e-3)
    operations = [entry["operation"] for entry in patches.metadata.deepatoms.provenance]
    assert operations[-1] == "extract_patches"


def test_table_follows_inav_and_files(atoms, tmp_path):
    patches = stack().extract_patches(atoms, window=7, edge="reflect")
    part = patches.inav[2:8:2]
    np.testing.assert_array_equal(part.atoms.atom, patches.atoms.atom[2:8:2])
    np.testing.assert_array_equal(part.inav[1].data, patches.data[4])
    assert "y" not in part.inav[1].atoms  # HyperSpy drops the axis, and with it the id
    part.save(tmp_path / "patches.hspy")
    again = hs.load(tmp_path / "patches.hspy")
    assert type(again).__name__ == "AtomPatches"
    attrs = [{**one.atoms.attrs, "provenance": json.loads(one.atoms.attrs["provenance"])} for one in (again, part)]
    assert again.atoms.equals(part.atoms) and attrs[0] == attrs[1]
    assert again.atoms.height.attrs == part.atoms.height.attrs


def test_integer_offsets(atoms):
    patches = stack().extract_patches(atoms, window=7, edge="mask", centring="integer")
    table = patches.atoms
    assert np.isnan(patches.data).any(axis=(1, 2)).sum() == 3
    offset = np.mod(table.y_px.values + 0.5, 1) - 0.5
    np.testing.assert_allclose(np.abs(table.patch_offset_y), np.abs(offset), atol=1e-6)
    assert table.patch_offset_y.attrs["units"] == "px"


def test_array_and_channels(atoms):
    array = hs_deepatoms.to_xarray(stack()).rename(time="detector")
    one = atoms.deepatoms.select(frames=0)
    single = hs_deepatoms.positions(one.y.values, one.x.values, units="nm", signal=stack().inav[0])
    patches = array.deepatoms.extract_patches(single, window=5, channels="detector", edge="reflect")
    assert patches.dims == ("detector", "atom", "window_y", "window_x") and patches.shape == (3, 4, 5, 5)
    np.testing.assert_allclose(patches[2] - patches[0], 2, atol=1e-5)
    assert patches.window_x.attrs["units"] == "nm" and {"y", "x", "y_px"} <= set(patches.coords)


def test_grid_and_back(atoms):
    patches = stack().inav[0].extract_patches(grid=("0.4 nm", 10), window=(8, 10))
    assert patches.atoms.attrs["kind"] == "grid" and patches.data.shape == (25, 8, 10)
    np.testing.assert_array_equal(patches.data[0], stack().data[0][:8, 1:11])
    table = patches.atoms.assign(mean=("atom", patches.data.mean((1, 2)).astype(float)))
    assert table.deepatoms.to_signal("mean", method="linear").data.shape == (40, 52)


def test_default_window(atoms):
    patches = stack().extract_patches(atoms.deepatoms.select(border=6), edge="reflect")
    assert patches.data.shape[1] == patches.data.shape[2] and patches.data.shape[1] % 2


def test_blanked_atoms_are_accounted_for(atoms):
    with pytest.warns(UserWarning, match=r"2 \(no position\)"):
        patches = stack().extract_patches(atoms.where(atoms.height >= 2), window=5, edge="reflect")
    assert len(patches.dropped["no position"]) == 2 and patches.data.shape[0] == 10


def refusals():
    images, table = stack(), hs_deepatoms.positions(Y, X)
    plain = hs.signals.Signal2D(images.data[0])
    return {
        "larger than the image": (InvalidArgumentError, images, {"window": 41, "grid": 4}, "40 x 52"),
        "no window": (InvalidArgumentError, images, {"grid": 4}, "window"),
        "neither": (InvalidArgumentError, images, {"window": 8}, "neither atoms nor grid"),
        "both": (InvalidArgumentError, images, {"window": 8, "grid": 2, "atoms": table}, "one of them"),
        "frames": (TableError, images, {"window": 8, "atoms": table}, "channels"),
        "channel": (InvalidAxesError, images, {"window": 8, "grid": 2, "channels": "class"}, "'time'"),
        "edge": (InvalidArgumentError, images, {"window": 8, "grid": 2, "edge": "wrap"}, "reflect"),
        "none": (
            InvalidArgumentError,
            plain,
            {"window": 8, "atoms": table.isel(atom=[])},
            "at least one",
        ),
        "step": (InvalidArgumentError, images, {"window": 8, "grid": 0}, "step above 0"),
        "units": (InvalidArgumentError, images.inav[0], {"window": 8, "atoms": table}, "units"),
    }


@pytest.mark.parametrize("case", refusals())
def test_refusals(case):
    error, images, arguments, words = refusals()[case]
    with pytest.raises(error, match=words):
        images.extract_patches(**arguments)


def test_all_dropped():
    image = hs.signals.Signal2D(np.zeros((20, 30)))
    with pytest.raises(InvalidArgumentError, match="reflect"):
        image.extract_patches(hs_deepatoms.positions([0.0, 19.0], [3.0, 4.0], signal=image), window=9)
