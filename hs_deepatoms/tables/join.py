"""Several tables to one, with every part's provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.history import common_part, joined_provenance
from hs_deepatoms.tables.missing import joined
from hs_deepatoms.tables.movies import separate_tracks
from hs_deepatoms.tables.units import to_units

if TYPE_CHECKING:
    import xarray as xr


def concat(tables: Iterable[xr.Dataset], *, dim: str | None = None) -> xr.Dataset:
    """Join positions tables along ``atom``.

    Parameters
    ----------
    tables
        Positions tables. Positions in other units are converted to those of the first.
    dim
        None: all tables are of the same image or stack (found in parts, filtered, or by several methods). A name such
        as ``"image"``: every table is an image or stack of its own, and the name becomes the first navigation dim.

    Returns
    -------
    xarray.Dataset
        All columns of all parts; where a part has no such column, NaN (classes: -1, "unknown"). Ids are kept if they
        differ between all parts, else atoms are numbered anew, by frame and then row-major. Tracks of parts that were
        linked apart stay apart. The provenance is what all parts share, then one entry ``concat`` whose ``inputs`` hold
        the rest of each.

    Raises
    ------
    TableError
        If there is no table, or they do not fit together.

    Examples
    --------
    >>> import hs_deepatoms
    >>> one = hs_deepatoms.positions([1.0, 5.0], [2.0, 7.0])
    >>> both = hs_deepatoms.concat([one, one], dim="image")
    >>> both.deepatoms.count().values.tolist()
    [2, 2]
    """
    parts = separate_tracks(_parts(tables))
    _check_fit(parts, dim)
    made = _joined_columns(parts, dim)
    made.attrs = _joined_attrs(parts, dim)
    return _numbered(made, parts)


def _parts(tables: Iterable[xr.Dataset]) -> list[xr.Dataset]:
    import xarray as xr

    if isinstance(tables, xr.Dataset | xr.DataArray | str) or not isinstance(tables, Iterable):
        got = "one table" if isinstance(tables, xr.Dataset) else f"a {type(tables).__name__}"
        raise TableError(explain(got, "a list of positions tables", "Put them in a list: concat([first, second])."))
    parts = [schema.dropna(table) for table in tables]
    if not parts:
        raise TableError(explain("no table", "one or more positions tables", "Give a list of tables."))
    units = schema.axis_units(parts[0])
    if same_units(units["y"], units["x"]):
        parts = [part if schema.axis_units(part) == units else to_units(part, units["y"]) for part in parts]
    elif not all(same_units(schema.axis_units(part)[name], units[name]) for part in parts for name in units):
        message = explain(
            "tables in different units", f"y, x in {units}", "Convert them with table.deepatoms.to_units."
        )
        raise TableError(message)
    return parts


def _axis_entries(ds: xr.Dataset) -> list[dict]:
    return schema.axis_entries(ds)


def _check_fit(parts: Sequence[xr.Dataset], dim: str | None) -> None:
    same = all(_close(_axis_entries(part), _axis_entries(parts[0])) for part in parts)
    grids = [frame_grid(part) for part in parts]
    if dim is None and not same:
        raise TableError(
            explain(
                "tables of images with different axes",
                "dim=None for tables of the same image",
                "Give dim='image' to join tables of several images.",
            )
        )
    if dim is not None and (not isinstance(dim, str) or not dim):
        raise TableError(explain(f"dim={dim!r}", "a name or None", "For example dim='image'."))
    if dim is not None and any((grid.columns, grid.sizes) != (grids[0].columns, grids[0].sizes) for grid in grids):
        found = [dict(zip(grid.columns, grid.sizes, strict=True)) for grid in grids]
        raise TableError(
            explain(f"navigation dims {found}", "the same for all tables", "Join tables of stacks of the same shape.")
        )
    if dim is not None and (dim in grids[0].columns or schema.navigation_columns([dim]) != [dim]):
        raise TableError(explain(f"dim={dim!r}, which is taken", "a free name", "For example dim='image'."))


def _close(first, second) -> bool:
    """Equal, numbers to rounding: a converted calibration differs in the last digit."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_close(first[name], second[name]) for name in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_close, first, second))
    if isinstance(first, float) or isinstance(second, float):
        return bool(np.isclose(first, second, rtol=1e-9, atol=0))
    return first == second


