"""Training data by hand: label images from tables, crops, label files of other tools, simulated sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from hs_deepatoms._core.choices import check_choice
from hs_deepatoms._core.errors import InvalidArgumentError, LabelError, explain
from hs_deepatoms._core.numbers import check_count
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.results import write_like
from hs_deepatoms.methods.images import read_images

ARRAY_FILES = (".npy", ".npz", ".zarr")


def label_images(
    table: xr.Dataset,
    signal: Any,
    *,
    classes: Sequence[str] | None = None,
    radius: int | float | str | Mapping | None = None,
    shape: str = "disc",
    signal_dims: tuple[str, str] | None = None,
) -> Any:
    """Label images of a positions table, on the axes of its images.

    Parameters
    ----------
    table : xarray.Dataset
        Positions table, as it is or corrected by hand.
    signal : hyperspy Signal2D, xarray.DataArray or array
        The images it belongs to.
    classes : sequence of str, optional
        Species in the order of their numbers; by default those of the table, or ``["atom"]``.
    radius : int, float, str, or mapping of these by class, optional
        Pixels, axis units, or text with a unit. By default 1.5 times the fitted width, else a quarter of the spacing.
    shape : {"disc", "gaussian"}
        Classes that exclude each other (0 is the background), or shares per class that are 1/2 at the radius.
    signal_dims : tuple of str, optional
        As in :func:`~hs_deepatoms.find_atoms`.

    Returns
    -------
    Signal2D or DataArray
        Discs: integers of the images' shape. Gaussians: float32, with the axis ``class`` in front.

    Raises
    ------
    LabelError, InvalidArgumentError, InvalidImageError
        A table of other images or species; a radius that cannot be read; no images.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> image = np.zeros((32, 40))
    >>> atoms = hs_deepatoms.positions([8.0, 20.0], [10.0, 30.0], signal=image)
    >>> int(hs_deepatoms.label_images(atoms, image, radius=2).sum())
    26
    """
    from hs_deepatoms.methods.labels import read_labels

    source = read_images(signal, signal_dims=signal_dims, operation="label_images")
    names = list(classes) if classes else classes_of(table)
    labels = read_labels(table, source, names, radius=radius, shape=shape)
    height, width = source.data.shape[-2:]
    frames = [labels.read(k, slice(0, height), slice(0, width)) for k in range(labels_frames(source))]
    data = np.stack(frames)
    leading = () if labels.exclusive else (("class", names),)
    data = data.reshape(source.data.shape) if labels.exclusive else np.moveaxis(data, 1, 0).reshape(
        len(names), *source.data.shape)  # fmt: skip
    entry = provenance_entry("label_images", {"classes": names, "radius": repr(radius), "shape": shape})
    title = f"labels of {source.title}" if source.title else "labels"
    return write_like(source, data, title=title, provenance=[*source.provenance, entry], leading=leading,
                      lazy_output=False)  # fmt: skip


def object_labels(objects: Any) -> np.ndarray:
    """Classes for training from objects that are numbered one by one, as ``instances`` and other tools give them.

    Parameters
    ----------
    objects : array, signal or DataArray of int, shape (..., h, w)
        Number of the object at every pixel, 0 for none.

    Returns
    -------
    ndarray, int64, shape (..., h, w)
        1 in objects, 0 elsewhere and where two objects touch: a network that learns this gap tells them apart.

    Raises
    ------
    LabelError
        Values that are no whole numbers, or less than 0.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> hs_deepatoms.object_labels(np.array([[0, 1, 1, 1, 2, 2, 2, 0]])).tolist()
    [[0, 1, 1, 0, 0, 1, 1, 0]]
    """
    from hs_deepatoms.bridge.source import read_source
    from hs_deepatoms.methods.labels import as_readable
    from hs_deepatoms.simulate.masks import parted

    data = np.asarray(read_source(as_readable(objects), n_signal=2, operation="object_labels").data)
    if data.dtype.kind not in "bui" or data.min(initial=0) < 0:
        got = f"objects of type {data.dtype} from {data.min(initial=0)}"
        raise LabelError(explain(got, "whole numbers of 0 or more", "0 is what belongs to no object."))
    frames = data.astype(np.int64).reshape(-1, *data.shape[-2:])
    return np.stack([parted(frame) for frame in frames]).astype(np.int64).reshape(data.shape)


def labels_frames(source) -> int:
    """How many frames a source has."""
    return int(np.prod(source.data.shape[:-2], dtype=np.int64))


def classes_of(table: xr.Dataset) -> list[str]:
    """Names of a table's species in the order of their numbers; ``["atom"]`` without."""
    from hs_deepatoms.tables.categories import category_names
    from hs_deepatoms.tables.schema import check_table

    check_table(table)
    if "species" not in table:
        return ["atom"]
    names = category_names(table["species"].attrs)
    return list(names.values()) or [str(v) for v in np.unique(table["species"].values)]


