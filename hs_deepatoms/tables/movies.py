"""A table of a stack as movies: which navigation axis is time, and the tracks of its atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import FrameGrid, frame_grid, frame_of

if TYPE_CHECKING:
    import xarray as xr


NO_TRACK = -1
"""Of an atom that came into the table after its atoms were linked."""


@dataclass(frozen=True)
class Movie:
    """The atoms of a table, by frame along the time axis and by what lies on the other navigation axes."""

    grid: FrameGrid
    axis: int
    """Which navigation axis is time; -1 for a single image."""
    time: np.ndarray
    group: np.ndarray
    y: np.ndarray
    x: np.ndarray
    """In one unit, ``units``; a step of 1 is ``factors`` (y, x) in the units of the table."""
    units: str
    factors: tuple[float, float]
    extent: tuple[float, float, float, float] | None

    @property
    def n_frames(self) -> int:
        return self.grid.sizes[self.axis] if self.grid.columns else 1

    @property
    def n_groups(self) -> int:
        return self.grid.n_frames // max(self.n_frames, 1)

    def rows_of_groups(self) -> list[np.ndarray]:
        """Rows of the table in each group of frames that are one movie, in the order of the table."""
        order = np.argsort(self.group, kind="stable")
        return np.split(order, np.searchsorted(self.group[order], np.arange(1, max(self.n_groups, 1))))


def read_movie(ds: xr.Dataset, axis: str | int | None = None) -> Movie:
    """The table as a movie along ``axis``; None: the last navigation axis.

    Raises
    ------
    TableError
        If positions along y and x cannot be compared: other units, and no pixels.
    InvalidArgumentError
        If there is no such axis.
    """
    grid = frame_grid(ds)
    number = _axis_number(axis, grid)
    indices = list(np.unravel_index(frame_of(ds, grid), grid.sizes)) if grid.columns else []
    time = indices.pop(number) if indices else np.zeros(ds.sizes[schema.DIM], np.int64)
    others = tuple(size for i, size in enumerate(grid.sizes) if i != number)
    group = np.ravel_multi_index(indices, others) if indices else np.zeros(time.size, np.int64)
    return Movie(grid, number, time, group, *_comparable(ds))


def check_tracks(ds: xr.Dataset, movie: Movie) -> np.ndarray:
    """Track (n_atoms,) of every atom, different on different movies; -1 for atoms added after linking.

    Raises
    ------
    TableError
        If the table was not linked, or a track has two atoms in one frame (joined tables).
    """
    todo = "Link the atoms: atoms = atoms.deepatoms.link()."
    if "track" not in ds.variables:
        raise TableError(explain("a table without the column 'track'", "a linked table", todo))
    label = _track_numbers(ds)
    several = movie.group * (label.max(initial=0) + 1) + label
    track = np.where(label >= 0, several, NO_TRACK)
    used = track >= 0
    places = np.stack([track[used], movie.time[used]])
    if np.unique(places, axis=1).shape[1] != places.shape[1]:
        raise TableError(explain("tracks with two atoms in one frame", "one atom per track and frame", todo))
    return track


def separate_tracks(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """The same tables with track numbers that mean the same in all of them.

    Parts of one linked table keep theirs; those of tables linked apart are moved behind those of the parts before. In
    tables that were not linked, where others are, no atom has a track.
    """
    if not any("track" in part.variables for part in parts):
        return list(parts)
    numbers = [_track_numbers(part) for part in parts]
    runs = [_linked_by(part, place) for place, part in enumerate(parts)]
    offsets, following = {}, 0
    for run in dict.fromkeys(runs):
        offsets[run] = following
        own = [one for one, other in zip(numbers, runs, strict=True) if other == run]
        following += max(int(one.max(initial=-1)) for one in own) + 1
    made = []
    for part, track, run in zip(parts, numbers, runs, strict=True):
        attributes = schema.column_attributes("track", schema.axis_units(part))
        track = np.where(track >= 0, track + offsets[run], NO_TRACK)
        made.append(part.assign_coords(track=(schema.DIM, track, attributes)))
    return made


def _track_numbers(ds: xr.Dataset) -> np.ndarray:
    if "track" not in ds.variables:
        return np.full(ds.sizes[schema.DIM], NO_TRACK, np.int64)
    values = np.asarray(ds["track"].values, float)
    return np.where(np.isfinite(values), values, NO_TRACK).astype(np.int64)


def _linked_by(ds: xr.Dataset, place: int) -> str:
    """The record of the call of `link` that the tracks come from."""
    entries = schema.read_json(ds.attrs, "provenance", [])
    linked = [str(entry) for entry in entries if entry.get("operation") == "link"]
    return linked[-1] if linked else f"table {place}"


def drift_free(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """y and x without the drift that `link` measured, in the units of the table."""
    made = []
    for name in schema.COORDINATES:
        values = np.asarray(ds[name].values, float)
        column = f"drift_{name}"
        made.append(values - np.asarray(ds[column].values, float) if column in ds.variables else values)
    return made[0], made[1]


def movie_length(length: int | float | str, ds: xr.Dataset, movie: Movie, name: str) -> float:
    """A length in the units of ``movie``: pixels of the last axis (int), axis units (float) or text with its unit.

    Raises
    ------
    InvalidArgumentError
        If it cannot be read or is not above 0; ``name`` is what the message calls it.
    TableError
        If it is in pixels and the table does not know them.
    """
    from hs_deepatoms.bridge.axes import Axis
    from hs_deepatoms.bridge.lengths import read_length

    known = schema.stored_axes(ds)
    if known is None and isinstance(length, int | np.integer) and movie.units != "px":
        schema.known_axes(ds, f"{name}={length!r} in pixels")
    axis = known[1][-1] if known is not None else Axis(name="x", size=1, units=movie.units)
    made = read_length(length, axis) * (1.0 if movie.units == "px" else axis.step)
    if not made > 0:
        todo = "Leave it out for a length that follows the data."
        raise InvalidArgumentError(explain(f"{name}={length!r}", "a length above 0", todo))
    return made


def _axis_number(axis: str | int | None, grid: FrameGrid) -> int:
    number = len(grid.columns)
    if axis is None:
        return number - 1
    if isinstance(axis, str) and axis in grid.columns:
        return grid.columns.index(axis)
    whole = is_whole(axis, -np.inf)
    if whole and -number <= axis < number:
        return int(axis) % number
    allowed = f"one of {list(grid.columns)} or its number" if number else "None: the table is of a single image"
    raise InvalidArgumentError(explain(f"axis={axis!r}", allowed, "Leave it out for the last navigation axis."))


def _comparable(ds: xr.Dataset) -> tuple:
    """Positions in one unit, that unit, factors to the units of the table, and the field of view."""
    units = schema.axis_units(ds)
    known = schema.stored_axes(ds)
    if same_units(units["y"], units["x"]):
        extent = None
        if known is not None:
            ends = [np.asarray(axis.to_value(np.array([-0.5, axis.size - 0.5])), float) for axis in known[1][-2:]]
            extent = tuple(float(end) for pair in ends for end in np.sort(pair))
        y, x = (np.asarray(ds[name].values, float) for name in schema.COORDINATES)
        return y, x, units["y"], (1.0, 1.0), extent
    _, signal = schema.known_axes(ds, f"lengths across y in {units['y']} and x in {units['x']}")
    axes = signal[-2:]
    y, x = (
        np.asarray(axis.to_index(ds[name].values), float) for name, axis in zip(schema.COORDINATES, axes, strict=True)
    )
    factors = tuple(float(axis.to_value(1.0) - axis.to_value(0.0)) for axis in axes)
    return y, x, "px", factors, (-0.5, axes[0].size - 0.5, -0.5, axes[1].size - 0.5)
