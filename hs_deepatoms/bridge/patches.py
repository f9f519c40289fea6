"""Patches and the table of their atoms as one object: an ``AtomPatches`` signal, or a DataArray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.convert import build_signal
from hs_deepatoms.bridge.metadata import OURS, metadata_of_signal, result_metadata, stored_json
from hs_deepatoms.bridge.provenance import plain, read_provenance

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.bridge.axes import Axis
    from hs_deepatoms.bridge.source import Source

SIGNAL_TYPE = "atom_patches"
DIM = "atom"
WINDOW_DIMS = ("window_y", "window_x")
ENTRY = "patches"  # under metadata.deepatoms


def window_axes(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """Axes of a patch: those of the image, with 0 in the middle of the patch."""
    made = []
    for name, axis, size in zip("yx", axes, shape, strict=True):
        scale = axis.step if axis.scale is None else float(axis.scale)
        middle = -scale * (size - 1) / 2
        made.append(replace(axis, name=name, size=size, values=None, scale=scale, offset=middle, navigate=False))
    return tuple(made)


def write_patches(
    source: Source,
    data: Any,
    table: xr.Dataset,
    *,
    axes: Sequence[Axis],
    channel: Axis | None,
    notes: Mapping[str, Any],
    title: str,
    provenance: Sequence[dict],
) -> Any:
    """Patches in the kind that went in.

    Parameters
    ----------
    source : Source
        The image.
    data : numpy or dask array, shape (channels, n, h, w)
        Patches.
    table : xarray.Dataset
        One row per patch.
    axes : (Axis, Axis)
        From `window_axes`.
    channel : Axis or None
        The channels' axis; None: there is one, which is left out.
    notes : mapping
        How they were cut and what was dropped, JSON-able.
    title, provenance
        As for `write_like`.

    Returns
    -------
    AtomPatches or xarray.DataArray
        A DataArray has the dims (channel,) ``atom``, ``window_y``, ``window_x``, and the columns as coordinates.
    """
    data = data if channel is not None else data[0]
    write = _write_signal if source.kind == "signal" else _write_array
    return write(source, data, table, axes, channel, plain(dict(notes)), title, [plain(one) for one in provenance])


def is_patches(obj: Any) -> bool:
    """Whether something is a stack of patches: an ``AtomPatches`` signal, or a DataArray of ours."""
    if hasattr(obj, "axes_manager"):
        return getattr(obj, "_signal_type", "") == SIGNAL_TYPE
    return getattr(obj, "attrs", {}).get("kind") == SIGNAL_TYPE


def table_of(patches: Any) -> xr.Dataset:
    """The rows of the table whose patches are still there, by id; only ``atom`` for a stack that was not cut by us."""
    if not hasattr(patches, "axes_manager"):
        return _table_of_array(patches)
    import xarray as xr

    ids = _ids(patches)
    stored = patches.metadata.get_item(f"{OURS}.{ENTRY}.table")
    if stored is None or (ids is None and patches.metadata.get_item(f"{OURS}.{ENTRY}.n") != 1):
        _, provenance = metadata_of_signal(patches)
        return xr.Dataset(
            coords={DIM: np.zeros(1, np.int64) if ids is None else ids}, attrs={"provenance": json.dumps(provenance)}
        )
    stored = stored.as_dictionary()
    described = json.loads(stored["columns"])
    columns = {name: (DIM, np.asarray(stored["values"][key]), attrs) for name, key, _, attrs in described}
    coordinates = [name for name, _, is_coordinate, _ in described if is_coordinate]
    table = xr.Dataset(columns, attrs=json.loads(stored["attrs"])).set_coords(coordinates)
    _, provenance = metadata_of_signal(patches)
    table.attrs["provenance"] = json.dumps(provenance)
    whole = ids is None or (table.sizes[DIM] == ids.size and (table[DIM].values == ids).all())
    return table if whole else table.sel({DIM: ids})


def notes_of(patches: Any) -> dict:
    """How the patches were cut and which atoms were dropped; empty for a stack that was not cut by us."""
    if hasattr(patches, "axes_manager"):
        found = patches.metadata.get_item(f"{OURS}.{ENTRY}.notes")
        return json.loads(found) if found else {}
    return stored_json(patches.attrs, "patches") or {}


def _ids(patches: Any) -> np.ndarray | None:
    axes = [axis for axis in patches.axes_manager._axes if axis.navigate]
    if not axes:  # one patch, whose id HyperSpy drops with the axis
        return None
    return np.rint(np.asarray(axes[-1].axis, float)).astype(np.int64)


def _write_signal(source, data, table, axes, channel, notes, title, provenance):
    fields = [_axis_fields(axis) for axis in axes]
    front = [] if channel is None else [{**_axis_fields(channel), "navigate": True}]
    metadata = result_metadata(source.original, title=title, provenance=provenance)
    metadata[OURS][ENTRY] = {"table": _stored_table(table), "notes": json.dumps(notes), "n": table.sizes[DIM]}
    return build_signal(data, [*front, _atom_fields(table[DIM].values), *fields], metadata, {}, SIGNAL_TYPE)


def _stored_table(table: xr.Dataset) -> dict:
    names = [str(name) for name in table.variables if table[name].dims == (DIM,)]
    described = [(name, f"c{i}", name in table.coords, plain(table[name].attrs)) for i, name in enumerate(names)]
    values = {f"c{i}": np.asarray(table[name].values) for i, name in enumerate(names)}
    attrs = {key: value for key, value in table.attrs.items() if key != "provenance"}
    return {"columns": json.dumps(described), "values": values, "attrs": json.dumps(plain(attrs))}


def _atom_fields(ids: np.ndarray) -> dict:
    ids = np.asarray(ids)
    steps = np.unique(np.diff(ids))
    if steps.size <= 1:
        step = int(steps[0]) if steps.size else 1
        return {"name": DIM, "size": ids.size, "scale": step, "offset": int(ids[0]), "navigate": True}
    return {"name": DIM, "axis": ids, "navigate": True}


def _axis_fields(axis: Axis) -> dict:
    fields = {"name": axis.name, "units": axis.own_units, "navigate": axis.navigate}
    if axis.values is not None:
        return {**fields, "axis": axis.values}
    return {**fields, "size": axis.size, "scale": axis.scale, "offset": axis.offset}


def _write_array(source, data, table, axes, channel, notes, title, provenance):
    import xarray as xr

    dims = [*([] if channel is None else [channel.name]), DIM, *WINDOW_DIMS]
    coords: dict[str, Any] = {
        str(name): (DIM, column.values, column.attrs)
        for name, column in table.variables.items()
        if column.dims == (DIM,)
    }
    for dim, axis in zip(WINDOW_DIMS, axes, strict=True):
        coords[dim] = (dim, axis.coordinates(), {"units": axis.units, "long_name": f"{axis.name} from the middle"})
    if channel is not None:
        coords[channel.name] = (channel.name, channel.coordinates(), {"units": channel.units})
    attrs = {"kind": SIGNAL_TYPE, "long_name": title, "signal_dims": list(WINDOW_DIMS)}
    attrs |= {"provenance": json.dumps(provenance), "patches": json.dumps(notes)}
    data_vars = [str(name) for name in table.data_vars]
    kept = {key: value for key, value in table.attrs.items() if key != "provenance"}
    attrs["table"] = json.dumps({"attrs": plain(kept), "data_vars": data_vars})
    return xr.DataArray(data, dims=dims, coords=coords, attrs=attrs)


def _table_of_array(patches: xr.DataArray) -> xr.Dataset:
    import xarray as xr

    stored = json.loads(patches.attrs.get("table", "{}"))
    columns = {name: column.variable for name, column in patches.coords.items() if column.dims == (DIM,)}
    table = xr.Dataset(coords=columns)
    if DIM not in table.coords:
        table = table.assign_coords({DIM: np.arange(patches.sizes[DIM])})
    attrs = {**stored.get("attrs", {}), "provenance": json.dumps(read_provenance(patches.attrs.get("provenance")))}
    return table.reset_coords([name for name in stored.get("data_vars", []) if name in columns]).assign_attrs(attrs)
