"""What makes a Dataset a positions table: names, long names, units of its columns, and the checks."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hs_deepatoms._core.errors import TableError, explain

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.bridge.axes import Axis

FORMAT_VERSION = 1
DIM = "atom"
KIND = "positions"


class Column(NamedTuple):
    """Meaning of one column. ``kind``: y, x = units of that signal axis; px; 1 = no units; rad; value = as given."""

    long_name: str
    kind: str


COLUMNS: dict[str, Column] = {
    "y": Column("position along the first signal axis", "y"),
    "x": Column("position along the last signal axis", "x"),
    "y_px": Column("row in the source image", "px"),
    "x_px": Column("column in the source image", "px"),
    "y_std": Column("one-sigma uncertainty of y", "y"),
    "x_std": Column("one-sigma uncertainty of x", "x"),
    "yx_corr": Column("correlation of the uncertainties of y and x", "1"),
    "probability": Column("probability that there is an atom", "1"),
    "species": Column("class of the atom", "1"),
    "agreement": Column("share of an ensemble's members that see the atom", "1"),
    "y_spread": Column("standard deviation of y over the members of an ensemble", "y"),
    "x_spread": Column("standard deviation of x over the members of an ensemble", "x"),
    "height": Column("height of the fitted peak above its background", "value"),
    "width_y": Column("Gaussian sigma of the fitted peak along y (rotated by rotation)", "y"),
    "width_x": Column("Gaussian sigma of the fitted peak along x (rotated by rotation)", "x"),
    "rotation": Column("angle of the fitted peak's x width, from +x towards +y", "rad"),
    "background": Column("background under the fitted peak", "value"),
    "intensity": Column("volume of the fitted peak", "value"),
    "track": Column("the same atom in all frames", "1"),
    "drift_y": Column("drift of the frame along y, part of y", "y"),
    "drift_x": Column("drift of the frame along x, part of x", "x"),
    "grain": Column("number of the crystal grain, -1 for none", "1"),
    "site_i": Column("lattice index along the first lattice vector", "1"),
    "site_j": Column("lattice index along the second lattice vector", "1"),
    "basis": Column("site of the lattice's cell, -1 for none", "1"),
    "displacement_y": Column("displacement from the ideal site along y", "y"),
    "displacement_x": Column("displacement from the ideal site along x", "x"),
    "displacement_y_std": Column("one-sigma uncertainty of displacement_y", "y"),
    "displacement_x_std": Column("one-sigma uncertainty of displacement_x", "x"),
    "strain_yy": Column("normal strain along y", "1"),
    "strain_xx": Column("normal strain along x", "1"),
    "strain_xy": Column("shear strain (half the change of the angle)", "1"),
    "lattice_rotation": Column("rotation of the lattice against the reference, from +x towards +y", "rad"),
    "strain_yy_std": Column("one-sigma uncertainty of strain_yy", "1"),
    "strain_xx_std": Column("one-sigma uncertainty of strain_xx", "1"),
    "strain_xy_std": Column("one-sigma uncertainty of strain_xy", "1"),
    "lattice_rotation_std": Column("one-sigma uncertainty of lattice_rotation", "rad"),
    "off_centring_y": Column("along y from the middle of the surrounding atoms", "y"),
    "off_centring_x": Column("along x from the middle of the surrounding atoms", "x"),
    "off_centring_y_std": Column("one-sigma uncertainty of off_centring_y", "y"),
    "off_centring_x_std": Column("one-sigma uncertainty of off_centring_x", "x"),
}
COORDINATES = ("y", "x")


def navigation_columns(names: Sequence[str]) -> list[str]:
    """Column names for navigation axes of these names; a name that means something else gets the prefix ``nav_``.

    Examples
    --------
    >>> navigation_columns(["time", "y"])
    ['time', 'nav_y']
    """
    taken = {DIM, *COLUMNS, *(f"{name}_index" for name in names)}
    made: list[str] = []
    for name in names:
        while name in taken:
            name = f"nav_{name}"
        taken |= {name, f"{name}_index"}
        made.append(name)
    return made


def column_attributes(name: str, units: dict[str, str]) -> dict[str, str]:
    """``long_name`` and ``units`` of a column; ``units`` gives those of y and x."""
    if name not in COLUMNS:
        return {}
    column = COLUMNS[name]
    attributes = {"long_name": column.long_name}
    if column.kind != "value":
        attributes["units"] = units.get(column.kind, column.kind)
    return attributes


def column_order(name: str) -> int:
    """Place of a column in a table: the known ones as in the design, then all others."""
    return list(COLUMNS).index(name) if name in COLUMNS else len(COLUMNS)


def is_table(ds: Any) -> bool:
    """Whether ``ds`` has what a positions table needs: one dim ``atom`` and coordinates or variables y, x along it."""
    try:
        check_table(ds)
    except TableError:
        return False
    return True


def is_result(ds: Any) -> bool:
    """Whether ``ds`` is what was found from a table, as rings or events: it carries the table's provenance."""
    import xarray as xr

    ours = isinstance(ds, xr.Dataset) and '"hs_deepatoms"' in str(ds.attrs.get("provenance", ""))
    return ours and ds.attrs.get("kind") != KIND and not is_table(ds)


