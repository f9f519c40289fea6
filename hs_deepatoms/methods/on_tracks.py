"""Columns of linked atoms as tracks x frames, and how long their states last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.methods.motion import _labelled, _linked, _states, _times
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.history import with_entry

if TYPE_CHECKING:
    import xarray as xr


def on_tracks(
    ds: xr.Dataset, columns: str | xr.DataArray | Sequence[str | xr.DataArray], *, axis: str | int | None = None
) -> xr.Dataset:
    """Classes, rings, latents, or any other column of the atoms by track and frame.

    Parameters
    ----------
    ds
        Linked positions table.
    columns
        Names of columns, or arrays with dim ``atom`` joined by the atoms' ids: ``rings["rings_of_atom"]``,
        ``tree["latent"]["z"]``.
    axis
        Navigation axis that is time. None: the last one.

    Returns
    -------
    xarray.Dataset
        Dims ``track``, the time axis, and those of the columns. Whole numbers stay whole, -1 where an atom was not
        seen; others are NaN there.

    Raises
    ------
    TableError
        If the table is not linked, or a column is not there or has no dim ``atom``.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((2, 64, 64)), dims=("time", "y", "x"))
    >>> columns = {"species": ["C", "C", "Si"]}
    >>> atoms = hs_deepatoms.positions([9, 40, 9], [9, 9, 9], signal=movie, frame=[0, 0, 1], columns=columns)
    >>> atoms.deepatoms.link(drift=False).deepatoms.on_tracks("species")["species"].values.tolist()
    [[0, 1], [0, -1]]
    """
    import xarray as xr

    ds, movie, track = _linked(ds, axis)
    values, unit, name = _times(movie)
    labels, row = np.unique(track[track >= 0], return_inverse=True)
    first = np.unique(row, return_index=True)[1]
    made = {}
    for column in [columns] if isinstance(columns, str | xr.DataArray) else columns:
        array = _joined(ds, column)
        dims = [dim for dim in array.dims if dim != schema.DIM]
        found = array.transpose(schema.DIM, *dims).values
        whole = found.dtype.kind in "iub"
        shape = (labels.size, movie.n_frames, *found.shape[1:])
        filled = np.full(shape, -1, np.int64) if whole else np.full(shape, np.nan, np.result_type(found, np.float32))
        filled[row, movie.time[track >= 0]] = found[track >= 0]
        made[str(array.name)] = (("track", name, *dims), filled, dict(array.attrs))
        made |= {dim: array[dim] for dim in dims if dim in array.coords}
    numbers = ds["track"].values[track >= 0][first].astype(np.int64)
    result = xr.Dataset(made, {"track": ("track", numbers)})
    if values.size:
        result = result.assign_coords({name: (name, values, {"units": unit})})
    result.attrs = {key: ds.attrs[key] for key in ("metadata", "provenance") if key in ds.attrs}
    return with_entry(result, "on_tracks", {"columns": list(made), "axis": axis})


def lifetimes(ds: xr.Dataset, by: str = "species", *, axis: str | int | None = None) -> xr.Dataset:
    """For how many frames atoms stay in a class, on average.

    Parameters
    ----------
    ds
        Linked positions table.
    by
        Column of classes.
    axis
        Navigation axis that is time. None: the last one.

    Returns
    -------
    xarray.Dataset
        Dim ``state``: ``lifetime`` and ``lifetime_std`` in frames (infinite where no life was seen to end),
        ``lives_ended``, ``frames_followed``. Lives whose beginning or end was not seen count as far as they were
        followed; only steps to the very next frame do. See `hs_deepatoms.structure.events.lifetimes`.

    Raises
    ------
    TableError
        If the table is not linked, or there is no such column of classes.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((3, 64, 64)), dims=("time", "y", "x"))
    >>> columns = {"species": ["C", "C", "Si"]}
    >>> atoms = hs_deepatoms.positions([9, 9, 9], [9, 9, 9], signal=movie, frame=[0, 1, 2], columns=columns)
    >>> atoms.deepatoms.link(max_step=3, drift=False).deepatoms.lifetimes()["lifetime"].sel(state="C").item()
    2.0
    """
    from hs_deepatoms.atoms.motion import consecutive
    from hs_deepatoms.structure.events import lifetimes as estimate

    ds, movie, track = _linked(ds, axis)
    state, labels = _states(ds, by)
    first, second = consecutive(track, movie.time)
    used = (state[first] >= 0) & (state[second] >= 0) & (movie.time[second] - movie.time[first] == 1)
    lives = estimate(state[first][used], state[second][used], len(labels))
    columns = {"lifetime": (lives.mean, "frame"), "lifetime_std": (lives.std, "frame"),
               "lives_ended": (lives.ended, "1"), "frames_followed": (lives.followed, "1")}  # fmt: skip
    made = _labelled(ds, "state", columns, "lifetimes", {"by": by, "axis": axis})
    return made.assign_coords(state=("state", labels))


def _joined(ds: xr.Dataset, column: Any) -> xr.DataArray:
    """The column with a row for every atom of the table."""
    if isinstance(column, str):
        return schema.check_column(ds, column)
    if schema.DIM not in column.dims or schema.DIM not in column.coords:
        raise TableError(explain(f"an array over {column.dims}", "one with the dim and coordinate 'atom'",
                                 'For example rings["rings_of_atom"].'))  # fmt: skip
    missing = ~np.isin(ds[schema.DIM].values, column[schema.DIM].values)
    if missing.any():
        raise TableError(explain(f"an array without {int(missing.sum())} of the atoms", "a value for every atom",
                                 "Reduce the table: atoms.sel(atom=array.atom)."))  # fmt: skip
    return column.sel({schema.DIM: ds[schema.DIM].values}).rename(column.name or "value")
