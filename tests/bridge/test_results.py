from __future__ import annotations

import json
from dataclasses import replace

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.bridge.convert import from_xarray, to_xarray
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.results import write_like
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.errors import InvalidArgumentError
from tests.bridge.images import assert_equal, standard

ENTRY = provenance_entry("segment", {"threshold": 0.5})


def written(source, **options):
    data = np.arange(source.data.size, dtype=np.float32).reshape(source.data.shape)
    return write_like(source, data, title="map", provenance=[ENTRY], **options), data


@pytest.mark.parametrize("n_navigation", [0, 1, 2, 3])
@pytest.mark.parametrize("lazy", [False, True])
def test_signal_on_the_same_axes(n_navigation, lazy):
    signal = standard(n_navigation, lazy=lazy)
    signal.set_signal_type("atomic_image")
    signal.axes_manager["row"].is_binned = True
    found, data = written(read_source(signal))
    assert type(found) is (hs.signals.Signal2D if not lazy else hs.signals.Signal2D(data).as_lazy().__class__)
    np.testing.assert_array_equal(np.asarray(found.data), data)
    assert_equal(found.axes_manager._get_axes_dicts(), signal.axes_manager._get_axes_dicts())
    assert found.metadata.General.title == "map" and signal.metadata.General.title == "standard"
    assert found.metadata.Acquisition_instrument.TEM.beam_energy == 200.0
    assert read_source(found).provenance == [ENTRY]


def test_undefined_units_stay_undefined_and_equal_axes_keep_their_names():
    signal = hs.signals.Signal2D(np.zeros((20, 20)))
    signal.axes_manager[0].name, signal.axes_manager[1].name = "a", "b"
    found, _ = written(read_source(signal))
    assert_equal(found.axes_manager._get_axes_dicts(), signal.axes_manager._get_axes_dicts())


@pytest.mark.parametrize("lazy", [False, True])
def test_dataarray_keeps_order_and_coordinates(lazy):
    array = to_xarray(standard(1, lazy=lazy)).transpose("column", "time", "row")
    array = array.assign_coords(dose=("time", [1.0, 2.0, 5.0]), label="a").assign_attrs(units="counts", scan="b")
    found, data = written(read_source(array))
    assert found.dims == array.dims and found.name is None
    np.testing.assert_array_equal(np.asarray(found.transpose("time", "row", "column").data), data)
    for name in array.coords:
        xr.testing.assert_identical(found[name].variable, array[name].variable)
    assert "units" not in found.attrs and found.attrs["scan"] == "b" and found.attrs["long_name"] == "map"
    assert json.loads(found.attrs["provenance"]) == [ENTRY]
    assert (found.chunks is not None) is lazy
    assert from_xarray(found).metadata.General.title == "map"


def test_plain_array_gives_a_dataarray_in_pixels():
    found, data = written(read_source(np.zeros((3, 20, 27))))
    assert isinstance(found, xr.DataArray) and found.dims == ("nav_0", "y", "x")
    assert found.x.attrs["units"] == "px" and found.attrs["signal_dims"] == ["y", "x"]
    np.testing.assert_array_equal(found.data, data)
    assert [a.name for a in read_source(found).signal] == ["y", "x"]


@pytest.mark.parametrize("convert", [lambda s: s, to_xarray], ids=["signal", "xarray"])
def test_leading_dimension(convert):
    source = read_source(convert(standard(1)))
    data = np.random.default_rng(0).random((2, *source.data.shape))
    found = write_like(source, data, title="classes", provenance=[ENTRY], leading=[("class", ["Mo", "S"])])
    again = read_source(found)
    assert [(a.name, a.size) for a in again.navigation] == [("class", 2), ("time", 3)]
    np.testing.assert_array_equal(again.data, data)
    if isinstance(found, xr.DataArray):
        assert found["class"].values.tolist() == ["Mo", "S"]
    else:
        assert found.metadata.deepatoms.labels.as_dictionary() == {"class": ["Mo", "S"]}


@pytest.mark.parametrize("convert", [lambda s: s, to_xarray], ids=["signal", "xarray"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("wanted", [None, False, True])
def test_lazy_output(convert, lazy, wanted):
    source = read_source(convert(standard(1, lazy=lazy)))
    for data in (np.zeros(source.data.shape), da.zeros(source.data.shape)):
        found = write_like(source, data, title="", provenance=[], lazy_output=wanted)
        assert hasattr(found.data, "dask") is (lazy if wanted is None else wanted)


@pytest.mark.parametrize("convert", [lambda s: s, to_xarray, lambda s: s.data], ids=["signal", "xarray", "array"])
def test_cropped_source_and_reduced_navigation(convert):
    source = read_source(convert(standard(1)))
    row, column = source.signal
    roi = hs.roi.RectangularROI(left=column.to_value(2), right=column.to_value(20), top=row.to_value(4),
                                bottom=row.to_value(17))  # fmt: skip
    part, origin, _ = crop_region(source, roi)
    again = read_source(written(part)[0])
    assert origin == (4, 2) and again.data.shape == (3, 13, 18)
    for axis, whole, start in zip(again.signal, (row, column), origin, strict=True):
        np.testing.assert_allclose(axis.coordinates(), whole.coordinates()[start : start + axis.size])
        assert (axis.name, axis.units) == (whole.name, whole.units)
    mean = write_like(source, source.data.mean(0), title="mean", provenance=[], dims=[row.name, column.name])
    assert read_source(mean).data.shape == (20, 27)


def test_not_aligned_source_gives_an_aligned_result():
    axes = [{"name": n, "size": s, "navigate": v} for n, s, v in [("a", 20, False), ("t", 3, True), ("b", 27, False)]]
    signal = hs.signals.Signal2D(np.random.default_rng(0).random((20, 3, 27)), axes=axes)
    found, data = written(read_source(signal))
    assert found.axes_manager.axes_are_aligned_with_data
    assert [axis.name for axis in found.axes_manager._axes] == ["t", "a", "b"]
    np.testing.assert_array_equal(found.data, data)


def test_history_survives_hspy_and_noise_and_markers_do_not_come_along(tmp_path):
    signal = standard(1)
    signal.metadata.set_item("Signal.Noise_properties.variance", 2.0)
    signal.metadata.set_item("Signal.quantity", "Intensity (Counts)")
    found, _ = written(read_source(signal))
    assert not found.metadata.has_item("Signal.Noise_properties") and not found.metadata.has_item("Signal.quantity")
    found.save(tmp_path / "a.hspy")
    assert read_source(hs.load(tmp_path / "a.hspy")).provenance == [ENTRY]
    again = write_like(read_source(found), found.data, title="b", provenance=[ENTRY, provenance_entry("b", {})])
    assert [entry["operation"] for entry in read_source(again).provenance] == ["segment", "b"]


def test_wrong_shape():
    source = read_source(standard(1))
    with pytest.raises(InvalidArgumentError, match="shape"):
        write_like(source, np.zeros((3, 20, 20)), title="", provenance=[])
    with pytest.raises(InvalidArgumentError, match="shape"):
        write_like(replace(source, kind="xarray"), np.zeros((20, 27)), title="", provenance=[])
