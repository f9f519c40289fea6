"""What the tracks of a table say: steps, mean squared displacements, one row per track, transitions between classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.missing import UNKNOWN_NAME
from hs_deepatoms.tables.movies import Movie, check_tracks, drift_free, read_movie

if TYPE_CHECKING:
    import xarray as xr


def displacements(ds: xr.Dataset, *, axis: str | int | None = None) -> xr.Dataset:
    """Every step of every atom, from one detection to the next, free of drift.

    Parameters
    ----------
    ds
        Linked positions table.
    axis
        Navigation axis that is time. None: the last one.

    Returns
    -------
    xarray.Dataset
        Dim ``link``, ordered by track and time: ``track``, ``from_atom`` and ``to_atom`` (ids), ``from_frame`` and
        ``to_frame`` (along the time axis), ``gap`` (frames from one to the other), ``dy``, ``dx``; and, where y and x
        have the same units, ``length`` and ``jump``: longer than vibration or diffusion explain, see
        `hs_deepatoms.atoms.motion.jumps`.

    Raises
    ------
    TableError
        If the table is not linked.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((2, 64, 64)), dims=("time", "y", "x"))
    >>> atoms = hs_deepatoms.positions([9, 40, 10, 41], [9, 9, 9, 9], signal=movie, frame=[0, 0, 1, 1])
    >>> atoms.deepatoms.link(drift=False).deepatoms.displacements()["dy"].values.tolist()
    [1.0, 1.0]
    """
    from hs_deepatoms.atoms.motion import consecutive, jumps

    ds, movie, track = _linked(ds, axis)
    first, second = consecutive(track, movie.time)
    (y, x), ids = drift_free(ds), ds[schema.DIM].values
    dy, dx, gap = y[second] - y[first], x[second] - x[first], movie.time[second] - movie.time[first]
    units = schema.axis_units(ds)
    columns: dict[str, tuple] = {
        "track": (ds["track"].values[first], "1"),
        "from_atom": (ids[first], "1"),
        "to_atom": (ids[second], "1"),
        "from_frame": (movie.time[first], "1"),
        "to_frame": (movie.time[second], "1"),
        "gap": (gap, "1"),
        "dy": (dy, units["y"]),
        "dx": (dx, units["x"]),
    }
    if units["y"] == units["x"]:
        columns |= {"length": (np.hypot(dy, dx), units["y"]), "jump": (jumps(dy, dx, gap), "1")}
    return _labelled(ds, "link", columns, "displacements", {"axis": axis})


def mean_square_displacement(
    ds: xr.Dataset, *, max_lag: int | None = None, axis: str | int | None = None
) -> xr.Dataset:
    """Mean squared displacement over the time between two detections of an atom, free of drift.

    Parameters
    ----------
    ds
        Linked positions table.
    max_lag
        Longest lag in frames. None: a quarter of the movie, where most tracks still have many pairs.
    axis
        Navigation axis that is time. None: the last one.

    Returns
    -------
    xarray.Dataset
        Dim ``lag`` (frames), with the lag in units of the time axis beside it where that is uniform: ``msd_y``,
        ``msd_x``, and ``msd``, their sum, where y and x have the same units; ``*_std``, one sigma from the scatter
        between tracks; ``n_pairs``, ``n_tracks``. An error of the drift itself, common to all atoms, is not in these.

    Raises
    ------
    TableError
        If the table is not linked.
    InvalidArgumentError
        If ``max_lag`` is no number of frames.
    """
    from hs_deepatoms.atoms.motion import mean_square

    ds, movie, track = _linked(ds, axis)
    lags = _check_lag(max_lag, movie.n_frames)
    made = mean_square(track, movie.time, *drift_free(ds), lags)
    units = schema.axis_units(ds)
    columns: dict[str, tuple] = {
        "msd_y": (made.y, f"{units['y']}^2"),
        "msd_x": (made.x, f"{units['x']}^2"),
        "msd_y_std": (made.y_std, f"{units['y']}^2"),
        "msd_x_std": (made.x_std, f"{units['x']}^2"),
        "n_pairs": (made.n_pairs, "1"),
        "n_tracks": (made.n_tracks, "1"),
    }
    if units["y"] == units["x"]:
        columns |= {"msd": (made.y + made.x, f"{units['y']}^2"), "msd_std": (made.total_std, f"{units['y']}^2")}
    result = _labelled(ds, "lag", columns, "mean_square_displacement", {"max_lag": lags, "axis": axis})
    lag = np.arange(1, lags + 1)
    result = result.assign_coords(lag=("lag", lag, {"units": "1", "long_name": "frames"}))
    values, unit, name = _times(movie)
    if values.size > 1 and np.allclose(np.diff(values), values[1] - values[0], rtol=1e-6, atol=0):
        result = result.assign_coords({f"{name}_lag": ("lag", lag * (values[1] - values[0]), {"units": unit})})
    return result


def tracks(ds: xr.Dataset, *, axis: str | int | None = None) -> xr.Dataset:
    """One row per track.

    Parameters
    ----------
    ds
        Linked positions table.
    axis
        Navigation axis that is time. None: the last one.

    Returns
    -------
    xarray.Dataset
        Dim ``track``: ``first_frame`` and ``last_frame`` along the time axis, ``count`` of detections, ``missed``
        frames between the first and the last; free of drift: mean ``y``, ``x``, standard deviations ``y_rms``,
        ``x_rms``, and ``y_net``, ``x_net`` from the first detection to the last; ``<axis>_index`` of other navigation
        axes.

    Raises
    ------
    TableError
        If the table is not linked.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((2, 64, 64)), dims=("time", "y", "x"))
    >>> atoms = hs_deepatoms.positions([9, 40, 41], [9, 9, 9], signal=movie, frame=[0, 0, 1])
    >>> atoms.deepatoms.link(drift=False).deepatoms.tracks()["count"].values.tolist()
    [1, 2]
    """
    from hs_deepatoms.atoms.motion import summaries

    ds, movie, track = _linked(ds, axis)
    made = summaries(track, movie.time, *drift_free(ds))
    first, last = movie.time[made["first"]], movie.time[made["last"]]
    units = schema.axis_units(ds)
    columns: dict[str, tuple] = {
        "first_frame": (first, "1"),
        "last_frame": (last, "1"),
        "count": (made["count"], "1"),
        "missed": (last - first + 1 - made["count"], "1"),
    }
    columns |= {f"{name}{what}": (made[f"{name}{what}"], units[name]) for what in ("", "_rms", "_net") for name in "yx"}
    for number, column in enumerate(movie.grid.columns):
        if number != movie.axis:
            columns[f"{column}_index"] = (ds[f"{column}_index"].values[made["first"]], "1")
    result = _labelled(ds, "track", columns, "tracks", {"axis": axis})
    return result.assign_coords(track=("track", ds["track"].values[made["first"]].astype(np.int64)))


def transitions(ds: xr.Dataset, by: str = "species", *, axis: str | int | None = None) -> xr.Dataset:
    """How often atoms of one class are of the same or another class in the next frame.

    Parameters
    ----------
    ds
        Linked positions table.
    by
        Column of classes: integers, named or not.
    axis
        Navigation axis that is time. None: the last one.

    Returns
    -------
    xarray.Dataset
        Dims ``from``, ``to``: ``counts``, ``probability``, ``probability_std``; dim ``from``: ``stationary``, the
        distribution that the chain ends in (NaN where there is not exactly one), ``seen`` detections, and ``state``:
        whether atoms left it, stayed in it for good (absorbing, as far as was seen), were seen in it at the ends of
        tracks only (1 on the diagonal is then assumed, with an error of NaN), or never (row of NaN). Only steps from
        one frame to the very next are counted; attribute ``n_gaps``: those over missed frames, left out. See
        `hs_deepatoms.structure.transitions.markov_chain`.

    Raises
    ------
    TableError
        If the table is not linked, or there is no such column of classes.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> movie = xr.DataArray(np.zeros((3, 64, 64)), dims=("time", "y", "x"))
    >>> columns = {"species": ["C", "Si", "Si"]}
    >>> atoms = hs_deepatoms.positions([9, 9, 9], [9, 9, 9], signal=movie, frame=[0, 1, 2], columns=columns)
    >>> linked = atoms.deepatoms.link(max_step=3, drift=False)
    >>> linked.deepatoms.transitions()["probability"].sel({"from": "C", "to": "Si"}).item()
    1.0
    """
    from hs_deepatoms.atoms.motion import consecutive
    from hs_deepatoms.structure.transitions import markov_chain

    ds, movie, track = _linked(ds, axis)
    state, labels = _states(ds, by)
    first, second = consecutive(track, movie.time)
    known = (state[first] >= 0) & (state[second] >= 0)
    adjacent = movie.time[second] - movie.time[first] == 1
    used = known & adjacent
    seen = np.bincount(state[(state >= 0) & (track >= 0)], minlength=len(labels))
    chain = markov_chain(state[first][used], state[second][used], seen, len(labels))
    made = _chain_dataset(ds, chain, labels, seen)
    made.attrs |= {"by": by, "n_gaps": int((known & ~adjacent).sum())}
    return with_entry(made, "transitions", {"by": by, "axis": axis})


def _chain_dataset(ds: xr.Dataset, chain: Any, labels: np.ndarray, seen: np.ndarray) -> xr.Dataset:
    import xarray as xr

    from hs_deepatoms.structure.transitions import KINDS
    from hs_deepatoms.tables.categories import flag_attributes

    one, pair = {"units": "1"}, ("from", "to")
    return xr.Dataset(
        {
            "counts": (pair, chain.counts, one),
            "probability": (pair, chain.probability, {**one, "long_name": "probability per frame"}),
            "probability_std": (pair, chain.probability_std, one),
            "stationary": ("from", chain.stationary, one),
            "seen": ("from", seen, one),
            "state": ("from", chain.kind, flag_attributes(dict(enumerate(KINDS)))),
        },
        {"from": ("from", labels), "to": ("to", labels)},
        {name: ds.attrs[name] for name in ("metadata", "provenance") if name in ds.attrs},
    )


def _states(ds: xr.Dataset, by: str) -> tuple[np.ndarray, np.ndarray]:
    """State of every atom (n_atoms,), -1 where its class is unknown, and the labels of the states."""
    column = schema.check_column(ds, by)
    values = np.asarray(column.values)
    names = category_names(column.attrs)
    finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    if values.dtype.kind not in "iubf" or (values[finite] != np.rint(values[finite])).any():
        todo = "Choose a column of classes, such as species."
        raise TableError(explain(f"by={by!r}, a column of {values.dtype}", "classes: whole numbers", todo))
    whole = np.where(finite, values, -1).astype(np.int64)
    missing = [value for value, name in names.items() if name == UNKNOWN_NAME]
    finite &= ~np.isin(whole, missing)
    classes = sorted({*names, *np.unique(whole[finite]).tolist()} - set(missing))
    if not classes:
        return np.full(values.size, -1), np.empty(0, np.int64)
    state = np.where(finite, np.searchsorted(classes, whole), -1)
    labels = [names.get(value, str(value)) for value in classes] if names else classes
    return state, np.array(labels)


def _linked(ds: xr.Dataset, axis: str | int | None) -> tuple[xr.Dataset, Movie, np.ndarray]:
    ds = schema.dropna(ds)
    movie = read_movie(ds, axis)
    return ds, movie, check_tracks(ds, movie)


def _labelled(ds: xr.Dataset, dim: str, columns: dict[str, tuple], operation: str, parameters: dict) -> xr.Dataset:
    import xarray as xr

    attrs = {name: ds.attrs[name] for name in ("metadata", "provenance") if name in ds.attrs}
    variables = {name: (dim, values, {"units": units}) for name, (values, units) in columns.items()}
    return with_entry(xr.Dataset(variables, attrs=attrs), operation, parameters)


def _times(movie: Movie) -> tuple[np.ndarray, str, str]:
    if not movie.grid.columns:
        return np.empty(0), "1", "time"
    return (np.asarray(movie.grid.values[movie.axis]), movie.grid.units[movie.axis], movie.grid.columns[movie.axis])


def _check_lag(max_lag: Any, n_frames: int) -> int:
    longest = max(n_frames - 1, 0)
    if max_lag is None:
        return min(max(n_frames // 4, 1), longest)
    if not is_whole(max_lag, 1, longest):
        allowed = f"whole numbers from 1 to {longest}, one less than there are frames"
        raise InvalidArgumentError(explain(f"max_lag={max_lag!r}", allowed, "Leave it out for a quarter of the movie."))
    return int(max_lag)
