"""Tables from other people's finders."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.tables.schema import read_json
from tests.tables.samples import image_signal, image_table, stack_table, to_value

ROWS, COLUMNS = np.array([3.0, 15.5, 7.25]), np.array([30.0, 2.0, 11.5])
ORDER = [0, 2, 1]


def check(ds):
    np.testing.assert_allclose(ds.y_px, ROWS[ORDER])
    np.testing.assert_allclose(ds.x_px, COLUMNS[ORDER])
    np.testing.assert_allclose(ds.y, to_value("y", ROWS[ORDER]))
    np.testing.assert_allclose(ds.x, to_value("x", COLUMNS[ORDER]))


def test_two_arrays():
    check(hs_deepatoms.positions(ROWS, COLUMNS, signal=image_signal()))


@pytest.mark.parametrize(("order", "pairs"), [("yx", (ROWS, COLUMNS)), ("xy", (COLUMNS, ROWS))])
def test_pairs(order, pairs):
    check(hs_deepatoms.positions(np.stack(pairs, axis=1), signal=image_signal(), order=order))


@pytest.mark.parametrize(("units", "factor"), [("calibrated", 1), ("pm", 1000), ("Å", 10)])
def test_calibrated(units, factor):
    y, x = to_value("y", ROWS) * factor, to_value("x", COLUMNS) * factor
    check(hs_deepatoms.positions(y, x, signal=image_signal(), units=units))


def test_data_frame_and_csv_keep_their_columns(tmp_path):
    frame = pd.DataFrame({"y": ROWS, "x": COLUMNS, "element": ["Sr", "O", "Ti"], "score": [0.1, 0.2, 0.3]})
    frame.to_csv(tmp_path / "peaks.csv")
    for given in (frame, tmp_path / "peaks.csv", str(tmp_path / "peaks.csv")):
        ds = hs_deepatoms.positions(given, signal=image_signal())
        check(ds)
        assert ds.score.values.tolist() == [0.1, 0.3, 0.2]
        assert read_json(ds.element.attrs, "names", None) == {"0": "O", "1": "Sr", "2": "Ti"}
        assert not [name for name in ds.variables if "Unnamed" in name]


def test_data_frame_with_frames():
    frame = pd.DataFrame({"y": ROWS, "x": COLUMNS, "frame": [5, 0, 3]})
    ds = hs_deepatoms.positions(frame, signal=image_signal("time", "tilt"))
    assert ds.time_index.values.tolist() == [0, 1, 2]
    assert ds.tilt_index.values.tolist() == [0, 1, 1]
    assert ds.y_px.values.tolist() == [15.5, 7.25, 3.0]


def test_ragged_signal_of_find_peaks():
    signal = image_signal("time", "tilt")
    rng = np.random.default_rng(0)
    signal.data = rng.random(signal.data.shape).astype(np.float32)
    peaks = signal.find_peaks(method="local_max", interactive=False, distance=4, show_progressbar=False)
    ds = hs_deepatoms.positions(peaks, signal=signal)
    for time in range(3):
        for tilt in range(2):
            rows = np.asarray(peaks.data[time, tilt])
            here = ds.isel(atom=(ds.time_index == time).values & (ds.tilt_index == tilt).values)
            assert here.sizes["atom"] == len(rows) > 0
            assert set(map(tuple, np.stack([here.y_px, here.x_px], 1))) == set(map(tuple, rows.astype(float)))


@pytest.mark.parametrize("names", [(None, None), (None, "tilt"), ("y", "x")])
def test_ragged_signal_of_a_stack_whatever_its_axes_are_called(names):
    signal = hs.signals.Signal2D(np.zeros((3, 2, 24, 40)))
    for axis, name in zip(signal.axes_manager._axes, names, strict=False):
        if name:
            axis.name = name
    signal.data = np.random.default_rng(0).random(signal.data.shape)
    peaks = signal.find_peaks(method="local_max", interactive=False, distance=4, show_progressbar=False)
    expected = np.vectorize(len)(peaks.data)
    ds = hs_deepatoms.positions(peaks, signal=signal)
    np.testing.assert_array_equal(ds.deepatoms.count(), expected)
    np.testing.assert_array_equal(hs_deepatoms.positions(peaks).deepatoms.count(), expected)


def test_ragged_signal_of_one_image():
    signal = image_signal()
    signal.data[7, 11] = 1
    peaks = signal.find_peaks(method="local_max", interactive=False, show_progressbar=False)
    ds = hs_deepatoms.positions(peaks, signal=signal)
    assert (ds.y_px.item(), ds.x_px.item()) == (7, 11)


def test_a_table_on_another_calibration():
    ds, y, _ = image_table()
    other = image_signal()
    for axis in other.axes_manager.signal_axes:
        axis.units, axis.scale, axis.offset = "pm", axis.scale * 1000, axis.offset * 1000
    moved = hs_deepatoms.positions(ds, signal=other)
    np.testing.assert_allclose(moved.y, ds.y * 1000)
    np.testing.assert_allclose(moved.y_std, ds.y_std * 1000)
    np.testing.assert_allclose(moved.y_px, y)
    assert moved.species.values.tolist() == ds.species.values.tolist()
    assert [entry["operation"] for entry in read_json(moved.attrs, "provenance", [])] == ["positions", "positions"]


def test_a_stack_table_again():
    ds, _ = stack_table()
    again = hs_deepatoms.positions(ds.isel(atom=slice(3, None)), signal=image_signal("time", "tilt"))
    xr_same = ds.isel(atom=slice(3, None)).drop_attrs()
    assert again.drop_attrs().equals(xr_same)


def test_without_a_signal():
    ds = hs_deepatoms.positions(ROWS, COLUMNS, frame=[0, 2, 2])
    assert ds.y.attrs["units"] == "px"
    assert ds.deepatoms.count().values.tolist() == [1, 0, 2]


@pytest.mark.parametrize("kind", ["xarray", "numpy", "dask"])
def test_other_kinds_of_image(kind):
    import dask.array as da
    import xarray as xr

    image = np.zeros((24, 40))
    coordinates = {name: (name, to_value(name, np.arange(n)), {"units": "nm"}) for name, n in (("y", 24), ("x", 40))}
    given = {"xarray": xr.DataArray(image, coordinates, ("y", "x")), "numpy": image, "dask": da.from_array(image)}
    ds = hs_deepatoms.positions(ROWS, COLUMNS, signal=given[kind])
    if kind == "xarray":
        check(ds)
    else:
        np.testing.assert_allclose(ds.y, ROWS[ORDER])


def test_no_atoms():
    for given in ((np.empty((0, 2)),), ([], []), (pd.DataFrame({"y": [], "x": []}),)):
        assert hs_deepatoms.positions(*given, signal=image_signal("time")).deepatoms.count().values.tolist() == [0] * 3


@pytest.mark.parametrize(
    ("given", "arguments", "error", "message"),
    [
        (([1.0], [50.0]), {"signal": image_signal()}, TableError, "swapped"),
        (([1.0], [1.0]), {"signal": image_signal("time")}, TableError, "frame="),
        (([1.0], [1.0]), {"units": "nm"}, InvalidArgumentError, "signal"),
        (([1.0], [1.0]), {"order": "ij"}, InvalidArgumentError, "'yx', 'xy'"),
        ((np.zeros((4, 3)),), {}, TableError, "n_atoms, 2"),
        ((hs.signals.Signal2D(np.zeros((4, 3))),), {}, TableError, "find_peaks"),
        ((pd.DataFrame({"row": [1]}),), {}, TableError, "Rename"),
        (("no such file.csv",), {}, TableError, "does not exist"),
        ((["a"], ["b"]), {}, TableError, "numbers"),
        (([1.0], [1.0]), {"frame": "a"}, TableError, "frame='a'"),
        (([1.0], [1.0]), {"columns": 3}, InvalidArgumentError, "dictionary"),
    ],
)
def test_named_errors(given, arguments, error, message):
    with pytest.raises(error, match=message):
        hs_deepatoms.positions(*given, **arguments)


def test_frame_indices_are_matched_by_name_and_other_index_columns_are_kept():
    stack = hs.signals.Signal2D(np.zeros((4, 3, 20, 30)))
    stack.axes_manager[0].name, stack.axes_manager[1].name = "dose", "time"
    frame = pd.DataFrame({"y": [5.0, 6], "x": [3.0, 4], "dose_index": [1, 2], "time_index": [2, 3]})
    atoms = hs_deepatoms.positions(frame, signal=stack)
    assert atoms["time_index"].values.tolist() == [2, 3] and atoms["dose_index"].values.tolist() == [1, 2]
    with pytest.raises(TableError, match="time_index"):
        hs_deepatoms.positions(frame.drop(columns="time_index"), signal=stack)
    grains = pd.DataFrame({"y": [5.0, 6], "x": [3.0, 4], "grain": [7, 8], "grain_index": [1, 2]})
    atoms = hs_deepatoms.positions(grains, signal=np.zeros((20, 30)))
    assert atoms["grain"].values.tolist() == [7, 8] and atoms["grain_index"].values.tolist() == [1, 2]