def check_table(ds: xr.Dataset) -> xr.Dataset:
    """Return ``ds`` if it is a positions table.

    Raises
    ------
    TableError
        If ``y`` or ``x`` along the dimension ``atom`` is missing, or the positions are not numbers.
    """
    import xarray as xr

    todo = "Build one with hs_deepatoms.positions(y, x, signal=...)."
    allowed = "a Dataset with y and x along the dimension 'atom'"
    if not isinstance(ds, xr.Dataset):
        raise TableError(explain(f"a {type(ds).__name__}", allowed, todo))
    for name in COORDINATES:
        if name not in ds.variables or ds.variables[name].dims != (DIM,):
            found = f"{name} along {ds[name].dims}" if name in ds.variables else f"no {name!r}"
            raise TableError(explain(f"a Dataset with {found} (it has {_names(ds.variables)})", allowed, todo))
        if ds.variables[name].dtype.kind not in "fiu":
            raise TableError(explain(f"{name} of dtype {ds[name].dtype}", "real numbers", todo))
    return ds


def per_atom(ds: xr.Dataset) -> list[str]:
    """Names of all variables and coordinates along the dim ``atom``, except the ids themselves."""
    return [str(name) for name in ds.variables if name != DIM and ds.variables[name].dims == (DIM,)]


def check_column(ds: xr.Dataset, name: Hashable) -> xr.DataArray:
    """The column ``name`` of a table.

    Raises
    ------
    TableError
        If the table has no such column.
    """
    if name not in ds.variables or ds.variables[name].dims != (DIM,):
        raise TableError(explain(f"column {name!r}", f"one of {_names(per_atom(ds))}", "Choose one of these."))
    return ds[name]


def valid(ds: xr.Dataset) -> np.ndarray:
    """Boolean (n_atoms,): False where ``where`` or an outer join left nothing of an atom behind.

    ``where`` blanks variables but not coordinates, so an atom is gone when all that says it is there is missing.
    """
    keep = np.ones(ds.sizes.get(DIM, 0), bool)
    for name in COORDINATES:
        keep &= np.isfinite(np.asarray(ds.variables[name].values, float))
    columns = [ds.variables[name] for name in ("y_px", "x_px", "probability") if name in ds.data_vars]
    witnesses = [np.isfinite(np.asarray(one.values, float)) for one in columns if one.dims == (DIM,)]
    if witnesses:
        keep &= np.any(witnesses, axis=0)
    return keep


def dropna(ds: xr.Dataset) -> xr.Dataset:
    """The table without atoms that have no position any more (see `valid`)."""
    keep = valid(check_table(ds))
    return ds if keep.all() else ds.isel({DIM: keep})


def increasing(ids: np.ndarray) -> bool:
    """Whether every id is larger than the one before: sorted, all different."""
    return bool((ids[1:] > ids[:-1]).all())


def stored_axes(ds: xr.Dataset) -> tuple[tuple[Axis, ...], tuple[Axis, ...]] | None:
    """Navigation and signal axes of the source image, or None if the table does not know them."""
    from hs_deepatoms.bridge.axes import Axis

    axes = [Axis.from_dict(entry) for entry in axis_entries(ds)]
    navigation = tuple(axis for axis in axes if axis.navigate)
    signal = tuple(axis for axis in axes if not axis.navigate)
    return (navigation, signal) if len(signal) >= 2 else None


def axis_entries(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Descriptions of the source's axes that a table carries; none where somebody else damaged them."""
    from hs_deepatoms.bridge.axes import Axis

    entries = read_json(ds.attrs, "axes", [])
    try:
        return entries if all(Axis.from_dict(entry).size > 0 for entry in entries) else []
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def known_axes(ds: xr.Dataset, operation: str) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Like `stored_axes`.

    Raises
    ------
    TableError
        If the table does not know its source's axes (a csv, or images of different axes joined).
    """
    axes = stored_axes(ds)
    if axes is None:
        message = explain(
            f"a table without the axes of its image for {operation}",
            "tables of find_atoms, or of hs_deepatoms.positions(..., signal=...)",
            "Rebuild it with hs_deepatoms.positions(table, signal=image).",
        )
        raise TableError(message)
    return axes


def read_json(attrs: dict, name: str, default: Any) -> Any:
    """Value of a JSON attribute, ``default`` if it is missing or was damaged by somebody else."""
    try:
        return json.loads(attrs[name])
    except (KeyError, TypeError, ValueError):
        return default


def axis_units(ds: xr.Dataset) -> dict[str, str]:
    """Units of y and x, ``"px"`` where there are none."""
    return {name: str(ds.variables[name].attrs.get("units") or "px") for name in COORDINATES}


def _names(names) -> str:
    return ", ".join(map(repr, map(str, names))) or "nothing"
