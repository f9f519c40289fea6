"""A column of the table as a map on the source's pixels. Pure functions on arrays."""

from __future__ import annotations

import numpy as np

METHODS = ("nearest", "linear", "scatter")


def rasterise(
    y: np.ndarray,
    x: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    *,
    method: str,
    steps: tuple[float, float] = (1.0, 1.0),
    max_distance: float = np.inf,
) -> np.ndarray:
    """One frame.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in pixels.
    values
        Shape (n_atoms,); atoms whose value is not finite are left out.
    shape
        (ny, nx) of the frame.
    method
        ``"nearest"``: every pixel has the value of the nearest atom. ``"linear"``: linear between the atoms
        (Delaunay triangles), NaN outside. ``"scatter"``: the mean of the atoms inside each pixel, NaN elsewhere.
    steps
        Calibrated size of a pixel along y and x, so that "nearest" means nearest in the sample.
    max_distance
        ``"nearest"`` only: NaN farther than this from any atom, in the units of ``steps``.

    Returns
    -------
    numpy.ndarray
        Shape (ny, nx), of the dtype of ``values``.
    """
    keep = np.isfinite(values) & np.isfinite(y) & np.isfinite(x)
    y, x, values = y[keep], x[keep], values[keep]
    if method == "scatter":
        return _scatter(y, x, values, shape)
    image = np.full(shape, np.nan, values.dtype)
    if not y.size:
        return image
    function = _nearest if method == "nearest" else _linear
    rows = max(1, 2**18 // shape[1])  # keeps the query's arrays small beside the image
    fill = function(np.stack([y * steps[0], x * steps[1]], axis=1), values, max_distance)
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        grid = np.meshgrid(np.arange(start, stop) * steps[0], np.arange(shape[1]) * steps[1], indexing="ij")
        image[start:stop] = fill(np.stack(grid, axis=-1))
    return image


def _scatter(y: np.ndarray, x: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    row, column = np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    pixel = row[inside] * shape[1] + column[inside]
    image = np.full(shape[0] * shape[1], np.nan, values.dtype)
    pixels, which = np.unique(pixel, return_inverse=True)
    image[pixels] = np.bincount(which, values[inside]) / np.bincount(which)
    return image.reshape(shape)


def _nearest(points: np.ndarray, values: np.ndarray, max_distance: float):
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    # a query point without a neighbour in reach gets the index n
    padded = np.append(values, np.asarray(np.nan, values.dtype))
    return lambda grid: padded[tree.query(grid, distance_upper_bound=max_distance)[1]]


def _linear(points: np.ndarray, values: np.ndarray, _: float):
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import Delaunay, QhullError

    try:
        interpolate = LinearNDInterpolator(Delaunay(points), values.astype(float))
    except (QhullError, ValueError):  # fewer than three atoms, or all on one line: there is no inside
        return lambda grid: np.full(grid.shape[:-1], np.nan)
    return interpolate
