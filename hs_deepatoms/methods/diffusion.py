"""Diffusion constant of the tracked atoms of a movie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.methods.plane import read_plane
from hs_deepatoms.structure.diffusion import diffusion as estimate
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.movies import check_tracks, read_movie

if TYPE_CHECKING:
    import xarray as xr


def diffusion(ds: xr.Dataset, *, axis: str | int | None = None, drift: bool = True) -> xr.Dataset:
    """Diffusion constant from steps over one frame, which neither localisation errors nor drift bias.

    Parameters
    ----------
    ds
        Linked positions table of one movie.
    axis
        Navigation axis that is time. None: the last one.
    drift
        Whether the mean step of all atoms of a frame is taken off, with the correction for what that removes.

    Returns
    -------
    xarray.Dataset
        ``diffusion`` and ``diffusion_std`` in units of y and x squared per frame, ``localisation_std`` (NaN where the
        estimated variance is negative) and ``steps``. See `hs_deepatoms.structure.diffusion.diffusion`.

    Raises
    ------
    TableError
        If the table is not linked, or holds several movies.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((3, 64, 64)), dims=("time", "y", "x"))
    >>> y = [9, 40, 10, 41, 11, 42]
    >>> atoms = hs_deepatoms.positions(y, [9] * 6, signal=movie, frame=[0, 0, 1, 1, 2, 2])
    >>> atoms.deepatoms.link(drift=False).deepatoms.diffusion().diffusion.item()
    0.0
    """
    import xarray as xr

    ds = schema.dropna(ds)
    movie = read_movie(ds, axis)
    track = check_tracks(ds, movie)
    if len(movie.grid.columns) > 1:
        raise TableError(explain(f"a table of movies over {list(movie.grid.columns)}", "one movie",
                                 "Choose one with select(frames={...})."))  # fmt: skip
    plane = read_plane(ds, "diffusion")
    found = estimate(track, movie.time, plane.y, plane.x, drift=drift)
    units = f"{plane.units}^2/frame"
    known = found.localisation >= 0
    values = {
        "diffusion": (found.constant, units),
        "diffusion_std": (found.constant_std, units),
        "localisation_std": (np.sqrt(found.localisation) if known else np.nan, plane.units),
        "steps": (found.steps, "1"),
    }
    attrs = {name: ds.attrs[name] for name in ("metadata", "provenance") if name in ds.attrs}
    made = xr.Dataset({name: ((), value, {"units": unit}) for name, (value, unit) in values.items()}, attrs=attrs)
    return with_entry(made, "diffusion", {"axis": axis, "drift": drift})
