"""Labels of all kinds, read window by window: label images, and positions tables that are drawn on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from hs_deepatoms._core.errors import InvalidArgumentError, LabelError, explain
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.lengths import read_length, unit_factor
from hs_deepatoms.bridge.source import Source, read_source
from hs_deepatoms.simulate.masks import disc_classes, gaussian_shares
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.schema import axis_units, dropna, is_table

SHAPES = ("disc", "gaussian")
WIDTHS = 1.5  # default radius of an atom in column sigmas
SPACING = 0.25  # and in distances of neighbours, where no width is known

Radius = int | float | str | Mapping[str, int | float | str]


class Labels(Protocol):
    """Labels of one source of images."""

    exclusive: bool

    def read(self, frame: int, rows: slice, columns: slice) -> np.ndarray:
        """Classes (h, w), int64, -1 where not labelled; or shares (k, h, w), float32."""

    def any(self, frame: int, rows: slice, columns: slice) -> bool:
        """Whether any of these pixels is labelled, background included."""


@dataclass(frozen=True)
class LabelImages:
    """Label images of the same frames as the images; lazy ones are read window by window."""

    data: Any
    exclusive: bool

    def read(self, frame: int, rows: slice, columns: slice) -> np.ndarray:
        leading = self.data.shape[: -2 if self.exclusive else -3]
        part = self.data[np.unravel_index(frame, leading)] if leading else self.data
        return np.asarray(part[..., rows, columns]).astype(np.int64 if self.exclusive else np.float32)

    def any(self, frame: int, rows: slice, columns: slice) -> bool:
        return bool((self.read(frame, rows, columns) >= 0).any())


@dataclass(frozen=True)
class TableLabels:
    """Positions of atoms, drawn as discs or Gaussians when a window is read; the table stays as it is."""

    frame: np.ndarray
    y: np.ndarray
    x: np.ndarray
    label: np.ndarray
    radius: np.ndarray
    n_classes: int
    exclusive: bool

    def read(self, frame: int, rows: slice, columns: slice) -> np.ndarray:
        reach = 3 * self.radius.max(initial=0.0) + 1
        here = (self.frame == frame) & (self.y > rows.start - reach) & (self.y < rows.stop + reach)
        here &= (self.x > columns.start - reach) & (self.x < columns.stop + reach)
        what = (self.y[here] - rows.start, self.x[here] - columns.start, self.label[here], self.radius[here])
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return disc_classes(shape, *what) if self.exclusive else gaussian_shares(shape, *what, self.n_classes)

    def any(self, frame: int, rows: slice, columns: slice) -> bool:
        return True  # where a table has no atom there is background


def read_labels(
    labels: Any, source: Source, classes: Sequence[str], *, radius: Radius | None = None, shape: str = "disc"
) -> Labels:
    """Labels of one source, checked against its images and the classes.

    Parameters
    ----------
    labels : positions table, array, signal or DataArray
        A table (dim ``atom``; classes by ``species``, all one class without). Or label images: whole numbers of the
        images' shape, 0 the background, 1, 2, ... the classes, -1 not labelled; or shares of every class between 0 and
        1, with an axis of the classes before y and x. May be lazy.
    source : Source
    classes : sequence of str
    radius : int, float, str, or mapping of these by class, optional
        Of an atom's disc: pixels, axis units, or text with a unit. By default 1.5 times the fitted column width where
        the table knows it, else a quarter of the distance of neighbours.
    shape : {"disc", "gaussian"}
        Gaussians are shares of independent classes; they are 1/2 at the radius.

    Raises
    ------
    LabelError
        Labels of another shape, of unknown classes, or that never are 0.
    InvalidArgumentError
        A shape or radius that cannot be read.
    """
    if shape not in SHAPES:
        raise InvalidArgumentError(explain(f"shape={shape!r}", "'disc' or 'gaussian'", "Choose one of these."))
    if isinstance(labels, xr.Dataset) and is_table(labels):
        return _table_labels(labels, source, list(classes), radius, shape)
    return _label_images(labels, source, list(classes))


def _label_images(labels: Any, source: Source, classes: list[str]) -> LabelImages:
    data = read_source(as_readable(labels), n_signal=2, operation="labels").data
    if data.dtype.kind not in "buif":
        got = f"labels of type {data.dtype}"
        raise LabelError(explain(got, "whole numbers for classes, or shares between 0 and 1", "Convert them first."))
    images, exclusive = tuple(source.data.shape), data.dtype.kind in "bui"
    if not exclusive and tuple(data.shape) == images and len(classes) == 1:
        data = data[..., None, :, :]
    expected = images if exclusive else (*images[:-2], len(classes), *images[-2:])
    if tuple(data.shape) != expected:
        got = f"labels of shape {tuple(data.shape)} ({data.dtype}) for images of shape {images}"
        allowed = f"whole numbers of shape {images}, or shares of shape {(*images[:-2], len(classes), *images[-2:])}"
        raise LabelError(explain(got, allowed, "Check which belong together, and classes=."))
    _check_values(data, exclusive, classes)
    return LabelImages(data, exclusive)


def _check_values(data: Any, exclusive: bool, classes: list[str]) -> None:
    """Blockwise for lazy labels: two numbers are computed, nothing is gathered."""
    import dask

    low, high = (float(value) for value in dask.compute(data.min(), data.max()))  # one pass for both
    if exclusive:
        good, allowed = -1 <= low <= 0 and high <= len(classes), f"0 (background) to {len(classes)}, -1 for unlabelled"
        if low > 0:
            allowed += "; 0 never occurs"
        todo = "Renumber the labels, or give classes= one name for each (numbered objects: hs_deepatoms.object_labels)."
    else:
        good, allowed = -1 <= low and high <= 1, "shares between 0 and 1"
        todo = "Give whole numbers for classes, or scale the shares."
    if not good:  # NaN too
        got = f"labels from {low:g} to {high:g} for the classes {classes}"
        raise LabelError(explain(got, allowed, todo))


def _table_labels(ds: xr.Dataset, source: Source, classes: list[str], radius, shape: str) -> TableLabels:
    ds = dropna(ds)
    grid = frame_grid(ds)
    shown = int(np.prod(source.data.shape[:-2], dtype=np.int64))
    if grid.n_frames != shown:
        got = f"a table of {grid.n_frames} frames for images of {shown}"
        raise LabelError(explain(got, "the table of these images", "Check which belong together."))
    y, x = _on_image(ds, source)
    label = _class_of(ds, classes)
    pixels = _radii(ds, source, classes, label, radius, y, x)
    return TableLabels(frame_of(ds, grid), y, x, label, pixels, len(classes), shape == "disc")


def _on_image(ds: xr.Dataset, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Positions in pixels of these images, by the axes' coordinates: a part of an image knows where it lies."""
    y, x = (_index(ds, name, axis) for name, axis in zip("yx", source.signal[-2:], strict=True))
    height, width = source.data.shape[-2:]
    outside = int((~((y >= -1) & (y <= height) & (x >= -1) & (x <= width))).sum())
    if outside:
        got = f"a table with {outside} of {len(y)} atoms outside the images ({height} x {width} px)"
        todo = "Check which belong together; the atoms of a part of the image are atoms.deepatoms.select(region=roi)."
        raise LabelError(explain(got, "the table of these images", todo))
    return y, x


