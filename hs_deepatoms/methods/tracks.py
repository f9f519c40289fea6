"""``link`` and ``drift`` of a table: the table in, arrays to the rooms below, labelled results out."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.movies import Movie, movie_length, read_movie

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.atoms.link import Drift


def drift(ds: xr.Dataset, *, axis: str | int | None = None) -> xr.Dataset:
    """How the whole picture moved, frame by frame. See `hs_deepatoms.atoms.link.drift`.

    Parameters
    ----------
    ds
        Positions table of a movie.
    axis
        Navigation axis that is time. None: the last one. Along the others, every movie is measured for itself.

    Returns
    -------
    xarray.Dataset
        Over the navigation dims: ``y``, ``x``, the drift since the first frame with atoms, and ``y_std``, ``x_std``,
        one sigma; in the units of the table's y and x.

    Raises
    ------
    TableError
        If ``ds`` is no positions table, or y and x cannot be compared.
    InvalidArgumentError
        If there is no such axis.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> y, x = (g.ravel() for g in np.mgrid[:50:10, :50:10] + 5.0)
    >>> movie = xr.DataArray(np.zeros((2, 64, 64)), dims=("time", "y", "x"))
    >>> frame = np.repeat([0, 1], 25)
    >>> atoms = hs_deepatoms.positions(np.append(y, y + 2), np.append(x, x - 1), signal=movie, frame=frame)
    >>> atoms.deepatoms.drift()["y"].values.round(6).tolist()
    [0.0, 2.0]
    """
    ds = schema.dropna(ds)
    movie = read_movie(ds, axis)
    return _drift_by_frame(ds, movie, _drifts(movie), axis)


def link(
    ds: xr.Dataset,
    *,
    max_step: int | float | str | None = None,
    memory: int = 2,
    drift: bool = True,
    axis: str | int | None = None,
) -> xr.Dataset:
    """Find the same atom in all frames of a movie. See `hs_deepatoms.atoms.link.link`.

    Parameters
    ----------
    ds
        Positions table of a movie.
    max_step
        Longest step of an atom from one detection to the next, after the drift is taken off: pixels of the last axis
        (int), axis units (float) or ``"0.1 nm"``. None: from the scatter of the steps, about half of the spacing.
    memory
        Frames an atom may be missing before it counts as gone.
    drift
        Whether the drift of the whole picture is measured and taken off.
    axis
        Navigation axis that is time. None: the last one. Along the others, every movie is linked for itself.

    Returns
    -------
    xarray.Dataset
        The table with the coordinate ``track``, which every atom has, the same for one atom in all frames and for at
        most one atom in each; and, with ``drift``, the columns ``drift_y`` and ``drift_x``: ``y - drift_y`` is free of
        drift. Positions stay as they are.

    Raises
    ------
    MissingExtraError
        If trackpy, which is installed with us, was removed.
    InvalidArgumentError
        If an argument cannot be read, or ``max_step`` is too long.
    TableError
        If ``ds`` is no positions table, or y and x cannot be compared.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((2, 64, 64)), dims=("time", "y", "x"))
    >>> atoms = hs_deepatoms.positions([9, 40, 10, 41], [9, 9, 9, 9], signal=movie, frame=[0, 0, 1, 1])
    >>> atoms.deepatoms.link()["track"].values.tolist()
    [0, 1, 0, 1]
    """
    ds = schema.dropna(ds)
    _check_memory(memory)
    movie = read_movie(ds, axis)
    reach = None if max_step is None else movie_length(max_step, ds, movie, "max_step")
    drifts = _drifts(movie) if drift else None
    track, reaches = _tracks(movie, drifts, reach, memory)
    made = ds.drop_vars([name for name in ("track", "drift_y", "drift_x") if name in ds.variables])
    units = schema.axis_units(ds)
    made = made.assign_coords(track=(schema.DIM, track, schema.column_attributes("track", units)))
    if drifts is not None:
        for name, factor in zip(schema.COORDINATES, movie.factors, strict=True):
            values = factor * np.array([getattr(one, name) for one in drifts])[movie.group, movie.time]
            column = f"drift_{name}"
            made[column] = (schema.DIM, values, schema.column_attributes(column, units))
    known = [reach for reach in reaches if reach > 0]
    used = {
        "steps_up_to": [min(known), max(known)] if known else None,
        "n_tracks": int(np.unique(track).size),
        # tells `concat` whether two tables speak of the same tracks
        "crc32": zlib.crc32(b"".join(np.ascontiguousarray(one).tobytes() for one in (movie.y, movie.x, track))),
    }
    parameters = {"max_step": max_step, "memory": memory, "drift": bool(drift), "axis": axis}
    return with_entry(made, "link", {**parameters, **used})


def _drifts(movie: Movie) -> list[Drift]:
    """One for each group of frames."""
    from hs_deepatoms.atoms import link as kernel

    made = []
    for rows in movie.rows_of_groups():
        atoms = (movie.time[rows], movie.y[rows], movie.x[rows])
        made.append(kernel.drift(*atoms, n_frames=movie.n_frames, extent=movie.extent))
    return made


def _tracks(movie: Movie, drifts: list[Drift] | None, max_step: float | None, memory: int) -> tuple:
    """Track of every atom, and the longest step in each group of frames, in the units of ``movie``."""
    from hs_deepatoms.atoms import link as kernel

    track, following, reaches = np.full(movie.time.size, -1, np.int64), 0, []
    for group, rows in enumerate(movie.rows_of_groups()):
        time, y, x = movie.time[rows], movie.y[rows], movie.x[rows]
        if drifts is not None:
            y, x = y - drifts[group].y[time], x - drifts[group].x[time]
        reaches.append(kernel.longest_step(time, y, x) if max_step is None else max_step)
        numbers = kernel.link(time, y, x, n_frames=movie.n_frames, max_step=reaches[-1], memory=memory)
        track[rows] = numbers + following
        following += int(numbers.max(initial=-1)) + 1
    return track, reaches


def _drift_by_frame(ds: xr.Dataset, movie: Movie, drifts: list[Drift], axis: str | int | None) -> xr.Dataset:
    import xarray as xr

    grid = movie.grid
    others = [size for i, size in enumerate(grid.sizes) if i != movie.axis]
    units = schema.axis_units(ds)
    variables = {}
    for field, name, factor in _drift_fields(movie.factors):
        values = factor * np.array([getattr(one, field) for one in drifts])
        if grid.columns:
            values = np.moveaxis(values[: movie.n_groups].reshape(*others, movie.n_frames), -1, movie.axis)
        else:
            values = values.reshape(())
        what = "one-sigma uncertainty of the drift" if field.endswith("_std") else "drift since the first frame"
        variables[field] = (grid.columns, values, {"units": units[name], "long_name": f"{what} along {name}"})
    coordinates = {
        column: (column, values, {"units": unit})
        for column, values, unit in zip(grid.columns, grid.values, grid.units, strict=True)
    }
    attrs = {name: ds.attrs[name] for name in ("metadata", "provenance") if name in ds.attrs}
    return with_entry(xr.Dataset(variables, coordinates, attrs), "drift", {"axis": axis})


def _drift_fields(factors: tuple[float, float]) -> list[tuple[str, str, float]]:
    plain = list(zip(schema.COORDINATES, schema.COORDINATES, factors, strict=True))
    return plain + [(f"{name}_std", name, abs(factor)) for name, _, factor in plain]


def _check_memory(memory: Any) -> None:
    check_whole("memory", memory, todo="For example memory=2: an atom may be missing in two frames.")
