"""Resample frames to the column size that a network knows, on one grid per frame whatever the tiling.

Sample ``j`` of the resampled grid lies at ``(j + 0.5) / zoom - 0.5`` source pixels, so that pixel areas stay aligned.
The kernel is Keys' cubic (Keys, IEEE Trans. Acoust. 29, 1153 (1981), doi:10.1109/TASSP.1981.1163711), widened when
the image shrinks so that it averages instead of skipping.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix


def resampled_size(size: int, zoom: float) -> int:
    """Number of samples of the resampled grid along an axis of ``size`` pixels."""
    return max(1, int(np.ceil(size * zoom - 1e-9)))


def to_grid(position: np.ndarray, zoom: float) -> np.ndarray:
    """Source pixels -> resampled grid."""
    return (np.asarray(position) + 0.5) * zoom - 0.5


def to_source(position: np.ndarray, zoom: float) -> np.ndarray:
    """Resampled grid -> source pixels."""
    return (np.asarray(position) + 0.5) / zoom - 0.5


def source_window(start: int, stop: int, zoom: float, size: int) -> tuple[int, int]:
    """Source pixels that samples ``start`` to ``stop`` of the grid depend on (with the reach of the mask repair)."""
    reach = 2 * max(1.0, 1 / zoom) + 4
    low = int(np.floor(to_source(start, zoom) - reach))
    high = int(np.ceil(to_source(stop - 1, zoom) + reach)) + 1
    return max(0, low), min(size, high)


def _keys(t: np.ndarray) -> np.ndarray:
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def resampling_matrix(
    start: int, stop: int, zoom: float, window: tuple[int, int], size: int, dtype=np.float32
) -> csr_matrix:
    """Sparse matrix that takes source pixels ``window`` to grid samples ``start:stop`` along one axis.

    Parameters
    ----------
    start, stop : int
        Samples of the grid.
    zoom : float
        Grid samples per source pixel.
    window : tuple of int
        First and one past the last source pixel at hand (see :func:`source_window`).
    size : int
        Source pixels along the whole axis; beyond it the border pixel is repeated.

    Returns
    -------
    scipy.sparse.csr_matrix, shape (stop - start, window[1] - window[0])
    """
    stretch = max(1.0, 1 / zoom)
    centre = to_source(np.arange(start, stop), zoom)
    taps = int(np.ceil(4 * stretch)) + 1
    first = np.floor(centre - 2 * stretch).astype(int) + 1
    index = first[:, None] + np.arange(taps)
    weight = _keys((index - centre[:, None]) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    column = np.clip(np.clip(index, 0, size - 1) - window[0], 0, window[1] - window[0] - 1)
    row = np.repeat(np.arange(stop - start), taps)
    shape = (stop - start, window[1] - window[0])
    return csr_matrix((weight.ravel().astype(dtype), (row, column.ravel())), shape=shape)


def resample(image: np.ndarray, rows: csr_matrix, columns: csr_matrix) -> np.ndarray:
    """Apply a row and a column matrix to an image, shape (h, w) -> (h', w'), float32."""
    half = rows @ np.ascontiguousarray(image, np.float32)
    return np.ascontiguousarray((columns @ np.ascontiguousarray(half.T)).T)


def resample_frame(image: np.ndarray, zoom: float) -> np.ndarray:
    """A whole frame on the resampled grid, shape (h, w) -> (ceil(h * zoom), ceil(w * zoom)), float32.

    Examples
    --------
    >>> import numpy as np
    >>> resample_frame(np.ones((10, 20)), 0.5).shape
    (5, 10)
    """
    matrices = []
    for size in image.shape:
        n = resampled_size(size, zoom)
        matrices.append(resampling_matrix(0, n, zoom, (0, size), size))
    return resample(image, *matrices)
