from __future__ import annotations

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.bridge.convert import to_xarray
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.errors import InvalidAxesError, InvalidImageError
from tests.bridge.images import standard


def assert_standard(source, n_navigation):
    navigation = (("time", 3, "s", 0.5, 1.0), ("tilt", 4, "deg", 2.0, -6.0), ("dose", 2, "e", 10.0, 5.0))[:n_navigation]
    expected = (*navigation, ("row", 20, "nm", 0.02, 3.0), ("column", 27, "pm", 30.0, -5.0))
    assert [(a.name, a.size, a.units) for a in source.axes] == [fields[:3] for fields in expected]
    np.testing.assert_allclose([(a.scale, a.offset) for a in source.axes], [fields[3:] for fields in expected])
    assert [a.navigate for a in source.axes] == [True] * n_navigation + [False] * 2
    assert source.data.shape == tuple(a.size for a in source.axes)
    assert source.title == "standard" and source.metadata["Acquisition_instrument"]["TEM"]["beam_energy"] == 200.0


@pytest.mark.parametrize("n_navigation", [0, 1, 2, 3])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("convert", [lambda s: s, to_xarray], ids=["signal", "xarray"])
def test_standard_image(n_navigation, lazy, convert):
    signal = standard(n_navigation, lazy=lazy)
    source = read_source(convert(signal))
    assert_standard(source, n_navigation)
    assert source.lazy is lazy and hasattr(source.data, "dask") is lazy
    np.testing.assert_array_equal(np.asarray(source.data), np.asarray(signal.data))
    assert source.kind == ("signal" if convert is not to_xarray else "xarray")


@pytest.mark.parametrize("data", [np.zeros((3, 20, 27), "u2"), da.zeros((3, 20, 27), dtype="u2")])
def test_arrays_are_in_pixels(data):
    source = read_source(data)
    assert [(a.name, a.units, a.scale, a.offset, a.named) for a in source.axes] == [
        ("nav_0", "px", 1, 0, False), ("y", "px", 1, 0, False), ("x", "px", 1, 0, False)
    ]  # fmt: skip
    assert source.data is data and source.kind == "array"


def test_undefined_names_and_units():
    source = read_source(hs.signals.Signal2D(np.zeros((2, 3, 20, 27))))
    assert [(a.name, a.units, a.named) for a in source.axes] == [
        (name, "px", False) for name in ("nav_0", "nav_1", "y", "x")
    ]


def test_axes_not_aligned_with_data():
    data = np.random.default_rng(0).random((20, 3, 27, 4))
    fields = [("row", 20, 0.1, False), ("time", 3, 1, True), ("column", 27, 0.2, False), ("tilt", 4, 2, True)]
    axes = [{"name": n, "size": size, "scale": scale, "navigate": navigate} for n, size, scale, navigate in fields]
    signal = hs.signals.Signal2D(data, axes=axes)
    assert not signal.axes_manager.axes_are_aligned_with_data
    for given in (signal, signal.as_lazy(), to_xarray(signal)):
        source = read_source(given)
        assert [a.name for a in source.axes] == ["time", "tilt", "row", "column"]
        np.testing.assert_array_equal(np.asarray(source.data), data.transpose(1, 3, 0, 2))


@pytest.mark.parametrize("transpose", [lambda s: s.transpose(signal_axes=[1, 2]), lambda s: s.T])
def test_transposed_signals(transpose):
    signal = transpose(standard(2, lazy=False))
    source = read_source(signal)
    assert source.data.shape == tuple(
        axis.size for axis in (*signal.axes_manager.navigation_axes[::-1], *signal.axes_manager.signal_axes[::-1])
    )
    theirs = signal.axes_manager.signal_axes
    assert [a.name for a in source.signal] == [theirs[1].name, theirs[0].name]
    np.testing.assert_array_equal(source.data, signal.data)


def test_transposed_dataarray_is_the_same_image():
    array = to_xarray(standard(2))
    source = read_source(array.transpose("column", "tilt", "row", "time"))
    assert [a.name for a in source.axes] == ["tilt", "time", "row", "column"]
    np.testing.assert_array_equal(source.data, array.transpose("tilt", "time", "row", "column").data)


def test_signal_dims_of_dataarrays_and_arrays():
    array = xr.DataArray(np.zeros((20, 3, 27)), dims=("a", "b", "c"))
    assert [a.name for a in read_source(array).signal] == ["b", "c"]
    assert [a.name for a in read_source(array, signal_dims=("a", "c")).axes] == ["b", "a", "c"]
    assert read_source(array.data, signal_dims=(0, -1)).data.shape == (3, 20, 27)
    array.attrs["signal_dims"] = ("c", "a")
    assert [a.name for a in read_source(array).axes] == ["b", "c", "a"]


def test_dims_that_are_not_text():
    source = read_source(xr.DataArray(np.zeros((3, 20, 27)), dims=(0, 1, 2)))
    assert [a.name for a in source.axes] == ["0", "1", "2"]


def test_signal_dims_follow_a_rename():
    array = to_xarray(standard(1)).transpose("row", "column", "time").rename(row="r")
    assert [a.name for a in read_source(array).axes] == ["time", "r", "column"]


