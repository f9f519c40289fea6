"""What is given to the patch verbs (image and positions, image and grid, or patches) as one set of patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.choices import yes_or_no
from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError, TableError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.lengths import read_length, unit_factor
from hs_deepatoms.bridge.patches import is_patches, notes_of, table_of, window_axes
from hs_deepatoms.bridge.source import Source, read_source
from hs_deepatoms.patches.cut import Cutting, cut_patches
from hs_deepatoms.patches.normalise import NORMALISATIONS
from hs_deepatoms.patches.windows import CENTRINGS, EDGES, grid_nodes, whole_centres, windows_fit
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

SPACINGS = 2.0  # typical distances between atoms that a window of no given size measures


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches with the table of what is in their middle.

    Attributes
    ----------
    data : numpy or dask array, shape (channels, n, h, w)
    table : xarray.Dataset
        One row per patch; a positions table unless the patches were not cut by us.
    axes : (Axis, Axis)
        y and x of a patch, 0 in its middle.
    channel : Axis or None
        None where there is one channel without an axis.
    source : Source
        The image, or the stack of patches.
    spectral : bool
        Whether the channels are the signal axis of a spectrum image.
    nodes : tuple
        Per image axis the centres in pixels, for patches on a grid, else empty.
    notes : dict
        How they were cut and what was dropped.
    recut : callable, optional
        Patches (channels, n, h, w) about the same places of another height and width, not normalised; beyond the rim
        the image is mirrored.
    """

    data: np.ndarray | da.Array
    table: xr.Dataset
    axes: tuple[Axis, Axis]
    channel: Axis | None
    source: Source
    spectral: bool = False
    nodes: tuple = ()
    notes: dict = field(default_factory=dict)
    recut: Callable[[tuple[int, int]], Any] | None = None


@dataclass(frozen=True)
class Request:
    """The keyword arguments of `extract_patches`, as the user gave them."""

    window: Any = None
    grid: Any = None
    channels: str | None = None
    centring: str | None = None
    edge: str = "drop"
    normalisation: str | None = None
    signal_dims: Any = None
    lazy_output: bool | None = None


@dataclass(frozen=True, eq=False)
class _Images:
    """The image as (channels, frames, ny, nx)."""

    data: Any
    axes: tuple[Axis, Axis]
    navigation: tuple[Axis, ...]
    channel: Axis | None
    source: Source
    spectral: bool


def read_patch_set(signal: Any, atoms: Any, request: Request, *, operation: str, spectra: bool = False) -> PatchSet:
    """Cut patches, or take those that are there.

    Raises
    ------
    InvalidArgumentError, InvalidAxesError, InvalidImageError, TableError
        Named errors for whatever does not fit.
    """
    if is_patches(signal):
        return _ready_made(signal, atoms, request, operation)
    _check(request)
    images = _read_images(signal, request, operation, spectra)
    shape, request = _window(images, atoms, request, operation)
    centring = request.centring or ("integer" if atoms is None else "subpixel")
    cutting = Cutting(shape, centring, request.edge, request.normalisation)
    table, nodes = _rows(images, atoms, request, shape, operation)
    table, place, dropped = _kept(images, table, cutting)
    lazy = yes_or_no("lazy_output", request.lazy_output, images.source.lazy)
    data = cut_patches(images.data, *place, cutting, lazy=lazy)
    notes = {"window_px": list(shape), "centring": centring, "edge": request.edge, "dropped": dropped,
             "normalisation": request.normalisation,
             "grid": None if request.grid is None else str(request.grid)}  # fmt: skip
    edge = "reflect" if request.edge == "drop" else request.edge

    def recut(size: tuple[int, int]):
        return cut_patches(images.data, *place, Cutting(size, centring, edge), lazy=lazy)

    return PatchSet(data, table, window_axes(images.axes, shape), images.channel, images.source, images.spectral,
                    () if dropped else nodes, notes, recut)  # fmt: skip


def load_rows(found: PatchSet, start: int, stop: int) -> np.ndarray:
    """Patches (channels, stop - start, h, w) in memory."""
    part = found.data[:, start:stop]
    return part.compute() if hasattr(part, "dask") else part


