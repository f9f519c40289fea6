from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hs_deepatoms.bridge.convert import from_xarray, to_xarray
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError
from tests.bridge.images import assert_equal, assert_same_signal, standard


def many_axes():
    """Uneven, functional and binned axes."""
    fields = [
        {"name": "t", "axis": np.array([1, 2, 4]), "units": "s", "navigate": True},
        {"name": "y", "expression": "a/(x+1)+b", "a": 3, "b": 1, "size": 20, "navigate": False, "is_binned": True},
        {"name": "x", "size": 24, "scale": -0.2, "offset": 3.3, "units": "nm", "navigate": False},
    ]
    return hs.signals.Signal2D(np.random.default_rng(0).random((3, 20, 24)), axes=fields)


def not_aligned():
    names = [("row", 20, False), ("time", 3, True), ("column", 27, False), ("tilt", 4, True)]
    axes = [{"name": name, "size": size, "scale": 0.1 + i, "navigate": navigate}
            for i, (name, size, navigate) in enumerate(names)]  # fmt: skip
    return hs.signals.Signal2D(np.random.default_rng(0).random((20, 3, 27, 4)), axes=axes)


def with_metadata():
    signal = standard()
    odd = {"tuple": (1, (2, 3.5)), "complex": 1 + 2j, "bytes": b"\x00x", "none": None, "nan": float("nan"), "e": "",
           "array": np.arange(6, dtype=">i2").reshape(2, 3), "list": [1, [2, {"q": (3,)}]], "text": "Å\0é", "el": [],
           "scalar": np.float32(2), "bool": True, "weird key %/": {"a": 1}}  # fmt: skip
    signal.metadata.add_dictionary({"Sample": odd})
    signal.metadata.set_item("Signal.dark", hs.signals.Signal2D(np.eye(3)))
    signal.metadata.set_item("deepatoms.provenance", [provenance_entry("denoise", {"strength": 2})])
    signal.original_metadata.add_dictionary({"tags": "x" * 200_000, "table": np.linspace(0, 1, 20_000), **odd})
    return signal


def undefined():
    signal = hs.signals.Signal2D(np.zeros((2, 3, 20, 27)))
    signal.axes_manager[1].units = "px"  # said, where the others are undefined
    return signal


def twice_the_same_name():
    signal = standard(2)
    for axis in signal.axes_manager._axes:
        axis.name = "x"
    return signal


