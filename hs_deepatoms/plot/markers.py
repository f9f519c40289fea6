"""A table as HyperSpy markers, which follow the navigation of the signal they are added to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.plot.style import COLOR, marker_size, species_colors, typical_spacing
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import FrameGrid, frame_grid, frame_of

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr
    from hyperspy.api import plot
    from hyperspy.signal import BaseSignal

SCREEN_POINTS = 350.0
"""About how many points wide HyperSpy's plot is, for markers made before there is a figure."""


def to_markers(
    ds: xr.Dataset, signal: BaseSignal | None = None, *, size: float | None = None, color: str | None = None
) -> plot.markers.Points:
    """HyperSpy ``Points`` markers at the calibrated (x, y) of the atoms.

    Parameters
    ----------
    signal
        The signal they will be added to, where it is not the one the atoms were found in: frames are matched by their
        calibrated navigation positions, and units are converted. None: the frames of the table.
    size
        Diameter in points. None: a third of the distance between atoms.
    color
        Any matplotlib colour. None: by species, else red.

    Raises
    ------
    TableError
        If the frames of the table and of the signal do not match.
    """
    ds = schema.dropna(ds)
    y, x = positions_for(ds, signal)
    frames = None if signal is None else signal_frames(ds, signal)
    if signal is None and frame_grid(ds).columns:
        frames = np.arange(frame_grid(ds).n_frames).reshape(frame_grid(ds).sizes)
    colors = species_colors(ds) if color is None else None
    size = marker_size(typical_spacing(ds, frame_of(ds)), _points_per_unit(ds), size)
    per_atom = {"offsets": np.stack([x, y], axis=1)}
    if colors is not None:
        from matplotlib.colors import to_rgba_array

        per_atom["edgecolors"] = to_rgba_array(colors[0].tolist()).reshape(-1, 4)
    arguments = {name: _by_frame(values, frame_of(ds), frames) for name, values in per_atom.items()}
    arguments.setdefault("edgecolors", COLOR if color is None else color)
    return points(arguments["offsets"], size=size, edgecolors=arguments["edgecolors"])


def points(offsets: np.ndarray, *, size: float, edgecolors: str | np.ndarray) -> plot.markers.Points:
    """Open circles of ``size`` points at (x, y) ``offsets`` (n, 2), or an object array of such per frame."""
    from hyperspy.api import plot

    return plot.markers.Points(offsets=offsets, sizes=size, facecolors="none", linewidths=1.0, edgecolors=edgecolors)


def plot_on_signal(
    ds: xr.Dataset, signal: BaseSignal, *, size: float | None = None, color: str | None = None
) -> matplotlib.axes.Axes:
    """HyperSpy's own plot of ``signal`` with the atoms as markers; returns the axes of the image."""
    markers = to_markers(ds, signal, size=size, color=color)
    return show(signal, markers)


def show(signal: BaseSignal, markers: plot.markers.Points) -> matplotlib.axes.Axes:
    """Plot ``signal`` unless it is open already, add ``markers``, return the axes of the image."""
    if signal._plot is None or not signal._plot.is_active:
        signal.plot()
    signal.add_marker(markers)
    return signal._plot.signal_plot.ax


def positions_for(ds: xr.Dataset, signal: Any) -> tuple[np.ndarray, np.ndarray]:
    """``y`` and ``x`` (n_atoms,) in the units of the signal's axes."""
    positions = []
    for name, axis in zip(("y", "x"), _signal_axes(signal), strict=True):
        values, units = np.asarray(ds[name].values, float), schema.axis_units(ds)[name]
        if axis is not None and axis.units != units:
            if "px" in (axis.units, units) and f"{name}_px" in ds.variables:
                values = np.asarray(axis.to_value(ds[f"{name}_px"].values))  # calibrated after the atoms were found
            else:
                from hs_deepatoms.bridge.lengths import unit_factor

                values = values * unit_factor(units, axis.units)
        positions.append(values)
    return positions[0], positions[1]


def signal_frames(ds: xr.Dataset, signal: BaseSignal) -> np.ndarray | None:
    """Which frame of the table every frame of ``signal`` is, shape of its navigation dims; None: all show the same.

    Raises
    ------
    TableError
        If they do not match.
    """
    from hs_deepatoms.bridge.source import read_source

    navigation = read_source(signal, operation="plot").navigation
    grid = frame_grid(ds)
    if not grid.columns:
        return None
    if not navigation:
        if np.unique(frame_of(ds, grid)).size > 1:
            raise TableError(_mismatch(grid, navigation, "Choose the frame first: table.deepatoms.select(frames=0)."))
        return None
    if len(navigation) != len(grid.columns):
        raise TableError(_mismatch(grid, navigation, "Plot the stack the atoms were found in, or a part of it."))
    indices = [_matched(*one, grid, navigation) for one in zip(grid.values, grid.sizes, navigation, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*indices, indexing="ij"), grid.sizes)


def _matched(values: np.ndarray, size: int, axis, grid: FrameGrid, navigation) -> np.ndarray:
    """Index in the table's axis of every position of the signal's axis."""
    if axis.size == size:
        return np.arange(size)
    wanted = np.asarray(axis.coordinates(), float)
    distance = np.abs(wanted[:, None] - np.asarray(values, float)[None])
    index = np.argmin(distance, axis=1)
    step = np.min(np.abs(np.diff(values))) if size > 1 else 1.0
    if axis.size > size or (distance[np.arange(wanted.size), index] > 0.25 * step).any():
        raise TableError(_mismatch(grid, navigation, "Plot the stack the atoms were found in, or a part of it."))
    return index


def _mismatch(grid: FrameGrid, navigation, todo: str) -> str:
    theirs = {axis.name: axis.size for axis in navigation} or "a single image"
    ours = dict(zip(grid.columns, grid.sizes, strict=True))
    return explain(f"a signal with frames {theirs}", f"the frames of the table, {ours}", todo)


def _by_frame(values: np.ndarray, frame: np.ndarray, frames: np.ndarray | None) -> np.ndarray:
    """``values`` (n_atoms, k) as they are, or as an object array over HyperSpy's navigation shape (fastest first)."""
    if frames is None:
        return values
    order = np.argsort(frame, kind="stable")
    numbers = frames.ravel()
    first = np.searchsorted(frame[order], numbers, side="left")
    last = np.searchsorted(frame[order], numbers, side="right")
    parts = np.empty(frames.size, object)
    for i, (start, stop) in enumerate(zip(first, last, strict=True)):
        parts[i] = values[order[start:stop]]
    return parts.reshape(frames.shape).T


def _signal_axes(signal: Any) -> tuple:
    if signal is None:
        return None, None
    from hs_deepatoms.bridge.source import read_source

    return tuple(read_source(signal, operation="plot").signal[-2:])


def _points_per_unit(ds: xr.Dataset) -> float:
    axes = schema.stored_axes(ds)
    extent = max((axis.size * axis.step for axis in axes[1][-2:]), default=0.0) if axes else 0.0
    if not extent and ds.sizes["atom"]:
        extent = max(np.ptp(ds["y"].values), np.ptp(ds["x"].values))
    return SCREEN_POINTS / extent if extent else 1.0
