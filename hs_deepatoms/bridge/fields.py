"""Every field of a HyperSpy axis, carried by its xarray coordinate and taken back where it still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidAxesError, explain
from hs_deepatoms.bridge.axes import (
    ROUNDING,
    UNCALIBRATED,
    axis_of_coordinate,
    default_units,
    text_or_none,
    units_of,
)
from hs_deepatoms.bridge.metadata import stored_json

if TYPE_CHECKING:
    from xarray import DataArray

AXIS_ATTRIBUTE = "hyperspy_axis"


def axis_fields(axis: Any, dim: str) -> dict[str, Any]:
    """What HyperSpy says about an axis, and the name of its dimension; values are left to the coordinate."""
    fields = {**axis.get_axis_dictionary(), "dim": dim}
    if fields["_type"] == "DataAxis":
        fields.pop("axis")
    return fields


def file_text(text: str | None) -> str:
    """Text that netCDF takes as it is: no NUL, no half characters."""
    return (text or "").replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def stored_fields(array: DataArray, dim: Any) -> dict[str, Any]:
    """What `axis_fields` wrote, or nothing."""
    coordinate = array.coords.get(dim)
    fields = None if coordinate is None else stored_json(coordinate.attrs, AXIS_ATTRIBUTE)
    return fields if isinstance(fields, dict) else {}


def fields_of_coordinate(array: DataArray, dim: Any) -> dict[str, Any]:
    """Fields for a HyperSpy axis along a dimension: the stored ones where they hold, else from the coordinate."""
    stored = stored_fields(array, dim)
    common = {"name": str(dim), "units": None, "is_binned": bool(stored.get("is_binned", False))}
    coordinate = array.coords.get(dim)
    if stored.get("dim") == str(dim):
        common["name"] = stored.get("name")
    if coordinate is None:
        return {**common, "size": array.sizes[dim]}
    units = units_of(coordinate)
    before = file_text(text_or_none(stored.get("units")))
    unchanged = units == before if before or not stored else units in (None, *UNCALIBRATED)
    common["units"] = stored.get("units") if unchanged else units
    found = _matching(stored, coordinate.values)
    if found is None:
        found = _fields_of_values(coordinate.values, common["units"], str(dim))
    if not unchanged and common["units"] == default_units(found.get("scale"), found.get("offset")):
        common["units"] = None  # what HyperSpy's undefined units are read as
    return {**found, **common}


def _matching(stored: dict[str, Any], values: np.ndarray) -> dict[str, Any] | None:
    """The stored axis, or the slice of it, that has these values; None if there is none."""
    kind = stored.get("_type")
    if kind == "DataAxis":
        return {"_type": kind, "axis": _ordered(values, str(stored.get("dim")))}
    if kind not in ("UniformDataAxis", "FunctionalDataAxis") or values.dtype.kind not in "iuf":
        return None
    axis = _build(stored)
    if axis is None:
        return None
    if not _same(axis.axis, values):
        cut = _slice_of(np.asarray(axis.axis, float), values)
        if cut is None:
            return None
        axis._slice_me(cut)
        if not _same(axis.axis, values):
            return None
    return axis.get_axis_dictionary()


def _build(stored: dict[str, Any]) -> Any:
    from hyperspy.axes import create_axis

    try:
        return create_axis(**{key: value for key, value in stored.items() if key != "dim"})
    except (TypeError, ValueError, KeyError):
        return None  # written by another version; the coordinate still says what matters


def _slice_of(whole: np.ndarray, values: np.ndarray) -> slice | None:
    """The slice of an axis that gives these values."""
    if values.size == 0 or whole.size == 0 or not np.isfinite(values[0]):
        return None
    start = int(np.nanargmin(np.abs(whole - values[0])))
    step = 1
    if values.size > 1:
        step = int(np.nanargmin(np.abs(whole - values[1]))) - start
        if step == 0:
            return None
    last = start + step * (values.size - 1)
    if not 0 <= last < whole.size or not _same(whole[np.arange(values.size) * step + start], values):
        return None
    stop = last + (1 if step > 0 else -1)
    return slice(start, stop if stop >= 0 else None, step)


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        return False
    if np.array_equal(first, second, equal_nan=True):
        return True
    if first.size < 2 or not np.isfinite(first).all() or not np.isfinite(second).all():
        return False
    slack = ROUNDING * np.abs(np.diff(first)).min()
    return bool(np.abs(first - second).max() <= slack)


def _fields_of_values(values: np.ndarray, units: str | None, dim: str) -> dict[str, Any]:
    axis = axis_of_coordinate(values, name=dim, size=values.size, units=units, navigate=False)
    if axis.values is None:
        return {"_type": "UniformDataAxis", "size": axis.size, "scale": axis.scale, "offset": axis.offset}
    return {"_type": "DataAxis", "axis": _ordered(values, dim)}


def _ordered(values: np.ndarray, dim: str) -> np.ndarray:
    steps = np.diff(np.asarray(values, float))
    if values.size > 1 and not ((steps > 0).all() or (steps < 0).all()):
        todo = f"Sort them first: array.sortby({dim!r}), or drop them: array.drop_vars({dim!r})."
        got = f"coordinates of {dim!r} that are not ordered"
        raise InvalidAxesError(explain(got, "rising or falling coordinates", todo))
    return np.asarray(values)