@pytest.mark.parametrize("dims", [("a", "q"), ("a", "a"), ("a",), ("a", "b", "c"), (0, 9)])
def test_wrong_signal_dims(dims):
    with pytest.raises(InvalidAxesError, match="signal"):
        read_source(xr.DataArray(np.zeros((20, 3, 27)), dims=("a", "b", "c")), signal_dims=dims)


def test_where_images_and_spectra_both_apply_it_must_be_said():
    with pytest.raises(InvalidAxesError, match="signal_dims"):
        read_source(np.zeros((20, 27)), n_signal=None)
    assert len(read_source(standard(1, 1), n_signal=None).signal) == 1
    assert len(read_source(to_xarray(standard(1, 2)), n_signal=None).signal) == 2


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (standard(2, 1), InvalidImageError, "Got a Signal1D with 1 signal dimension .*column.* signal.transpose"),
        (hs.signals.Signal2D(np.zeros((20, 27))).T, InvalidImageError, "0 signal dimensions"),
        (to_xarray(standard(2, 1)), InvalidAxesError, "1 signal dimensions"),
        (np.zeros(20), InvalidAxesError, "at least 2 dimensions"),
        ([np.zeros((20, 27))], InvalidImageError, "one at a time"),
        (xr.Dataset({"adf": ("x", [1.0])}), InvalidImageError, "'adf'"),
        (None, InvalidImageError, "NoneType"),
        (hs.signals.BaseSignal(np.array([np.zeros(2), np.zeros(3)], dtype=object), ragged=True), InvalidImageError,
         "ragged"),
    ],
)  # fmt: skip
def test_what_is_not_images(given, error, match):
    with pytest.raises(error, match=match):
        read_source(given)


def test_non_uniform_axes_scale_zero_and_masked_arrays():
    signal = hs.signals.Signal2D(np.zeros((3, 20, 27)), axes=[
        {"name": "t", "axis": np.array([1, 2, 4.0]), "navigate": True},
        {"name": "y", "size": 20, "scale": 0.0, "units": "nm", "navigate": False},
        {"name": "x", "expression": "a*x**2", "a": 3.0, "size": 27, "units": "nm", "navigate": False}])  # fmt: skip
    for given in (signal, to_xarray(signal)):
        with pytest.warns(UserWarning, match=r"axis 'y' with .* Allowed: finite .* in pixels") as said:
            t, y, x = read_source(given).axes
        assert [one.filename for one in said] == [__file__]
        assert t.values.tolist() == [1, 2, 4]
        assert (y.units, y.scale) == ("px", 1.0)
        np.testing.assert_allclose(x.to_value(2), 12)
    masked = np.ma.MaskedArray(np.ones((20, 27), "u1"), mask=np.eye(20, 27, dtype=bool))
    assert np.isnan(read_source(masked).data).sum() == 20


@pytest.mark.parametrize("fields", [{"scale": 0.0}, {"scale": np.nan}, {"scale": 0.1, "offset": np.nan}])
def test_an_axis_without_a_scale_is_told(fields):
    """Its units were dropped without a word: atoms of an image in nm came back in px."""
    signal = hs.signals.Signal2D(np.random.default_rng(0).random((20, 27)))
    for axis, name in zip(signal.axes_manager.signal_axes, "xy", strict=True):
        axis.units, axis.name = "nm", name
    for name, value in fields.items():
        setattr(signal.axes_manager.signal_axes[0], name, value)
    match = r"Got axis 'x' with scale \S+ and offset \S+\. Allowed: .* axis\.scale"
    with pytest.warns(UserWarning, match=match) as said:
        y, x = read_source(signal).axes
    assert (y.units, x.units, x.scale) == ("nm", "px", 1.0) and [one.filename for one in said] == [__file__]


def test_a_single_frame_keeps_its_scale():
    source = read_source(to_xarray(standard(1)).isel(time=[1]))
    assert (source.navigation[0].scale, source.navigation[0].offset) == (0.5, 1.5)


def test_provenance_is_read_and_kept_apart():
    signal, entry = standard(), provenance_entry("denoise", {"strength": 2})
    signal.metadata.set_item("deepatoms.provenance", [entry])
    for given in (signal, to_xarray(signal)):
        source = read_source(given)
        assert source.provenance == [entry] and "deepatoms" not in {k for k, v in source.metadata.items() if v}


@pytest.mark.parametrize("wrap", [lambda array: array, lambda array: xr.DataArray(array, dims=("y", "x"))])
def test_a_dask_array_of_unknown_shape(wrap):
    array = da.ones((40, 50), chunks=20)
    with pytest.raises(InvalidImageError, match="compute_chunk_sizes"):
        read_source(wrap(array[array[:, 0] > 0]))


def test_signal_dims_without_an_order_are_refused():
    array = xr.DataArray(np.zeros((20, 30)), dims=("y", "x"))
    for given in ({"y", "x"}, frozenset("yx")):
        with pytest.raises(InvalidAxesError, match="Allowed: a tuple or list, slowest first"):
            read_source(array, signal_dims=given)
    with pytest.raises(InvalidAxesError, match=r"signal_dims=\(1\.5,\).*for example \('y', 'x'\)"):
        read_source(array, signal_dims=1.5)
    with pytest.raises(InvalidAxesError, match=r"numbers of its dimensions.*for example \(0, 1\)"):
        read_source(np.zeros((20, 30)), signal_dims=("y", "x"))
