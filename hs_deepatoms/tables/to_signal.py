"""A column of the table as an image-shaped HyperSpy signal on the source's axes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.choices import yes_or_no
from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.maps import METHODS, rasterise

if TYPE_CHECKING:
    import xarray as xr
    from hyperspy.signal import BaseSignal

LAZY_ABOVE_BYTES = 512 * 2**20


def to_signal(
    ds: xr.Dataset,
    column: str = "probability",
    *,
    method: str = "nearest",
    max_distance: int | float | str | None = None,
    lazy_output: bool | None = None,
) -> BaseSignal:
    """A column as a map on the source's axes.

    Parameters
    ----------
    column
        Any column of numbers; classes are drawn as their numbers.
    method
        ``"nearest"``: every pixel has the value of the nearest atom of its frame; ``"linear"``: linear between the
        atoms, NaN outside; ``"scatter"``: the value in the atom's own pixel (mean of several), NaN elsewhere.
    max_distance
        For ``"nearest"``: NaN farther than this from any atom; pixels along x (int), units of x (float), ``"0.5 nm"``.
    lazy_output
        None: lazy where the map would be larger than 512 MB.

    Returns
    -------
    hyperspy.signals.Signal2D
        Navigation and signal axes of the source; frames without atoms are NaN.

    Raises
    ------
    TableError
        If there is no such column, or the table does not know the axes of its image.
    InvalidArgumentError
        If ``method`` is unknown.
    """
    if method not in METHODS:
        raise InvalidArgumentError(explain(f"method={method!r}", f"one of {METHODS}", "Choose one of these."))
    ds = schema.dropna(ds)
    values = _values(schema.check_column(ds, column))
    navigation, signal = schema.known_axes(ds, f"to_signal({column!r})")
    axes = signal[-2:]
    settings = {"method": method, "steps": _steps(axes), "max_distance": _reach(max_distance, axes)}
    sizes = tuple(axis.size for axis in navigation)
    shape = tuple(axis.size for axis in axes)
    lazy = _wants_lazy(lazy_output, sizes, shape, values.dtype)
    y, x = (np.asarray(axis.to_index(ds[name].values), float) for name, axis in zip(("y", "x"), axes, strict=True))
    frames = _frames(y, x, values, frame_of(ds), sizes)
    data = _maps(frames, sizes, shape, settings, values.dtype, lazy)
    used = {"column": column, "method": method, "max_distance": max_distance}
    return _write(with_entry(ds, "to_signal", used), str(column), data, navigation, axes)


def _values(column: xr.DataArray) -> np.ndarray:
    if column.dtype.kind not in "fiub":
        found = f"column {column.name!r} of dtype {column.dtype}"
        raise TableError(explain(found, "a column of real numbers", "Choose another column."))
    return np.asarray(column.values, np.result_type(column.dtype, np.float32))


def _steps(axes) -> tuple[float, float]:
    """Size of a pixel along y and x; squares where the two axes measure different things."""
    return (axes[0].step, axes[1].step) if same_units(axes[0].units, axes[1].units) else (1.0, 1.0)


def _reach(max_distance: Any, axes) -> float:
    if max_distance is None:
        return np.inf
    from hs_deepatoms.bridge.lengths import read_length

    return read_length(max_distance, axes[1]) * _steps(axes)[1]


def _wants_lazy(lazy_output: bool | None, sizes: tuple, shape: tuple, dtype: np.dtype) -> bool:
    large = int(np.prod((*sizes, *shape), dtype=np.int64)) * dtype.itemsize > LAZY_ABOVE_BYTES
    return yes_or_no("lazy_output", lazy_output, large)


def _frames(y: np.ndarray, x: np.ndarray, values: np.ndarray, frame: np.ndarray, sizes: tuple) -> list[tuple]:
    n_frames = int(np.prod(sizes, dtype=np.int64))
    order = np.argsort(frame, kind="stable")
    edges = np.searchsorted(frame[order], np.arange(n_frames + 1))
    rows = [order[start:stop] for start, stop in pairwise(edges)]
    return [(y[one], x[one], values[one]) for one in rows]


def _maps(frames: list[tuple], sizes: tuple, shape: tuple, settings: dict, dtype: np.dtype, lazy: bool) -> Any:
    if not lazy:
        data = np.empty((len(frames), *shape), dtype)
        for number, (y, x, values) in enumerate(frames):
            data[number] = rasterise(y, x, values, shape, **settings)
        return data.reshape((*sizes, *shape))
    import dask.array as da
    from dask import delayed

    one = delayed(rasterise, pure=False)
    blocks = [da.from_delayed(one(*frame, shape, **settings), shape, dtype) for frame in frames]
    return da.stack(blocks).reshape((*sizes, *shape)) if sizes else blocks[0]


def _write(ds: xr.Dataset, column: str, data: Any, navigation, axes) -> BaseSignal:
    from hs_deepatoms.bridge.convert import build_signal

    metadata = dict(schema.read_json(ds.attrs, "metadata", {}))
    general = dict(metadata.get("General") or {})
    title = general.get("title", "")
    units = ds[column].attrs.get("units", "1")
    metadata["General"] = {**general, "title": f"{column} of {title}" if title else column}
    metadata["Signal"] = {"quantity": column if units == "1" else f"{column} ({units})"}
    metadata["deepatoms"] = {"provenance": schema.read_json(ds.attrs, "provenance", [])}
    return build_signal(data, [_fields(axis) for axis in (*navigation, *axes)], metadata, {}, "")


def _fields(axis) -> dict[str, Any]:
    """The axis as HyperSpy describes axes; undefined units stay undefined."""
    fields = {name: value for name, value in axis.as_dict().items() if name != "units"}
    if axis.own_units:
        fields["units"] = axis.own_units
    if "values" in fields:
        fields["axis"] = np.asarray(fields.pop("values"))
    return fields
