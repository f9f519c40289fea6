"""Which frame every atom belongs to, and how many frames there are, also for tables that lost their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class FrameGrid:
    """The navigation dims of a table, slowest first."""

    columns: tuple[str, ...]
    sizes: tuple[int, ...]
    values: tuple[np.ndarray, ...]
    units: tuple[str, ...]

    @property
    def n_frames(self) -> int:
        return int(np.prod(self.sizes, dtype=np.int64))


def frame_grid(ds: xr.Dataset) -> FrameGrid:
    """Navigation grid of the source; where the table does not know it, the smallest one that holds its atoms."""
    from hs_deepatoms.bridge.axes import Axis

    entries = [entry for entry in schema.axis_entries(ds) if entry.get("navigate")]
    if entries:
        axes = [Axis.from_dict(entry) for entry in entries]
        columns = schema.navigation_columns([axis.name for axis in axes])
        return FrameGrid(
            tuple(columns),
            tuple(axis.size for axis in axes),
            tuple(np.asarray(axis.coordinates()) for axis in axes),
            tuple(axis.units for axis in axes),
        )
    return _observed_grid(ds)


def frame_of(ds: xr.Dataset, grid: FrameGrid | None = None) -> np.ndarray:
    """Flattened frame (n_atoms,) of every atom, C order over the navigation dims; zeros without navigation.

    Raises
    ------
    TableError
        If an index column is missing, has gaps, or lies outside the source's axes.
    """
    grid = frame_grid(ds) if grid is None else grid
    if not grid.columns:
        return np.zeros(ds.sizes.get(schema.DIM, 0), np.int64)
    indices = [_index(ds, column, size) for column, size in zip(grid.columns, grid.sizes, strict=True)]
    return np.ravel_multi_index(indices, grid.sizes).astype(np.int64)


def read_frames(frames: int | slice | Sequence[int] | Mapping, grid: FrameGrid) -> np.ndarray:
    """Boolean (n_frames,): which frames ``frames`` names. A mapping names them per navigation axis.

    Raises
    ------
    TableError
        If a frame or an axis is not there.
    """
    numbers = np.arange(grid.n_frames).reshape(grid.sizes)
    if isinstance(frames, Mapping):
        unknown = sorted(map(str, set(frames) - set(grid.columns)))
        if unknown:
            raise TableError(explain(f"frames along {unknown}", f"{list(grid.columns)}", "Choose one of these."))
        picked: list = [np.arange(size) for size in grid.sizes]
        for axis, (column, size) in enumerate(zip(grid.columns, grid.sizes, strict=True)):
            if column in frames:
                picked[axis] = _take(np.arange(size), frames[column], column)
        chosen = numbers[np.ix_(*picked)] if picked else numbers
    else:
        chosen = _take(numbers.ravel(), frames, "frames")
    keep = np.zeros(grid.n_frames, bool)
    keep[np.ravel(chosen)] = True
    return keep


def _take(values: np.ndarray, wanted, name: str) -> np.ndarray:
    try:
        return np.atleast_1d(values[wanted if isinstance(wanted, slice) else np.asarray(wanted)])
    except (IndexError, TypeError) as error:
        allowed = f"0 to {values.size - 1}, a slice, or a list of these"
        raise TableError(explain(f"{name}={wanted!r}", allowed, "Choose frames that exist.")) from error


def _index(ds: xr.Dataset, column: str, size: int) -> np.ndarray:
    name = f"{column}_index"
    found = np.asarray(schema.check_column(ds, name).values)
    rounded = np.rint(found)
    if found.size and not (np.isfinite(found).all() and rounded.min() >= 0 and rounded.max() < size):
        message = explain(
            f"{name} from {found.min()} to {found.max()}",
            f"whole numbers from 0 to {size - 1}, the frames of the source",
            "Rebuild the table with hs_deepatoms.positions(table, signal=image).",
        )
        raise TableError(message)
    return rounded.astype(np.int64)


def _observed_grid(ds: xr.Dataset) -> FrameGrid:
    columns, sizes, values, units = [], [], [], []
    for name in schema.per_atom(ds):
        column = name.removesuffix("_index")
        if column == name or column not in ds.variables or name not in ds.coords:
            continue
        index = np.asarray(ds.variables[name].values)
        size = int(np.nanmax(index)) + 1 if index.size else 0
        positions = np.arange(size, dtype=float)
        if index.size:
            first = np.unique(np.rint(index).astype(np.int64), return_index=True)
            positions = np.full(size, np.nan)
            positions[first[0]] = np.asarray(ds[column].values, float)[first[1]]
        columns.append(column)
        sizes.append(size)
        values.append(positions)
        units.append(str(ds[column].attrs.get("units") or "px"))
    return FrameGrid(tuple(columns), tuple(sizes), tuple(values), tuple(units))
