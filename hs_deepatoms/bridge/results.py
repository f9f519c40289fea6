"""Image-shaped results in the kind that went in, on its axes, with its metadata and history."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.axes import Axis, axis_of_signal, named_axes
from hs_deepatoms.bridge.metadata import result_attrs, result_metadata, tree_dictionary
from hs_deepatoms.bridge.provenance import plain
from hs_deepatoms.bridge.source import Source, is_dask

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal
    from xarray import DataArray


def write_like(
    source: Source,
    data: Any,
    *,
    title: str,
    provenance: Sequence[dict],
    leading: Sequence[tuple[str, int | Sequence]] = (),
    dims: Sequence[str] | None = None,
    lazy_output: bool | None = None,
) -> BaseSignal | DataArray:
    """A result on the axes of a source.

    Parameters
    ----------
    source : Source
        From `read_source`.
    data : numpy or dask array
        Shape: ``leading``, then the axes of the source in the order of ``source.axes`` (or those of ``dims``).
    title : str
        Title of the result.
    provenance : sequence of dict
        The whole history, the source's entries included.
    leading : sequence of (name, size or labels)
        Extra dimensions in front, such as ``("class", ["Mo", "S"])``.
    dims : sequence of str, optional
        Names of the source's axes that the data has, where some were reduced.
    lazy_output : bool, optional
        None: as the source is.

    Returns
    -------
    hyperspy signal or xarray.DataArray
        A plain Signal2D (Signal1D, BaseSignal) of a signal, else a DataArray; an array's is in pixels. A DataArray
        keeps the order of its dimensions, and its other coordinates.

    Raises
    ------
    InvalidArgumentError
        Data whose shape is not that of the axes.

    Examples
    --------
    >>> import numpy as np, hyperspy.api as hs
    >>> from hs_deepatoms.bridge.source import read_source
    >>> source = read_source(hs.signals.Signal2D(np.zeros((3, 32, 40))))
    >>> write_like(source, source.data + 1, title="map", provenance=[])
    <Signal2D, title: map, dimensions: (3|40, 32)>
    """
    axes = [axis for axis in source.axes if dims is None or axis.name in dims]
    expected = (*(_size(labels) for _, labels in leading), *(axis.size for axis in axes))
    if tuple(data.shape) != expected:
        message = explain(f"a result of shape {tuple(data.shape)}", f"{expected}", "This is an error in hs_deepatoms.")
        raise InvalidArgumentError(message)
    data = _made_lazy(data, source.lazy if lazy_output is None else lazy_output)
    provenance = [plain(entry) for entry in provenance]
    if source.kind == "signal":
        return _write_signal(source, data, axes, title, provenance, leading)
    return _write_xarray(source, data, axes, title, provenance, leading)


def _write_signal(source: Source, data: Any, axes: Sequence[Axis], title: str, provenance: list[dict], leading):
    from hs_deepatoms.bridge.convert import build_signal

    given = named_axes(source.original)
    labels = {name: plain(list(found)) for name, found in leading if not _is_size(found)}
    front = [{"name": name, "size": _size(found), "navigate": True} for name, found in leading]
    fields = [_axis_fields(axis, given[axis.name]) for axis in axes]
    metadata = result_metadata(source.original, title=title, provenance=provenance,
                               extra={"labels": labels} if labels else None)  # fmt: skip
    return build_signal(
        data, [*front, *fields], metadata, copy.deepcopy(tree_dictionary(source.original.original_metadata)), ""
    )


def _axis_fields(axis: Axis, original: Any) -> dict[str, Any]:
    """Every field of the HyperSpy axis that this one was read from; after a crop, those that still hold."""
    fields = {**original.get_axis_dictionary(), "navigate": axis.navigate}
    read = replace(axis_of_signal(original, name=axis.name), navigate=axis.navigate)
    if read == axis:
        return fields
    fields = {key: fields[key] for key in ("name", "units", "navigate", "is_binned")}
    if axis.values is None:
        return {**fields, "size": axis.size, "scale": axis.scale, "offset": axis.offset}
    return {**fields, "axis": axis.values}


def _write_xarray(source: Source, data: Any, axes: Sequence[Axis], title: str, provenance: list[dict], leading):
    import xarray as xr

    names = [*(name for name, _ in leading), *(axis.name for axis in axes)]
    coords: dict[str, Any] = {name: (name, list(found)) for name, found in leading if not _is_size(found)}
    attrs: dict[str, Any] = {"long_name": title, "provenance": json.dumps(provenance)}
    if source.kind == "xarray":
        attrs = result_attrs(source.original, title=title, provenance=provenance)
        coords |= _kept_coordinates(source.original, axes)
    else:
        coords |= {axis.name: (axis.name, axis.coordinates(), {"units": axis.units}) for axis in axes}
    attrs["signal_dims"] = [axis.name for axis in source.signal if axis in axes] or "[]"
    result = xr.DataArray(data, dims=names, coords=coords, attrs=attrs)
    result.name = None  # a dask array would give it its own
    if source.kind != "xarray":
        return result
    order = [str(dim) for dim in source.original.dims if str(dim) in names]
    return result.transpose(*(name for name, _ in leading), *order)


def _kept_coordinates(array: Any, axes: Sequence[Axis]) -> dict[str, Any]:
    """Coordinates of the source that fit the result; those of cropped axes are written anew."""
    sizes = {axis.name: axis.size for axis in axes}
    kept = {}
    for name, coordinate in array.coords.items():
        if all(sizes.get(str(dim)) == array.sizes[dim] for dim in coordinate.dims):
            kept[name] = coordinate.variable
    for axis in axes:
        if axis.size != array.sizes[axis.name]:
            kept[axis.name] = (axis.name, axis.coordinates(), {"units": axis.units})
    return kept


def _made_lazy(data: Any, lazy: bool) -> Any:
    if is_dask(data):
        return data if lazy else data.compute()
    if not lazy:
        return data
    import dask.array as da

    return da.from_array(data)


def _is_size(labels: Any) -> bool:
    return isinstance(labels, int | np.integer)


def _size(labels: Any) -> int:
    return int(labels) if _is_size(labels) else len(labels)
