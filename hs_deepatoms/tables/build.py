"""Arrays to a positions table: the one place that lays out its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.calibrate import calibrate_columns
from hs_deepatoms.tables.categories import encode_categories

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.bridge.axes import Axis


SOME_ROWS = 2**20  # looked at together: of millions, temporary arrays would be as large as columns


def build_table(
    y_px: np.ndarray,
    x_px: np.ndarray,
    *,
    frame: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    navigation: Sequence[Axis] = (),
    signal: Sequence[Axis],
    metadata: Mapping[str, Any] | None = None,
    provenance: Sequence[Mapping[str, Any]] = (),
    kind: str = schema.KIND,
    names: Mapping[str, Mapping[int, str]] | None = None,
    units: Mapping[str, str] | None = None,
    ids: np.ndarray | None = None,
    owned: bool = False,
) -> xr.Dataset:
    """A positions table from pixel positions, sorted by frame, then row-major, with ids 0, 1, 2, ...

    Parameters
    ----------
    y_px, x_px
        Shape (n_atoms,): row and column in pixels of the source image; pixel 0 is the centre of the first pixel.
    frame
        Shape (n_atoms,): flattened navigation index (C order over ``navigation``). None: all in frame 0.
    columns
        Further columns, each (n_atoms,), by their final names. ``y_std_px``, ``x_std_px``, ``width_y_px`` and
        ``width_x_px`` are converted to calibrated units and renamed. Text becomes integer classes with CF flags.
    navigation, signal
        Axes of the source image; the last two signal axes are y and x.
    metadata, provenance
        What rides along, JSON-able.
    kind
        What the table is; ``"positions"``.
    names
        For columns of integer classes: the name of every class, e.g. ``{"species": {0: "Sr", 1: "Ti"}}``.
    units
        Units of columns whose units cannot be known from their name (``{"height": "counts"}``).
    ids
        Shape (n_atoms,): ids to keep, all different. None: 0, 1, 2, ... in the order of the table.
    owned
        Positions, frames and columns may become part of the table as they are, or be written to: of millions a copy
        is too many.

    Returns
    -------
    xarray.Dataset
        Everything along the dim ``atom``.

    Raises
    ------
    TableError
        If columns differ in length or positions are not finite.
    """
    y_px, x_px = _positions_1d(y_px, "y_px", not owned), _positions_1d(x_px, "x_px", not owned)
    frame = np.zeros(y_px.size, np.int64) if frame is None else _integers(frame, "frame", not owned)
    columns = {name: _one_dimensional(values, name) for name, values in (columns or {}).items()}
    _check_lengths({"y_px": y_px, "x_px": x_px, "frame": frame, **columns})
    _check_frames(frame, navigation)
    ids = None if ids is None else _distinct(ids, y_px.size)
    order = _row_major(y_px, x_px, frame)
    if order is not None:
        y_px, x_px, frame = y_px[order], x_px[order], frame[order]
        columns = {name: values[order] for name, values in columns.items()}
        ids = None if ids is None else ids[order]
    y_axis, x_axis = signal[-2:]
    columns = calibrate_columns(columns, y_px, x_px, y_axis, x_axis, owned=owned)
    coordinates = {
        "atom": ("atom", np.arange(y_px.size) if ids is None else ids, {"long_name": "id of the atom"}),
        "y": ("atom", np.asarray(y_axis.to_value(y_px), float), {"units": y_axis.units, "long_name": y_axis.name}),
        "x": ("atom", np.asarray(x_axis.to_value(x_px), float), {"units": x_axis.units, "long_name": x_axis.name}),
        **navigation_coordinates(frame, navigation),
    }
    variables = {"y_px": y_px, "x_px": x_px, **columns}
    attributes = _common_attributes(y_axis, x_axis, names or {}, units or {})
    return _assemble(coordinates, variables, attributes, table_attrs(navigation, signal, metadata, provenance, kind))


def _row_major(y_px: np.ndarray, x_px: np.ndarray, frame: np.ndarray) -> np.ndarray | None:
    """The order by frame, then row-major; None if it is that already: millions of rows are not copied for nothing."""
    for start in range(0, len(frame), SOME_ROWS):
        here = slice(start, start + SOME_ROWS + 1)
        step, down = np.diff(frame[here]), np.diff(y_px[here])
        if not ((step > 0) | ((step == 0) & ((down > 0) | ((down == 0) & (np.diff(x_px[here]) >= 0))))).all():
            return np.lexsort((x_px, y_px, frame))
    return None


def table_attrs(
    navigation: Sequence[Axis],
    signal: Sequence[Axis],
    metadata: Mapping[str, Any] | None,
    provenance: Sequence[Mapping[str, Any]],
    kind: str = schema.KIND,
) -> dict[str, Any]:
    """The attributes of a table: axes, metadata and provenance as JSON, kind, format version."""
    return {
        "axes": json.dumps([axis.as_dict() for axis in (*navigation, *signal)]),
        "metadata": json.dumps(dict(metadata or {})),
        "provenance": json.dumps([dict(entry) for entry in provenance]),
        "kind": kind,
        "format_version": schema.FORMAT_VERSION,
    }


def navigation_coordinates(frame: np.ndarray, navigation: Sequence[Axis]) -> dict[str, tuple]:
    """``<axis>_index`` and ``<axis>`` (calibrated) of every navigation axis for flattened frames (n_atoms,)."""
    if not navigation:
        return {}
    indices = np.unravel_index(frame, tuple(axis.size for axis in navigation))
    coordinates: dict[str, tuple] = {}
    for column, axis, index in zip(
        schema.navigation_columns([axis.name for axis in navigation]), navigation, indices, strict=True
    ):
        long_name = {"long_name": axis.name}
        coordinates[f"{column}_index"] = ("atom", np.asarray(index, np.int64), {**long_name, "units": "1"})
        coordinates[column] = ("atom", np.asarray(axis.to_value(index)), {**long_name, "units": axis.units})
    return coordinates


def _assemble(coordinates: dict, variables: dict, attributes, attrs: dict) -> xr.Dataset:
    import xarray as xr

    data = {}
    for name in sorted(variables, key=schema.column_order):
        values, flags = encode_categories(variables[name], attributes["names"].get(name))
        data[name] = ("atom", values, {**attributes["column"](name), **flags})
    clash = sorted(set(coordinates) & set(data))
    if clash:
        message = explain(f"columns {clash}", "names that are not axes of the image", "Rename these columns.")
        raise TableError(message)
    return xr.Dataset(data, coordinates, attrs)


def _common_attributes(y_axis: Axis, x_axis: Axis, names: Mapping, units: Mapping) -> dict[str, Any]:
    known = {"y": y_axis.units, "x": x_axis.units}

    def column(name: str) -> dict[str, str]:
        attributes = schema.column_attributes(name, known)
        return {**attributes, "units": units[name]} if name in units else attributes

    return {"column": column, "names": names}


def _one_dimensional(values: Any, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind == "c":
        found = f"column {name!r} of shape {values.shape} and dtype {values.dtype}"
        raise TableError(explain(found, "one real value per atom, shape (n_atoms,)", "Give a 1-D array."))
    return values


def _positions_1d(values: Any, name: str, copy: bool = True) -> np.ndarray:
    values = _one_dimensional(values, name).astype(np.float64, copy=copy)
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values))
        raise TableError(explain(f"{name} with {bad} values that are not finite", "finite positions", "Drop these."))
    return values


def _integers(values: Any, name: str, copy: bool = True) -> np.ndarray:
    values = _one_dimensional(values, name)
    if values.size and (values.dtype.kind not in "iuf" or not np.array_equal(values, np.rint(values))):
        raise TableError(explain(f"{name} of dtype {values.dtype}", "whole numbers", "Give them as integers."))
    return values.astype(np.int64, copy=copy)


def _distinct(values: Any, n_atoms: int) -> np.ndarray:
    ids = _integers(values, "atom")
    if ids.size != n_atoms or not (schema.increasing(ids) or schema.increasing(np.sort(ids))):
        found = f"{ids.size} ids, {np.unique(ids).size} of them different, for {n_atoms} atoms"
        raise TableError(explain(found, "one id per atom, all different", "Leave the ids out to number anew."))
    return ids


def _check_lengths(columns: Mapping[str, np.ndarray]) -> None:
    lengths = {name: values.size for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise TableError(explain(f"columns of different length {lengths}", "one value per atom", "Check the columns."))


def _check_frames(frame: np.ndarray, navigation: Sequence[Axis]) -> None:
    n_frames = int(np.prod([axis.size for axis in navigation], dtype=np.int64))
    if frame.size and (frame.min() < 0 or frame.max() >= n_frames):
        found = f"frames from {frame.min()} to {frame.max()}"
        raise TableError(explain(found, f"0 to {n_frames - 1} for this image", "Check frame= and signal=."))
