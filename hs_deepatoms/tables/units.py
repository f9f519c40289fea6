"""Positions in other units, or in pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.calibrate import local_scale, scale_peak
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
        A length such as ``"nm"``, ``"pm"``, ``"Å"``; or ``"px"``: pixels of the image, 0 the centre of the first one.

    Raises
    ------
    InvalidArgumentError
        If the units are unknown, are not a length, or the image was not calibrated.
    TableError
        To ``"px"``, if the table does not know the axes of its image.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> image = xr.DataArray(np.zeros((32, 48)), {"y": np.arange(32) * 0.1, "x": np.arange(48) * 0.1}, ("y", "x"))
    >>> for dim in image.dims: image[dim].attrs["units"] = "nm"
    >>> atoms = hs_deepatoms.positions([10.0], [20.0], signal=image)
    >>> atoms.deepatoms.to_units("pm").y.item()
    1000.0
    """
    schema.check_table(ds)
    if units == "px":
        return with_entry(in_pixels(ds), "to_units", {"units": units})
    factors = {old: _factor(old, units) for old in set(schema.axis_units(ds).values())}
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
        entries = [_convert_axis(entry, factors, units) for entry in schema.axis_entries(ds)]
        converted.attrs["axes"] = json.dumps(entries)
    return with_entry(converted, "to_units", {"units": units})


def in_pixels(ds: xr.Dataset) -> xr.Dataset:
    """The table with positions, uncertainties and peak widths in pixels of its image."""
    if set(schema.axis_units(ds).values()) == {"px"}:
        return ds.copy()
    navigation, signal = schema.known_axes(ds, "to_units('px')")
    made = ds.copy()
    scales = []
    for name, axis in zip(schema.COORDINATES, signal[-2:], strict=True):
        index = np.asarray(axis.to_index(ds[name].values), float)
        scales.append(1 / local_scale(axis, index))
        made[name] = ds[name].variable.copy(data=index)
        made[name].attrs["units"] = "px"
        if f"{name}_std" in ds:
            made[f"{name}_std"] = _in_px(ds[f"{name}_std"].variable, np.abs(scales[-1]))
        if f"drift_{name}" in ds:
            made[f"drift_{name}"] = _in_px(ds[f"drift_{name}"].variable, scales[-1])
    if "yx_corr" in ds:
        made["yx_corr"] = ds["yx_corr"].variable * np.sign(scales[0] * scales[1])
        made["yx_corr"].attrs = ds["yx_corr"].attrs
    _widths_in_px(made, ds, *scales)
    for name, scale in _vectors(ds, *scales):
        made[name] = _in_px(ds[name].variable, scale)
    pixels = [
        {"name": axis.name, "units": "px", "size": axis.size, "navigate": False, "scale": 1.0, "offset": 0.0}
        for axis in signal
    ]
    made.attrs["axes"] = json.dumps([*(axis.as_dict() for axis in navigation), *pixels])
    return made


def _vectors(ds: xr.Dataset, scale_y: np.ndarray, scale_x: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Columns of displacements, whose sign follows the axis, and of their uncertainties; with their scales."""
    scales = {"y": scale_y, "x": scale_x}
    found = [name for name in schema.per_atom(ds) if name.startswith(("displacement_", "off_centring_"))]
    found = [name for name in found if name in schema.COLUMNS]
    return [(n, np.abs(s) if n.endswith("_std") else s) for n in found for s in [scales[schema.COLUMNS[n].kind]]]


def _widths_in_px(made: xr.Dataset, ds: xr.Dataset, scale_y: np.ndarray, scale_x: np.ndarray) -> None:
    for name, scale in (("y_spread", scale_y), ("x_spread", scale_x)):
        if name in ds:
            made[name] = _in_px(ds[name].variable, np.abs(scale))
    names = ("width_y", "width_x", "rotation")
    if all(name in ds for name in names):
        peak = scale_peak(*(ds[name].values for name in names), scale_y, scale_x)
        for name, values in zip(names, peak, strict=True):
            made[name] = ds[name].variable.copy(data=values.astype(ds[name].dtype))
            made[name].attrs["units"] = "rad" if name == "rotation" else "px"
        return
    for name, scale in (("width_y", scale_y), ("width_x", scale_x)):
        if name in ds:
            made[name] = _in_px(ds[name].variable, np.abs(scale))


def _in_px(column: xr.Variable, scale: np.ndarray) -> xr.Variable:
    made = column.copy(data=(column.values * scale).astype(column.dtype))
    made.attrs["units"] = "px"
    return made


def _factor(old: str, units: str) -> float:
    from hs_deepatoms.bridge.axes import UNCALIBRATED
    from hs_deepatoms.bridge.lengths import unit_factor

    if old in UNCALIBRATED and old != units:
        todo = (
            "Set units and scale of the image's axes (axis.units = 'nm', axis.scale = ...), then use "
            "hs_deepatoms.positions(table, signal=image)."
        )
        got = f"positions in {old} to be given in {units!r}: the image they come from has no units"
        raise InvalidArgumentError(explain(got, "lengths of a calibrated image, or 'px'", todo))
    return unit_factor(old, units)


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
