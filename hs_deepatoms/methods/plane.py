"""Positions of a table in one unit along y and x, for everything that measures distances and directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.calibrate import local_scale
from hs_deepatoms.tables.units import in_pixels

if TYPE_CHECKING:
    import xarray as xr


class Plane(NamedTuple):
    """Positions in one unit along y and x: calibrated where both axes share a unit, else pixels; (n,) each."""

    y: np.ndarray
    x: np.ndarray
    y_std: np.ndarray | None
    x_std: np.ndarray | None
    yx_corr: np.ndarray | None
    units: str
    scale: tuple[np.ndarray | float, np.ndarray | float]
    """Units of the table's y and x per unit of this."""

    def at(self, rows) -> Plane:
        """Some of the atoms."""
        columns = [None if column is None else column[rows] for column in self[:5]]
        scale = tuple(one if np.isscalar(one) else one[rows] for one in self.scale)
        return Plane(*columns, self.units, scale)


def read_plane(ds: xr.Dataset, operation: str) -> Plane:
    """Positions of a table and their errors in one unit.

    Raises
    ------
    TableError
        If y and x have different units and the table does not know its axes.
    """
    units = schema.axis_units(ds)
    scale: tuple = (1.0, 1.0)
    if not same_units(units["y"], units["x"]):
        axes = schema.known_axes(ds, f"{operation} with y in {units['y']} and x in {units['x']}")[1][-2:]
        pixels = in_pixels(ds)
        scale = tuple(local_scale(axis, pixels[name].values) for name, axis in zip("yx", axes, strict=True))
        ds = pixels
    columns = [np.asarray(ds.variables[name].values, float) for name in schema.COORDINATES]
    known = "y_std" in ds and "x_std" in ds
    errors = [np.asarray(ds[name].values, float) if known else None for name in ("y_std", "x_std")]
    if known and not all(np.isfinite(one).any() or not one.size for one in errors):
        errors = [None, None]
    corr = np.asarray(ds["yx_corr"].values, float) if known and "yx_corr" in ds else None
    return Plane(*columns, *errors, corr, schema.axis_units(ds)["y"], scale)


def length_in(length: Any, ds: xr.Dataset, units: str) -> float:
    """A length in the unit of a plane; integers are pixels along x."""
    from hs_deepatoms.bridge.axes import Axis
    from hs_deepatoms.bridge.lengths import read_length

    stored = schema.stored_axes(ds)
    if stored is None or not same_units(schema.axis_units(ds)["x"], units):
        axis = Axis(name="x", size=1, units=units, scale=1.0)
        if stored is None and isinstance(length, int) and units != "px":
            schema.known_axes(ds, f"the length {length!r} in pixels")
        return read_length(length, axis)
    return read_length(length, stored[1][-1]) * stored[1][-1].step


def with_columns(ds: xr.Dataset, columns: dict[str, np.ndarray], attrs: dict) -> xr.Dataset:
    """The table with further columns, named and in units as the schema says."""
    units = schema.axis_units(ds)
    made = {n: ((schema.DIM,), values, schema.column_attributes(n, units)) for n, values in columns.items()}
    return ds.assign(made).assign_attrs(attrs)