def _check(request: Request) -> None:
    choices = {"edge": EDGES, "centring": (None, *CENTRINGS), "normalisation": (None, *NORMALISATIONS)}
    for name, allowed in choices.items():
        value = getattr(request, name)
        if not isinstance(value, str | None) or value not in allowed:
            message = explain(f"{name}={value!r}", ", ".join(map(repr, allowed)), "Choose one of these.")
            raise InvalidArgumentError(message)


def _read_images(signal: Any, request: Request, operation: str, spectra: bool) -> _Images:
    source = read_source(signal, signal_dims=request.signal_dims, n_signal=None if spectra else 2, operation=operation)
    if len(source.signal) not in (1, 2) or source.data.dtype.kind not in "buif":
        got = f"{len(source.signal)} signal dimensions of {source.data.dtype} for {operation}"
        todo = "Convert the data, or name the signal's dimensions with signal_dims."
        raise InvalidImageError(explain(got, "images or spectra of real numbers", todo))
    axes, data = list(source.axes), source.data
    if 0 in data.shape:
        raise InvalidImageError(explain(f"data of shape {data.shape} for {operation}", "data that is not empty",
                                        "Check how it was sliced or read."))  # fmt: skip
    spectral = len(source.signal) == 1
    if spectral and len(source.navigation) < 2:
        todo = "Give a spectrum image: two navigation axes and one of energy."
        raise InvalidAxesError(explain(f"spectra over {len(source.navigation)} navigation axes for {operation}",
                                       "at least 2", todo))  # fmt: skip
    if spectral and request.channels is not None:
        got = f"channels={request.channels!r} for spectra"
        raise InvalidArgumentError(explain(got, "None: the energies are the channels", "Leave it out."))
    first = len(axes) - 1 if spectral else _channel_place(source, request.channels, operation)
    channel = None
    if first is not None:
        channel = axes.pop(first)
        data = data.transpose(first, *(i for i in range(len(axes) + 1) if i != first))
    else:
        data = data[None]
    navigation, (y, x) = tuple(axes[:-2]), axes[-2:]
    data = data.reshape((data.shape[0], math.prod(axis.size for axis in navigation), y.size, x.size))
    return _Images(data, (y, x), navigation, channel, source, spectral)


def _channel_place(source: Source, channels: str | None, operation: str) -> int | None:
    if channels is None:
        return None
    names = [axis.name for axis in source.navigation]
    if channels not in names:
        allowed = f"a navigation axis: {', '.join(map(repr, names)) or 'there is none'}"
        raise InvalidAxesError(explain(f"channels={channels!r} for {operation}", allowed, "Choose one of these."))
    return names.index(channels)


def _window(images: _Images, atoms: Any, request: Request, operation: str) -> tuple[tuple[int, int], Request]:
    """Height and width in pixels."""
    window = request.window
    if window is None and (atoms is None or images.spectral):
        todo = 'Give window, for example window="1.2 nm" or window=(16, 16) in pixels.'
        if images.spectral:
            todo = "Give window=(h, w), pixels of the map; window=(1, 1) takes each spectrum by itself."
        raise InvalidArgumentError(explain(f"window=None for {operation}", "a length, or two (along y and x)", todo))
    if window is None:
        window = _spacing_window(_positions(atoms), images)
    pair = _pair("window", window)
    shape = tuple(round(read_length(one, axis)) for one, axis in zip(pair, images.axes, strict=True))
    sizes = tuple(axis.size for axis in images.axes)
    if min(shape) < 1 or shape[0] > sizes[0] or shape[1] > sizes[1]:
        got = f"a window of {shape[0]} x {shape[1]} pixels (y, x; window={window!r})"
        raise InvalidArgumentError(explain(got, f"1 x 1 to the image's {sizes[0]} x {sizes[1]} pixels",
                                           "Give another window."))  # fmt: skip
    if images.spectral and atoms is None and request.grid is None:
        request = replace(request, grid=shape)
    return shape, request


def _pair(name: str, given: Any) -> tuple:
    """Lengths along y and x, of one for both or two."""
    pair = tuple(given) if isinstance(given, tuple | list | np.ndarray) and np.ndim(given) else (given, given)
    if len(pair) != 2:
        raise InvalidArgumentError(explain(f"{name}={given!r}", "a length, or two (along y and x)", "Give two."))
    return pair


