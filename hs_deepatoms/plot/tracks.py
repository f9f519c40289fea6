"""Pictures of tracks: the path of every atom, coloured by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms.plot.markers import positions_for
from hs_deepatoms.plot.overlay import plot_image
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.movies import Movie, check_tracks, drift_free, read_movie

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr


def plot_tracks(
    ds: xr.Dataset,
    image: Any = None,
    ax: matplotlib.axes.Axes | None = None,
    *,
    frame: int = 0,
    drift: bool = False,
    axis: str | int | None = None,
    cmap: str = "cool",
    linewidth: float = 1.2,
) -> matplotlib.axes.Axes:
    """The paths of the atoms, coloured by time, on the picture of one frame if there is one.

    Parameters
    ----------
    ds
        Linked positions table.
    image
        The stack the atoms were found in, or one frame of it: HyperSpy signal, DataArray or array. None: paths alone.
    ax
        Where to draw. None: a new figure.
    frame
        Flattened frame drawn below; the paths are those of its movie, where the atoms would be in this frame.
    drift
        True: paths as they were seen, drift included. False: without the drift that `link` measured.
    axis
        Navigation axis that is time. None: the last one.
    cmap
        Name of a matplotlib colour map.
    linewidth
        In points.

    Raises
    ------
    TableError
        If the table is not linked, or there is no such frame.
    InvalidArgumentError
        If there is no such colour map.
    """
    import matplotlib as mpl
    from matplotlib.collections import LineCollection

    if cmap not in mpl.colormaps:
        raise InvalidArgumentError(explain(f"cmap={cmap!r}", "a matplotlib colour map", "For example cmap='viridis'."))
    ds = schema.dropna(ds)
    movie = read_movie(ds, axis)
    track = check_tracks(ds, movie)
    ax = plot_image(ds, image, ax, frame=frame)
    paths, times = _paths(ds, image, movie, track, frame, drift)
    values, label = _time_axis(movie)
    norm = mpl.colors.Normalize(values[0], values[-1] if values[-1] != values[0] else values[0] + 1)
    lines = LineCollection(paths, cmap=cmap, norm=norm, linewidths=linewidth, capstyle="round", zorder=3)
    lines.set_array(values[times])
    ax.add_collection(lines)
    if image is None and schema.stored_axes(ds) is None:
        ax.autoscale_view()
    ax.figure.colorbar(lines, ax=ax, label=label)
    return ax


def _paths(
    ds: xr.Dataset, image: Any, movie: Movie, track: np.ndarray, frame: int, drift: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Line pieces (n_links, 2, 2) as (x, y), and the frame each of them leads to."""
    order = np.lexsort((movie.time, track))
    first, second = order[:-1], order[1:]
    group, time = _place_of(frame, movie)
    joined = (track[first] == track[second]) & (track[first] >= 0) & (movie.group[first] == group)
    first, second = first[joined], second[joined]
    seen = ds if drift else _as_in_frame(ds, movie, group, time)
    points = np.stack(positions_for(seen, image)[::-1], axis=1)
    return np.stack([points[first], points[second]], axis=1), movie.time[second]


def _place_of(frame: int, movie: Movie) -> tuple[int, int]:
    """Group and time of a flattened frame."""
    if not is_whole(frame, 0, movie.grid.n_frames - 1):
        allowed = f"0 to {movie.grid.n_frames - 1}"
        raise TableError(explain(f"frame={frame!r}", allowed, "Choose a frame that exists."))
    if not movie.grid.columns:
        return 0, 0
    index = [int(one) for one in np.unravel_index(frame, movie.grid.sizes)]
    time = index.pop(movie.axis)
    others = [size for number, size in enumerate(movie.grid.sizes) if number != movie.axis]
    return (int(np.ravel_multi_index(index, others)) if others else 0), time


def _as_in_frame(ds: xr.Dataset, movie: Movie, group: int, time: int) -> xr.Dataset:
    """Positions with the drift of one frame: of the nearest that holds atoms, as the table knows only theirs."""
    rows = np.flatnonzero(movie.group == group)
    if not rows.size or "drift_y" not in ds.variables or "drift_x" not in ds.variables:
        return ds
    row = rows[np.abs(movie.time[rows] - time).argmin()]
    known, made = schema.stored_axes(ds), ds.copy()
    for place, (name, free) in enumerate(zip(schema.COORDINATES, drift_free(ds), strict=True)):
        values = free + ds[f"drift_{name}"].values[row]
        made[name] = ds[name].variable.copy(data=values)
        if f"{name}_px" in ds.variables:
            pixels = known[1][-2:][place].to_index(values) if known is not None else values
            made[f"{name}_px"] = ds[f"{name}_px"].variable.copy(data=np.asarray(pixels, float))
    return made


def _time_axis(movie: Movie) -> tuple[np.ndarray, str]:
    if not movie.grid.columns:
        return np.zeros(1), "frame"
    values, units = np.asarray(movie.grid.values[movie.axis], float), movie.grid.units[movie.axis]
    if not np.isfinite(values).all():
        return np.arange(values.size, dtype=float), "frame"
    name = movie.grid.columns[movie.axis]
    return values, f"{name} ({units})" if units != "px" else f"{name} (frames)"