def _joined_axes(parts: Sequence[xr.Dataset], dim: str | None) -> list[dict]:
    from hs_deepatoms.bridge.axes import Axis

    entries = [_axis_entries(part) for part in parts]
    if dim is None:
        return entries[0]
    first = Axis(
        name=dim, size=len(parts), units="px", scale=1.0, offset=0.0, values=None, navigate=True, named=True
    ).as_dict()
    if all(_close(entry, entries[0]) for entry in entries):
        return [first, *entries[0]]
    # one set of signal axes would be wrong for the others; the frames are still known
    return [first, *(entry for entry in entries[0] if entry.get("navigate"))]


def _joined_columns(parts: Sequence[xr.Dataset], dim: str | None) -> xr.Dataset:
    import xarray as xr

    sizes = [part.sizes[schema.DIM] for part in parts]
    names = dict.fromkeys(name for part in parts for name in schema.per_atom(part))
    coordinates = {str(name) for part in parts for name in part.coords}
    variables = {
        name: joined([part.variables.get(name) for part in parts], sizes)
        for name in sorted(names, key=schema.column_order)
    }
    if dim is not None:
        index = np.repeat(np.arange(len(parts)), sizes)
        variables[f"{dim}_index"] = xr.Variable(schema.DIM, index, {"long_name": dim, "units": "1"})
        variables[dim] = xr.Variable(schema.DIM, index.astype(float), {"long_name": dim, "units": "px"})
        coordinates |= {dim, f"{dim}_index"}
    return xr.Dataset(
        {name: variable for name, variable in variables.items() if name not in coordinates},
        {name: variable for name, variable in variables.items() if name in coordinates},
    )


def _numbered(made: xr.Dataset, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    ids = np.concatenate([_part_ids(part) for part in parts])
    if schema.increasing(ids):  # of millions, no copy for nothing
        return made.assign_coords({schema.DIM: (schema.DIM, ids, {"long_name": "id of the atom"})})
    order = np.argsort(ids, kind="stable")
    if schema.increasing(ids[order]):
        ids = ids[order]
    else:
        y, x = (made[f"{name}_px" if f"{name}_px" in made else name].values for name in ("y", "x"))
        order, ids = np.lexsort((x, y, frame_of(made))), np.arange(ids.size)
    made = made.isel({schema.DIM: order})
    return made.assign_coords({schema.DIM: (schema.DIM, ids, {"long_name": "id of the atom"})})


def _part_ids(part: xr.Dataset) -> np.ndarray:
    ids = np.asarray(part[schema.DIM].values)
    if ids.dtype.kind not in "iu":
        todo = "Number them anew: table.drop_vars('atom')."
        raise TableError(explain(f"ids of dtype {ids.dtype}", "a whole number per atom", todo))
    return ids.astype(np.int64, copy=False)


def _joined_attrs(parts: Sequence[xr.Dataset], dim: str | None) -> dict:
    axes = _joined_axes(parts, dim)
    histories = [schema.read_json(part.attrs, "provenance", []) for part in parts]
    metadata = [schema.read_json(part.attrs, "metadata", {}) for part in parts]
    parameters = {"dim": dim, "n_tables": len(parts), "n_atoms": [part.sizes[schema.DIM] for part in parts]}
    attrs = {
        "metadata": json.dumps(common_part(metadata)),
        "provenance": json.dumps(joined_provenance(histories, "concat", parameters)),
        "kind": parts[0].attrs.get("kind", schema.KIND),
        "format_version": schema.FORMAT_VERSION,
    }
    return {"axes": json.dumps(axes), **attrs} if axes else attrs
