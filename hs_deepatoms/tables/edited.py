"""A table after somebody removed and added atoms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_grid
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.missing import joined
from hs_deepatoms.tables.movies import NO_TRACK

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.bridge.axes import Axis


def edited_table(
    ds: xr.Dataset, *, keep: np.ndarray, y: np.ndarray, x: np.ndarray, frame: np.ndarray, axes: Sequence[Axis]
) -> xr.Dataset:
    """The table without some atoms and with others at its end.

    Parameters
    ----------
    keep
        Boolean (n_atoms,): which of the atoms stay, with their ids.
    y, x
        Shape (n_new,): calibrated positions of the atoms added, in the units of the table.
    frame
        Shape (n_new,): flattened frame of the atoms added.
    axes
        The image's y and x axes, for tables that do not know their own.

    Returns
    -------
    xarray.Dataset
        Added atoms have new ids after the largest one, probability 1, and no value in columns nobody measured.
    """
    import xarray as xr

    n_new = y.size
    kept = ds.isel({schema.DIM: keep})
    added = _added_columns(ds, y, x, frame, axes)
    variables = {
        name: joined([kept.variables[name], added.get(name)], [kept.sizes[schema.DIM], n_new])
        for name in schema.per_atom(ds)
    }
    ids = np.asarray(ds[schema.DIM].values, np.int64)
    new_ids = np.arange(n_new) + (ids.max() + 1 if ids.size else 0)
    atom = xr.Variable(schema.DIM, np.concatenate([ids[keep], new_ids]), ds[schema.DIM].attrs)
    made = xr.Dataset(
        {name: variable for name, variable in variables.items() if name in ds.data_vars},
        {schema.DIM: atom, **{name: variable for name, variable in variables.items() if name in ds.coords}},
        ds.attrs,
    )
    return with_entry(made, "edit", {"n_added": int(n_new), "n_removed": int((~keep).sum())})


def _added_columns(ds: xr.Dataset, y: np.ndarray, x: np.ndarray, frame: np.ndarray, axes: Sequence[Axis]) -> dict:
    import xarray as xr

    stored = schema.stored_axes(ds)
    axes = stored[1][-2:] if stored is not None else axes
    columns = {
        "y": y,
        "x": x,
        "y_px": np.asarray(axes[0].to_index(y), float),
        "x_px": np.asarray(axes[1].to_index(x), float),
        "probability": np.ones(y.size, np.float32),
        "track": np.full(y.size, NO_TRACK, np.int64),
    }
    grid = frame_grid(ds)
    if grid.columns:
        indices = np.unravel_index(np.asarray(frame, np.int64), grid.sizes)
        for column, values, index in zip(grid.columns, grid.values, indices, strict=True):
            columns[f"{column}_index"], columns[column] = np.asarray(index, np.int64), np.asarray(values)[index]
    return {name: xr.Variable(schema.DIM, values) for name, values in columns.items() if name in ds.variables}
