"""Objects of all frames: label images and one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.bridge.results import write_like
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods.images import frame_of
from hs_deepatoms.tables.build import build_table

LENGTHS = ("perimeter", "diameter", "major_axis", "minor_axis", "length")


def measured(
    source: Source, maps: np.ndarray, classes: Sequence[str], entry: dict, *, find: Callable, measure: Callable
) -> tuple[np.ndarray, xr.Dataset]:
    """Label images (k, ..., h, w) and the table of all objects.

    ``maps`` are probabilities of one class, in the images' shape, or of several, with their axis in front.
    ``find(probability)`` labels the objects of a frame, ``measure(labels, image, spacing)`` gives their columns.
    """
    shape = source.data.shape
    flat = maps.reshape(len(classes), -1, *shape[-2:])
    labels, parts = np.zeros(flat.shape, np.int32), []
    spacing = tuple(axis.step for axis in source.signal[-2:])
    for k, frames in enumerate(flat):
        for frame, probability in enumerate(frames):
            labels[k, frame] = find(probability)
            found = measure(labels[k, frame], np.asarray(frame_of(source, frame), float), spacing)
            n = len(found["y_px"])
            parts.append({**found, "frame": np.full(n, frame), "species": np.full(n, k)})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return labels.reshape(len(classes), *shape), _table(source, columns, classes, entry)


def _table(source: Source, columns: dict[str, np.ndarray], classes: Sequence[str], entry: dict) -> xr.Dataset:
    y, x = source.signal[-2:]
    units = {name: y.units for name in LENGTHS if name in columns}
    if "area" in columns:
        units["area"] = f"{y.units}^2" if same_units(y.units, x.units) else f"{y.units} {x.units}"
    y_px, x_px, frame = (columns.pop(name) for name in ("y_px", "x_px", "frame"))
    names = {"species": dict(enumerate(classes))}
    if len(classes) == 1:
        columns.pop("species")
        names = {}
    table = build_table(y_px, x_px, frame=frame, columns=columns, navigation=source.navigation, signal=source.signal,
                        metadata=source.metadata, provenance=[*source.provenance, entry], kind="objects", names=names,
                        units=units)  # fmt: skip
    if "rotation" in table:  # a column of atoms, too, where it is that of a fitted peak
        table["rotation"].attrs["long_name"] = "direction of the long axis, from +x towards +y"
    return table


def write_labels(source: Source, labels: np.ndarray, classes: Sequence[str], entry: dict, what: str) -> Any:
    """Label images in the kind that went in."""
    title = f"{what} of {source.title}" if source.title else what
    one = len(classes) == 1
    return write_like(source, labels[0] if one else labels, title=title, provenance=[*source.provenance, entry],
                      leading=() if one else (("class", list(classes)),), lazy_output=False)  # fmt: skip
