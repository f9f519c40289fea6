"""Tables on disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.tables import storage
from tests.tables.samples import image_signal, image_table, stack_table

TABLES = {
    "image": lambda: image_table()[0],
    "stack": lambda: stack_table()[0],
    "no atoms": lambda: stack_table()[0].isel(atom=slice(0, 0)),
    "no atoms, all columns": lambda: image_table()[0].isel(atom=slice(0, 0)),
    "joined": lambda: hs_deepatoms.concat([image_table(seed=i)[0] for i in range(2)], dim="image"),
    "where": lambda: (ds := image_table()[0]).where(ds.probability > 0.5),
    "where dropped": lambda: (ds := stack_table()[0]).where(ds.probability > 0.5, drop=True),
    "edited twice": lambda: hs_deepatoms.load(_saved(image_table()[0])),
}


def _saved(ds):
    import tempfile
    from pathlib import Path

    return ds.isel(atom=slice(2, None)).deepatoms.save(Path(tempfile.mkdtemp()) / "table.nc")


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
@pytest.mark.parametrize("kind", TABLES)
def test_round_trip(tmp_path, kind, ending):
    ds = TABLES[kind]()
    path = ds.deepatoms.save(tmp_path / f"table{ending}")
    back = hs_deepatoms.load(path)
    assert back.identical(ds)
    assert {name: variable.dtype for name, variable in back.variables.items()} == {
        name: variable.dtype for name, variable in ds.variables.items()
    }
    assert all(variable.dtype != object for variable in back.variables.values())
    np.testing.assert_array_equal(back.deepatoms.count(), ds.deepatoms.count())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(0, 6),
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=6, max_size=6),
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5), min_size=6, max_size=6
    ),
    ending=st.sampled_from([".zarr", ".nc"]),
)
def test_any_values_and_names(tmp_path, n, values, names, ending):
    columns = {"height": np.array(values[:n]), "species": np.array(names[:n], dtype=str)}
    ds = hs_deepatoms.positions(np.arange(n), np.arange(n), signal=image_signal(), columns=columns)
    assert hs_deepatoms.load(ds.deepatoms.save(tmp_path / f"any{ending}")).identical(ds)


def test_opened_with_xarray_alone(tmp_path):
    ds, _ = stack_table()
    ds.deepatoms.save(tmp_path / "table.nc")
    with xr.open_dataset(tmp_path / "table.nc") as opened:
        np.testing.assert_array_equal(opened.deepatoms.count(), ds.deepatoms.count())
        assert set(opened.coords) == set(ds.coords)


def test_large_attributes(tmp_path):
    ds, _, _ = image_table()
    ds.attrs["metadata"] = '{"a": "' + "x" * 200_000 + '"}'
    for ending in (".nc", ".zarr"):
        assert hs_deepatoms.load(ds.deepatoms.save(tmp_path / f"large{ending}")).attrs == ds.attrs


@pytest.mark.parametrize("table", [lambda: image_table()[0], lambda: stack_table()[0]])
def test_csv(tmp_path, table):
    ds = table()
    path = ds.deepatoms.save(tmp_path / "table.csv")
    frame = pd.read_csv(path)
    assert {"atom", "y", "x", "y_px", "x_px", "probability", "units"} <= set(frame.columns)
    np.testing.assert_array_equal(frame.y, ds.y)
    assert set(frame.units) == {"nm"}
    back = hs_deepatoms.load(path)
    assert set(back.coords) == set(ds.coords)
    for name in ds.variables:
        np.testing.assert_allclose(back[name].astype(float), ds[name].astype(float), rtol=1e-7)
    assert back.y.attrs == ds.y.attrs
    signal = image_signal("time", "tilt") if "time" in ds.coords else image_signal()
    again = hs_deepatoms.positions(path, signal=signal)
    assert again.y_px.identical(ds.y_px)
    assert again.attrs["axes"] == ds.attrs["axes"]


def test_csv_has_species_by_name(tmp_path):
    ds, _, _ = image_table()
    frame = pd.read_csv(ds.deepatoms.save(tmp_path / "table.csv"))
    assert set(frame.species) == {"Sr", "Ti"}


def test_csv_of_no_atoms(tmp_path):
    ds = image_table()[0].isel(atom=slice(0, 0))
    back = hs_deepatoms.load(ds.deepatoms.save(tmp_path / "table.csv"))
    assert back.deepatoms.count().item() == 0
    assert all(variable.dtype != object for variable in back.variables.values())


@pytest.mark.parametrize("ending", [".zarr", ".nc", ".csv"])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, ending):
    ds, _, _ = image_table()
    path = ds.deepatoms.save(tmp_path / f"table{ending}")

    def fails(made, temporary):
        writer(made, temporary)
        raise OSError("disk full")

    writer = storage._WRITERS[ending]
    monkeypatch.setitem(storage._WRITERS, ending, fails)
    with pytest.raises(OSError, match="disk full"):
        ds.isel(atom=slice(3)).deepatoms.save(path)
    assert hs_deepatoms.load(path).sizes["atom"] == 11
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_targets_that_are_not_replaced(tmp_path):
    ds, _, _ = image_table()
    path = ds.deepatoms.save(tmp_path / "new folder" / "table.nc")
    with pytest.raises(InvalidArgumentError, match="exists"):
        ds.deepatoms.save(path, overwrite=False)
    (tmp_path / "precious.zarr").mkdir()
    (tmp_path / "precious.zarr" / "thesis.txt").write_text("words")
    with pytest.raises(InvalidArgumentError, match="not a zarr store"):
        ds.deepatoms.save(tmp_path / "precious.zarr")
    with pytest.raises(InvalidArgumentError, match="ending in"):
        ds.deepatoms.save(tmp_path / "table.xlsx")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "broken.nc").write_text("no netCDF")
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    for name in ("broken.nc", "other.nc", "missing.zarr", "table.xlsx"):
        with pytest.raises(TableError, match="Allowed"):
            hs_deepatoms.load(tmp_path / name)


@pytest.mark.parametrize("path", [None, 3])
def test_a_path_that_is_none(path):
    with pytest.raises(InvalidArgumentError, match="Allowed"):
        image_table()[0].deepatoms.save(path)
    with pytest.raises(InvalidArgumentError, match="Allowed"):
        hs_deepatoms.load(path)


def test_a_folder_is_never_replaced_by_a_file(tmp_path):
    for name in ("folder", "store.zarr"):
        path = tmp_path / name
        path.mkdir()
        (path / ("mine.txt" if name == "folder" else "zarr.json")).write_text("{}")
    with pytest.raises(InvalidArgumentError, match="a folder"), storage.written_beside(tmp_path / "folder") as beside:
        beside.write_text("other")
    assert (tmp_path / "folder" / "mine.txt").read_text() == "{}"
    with storage.written_beside(tmp_path / "store.zarr") as beside:
        beside.mkdir()
        (beside / "zarr.json").write_text("new")
    assert (tmp_path / "store.zarr" / "zarr.json").read_text() == "new"
    with pytest.raises(InvalidArgumentError, match="a folder"), storage.written_beside(tmp_path / "store.zarr") as file:
        file.write_text("no store")
    assert (tmp_path / "store.zarr").is_dir() and len(list(tmp_path.iterdir())) == 2
