"""Pictures of atoms on their image, with matplotlib and without touching the user's backend."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms.bridge.checks import check_numbers
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.plot.markers import positions_for
from hs_deepatoms.plot.style import COLOR, check_color, legend_beside, marker_size, species_colors, typical_spacing
from hs_deepatoms.plot.vectors import draw_arrows, draw_ellipses
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.storage import written_beside

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr

    from hs_deepatoms.bridge.axes import Axis

MAX_PIXELS = 2048
"""Longer images are averaged down to this before they are drawn."""


def plot_positions(
    ds: xr.Dataset,
    image: Any = None,
    ax: matplotlib.axes.Axes | None = None,
    *,
    frame: int = 0,
    size: float | None = None,
    color: str | None = None,
    arrows: str | None = None,
    ellipses: bool = False,
    scale: float | None = None,
) -> matplotlib.axes.Axes:
    """The atoms of one frame, on its image if there is one, in calibrated units.

    Parameters
    ----------
    ds
        Positions table.
    image
        HyperSpy signal, DataArray or array, a stack or a single frame. None: the atoms alone.
    ax
        Where to draw. None: a new figure.
    frame
        Flattened frame.
    size
        Diameter of a marker in points. None: a third of the distance between atoms.
    color
        Any matplotlib colour. None: by species, else red.
    arrows
        ``"displacement"`` or ``"off_centring"``: arrows of these columns, magnified, with a key.
    ellipses
        One-sigma ellipses of the positions, magnified as the legend says.
    scale
        Magnification of arrows and ellipses. None: what can be seen.

    Raises
    ------
    TableError
        If there is no such frame, the image is not that of the atoms, or the columns to draw are missing.
    InvalidArgumentError
        If the frame, the size or the colour cannot be read.
    """
    ds = schema.dropna(ds)
    ax, atoms, y, x, factors = _prepared(ds, image, ax, frame)
    _draw_atoms(ax, atoms, y, x, size, color)
    if arrows is not None:
        draw_arrows(ax, atoms, y, x, arrows, factors, scale)
    if ellipses:
        draw_ellipses(ax, atoms, y, x, factors, scale)
    return ax


def plot_image(ds: xr.Dataset, image: Any, ax: matplotlib.axes.Axes | None, *, frame: int) -> matplotlib.axes.Axes:
    """What `plot_positions` draws below the atoms: the picture of a frame, if there is one, and calibrated axes."""
    return _prepared(schema.dropna(ds), image, ax, frame)[0]


def _prepared(ds: xr.Dataset, image: Any, ax: matplotlib.axes.Axes | None, frame: int) -> tuple:
    """Axes with the frame's picture, its atoms, where they are on it, and its units per unit of theirs."""
    if image is not None:
        from hs_deepatoms.bridge.source import read_source

        source = read_source(image, operation="plot")
        check_numbers(source, "plot")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="compressed")[1]
    elif not all(hasattr(ax, name) for name in ("imshow", "set_xlim")):
        got = f"ax of type {type(ax).__name__}"
        raise InvalidArgumentError(explain(got, "matplotlib axes", "For example ax=plt.subplots()[1]."))
    if image is not None:
        atoms = _one_frame(ds, frame, int(np.prod(source.data.shape[:-2], dtype=int)))
        axes = source.signal[-2:]
        y, x = positions_for(atoms, image)
        _draw_image(ax, _frame_data(source, frame), axes)
    else:
        atoms = _one_frame(ds, frame)
        known = schema.stored_axes(ds)
        axes = known[1][-2:] if known else None
        y, x = positions_for(atoms, None)
    _frame_axes(ax, axes, ds)
    return ax, atoms, y, x, _factors(axes, ds)


def _factors(axes: Sequence[Axis] | None, ds: xr.Dataset) -> tuple[float, float]:
    """Units of the picture per unit of the table along y and x."""
    from hs_deepatoms.bridge.axes import UNCALIBRATED
    from hs_deepatoms.bridge.lengths import unit_factor

    made = []
    for axis, units in zip(axes or (None, None), schema.axis_units(ds).values(), strict=True):
        if axis is None or axis.units == units:
            made.append(1.0)
        elif {axis.units, units} & UNCALIBRATED:  # calibrated after the atoms were found
            made.append(float(axis.to_value(1.0) - axis.to_value(0.0)))
        else:
            made.append(unit_factor(units, axis.units))
    return made[0], made[1]


