"""Positions in other units."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hs_deepatoms.tables import schema
from hs_deepatoms.tables.history import with_entry

if TYPE_CHECKING:
    import xarray as xr


def to_units(ds: xr.Dataset, units: str) -> xr.Dataset:
    """The table with positions, uncertainties and peak widths in other length units.

    Every column in the units of ``y`` or ``x`` is converted, and the stored signal axes with them; pixels and
    navigation axes stay.

    Parameters
    ----------
    units
        A length such as ``"nm"``, ``"pm"``, ``"Å"``.

    Raises
    ------
    InvalidArgumentError, InvalidAxesError
        If the units are unknown, are not a length, or the image was not calibrated.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> image = xr.DataArray(np.zeros((32, 48)), {"y": np.arange(32) * 0.1, "x": np.arange(48) * 0.1}, ("y", "x"))
    >>> for dim in image.dims: image[dim].attrs["units"] = "nm"
    >>> atoms = hs_deepatoms.positions([10.0], [20.0], signal=image)
    >>> atoms.deepatoms.to_units("pm").y.item()
    1000.0
    """
    from hs_deepatoms.bridge.lengths import unit_factor

    schema.check_table(ds)
    factors = {old: unit_factor(old, units) for old in set(schema.axis_units(ds).values())}
    converted = ds.copy()
    skip = _navigation_variables(ds)
    for name in schema.per_atom(ds):
        old = ds[name].attrs.get("units") or ("px" if name in schema.COORDINATES else None)
        if old in factors and name not in skip:
            column = ds.variables[name]
            made = column.copy(data=column.values * factors[old])
            made.attrs["units"] = units
            converted[name] = made
    if "axes" in ds.attrs:
        entries = [_convert_axis(entry, factors, units) for entry in schema.read_json(ds.attrs, "axes", [])]
        converted.attrs["axes"] = json.dumps(entries)
    return with_entry(converted, "to_units", {"units": units})


def _convert_axis(entry: dict, factors: dict[str, float], units: str) -> dict:
    if entry.get("navigate") or entry.get("units") not in factors:
        return entry
    factor = factors[entry["units"]]
    made = {**entry, "units": units}
    for name in ("scale", "offset"):
        if entry.get(name) is not None:
            made[name] = entry[name] * factor
    if entry.get("values") is not None:
        made["values"] = [value * factor for value in entry["values"]]
    return made


def _navigation_variables(ds: xr.Dataset) -> set[str]:
    from hs_deepatoms.tables.frames import frame_grid

    columns = frame_grid(ds).columns
    return {*columns, *(f"{column}_index" for column in columns), "y_px", "x_px"}