SIGNALS = {
    **{f"{n} navigation axes": lambda n=n: standard(n) for n in range(4)},
    "lazy": lambda: standard(2, lazy=True),
    "chunked": lambda: hs.signals.Signal2D(np.zeros((5, 40, 54))).as_lazy(chunks=((3, 2), (30, 10), (54,))),
    "spectra": lambda: standard(2, 1),
    "axes": many_axes,
    "axes, lazy": lambda: many_axes().as_lazy(),
    "not aligned": not_aligned,
    "transposed": lambda: standard(2).T,
    "transposed, lazy": lambda: standard(3, lazy=True).transpose(signal_axes=[0, 3]),
    "metadata": with_metadata,
    "undefined": undefined,
    "duplicates": twice_the_same_name,
    "sliced": lambda: standard(2).inav[1:, 2].isig[3:20, 1:15:3],
    "no navigation, reversed": lambda: standard(0).isig[::-1, ::-2],
    "bool": lambda: standard(dtype=bool),
    "uint16": lambda: standard(dtype=np.uint16),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_there_and_back(name):
    signal = SIGNALS[name]()
    assert_same_signal(signal, from_xarray(to_xarray(signal)))


@pytest.mark.parametrize("dtype", ["f2", ">f4", "c8", "i1", "u8"])
def test_dtypes(dtype):
    signal = (hs.signals.ComplexSignal2D if dtype == "c8" else hs.signals.Signal2D)(np.ones((20, 27), dtype))
    assert_same_signal(signal, from_xarray(to_xarray(signal)))


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("store", ["netcdf", "zarr"])
def test_through_a_file(name, store, tmp_path):
    signal = SIGNALS[name]()
    array, chunks = to_xarray(signal), {} if signal._lazy else None
    if store == "netcdf":
        array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        found = xr.open_dataarray(tmp_path / "a.nc", engine="h5netcdf", chunks=chunks)
    else:
        array.to_zarr(tmp_path / "a.zarr", consolidated=False)
        found = xr.open_dataarray(tmp_path / "a.zarr", engine="zarr", consolidated=False, chunks=chunks)
    with found:
        assert_same_signal(signal, from_xarray(found), chunks=False)


def test_rgb_and_atomic_image():
    colour = hs.signals.Signal1D(np.arange(20 * 27 * 3, dtype="u1").reshape(20, 27, 3))
    colour.change_dtype("rgb8")
    found = from_xarray(to_xarray(colour))
    assert found.data.dtype == colour.data.dtype and (found.data == colour.data).all()
    atomic = standard()
    atomic.set_signal_type("atomic_image")
    assert_same_signal(atomic, from_xarray(to_xarray(atomic)))


def test_nothing_is_computed_or_copied():
    eager, lazy = standard(), standard(lazy=True)
    assert np.shares_memory(to_xarray(eager).data, eager.data)
    assert np.shares_memory(from_xarray(to_xarray(eager)).data, eager.data)
    assert to_xarray(lazy).data is lazy.data and from_xarray(to_xarray(lazy))._lazy


def test_the_signal_is_left_alone():
    signal = standard()
    signal.metadata.set_item("Sample.signals", [1, hs.signals.Signal1D(np.arange(3.0))])
    kept = signal.metadata.Sample.signals[1]
    array = to_xarray(signal)
    assert signal.metadata.Sample.signals[1] is kept
    found = from_xarray(array).metadata.Sample.signals[1]
    assert_equal(found.data, kept.data)


def test_markers_come_along():
    signal = standard(0)
    points = hs.plot.markers.Points(np.array([[100.0, 3.1], [200.0, 3.2]]), sizes=3)
    signal.add_marker(points, permanent=True, plot_marker=False)
    found = from_xarray(to_xarray(signal)).metadata.Markers
    np.testing.assert_allclose(found.Points.get_current_kwargs()["offsets"], [[100.0, 3.1], [200.0, 3.2]])


def test_what_the_dataarray_says():
    array = to_xarray(standard(1))
    assert array.dims == ("time", "row", "column") and array.attrs["signal_dims"] == ["row", "column"]
    assert [array[dim].attrs["units"] for dim in array.dims] == ["s", "nm", "pm"]
    np.testing.assert_allclose(array.column, -5 + 30 * np.arange(27))
    assert array.attrs["long_name"] == "standard"
    assert to_xarray(undefined()).dims == ("nav_0", "nav_1", "y", "x")
    assert len(set(to_xarray(twice_the_same_name()).dims)) == 4


SLICES = st.tuples(st.integers(-3, 30), st.integers(-3, 30), st.sampled_from([1, 2, 3, -1, -2]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SLICES, SLICES)
def test_slices_are_what_hyperspy_makes_of_them(rows, columns):
    signal = many_axes()
    y, x = slice(*rows), slice(*columns)
    if len(range(20)[y]) < 2 or len(range(24)[x]) < 2:
        return
    normal = [slice(r[0], None if r[-1] + np.sign(s.step) < 0 else int(r[-1] + np.sign(s.step)), s.step)
              for r, s in ((range(20)[y], y), (range(24)[x], x))]  # fmt: skip
    found, expected = from_xarray(to_xarray(signal).isel(y=y, x=x)), signal.isig[normal[1], normal[0]]
    np.testing.assert_array_equal(found.data, expected.data)
    for ours, theirs in zip(found.axes_manager._axes, expected.axes_manager._axes, strict=True):
        np.testing.assert_allclose(ours.axis, theirs.axis, rtol=1e-12, atol=1e-12)
        assert type(ours) is type(theirs) and ours.is_binned == theirs.is_binned


def test_slicing_recomputes_the_axis():
    array = to_xarray(standard(1)).isel(time=[0, 2], row=slice(4, None, 2), column=5)
    signal = from_xarray(array)
    time, row = signal.axes_manager._axes
    assert (row.name, row.units, row.size) == ("row", "nm", 8)
    assert (row.scale, row.offset) == (pytest.approx(0.04), pytest.approx(3.08))
    assert (time.scale, time.offset, time.navigate) == (1.0, 1.0, True)
    assert type(signal) is hs.signals.Signal1D
    uneven = from_xarray(to_xarray(standard(1)).isel(row=[0, 1, 5])).axes_manager["row"]
    assert uneven.axis.tolist() == pytest.approx([3.0, 3.02, 3.1])


def test_new_coordinates_units_and_names_win():
    array = to_xarray(standard(1)).rename(row="r")
    array = array.assign_coords(r=("r", array.r.values * 1e3, {**array.r.attrs, "units": "pm"}))
    axis = from_xarray(array).axes_manager["r"]
    assert (axis.units, axis.scale, axis.offset) == ("pm", pytest.approx(20), pytest.approx(3000))
    assert from_xarray(array).axes_manager.signal_axes[1].name == "r"
    dropped = from_xarray(to_xarray(standard(1)).drop_vars("column")).axes_manager["column"]
    assert (dropped.scale, dropped.offset) == (1.0, 0.0)


def test_transposed_array_keeps_the_meaning_of_its_signal_dims():
    signal = standard(2)
    found = from_xarray(to_xarray(signal).transpose("column", "tilt", "row", "time"))
    assert [axis.name for axis in found.axes_manager._axes] == ["tilt", "time", "row", "column"]
    np.testing.assert_array_equal(found.data, signal.data.transpose(1, 0, 2, 3))


def test_a_signal_dim_stays_itself_beside_another_that_once_had_its_name():
    energy = to_xarray(hs.signals.Signal1D(np.zeros((3, 4, 6))))["x"]  # unnamed, as the columns of an image are
    maps = to_xarray(hs.signals.Signal2D(np.zeros((3, 4)))).rename(y="row", x="column")
    coords = {"row": maps["row"], "column": maps["column"], "x": energy}
    array = xr.DataArray(np.zeros((3, 4, 6)), dims=("row", "column", "x"), coords=coords, attrs={"signal_dims": ["x"]})
    assert from_xarray(array).axes_manager.signal_shape == (6,)
    swapped = to_xarray(hs.signals.Signal1D(np.zeros((3, 4, 6)))).rename(x="nav_0", nav_0="x")
    assert from_xarray(swapped).axes_manager.signal_shape == (6,)


def test_signal_dims_are_known_without_attributes():
    array = to_xarray(standard(1)).drop_attrs(deep=False)
    assert from_xarray(array).axes_manager.signal_shape == (27, 20)


def test_any_dataarray():
    array = xr.DataArray(np.zeros((4, 5, 6)), dims=("t", "y", "x"), name="adf", attrs={"gain": 2},
                         coords={"y": ("y", np.arange(5) * 0.5, {"units": "nm"}), "x": [0, 1, 3, 7, 8, 9]})  # fmt: skip
    with pytest.raises(InvalidAxesError, match="signal_dims"):
        from_xarray(array)
    signal = from_xarray(array, signal_dims=("y", "x"))
    assert signal.metadata.General.title == "adf" and signal.original_metadata.xarray.attrs.gain == 2
    t, y, x = signal.axes_manager._axes
    assert (y.scale, y.units) == (0.5, "nm") and x.axis.tolist() == [0, 1, 3, 7, 8, 9] and t.navigate
    assert type(from_xarray(array[0, 0])) is hs.signals.Signal1D
    assert type(from_xarray(array, signal_dims="y")) is hs.signals.Signal1D


def test_refusals():
    with pytest.raises(InvalidArgumentError, match=r"Got a .*ndarray"):
        to_xarray(np.zeros(3))
    with pytest.raises(InvalidArgumentError, match=r"Got a .*Dataset"):
        from_xarray(xr.Dataset())
    with pytest.raises(InvalidImageError, match="ragged"):
        to_xarray(hs.signals.BaseSignal(np.array([np.zeros(2), np.zeros(3)], dtype=object), ragged=True))
    with pytest.raises(InvalidAxesError, match="not ordered"):
        from_xarray(to_xarray(standard(1)).isel(row=[3, 1, 2]))
    with pytest.raises(InvalidAxesError, match="signal_dims"):
        from_xarray(to_xarray(standard(1)), signal_dims=("row", "q"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_axes(data):
    number = st.floats(-1e9, 1e9).filter(lambda v: abs(v) > 1e-9)
    text = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["x", "y", "nm"]))
    n = data.draw(st.integers(1, 4))
    n_signal = data.draw(st.integers(1, min(n, 2)))
    sizes = data.draw(st.lists(st.integers(2, 5), min_size=n, max_size=n))
    axes = [{"name": data.draw(text), "units": data.draw(text), "size": size, "scale": data.draw(number),
             "offset": data.draw(number), "is_binned": data.draw(st.booleans()), "navigate": i < n - n_signal}
            for i, size in enumerate(sizes)]  # fmt: skip
    cls = hs.signals.Signal1D if n_signal == 1 else hs.signals.Signal2D
    signal = cls(np.arange(np.prod(sizes)).reshape(sizes), axes=axes)
    assert_same_signal(signal, from_xarray(to_xarray(signal)))
