"""Samples for an autoencoder: patches of images, or every frame of a stack, or every spectrum, as they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError, explain
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.patches import is_patches, window_axes
from hs_deepatoms.bridge.source import Source, read_source
from hs_deepatoms.methods.patch_set import PatchSet, Request, normalised, read_patch_set
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import xarray as xr


def read_samples(signal: Any, atoms: Any, request: Request, *, operation: str, spectra: bool) -> PatchSet:
    """Patches around atoms or nodes; with neither, every frame (or spectrum) of a stack.

    Raises
    ------
    InvalidArgumentError, InvalidAxesError, InvalidImageError, TableError
        Named errors for whatever does not fit.
    """
    if is_patches(signal) or atoms is not None or request.grid is not None:
        return read_patch_set(signal, atoms, request, operation=operation, spectra=False)
    n_signal = None if spectra else 2
    source = read_source(signal, signal_dims=request.signal_dims, n_signal=n_signal, operation=operation)
    _check(source, request, operation)
    return _frames(source, request)


def grid_layout(found: PatchSet) -> np.ndarray:
    """Frame, row and column (n, 3) of patches that are the nodes of a grid.

    Raises
    ------
    InvalidArgumentError
        If they are not.
    """
    layout = layout_of(found.table)
    if layout is None:
        got = f"{found.table.sizes[schema.DIM]} patches that are not on a grid, with physics"
        todo = "Give grid instead of atoms, or a stack whose navigation axes are the grid."
        raise InvalidArgumentError(explain(got, "patches on a grid", todo))
    return layout


def layout_of(table: xr.Dataset) -> np.ndarray | None:
    """Frame, row and column (n, 3) of the rows of a table; None where they are not on a grid."""
    from hs_deepatoms.tables.frames import frame_of

    n = table.sizes[schema.DIM]
    if not n or not {"y_px", "x_px"} <= set(table.variables):
        return None
    row, column = (np.unique(np.round(table[name].values, 3), return_inverse=True)[1] for name in ("y_px", "x_px"))
    layout = np.stack([frame_of(table), row, column], 1)
    return layout if np.prod(layout.max(0) + 1) <= 2 * n else None  # nodes may be missing, but not most of them


def _check(source: Source, request: Request, operation: str) -> None:
    if len(source.signal) not in (1, 2) or source.data.dtype.kind not in "buif" or 0 in source.data.shape:
        got = f"data of shape {source.data.shape} and {source.data.dtype} for {operation}"
        raise InvalidImageError(explain(got, "images or spectra of real numbers, not empty", "Convert the data."))
    if not source.navigation:
        got = f"one {'image' if len(source.signal) == 2 else 'spectrum'} with neither atoms nor grid for {operation}"
        todo = 'Give the table of find_atoms, or grid="0.5 nm" for patches at every step.'
        raise InvalidAxesError(explain(got, "atoms, a grid, or a stack", todo))
    given = [name for name in ("window", "channels", "centring") if getattr(request, name) is not None]
    if given or request.edge != "drop":
        got = f"{', '.join(given) or 'edge'} with neither atoms nor grid for {operation}"
        todo = "Give atoms or grid as well; or leave these out, and every frame of the stack is a patch."
        raise InvalidArgumentError(explain(got, "atoms, or a grid", todo))


def _frames(source: Source, request: Request) -> PatchSet:
    """Every frame as a patch, in a table over the navigation axes."""
    shape = tuple(axis.size for axis in source.signal)
    shape = (1, *shape) if len(shape) == 1 else shape
    n = math.prod(axis.size for axis in source.navigation)
    data = source.data.reshape((1, n, *shape))
    if request.normalisation is not None:
        data = normalised(data, request.normalisation)
    if len(source.signal) == 2:
        axes = window_axes(source.signal, shape)
    else:
        energy = replace(source.signal[0], name="x", navigate=False)
        axes = (Axis(name="y", size=1), energy)
    notes = {"normalisation": request.normalisation, "frames": True}
    return PatchSet(data, _scan_table(source, n), axes, None, source, notes=notes)


def _scan_table(source: Source, n: int):
    """The place of every frame; a positions table where there are two navigation axes or more."""
    import xarray as xr

    from hs_deepatoms.tables.build import build_table

    navigation = source.navigation
    if len(navigation) < 2:
        axis = navigation[0]
        place = {axis.name: (schema.DIM, axis.coordinates(), {"units": axis.units})}
        return xr.Dataset(coords={schema.DIM: np.arange(n), **({} if axis.name == schema.DIM else place)})
    signal = tuple(replace(axis, navigate=False) for axis in navigation[-2:])
    frames = math.prod(axis.size for axis in navigation[:-2])
    frame, y, x = (one.ravel() for one in np.indices((frames, *(axis.size for axis in signal))))
    return build_table(y.astype(float), x.astype(float), frame=frame, navigation=navigation[:-2], signal=signal,
                       metadata=source.metadata, provenance=source.provenance, kind="grid", owned=True)  # fmt: skip
