"""Counting, also of tables that went through xarray's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.errors import TableError
from hs_deepatoms.tables.counts import count
from hs_deepatoms.tables.frames import frame_grid, frame_of, read_frames
from tests.tables.samples import image_table, stack_table, to_value


def test_empty_frames_are_counted():
    ds, frame = stack_table()
    counts = count(ds)
    assert counts.dims == ("time", "tilt")
    np.testing.assert_array_equal(counts.values.ravel(), np.bincount(frame, minlength=6))
    assert counts.values.ravel()[4] == 0
    np.testing.assert_allclose(counts.time, to_value("time", np.arange(3)))
    assert counts.time.attrs["units"] == "s"


def test_a_single_image_has_a_number():
    ds, _, _ = image_table()
    assert count(ds).ndim == 0
    assert count(ds).item() == 11


def test_no_atoms():
    ds, _ = stack_table()
    assert count(ds.isel(atom=slice(0, 0))).values.tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("drop", [False, True])
def test_where(drop):
    ds, frame = stack_table()
    kept = (ds.probability > 0.4).values
    left = count(ds.where(ds.probability > 0.4, drop=drop))
    order = np.argsort(frame, kind="stable")
    np.testing.assert_array_equal(left.values.ravel(), np.bincount(frame[order][kept], minlength=6))


def test_sel_and_xarray_concat_and_merge():
    ds, _ = stack_table()
    first, rest = ds.sel(atom=slice(0, 6)), ds.sel(atom=slice(7, None))
    whole = count(ds).values
    np.testing.assert_array_equal(count(xr.concat([first, rest], "atom")).values, whole)
    outer = {"join": "outer", "compat": "no_conflicts"}
    np.testing.assert_array_equal(count(xr.merge([first, rest], **outer)).values, whole)
    parts = [first[["y_px"]], rest[["probability"]]]
    np.testing.assert_array_equal(count(xr.merge(parts, **outer)).values, whole)


def test_a_table_without_attributes():
    ds, frame = stack_table()
    bare = ds.drop_attrs()
    grid = frame_grid(bare)
    assert (grid.columns, grid.sizes) == (("time", "tilt"), (3, 2))
    np.testing.assert_array_equal(np.sort(frame_of(bare)), np.sort(frame))
    minimal = xr.Dataset(coords={"y": ("atom", [1.0, 2.0]), "x": ("atom", [3.0, 4.0])})
    assert count(minimal).item() == 2


def test_read_frames():
    grid = frame_grid(stack_table()[0])
    assert np.flatnonzero(read_frames(3, grid)).tolist() == [3]
    assert np.flatnonzero(read_frames(-1, grid)).tolist() == [5]
    assert np.flatnonzero(read_frames(slice(0, 2), grid)).tolist() == [0, 1]
    assert np.flatnonzero(read_frames({"time": 1}, grid)).tolist() == [2, 3]
    assert np.flatnonzero(read_frames({"time": [0, 2], "tilt": 1}, grid)).tolist() == [1, 5]
    for wrong in (6, {"x": 0}, {"tilt": 2}):
        with pytest.raises(TableError):
            read_frames(wrong, grid)


def test_frames_outside_the_axes():
    ds, _ = stack_table()
    ds["time_index"] = ds.time_index + 5
    with pytest.raises(TableError, match="0 to 2"):
        count(ds)