def _index(ds: xr.Dataset, name: str, axis: Axis) -> np.ndarray:
    """Positions along one axis in pixels; those of the table's own image where the axis has no such units."""
    try:
        factor = unit_factor(axis_units(ds)[name], axis.units)
    except InvalidArgumentError:
        if f"{name}_px" not in ds:
            raise
        return np.asarray(ds[f"{name}_px"].values, float)
    return np.asarray(axis.to_index(ds[name].values * factor), float)


def _class_of(ds: xr.Dataset, classes: list[str]) -> np.ndarray:
    """Class of every atom, 1 or more."""
    if "species" not in ds:
        if len(classes) > 1:
            got = f"a table without species for the classes {classes}"
            raise LabelError(explain(got, "a column 'species'", "table.deepatoms.classify() makes one."))
        return np.ones(ds.sizes["atom"], np.int64)
    values = np.asarray(ds["species"].values)
    names = category_names(ds["species"].attrs) or {int(v): str(v) for v in np.unique(values)}
    if len(classes) == 1 and classes[0] not in names.values():
        return np.ones(len(values), np.int64)
    unknown = sorted({names.get(int(v), str(v)) for v in np.unique(values)} - set(classes))
    if unknown:
        raise LabelError(explain(f"species {unknown}", f"the classes {classes}", "Give classes= all of them."))
    place = {value: classes.index(name) + 1 for value, name in names.items() if name in classes}
    return np.array([place[int(v)] for v in values], np.int64)


def _radii(ds, source: Source, classes, label, radius, y, x) -> np.ndarray:
    axis = source.signal[-1]
    if isinstance(radius, Mapping):
        missing = sorted(set(classes) - set(radius))
        if missing:
            raise InvalidArgumentError(explain(f"radius without {missing}", f"one for each of {classes}", "Add these."))
        return np.array([read_length(radius[name], axis) for name in classes])[label - 1]
    if radius is not None:
        return np.full(len(y), read_length(radius, axis))
    return np.full(len(y), usual_radius(ds, source, y, x))


def usual_radius(ds: xr.Dataset, source: Source, y: np.ndarray, x: np.ndarray) -> float:
    """Radius of an atom's disc in pixels, from its fitted width or the distance of neighbours; at least 1.5."""
    widths = [float(np.nanmedian(ds[n].values)) / source.signal[k].step for n, k in (("width_y", -2), ("width_x", -1))
              if n in ds and np.isfinite(ds[n].values).any()]  # fmt: skip
    if widths:
        return max(1.5, WIDTHS * float(np.mean(widths)))
    if len(y) < 2:
        return 3.0
    from scipy.spatial import cKDTree

    frames = 1e6 * frame_of(ds)
    distance = cKDTree(np.column_stack([y + frames, x])).query(np.column_stack([y + frames, x]), k=2)[0][:, 1]
    return float(np.clip(SPACING * np.median(distance), 1.5, 50))


def as_readable(data: Any) -> Any:
    """Stored arrays as dask arrays, so that they are read window by window; lists as arrays."""
    if type(data).__module__.startswith("zarr."):
        import dask.array as da

        return da.from_zarr(data)
    return np.asarray(data) if isinstance(data, list | tuple) else data