def save_overlay(ds: xr.Dataset, source: Any, path: str | os.PathLike, *, frames: Sequence[int] | None = None) -> Path:
    """Write a PNG of the atoms drawn on their image.

    Parameters
    ----------
    ds
        Positions table.
    source
        The image or stack: HyperSpy signal, DataArray or array, lazy or not; only the frames drawn are read.
    path
        File to write; an existing one is replaced.
    frames
        Flattened frames to draw. None: the image, or four frames spread over a stack.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hs_deepatoms.bridge.source import read_source

    read = read_source(source, operation="plot")
    n_frames = int(np.prod(read.data.shape[:-2], dtype=int))
    if frames is None:
        frames = np.unique(np.linspace(0, n_frames - 1, min(n_frames, 4)).round().astype(int)).tolist()
    rows, columns = _grid(len(frames))
    figure = Figure(figsize=_figure_size(read.signal[-2:], rows, columns), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for place, frame in enumerate(frames):
        ax = figure.add_subplot(rows, columns, place + 1)
        plot_positions(ds, source, ax, frame=frame)
        ax.set_title(_title(ds, read, frame, n_frames), fontsize="medium")
    if len(frames) < n_frames:
        figure.suptitle(f"{len(frames)} of {n_frames} frames")
    path = Path(path)
    with written_beside(path) as temporary:
        canvas.print_figure(temporary, format="png", dpi=150)
    return path


def _one_frame(ds: xr.Dataset, frame: int, n_images: int = 1) -> xr.Dataset:
    """The atoms of a frame; those of a single image are the same on every one of ``n_images``."""
    grid = frame_grid(ds)
    if isinstance(frame, bool) or not isinstance(frame, int | np.integer):
        todo = "Give the number of the frame, counted over all navigation axes."
        raise InvalidArgumentError(explain(f"frame={frame!r}", f"a whole number, 0 to {grid.n_frames - 1}", todo))
    n_frames = grid.n_frames if grid.columns else n_images
    if not 0 <= frame < n_frames:
        raise TableError(explain(f"frame={frame}", f"0 to {n_frames - 1}", "Choose a frame that exists."))
    return ds if not grid.columns else ds.isel({schema.DIM: frame_of(ds, grid) == frame})


def _frame_data(source: Any, frame: int) -> np.ndarray:
    sizes = source.data.shape[:-2]
    n_frames = int(np.prod(sizes, dtype=int))
    if n_frames == 1:
        frame = 0  # a single frame of the table's stack
    if not 0 <= frame < n_frames:
        raise TableError(explain(f"frame={frame}", f"0 to {n_frames - 1}", "Choose a frame that exists."))
    data = source.data[np.unravel_index(frame, sizes)] if sizes else source.data
    return _shrunk(data)


def _shrunk(data: Any) -> np.ndarray:
    """Means over square blocks of pixels: picking every n-th pixel would turn a lattice into moire."""
    factor = int(np.ceil(max(data.shape) / MAX_PIXELS))
    if factor == 1:
        return _in_memory(data)
    rows, columns = (size // factor * factor for size in data.shape)
    if hasattr(data, "compute"):
        import dask.array as da

        return da.coarsen(np.mean, data[:rows, :columns].astype(np.float32), {0: factor, 1: factor}).compute()
    blocks = np.asarray(data[:rows, :columns])
    return blocks.reshape(rows // factor, factor, columns // factor, factor).mean(axis=(1, 3), dtype=np.float32)


def _in_memory(data: Any) -> np.ndarray:
    return np.asarray(data.compute() if hasattr(data, "compute") else data)


def _draw_image(ax: matplotlib.axes.Axes, data: np.ndarray, axes: Sequence[Axis]) -> None:
    data = np.asarray(data, np.float64 if data.dtype.itemsize > 4 else np.float32)
    finite = data[np.isfinite(data)]
    low, high = np.percentile(finite, (0.5, 99.8)) if finite.size else (0.0, 1.0)
    # a shrunk image covers whole blocks only, so its edges come from how many source pixels each of its own stands for
    edges = [_edges(axis, size) for axis, size in zip(axes, data.shape, strict=True)]
    style = {"cmap": "gray", "vmin": low, "vmax": high}
    if all(axis.values is None for axis in axes):
        extent = (edges[1][0], edges[1][-1], edges[0][-1], edges[0][0])
        ax.imshow(data, extent=extent, origin="upper", interpolation="antialiased", **style)
    else:
        ax.pcolormesh(edges[1], edges[0], data, **style)


def _edges(axis: Axis, size: int) -> np.ndarray:
    factor = max(axis.size // size, 1)
    return np.asarray(axis.to_value(np.arange(size + 1) * factor - 0.5), float)


def _frame_axes(ax: matplotlib.axes.Axes, axes: Sequence[Axis] | None, ds: xr.Dataset) -> None:
    units = schema.axis_units(ds)
    names = {name: str(ds[name].attrs.get("long_name") or name) for name in ("y", "x")}
    if axes is not None:
        limits = [np.asarray(axis.to_value(np.array([-0.5, axis.size - 0.5])), float) for axis in axes]
        ax.set_ylim(limits[0][1], limits[0][0])
        ax.set_xlim(*limits[1])
        units = {"y": axes[0].units, "x": axes[1].units}
        names = {"y": axes[0].name, "x": axes[1].name}
    elif not ax.yaxis_inverted():
        ax.invert_yaxis()
    ax.set_aspect(_aspect(axes, units))
    ax.set_xlabel(f"{names['x']} ({units['x']})")
    ax.set_ylabel(f"{names['y']} ({units['y']})")


def _aspect(axes: Sequence[Axis] | None, units: dict[str, str]) -> float | str:
    """A unit is as long on y as on x; where they measure different things, a pixel is a square."""
    if units["y"] == units["x"]:
        return "equal"
    return axes[1].step / axes[0].step if axes is not None else "auto"


def _draw_atoms(ax, atoms: xr.Dataset, y: np.ndarray, x: np.ndarray, size: float | None, color: str | None) -> None:
    check_color(color)
    colors = species_colors(atoms) if color is None else None
    aspect = ax.get_aspect()
    y_scale = 1.0 if isinstance(aspect, str) else float(aspect)  # in units of x
    diameter = marker_size(typical_spacing(y * y_scale, x), _points_per_unit(ax, y_scale), size)
    edge = colors[0].tolist() if colors is not None and y.size else (color or COLOR)
    width = 1.0 if diameter > 4 else 0.6
    ax.scatter(x, y, s=diameter**2, facecolors="none", edgecolors=edge, linewidths=width, zorder=3)
    if colors is not None:
        for name, one in colors[1].items():
            ax.scatter([], [], s=30, facecolors="none", edgecolors=one, label=name)
        legend_beside(ax)


def _points_per_unit(ax: matplotlib.axes.Axes, y_scale: float) -> float:
    box = ax.get_window_extent()
    points = 72 / ax.figure.dpi
    spans = [abs(np.subtract(*ax.get_xlim())), abs(np.subtract(*ax.get_ylim())) * y_scale]
    scales = [length * points / span for length, span in zip((box.width, box.height), spans, strict=True) if span]
    return min(scales, default=1.0)


def _grid(number: int) -> tuple[int, int]:
    columns = int(np.ceil(np.sqrt(number)))
    return int(np.ceil(number / columns)), columns


def _figure_size(axes: Sequence[Axis], rows: int, columns: int) -> tuple[float, float]:
    heights = [axis.size * (axis.step if same_units(axes[0].units, axes[1].units) else 1.0) for axis in axes]
    ratio = float(np.clip(heights[0] / heights[1], 0.2, 5.0)) * rows / columns
    longest = 8.0
    width, height = (longest, longest * ratio) if ratio <= 1 else (longest / ratio, longest)
    return max(width, 3.0) + 0.8, max(height, 2.0) + 0.8


def _title(ds: xr.Dataset, read: Any, frame: int, n_frames: int) -> str:
    number = _one_frame(schema.dropna(ds), frame, n_frames).sizes[schema.DIM]
    name = " ".join((read.title or "").split())
    parts = [name[:60]] if name and n_frames == 1 else []
    parts += [f"frame {frame}"] if n_frames > 1 else []
    return ", ".join([*parts, f"{number} atom{'' if number == 1 else 's'}"])