def _spacing_window(table: xr.Dataset, images: _Images) -> int:
    from hs_deepatoms.tables.frames import frame_of
    from hs_deepatoms.tables.neighbours import nearest

    table = schema.dropna(table)
    n = table.sizes[schema.DIM]
    distance = nearest(*_pixels(table, images.axes), frame_of(table))[0][:, 0] if n > 1 else np.empty(0)
    distance = distance[np.isfinite(distance) & (distance > 0)]
    if not distance.size:
        got = f"window=None with {n} atoms"
        raise InvalidArgumentError(explain(got, "at least two atoms, whose distance sets it", "Give window."))
    side = 2 * round(SPACINGS * float(np.median(distance)) / 2) + 1
    return min(side, *(axis.size for axis in images.axes))


def _positions(atoms: Any) -> xr.Dataset:
    table = schema.check_table(atoms)
    if schema.DIM not in table.coords:
        table = table.assign_coords({schema.DIM: np.arange(table.sizes[schema.DIM])})
    ids = table[schema.DIM].values
    if np.unique(ids).size < ids.size:
        todo = "Use hs_deepatoms.concat to join tables."
        raise TableError(explain("a table in which ids occur twice", "ids that are all different", todo))
    return table


def _pixels(table: xr.Dataset, axes: tuple[Axis, Axis]) -> tuple[np.ndarray, np.ndarray]:
    units = schema.axis_units(table)
    values = (np.asarray(table[name].values, float) * unit_factor(units[name], axis.units)
              for name, axis in zip("yx", axes, strict=True))  # fmt: skip
    y, x = (np.asarray(axis.to_index(one), float) for axis, one in zip(axes, values, strict=True))
    return y, x


def _rows(images: _Images, atoms: Any, request: Request, shape, operation: str) -> tuple[xr.Dataset, tuple]:
    """The table of what the patches lie around, and the nodes of a grid."""
    if (atoms is None) == (request.grid is None):
        got = f"{'neither atoms nor grid' if atoms is None else 'atoms and a grid'} for {operation}"
        todo = 'Give the table of find_atoms, or grid="0.5 nm" for patches at every step.'
        raise InvalidArgumentError(explain(got, "one of them", todo))
    if atoms is None:
        return _grid_table(images, request, shape)
    table = _positions(atoms)
    from hs_deepatoms.tables.frames import frame_grid

    sizes, expected = frame_grid(table).sizes, tuple(axis.size for axis in images.navigation)
    if sizes != expected:
        got = f"a table of frames {sizes or '(one image)'} for images over {expected or 'no navigation axes'}"
        todo = "Find the atoms in these images, or name the axis of their channels with channels."
        raise TableError(explain(got, "the same navigation axes", todo))
    return table, ()


def _grid_table(images: _Images, request: Request, shape) -> tuple[xr.Dataset, tuple]:
    from hs_deepatoms.tables.build import build_table

    pair = _pair("grid", request.grid)
    steps = [read_length(one, axis) for one, axis in zip(pair, images.axes, strict=True)]
    if min(steps) <= 0:
        raise InvalidArgumentError(explain(f"grid={request.grid!r}", "a step above 0", "Give a longer step."))
    nodes = tuple(grid_nodes(size, axis.size, step, edge=request.edge)
                  for size, axis, step in zip(shape, images.axes, steps, strict=True))  # fmt: skip
    frames = np.arange(math.prod(axis.size for axis in images.navigation))
    frame, y, x = (one.ravel() for one in np.meshgrid(frames, *nodes, indexing="ij"))
    source = images.source
    signal = tuple(replace(axis, navigate=False) for axis in images.axes)
    table = build_table(y, x, frame=frame, navigation=images.navigation, signal=signal, metadata=source.metadata,
                        provenance=source.provenance, kind="grid", owned=True)  # fmt: skip
    return table, nodes


