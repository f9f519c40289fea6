"""A table as HyperSpy markers, which follow the navigation of the signal they are added to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidImageError, TableError, explain
from hs_deepatoms.bridge.axes import UNCALIBRATED, Axis
from hs_deepatoms.plot.style import COLOR, check_color, marker_size, species_colors, typical_spacing
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
        If the frames of the table and of the signal do not match, or it is no image of these atoms.
    InvalidArgumentError
        If the size or the colour cannot be read.
    """
    ds = schema.dropna(ds)
    y, x = positions_for(ds, signal)
    frames = None if signal is None else signal_frames(ds, signal)
    if signal is None and frame_grid(ds).columns:
        frames = np.arange(frame_grid(ds).n_frames).reshape(frame_grid(ds).sizes)
    check_color(color)
    colors = species_colors(ds) if color is None else None
    size = _diameter(ds, signal, y, x, size)
    per_atom = {"offsets": np.stack([x, y], axis=1)}
    if colors is not None:
        from matplotlib.colors import to_rgba_array

        per_atom["edgecolors"] = to_rgba_array(colors[0].tolist()).reshape(-1, 4)
    arguments = {name: _by_frame(values, frame_of(ds), frames) for name, values in per_atom.items()}
    arguments.setdefault("edgecolors", COLOR if color is None else color)
    return points(arguments["offsets"], size=size, edgecolors=arguments["edgecolors"])


def points(offsets: np.ndarray, *, size: float, edgecolors: str | np.ndarray) -> plot.markers.Points:
    """Open circles of ``size`` points at (x, y) ``offsets`` (n, 2), or an object array of such per frame."""
    return _points_class()(offsets=offsets, sizes=size, facecolors="none", linewidths=1.0, edgecolors=edgecolors)


@lru_cache(maxsize=1)
def _points_class() -> type:
    from hyperspy.api import plot

    class Points(plot.markers.Points):  # HyperSpy saves and reads markers by the name of their class
        """Points that leave the limits to the image: an atom just outside would add a strip of nothing to it."""

        def plot(self, render_figure: bool = True) -> None:
            self.ax.autoscale(False)  # HyperSpy does so where it draws a scale bar, but not else
            super().plot(render_figure)

    return Points


def plot_on_signal(
    ds: xr.Dataset, signal: BaseSignal, *, size: float | None = None, color: str | None = None
) -> matplotlib.axes.Axes:
    """HyperSpy's own plot of ``signal`` with the atoms as markers; returns the axes of the image."""
    markers = to_markers(ds, signal, size=size, color=color)
    return show(signal, markers)


def show(signal: BaseSignal, markers: plot.markers.Points) -> matplotlib.axes.Axes:
    """Plot ``signal`` unless it is open already, add ``markers``, return the axes of the image."""
    if signal.data.dtype.kind == "c":
        todo = "Plot its amplitude or phase: signal.amplitude, signal.phase."
        raise InvalidImageError(explain(f"complex images ({signal.data.dtype}) for plot", "real numbers", todo))
    if not is_open(signal):
        signal.plot()
    signal.add_marker(markers)
    return signal._plot.signal_plot.ax


def is_open(signal: BaseSignal) -> bool:
    """Whether the image of HyperSpy's plot of ``signal`` can be seen.

    HyperSpy takes a plot for active whose figure was closed without an event, as by Jupyter's inline backend after
    every cell and by ``plt.close``.
    """
    import matplotlib.pyplot as plt

    plot = signal._plot
    if plot is None or not plot.is_active or plot.signal_plot is None:
        return False
    figure = plot.signal_plot.get_mpl_figure()
    number = getattr(figure, "number", None)  # none: it was never pyplot's, but embedded by somebody
    return figure is not None and (number is None or (plt.fignum_exists(number) and plt.figure(number) is figure))


def positions_for(ds: xr.Dataset, signal: Any) -> tuple[np.ndarray, np.ndarray]:
    """``y`` and ``x`` (n_atoms,) in the units of the signal's axes.

    Raises
    ------
    TableError
        If the signal is neither the image of the table nor a part of it.
    """
    if signal is None:
        return np.asarray(ds["y"].values, float), np.asarray(ds["x"].values, float)
    axes, stored = signal_axes(signal), schema.stored_axes(ds)
    known = (None, None) if stored is None else stored[1][-2:]
    _check_same_image(known, axes)
    y, x = (_in_units_of(axis, ds, name, own) for name, axis, own in zip(("y", "x"), axes, known, strict=True))
    return y, x


def _in_units_of(axis: Axis, ds: xr.Dataset, name: str, own: Axis | None) -> np.ndarray:
    values, units = np.asarray(ds[name].values, float), schema.axis_units(ds)[name]
    if axis.units == units:
        return values
    if not {axis.units, units} & UNCALIBRATED:
        from hs_deepatoms.bridge.lengths import unit_factor

        return values * unit_factor(units, axis.units)
    if own is not None and own.size != axis.size and {axis.units, units} <= UNCALIBRATED:
        return values  # a part of an image that was never calibrated: its axes count the pixels of the whole
    if f"{name}_px" in ds.variables:
        return np.asarray(axis.to_value(ds[f"{name}_px"].values))  # calibrated after the atoms were found
    raise TableError(explain(f"{name} in {units} on an image in {axis.units}", f"a column {name}_px, or the same units",
                             "Rebuild the table with hs_deepatoms.positions(table, signal=image)."))  # fmt: skip


def _check_same_image(known: Sequence[Axis | None], axes: Sequence[Axis]) -> None:
    for own, axis in zip(known, axes, strict=True):
        if own is None or own.size == axis.size or _is_part(own, axis):
            continue
        sizes = [" x ".join(str(one.size) for one in both) for both in (axes, known)]
        allowed = f"the image of these atoms, {sizes[1]} px, or a part of it that says where it lies (calibrated)"
        raise TableError(explain(f"an image of {sizes[0]} px", allowed, "Give the image they were found in."))


def _is_part(own: Axis, axis: Axis) -> bool:
    """Whether an axis of another size says that it is a part of the table's own."""
    if axis.units == own.units == "px":
        return False  # pixels of two images are not pixels of one
    ends = axis.coordinates()[[0, -1]]
    if axis.units != own.units and not {axis.units, own.units} <= UNCALIBRATED:
        from hs_deepatoms.bridge.lengths import unit_factor

        if {axis.units, own.units} & UNCALIBRATED:
            return False
        ends = ends * unit_factor(axis.units, own.units)
    index = own.to_index(ends)
    return bool(index.min() > -1 and index.max() < own.size)


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


def signal_axes(signal: Any) -> tuple[Axis, Axis]:
    """The image's y and x axes."""
    from hs_deepatoms.bridge.source import read_source

    y_axis, x_axis = read_source(signal, operation="plot").signal[-2:]
    return y_axis, x_axis


def _diameter(ds: xr.Dataset, signal: Any, y: np.ndarray, x: np.ndarray, size: float | None) -> float:
    """In points, on HyperSpy's plot, whose pixels are squares whatever the axes are."""
    stored = schema.stored_axes(ds)
    axes = signal_axes(signal) if signal is not None else None if stored is None else stored[1][-2:]
    if axes is not None:
        y, x = axes[0].to_index(y), axes[1].to_index(x)
    extent = max(axis.size for axis in axes) if axes else max(np.ptp(y), np.ptp(x)) if y.size else 0
    return marker_size(typical_spacing(y, x, frame_of(ds)), SCREEN_POINTS / extent if extent else 1.0, size)