def cut_crops(images: Any, labels: Any, *, size: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random crops of labelled images of any size; each is a function of the seed and its number.

    Parameters
    ----------
    images : array, signal or DataArray, shape (..., h, w)
    labels : array, signal or DataArray
        Of the same shape.
    size : int
        Side of a crop, pixels.
    n : int
        Number of crops.
    seed : int

    Returns
    -------
    images, labels : ndarray, shape (n, size, size)

    Raises
    ------
    LabelError
        Labels of another shape.
    InvalidArgumentError
        A crop that is larger than the image.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> crops, labels = hs_deepatoms.cut_crops(np.random.rand(90, 80), np.zeros((90, 80), int), size=32, n=5)
    >>> crops.shape, labels.shape
    ((5, 32, 32), (5, 32, 32))
    """
    from hs_deepatoms.bridge.source import read_source
    from hs_deepatoms.methods.labels import as_readable

    check_count("size", size)
    check_count("n", n)
    pixels = read_images(as_readable(images), operation="cut_crops").data
    marks = read_source(as_readable(labels), n_signal=2, operation="cut_crops").data
    if pixels.shape != marks.shape:
        got = f"labels of shape {marks.shape} for images of shape {pixels.shape}"
        raise LabelError(explain(got, "the same shape", "Check which belong together."))
    if size > min(pixels.shape[-2:]):
        got = f"size={size} for images of {pixels.shape[-2:]} px"
        raise InvalidArgumentError(explain(got, "a part of the image", "Make it smaller."))
    parts = []
    for k in range(n):
        rng = np.random.default_rng([seed, k])
        frame = tuple(int(rng.integers(m)) for m in pixels.shape[:-2])
        top, left = (int(rng.integers(m - size + 1)) for m in pixels.shape[-2:])
        where = (*frame, slice(top, top + size), slice(left, left + size))
        parts.append((np.asarray(pixels[where]), np.asarray(marks[where])))
    return tuple(np.stack(column) for column in zip(*parts, strict=True))


def read_label_files(
    files: str | Path | Sequence[str | Path], *, values: Mapping[int, int] | None = None
) -> np.ndarray:
    """Label images that another tool wrote, as classes 0, 1, 2, ...

    Parameters
    ----------
    files : path or sequence of path
        ``.npy``, ``.npz`` (its only array, or the one called ``labels`` or ``mask``), ``.zarr``, or whatever HyperSpy
        reads (``.png``, ``.tif``, ``.hspy``, ...). Several files of one shape become a stack.
    values : mapping of int to int, optional
        Value in the files -> class. By default the values that occur, in rising order, are 0, 1, 2, ...: a picture in
        black and white (0 and 255) becomes 0 and 1.

    Returns
    -------
    ndarray, int64, shape (h, w) or (n, h, w)

    Raises
    ------
    LabelError
        Files that cannot be read, are of different shapes, in colour, or have values that ``values`` does not name.
    """
    single = isinstance(files, str | Path)
    parts = [_read_label_file(Path(file)) for file in ([files] if single else files)]
    shapes = {part.shape for part in parts}
    if len(shapes) != 1 or parts[0].ndim < 2 or any(p.dtype.kind not in "buif" for p in parts):
        got = f"label files of shapes {sorted(shapes)} and types {sorted({str(p.dtype) for p in parts})}"
        raise LabelError(explain(got, "grey images of one shape", "Convert or crop them first."))
    data = parts[0] if single else np.stack(parts)
    found = np.unique(data)
    if values is None:
        if len(found) > 64:
            got = f"label files of {len(found)} different values"
            raise LabelError(explain(got, "one value per class", "These look like images: give the label files."))
        return np.searchsorted(found, data).astype(np.int64)
    unknown = sorted(set(found.tolist()) - set(values))
    if unknown:
        raise LabelError(explain(f"values {unknown}", f"those of values={dict(values)}", "Name every value."))
    lookup = np.array([values[v] for v in found.tolist()], np.int64)
    return lookup[np.searchsorted(found, data)]


def _read_label_file(file: Path) -> np.ndarray:
    try:
        if file.suffix == ".npy":
            return np.load(file, allow_pickle=False)
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as found:
                names = [n for n in ("labels", "mask") if n in found] or found.files
                if len(names) != 1:
                    raise ValueError(f"it holds {found.files}")
                return found[names[0]]
        if file.suffix == ".zarr":
            import zarr

            return np.asarray(zarr.open_array(file, mode="r")[:])
        import hyperspy.api as hs

        data = hs.load(str(file)).data
        return data[..., 0] if data.ndim == 3 and data.shape[-1] in (3, 4) and _is_grey(data) else data
    except Exception as error:
        raise LabelError(explain(f"{file}, which cannot be read ({error})", "a label image", "Check it.")) from error


def _is_grey(data: np.ndarray) -> bool:
    return bool((data[..., :3] == data[..., :1]).all())


def simulated_set(
    n: int,
    *,
    size: int = 128,
    kind: str = "columns",
    sigma: tuple[float, float] = (1.5, 3.5),
    radius: float = 1.5,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Simulated images with noise, supports and scan errors, and their label images.

    Parameters
    ----------
    n : int
        Number of images.
    size : int
        Side, pixels.
    kind : {"columns", "particles", "walls", "steps"}
        Atomic columns; particles on a support, some of which touch; walls between domains; atomic steps between
        terraces.
    sigma : (float, float)
        Range of the columns' Gaussian sigma, pixels.
    radius : float
        Of a column's disc, in units of its sigma.
    seed : int

    Returns
    -------
    images : ndarray, float32, shape (n, size, size)
    labels : ndarray, int64, shape (n, size, size)
        1 where a column is that stands out of the noise, where a particle is (but not where it touches another one),
        or in a band of some three pixels along a wall or step; else 0.

    Raises
    ------
    InvalidArgumentError
        Another kind; no images.

    Examples
    --------
    >>> import hs_deepatoms
    >>> images, labels = hs_deepatoms.simulated_set(3, size=64)
    >>> images.shape, sorted(set(labels.ravel().tolist())) == [0, 1]
    ((3, 64, 64), True)
    """
    from functools import partial

    from hs_deepatoms.simulate.particles import simulate_particles
    from hs_deepatoms.simulate.walls import simulate_steps, simulate_walls

    check_count("n", n)
    check_count("size", size)
    makers = {"columns": partial(_labelled_columns, sigma=sigma, radius=radius), "particles": simulate_particles,
              "walls": simulate_walls, "steps": simulate_steps}  # fmt: skip
    check_choice("kind", kind, tuple(makers))
    made = [makers[kind](np.random.default_rng([seed, k]), (size, size)) for k in range(n)]
    return np.stack([one.image for one in made]), np.stack([one.labels for one in made])


class _Labelled(NamedTuple):
    image: np.ndarray
    labels: np.ndarray


def _labelled_columns(rng: np.random.Generator, shape: tuple[int, int], *, sigma, radius: float) -> _Labelled:
    from hs_deepatoms.simulate.masks import disc_classes
    from hs_deepatoms.simulate.scenes import simulate_scene

    width = float(np.exp(rng.uniform(*np.log(sigma))))
    scene = simulate_scene(rng, shape, width)
    seen = scene.strength > 1.0  # what drowns in the noise nobody could learn
    labels = disc_classes(shape, scene.y[seen], scene.x[seen], 1, radius * width)
    return _Labelled(scene.image.astype(np.float32), labels)
