"""Jitter of the scan lines of every frame, from the frame and the columns fitted to it, in units of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.methods import images
from hs_deepatoms.methods.classify import FITTED
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.calibrate import local_scale
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.units import in_pixels

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.bridge.source import Source

FIT = ("height", "width_y", "width_x")
MEANING = {
    "": "scan jitter of one position along",
    "_std": "one-sigma uncertainty of the scan jitter along",
}


def jitter_columns(
    name: str,
    variance: np.ndarray,
    error: np.ndarray,
    factor: float,
    units: str,
    dims: Sequence[str],
    shape: Sequence[int],
) -> dict[str, tuple]:
    """Variables ``x``, ``x_std`` (or of y) over ``dims`` from variances and their errors in units of ``1 / factor``."""
    jitter = np.sqrt(np.maximum(variance, 0))
    # the root of a small variance has no symmetric error: up to where one sigma more of the variance would take it
    upwards = np.sqrt(np.maximum(variance, 0) + error) - jitter
    return {
        f"{name}{ending}": (
            dims,
            np.reshape(factor * values, shape),
            {"units": units, "long_name": f"{MEANING[ending]} {name}"},
        )
        for ending, values in (("", jitter), ("_std", upwards))
    }


def jitter_of_lines(ds: xr.Dataset, signal: Any) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Variables and coordinates of what the frames of ``signal`` say about their scan lines.

    Raises
    ------
    TableError
        If the table has no fitted columns, or the signal is not the one it was made from.
    """
    source = images.read_images(signal, operation="scan_jitter")
    grid, signal_axes = frame_grid(ds), schema.known_axes(ds, "scan_jitter(signal)")[1][-2:]
    _check(ds, source, (*grid.sizes, *(axis.size for axis in signal_axes)))
    found = np.array(_of_frames(ds, source)).T
    unit, axis = schema.axis_units(ds)["x"], signal_axes[1]
    factor = float(abs(local_scale(axis, np.array([(axis.size - 1) / 2]))[0]))
    made = jitter_columns("x", found[0], found[1], factor, unit, grid.columns, grid.sizes)
    line = factor * np.sqrt(np.maximum(found[2], 0)).reshape(grid.sizes)
    made["line_x"] = (grid.columns, line, {"units": unit, "long_name": "jitter of one scan line along x"})
    navigation = zip(grid.columns, grid.values, grid.units, strict=True)
    return made, {column: (column, values, {"units": unit}) for column, values, unit in navigation}


def _of_frames(ds: xr.Dataset, source: Source) -> list:
    """Of every frame, in pixels."""
    from hs_deepatoms.atoms.scan_lines import line_jitter

    pixels = in_pixels(ds)
    names = ("y", "x", *FIT, *(["rotation"] if "rotation" in ds else []))
    columns = [np.asarray(pixels[name].values, float) for name in names]
    fitted = np.asarray(ds["quality"].values) == FITTED if "quality" in ds else np.ones(ds.sizes[schema.DIM], bool)
    frame = frame_of(ds)
    order = np.argsort(frame, kind="stable")
    n_frames = int(np.prod(source.data.shape[:-2], dtype=int))
    found = []
    for number, rows in enumerate(np.split(order, np.searchsorted(frame[order], np.arange(1, n_frames)))):
        image = np.asarray(images.frame_of(source, number))
        found.append(line_jitter(image, *(one[rows] for one in columns), use=fitted[rows]))
    return found


def _check(ds: xr.Dataset, source: Source, shape: tuple[int, ...]) -> None:
    missing = [name for name in FIT if name not in ds]
    if missing:
        found = f"a table without {missing}"
        raise TableError(explain(found, "fitted columns", "Find the atoms with refine='quick' or 'full'."))
    if tuple(source.data.shape) != shape:
        found = f"a signal of shape {tuple(source.data.shape)} with a table of {shape}"
        raise TableError(explain(found, "the signal the atoms were found in", "Give that one."))