def _kept(images: _Images, table: xr.Dataset, cutting: Cutting):
    """The rows that have a patch, by frame and row-major, their (frame, y, x), and the ids of the others by reason."""
    from hs_deepatoms.tables.frames import frame_of

    there = schema.valid(table)
    fits = np.ones(there.size, bool)
    y, x = _pixels(table, images.axes)
    y0, x0 = np.nan_to_num(y), np.nan_to_num(x)
    for place, size, axis in zip((y0, x0), cutting.shape, images.axes, strict=True):
        if cutting.edge == "drop":
            fits &= windows_fit(place, size, axis.size, centring=cutting.centring)
        else:
            fits &= (place >= -0.5) & (place <= axis.size - 0.5)
    ids = table[schema.DIM].values
    reasons = {"no position": ~there, "edge" if cutting.edge == "drop" else "outside": there & ~fits}
    dropped = {reason: ids[which].tolist() for reason, which in reasons.items() if which.any()}
    keep = np.flatnonzero(there & fits)
    _report(dropped, ids.size, keep.size, cutting)
    table, y, x = table.isel({schema.DIM: keep}), y[keep], x[keep]
    frame = frame_of(table)
    order = np.lexsort((x, y, frame))
    if not (order == np.arange(order.size)).all():
        table, frame, y, x = table.isel({schema.DIM: order}), frame[order], y[order], x[order]
    return _with_offsets(table, y, x, cutting), (frame, y, x), dropped


def _report(dropped: Mapping[str, list], n: int, kept: int, cutting: Cutting) -> None:
    counts = ", ".join(f"{len(ids)} ({reason})" for reason, ids in dropped.items())
    if not kept:
        got = f"no patch: of {n} positions {counts or 'none'} dropped"
        todo = 'Give a smaller window, or edge="reflect" or edge="mask".' if n else "Give a table with atoms."
        raise InvalidArgumentError(explain(got, "at least one", todo))
    if dropped:
        message = f"{n - kept} of {n} positions have no patch: {counts}; their ids are in .dropped"
        warn_user(message)


def _with_offsets(table: xr.Dataset, y, x, cutting: Cutting) -> xr.Dataset:
    """Where the position lies from the middle of a patch of whole pixels: what an rVAE calls its shift."""
    if cutting.centring != "integer":
        return table
    columns = {}
    for name, place, size in zip("yx", (y, x), cutting.shape, strict=True):
        attrs = {"units": "px", "long_name": f"position from the middle of the patch along {name}"}
        columns[f"patch_offset_{name}"] = (schema.DIM, place - whole_centres(place, size), attrs)
    return table.assign(columns)


def _ready_made(patches: Any, atoms: Any, request: Request, operation: str) -> PatchSet:
    given = [name for name in ("window", "grid", "channels", "centring") if getattr(request, name) is not None]
    given += ["atoms"] if atoms is not None else []
    if given or request.edge != "drop":
        got = f"patches for {operation}, and {', '.join(given) or 'edge'}"
        raise InvalidArgumentError(explain(got, "patches as they are", "Leave these out, or give the image."))
    _check(request)
    if not hasattr(patches, "axes_manager"):
        from hs_deepatoms.bridge.patches import DIM, WINDOW_DIMS

        rest = [dim for dim in patches.dims if dim not in (DIM, *WINDOW_DIMS)]
        patches = patches.transpose(*rest, DIM, *WINDOW_DIMS)
    source = read_source(patches, n_signal=2, operation=operation)
    if len(source.navigation) > 2 or 0 in source.data.shape:
        got = f"patches of shape {source.data.shape} for {operation}"
        raise InvalidAxesError(explain(got, "(channels,) atoms, h, w, none of them 0", "Reshape the stack."))
    data = source.data
    data = data.reshape((*(1,) * (4 - data.ndim), *data.shape))
    if request.normalisation is not None:
        data = normalised(data, request.normalisation)
    channel = source.navigation[0] if len(source.navigation) == 2 else None
    y, x = source.signal
    axes = (replace(y, name="y"), replace(x, name="x"))
    notes = notes_of(patches)
    notes["normalisation"] = request.normalisation or notes.get("normalisation")
    return PatchSet(data, table_of(patches), axes, channel, source, notes=notes)


def normalised(data: Any, how: str) -> Any:
    """Patches (channels, n, h, w), each on one scale; lazy ones stay lazy."""
    from hs_deepatoms.patches.normalise import normalise

    dtype = np.float64 if data.dtype == np.float64 else np.float32
    if hasattr(data, "dask"):
        data = data.rechunk({2: -1, 3: -1})
        return data.map_blocks(lambda block: normalise(block.astype(dtype), how), dtype=dtype)
    return normalise(data.astype(dtype), how)
