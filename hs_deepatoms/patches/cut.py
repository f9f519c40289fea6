"""Cut patches out of frames, eager or lazy, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.patches.normalise import normalise
from hs_deepatoms.patches.windows import place_windows

if TYPE_CHECKING:
    import dask.array as da

CHUNK = 16 * 2**20  # bytes of patches in a chunk
LOADED = 64 * 2**20  # bytes of frames that one chunk may need, unless one frame is larger


@dataclass(frozen=True)
class Cutting:
    """How patches are cut.

    Attributes
    ----------
    shape : (int, int)
        Height and width of a patch in pixels.
    centring, edge : str
        As in `place_windows`.
    normalisation : str or None
        As in `normalise`.
    """

    shape: tuple[int, int]
    centring: str = "subpixel"
    edge: str = "drop"
    normalisation: str | None = None

    def dtype_of(self, dtype: np.dtype) -> np.dtype:
        """Dtype of the patches: that of the image where pixels are only copied, else float."""
        copied = self.centring == "integer" and self.edge != "mask" and self.normalisation is None
        if copied and np.dtype(dtype).kind != "b":
            return np.dtype(dtype)
        return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def cut_patches(
    data: np.ndarray | da.Array, frame: np.ndarray, y: np.ndarray, x: np.ndarray, cutting: Cutting, *, lazy: bool
) -> np.ndarray | da.Array:
    """Patches around positions.

    Parameters
    ----------
    data : numpy or dask array, shape (channels, frames, ny, nx)
        Real numbers; dask in any chunks.
    frame : numpy.ndarray, int, shape (n,)
        Frame of each position, rising.
    y, x : numpy.ndarray, float, shape (n,)
        In pixels; along rising y in each frame, a lazy patch needs few rows.
    cutting : Cutting
        Size, centring, edge and normalisation.
    lazy : bool
        Whether to return a dask array.

    Returns
    -------
    numpy or dask array, shape (channels, n, h, w)
        The same numbers, lazy or not and however the data is chunked.

    Examples
    --------
    >>> image = np.arange(80.0).reshape(1, 1, 8, 10)
    >>> one = cut_patches(image, np.array([0]), np.array([3.0]), np.array([4.5]), Cutting((1, 2)), lazy=False)
    >>> one.tolist()
    [[[[34.0, 35.0]]]]
    """
    spans = list(_spans(data, np.asarray(frame), cutting))
    shape = (data.shape[0], len(frame), *cutting.shape)
    dtype = cutting.dtype_of(data.dtype)
    if lazy:
        return _lazy(data, frame, y, x, cutting, spans, dtype)
    out = np.empty(shape, dtype)
    for start, stop in spans:
        block, arguments = _block(data, frame[start:stop], y[start:stop], x[start:stop], cutting)
        block = block.compute() if hasattr(block, "dask") else block
        out[:, start:stop] = cut_block(block, *arguments, cutting, dtype)
    return out


def cut_block(block, frame, y, x, size, origin, cutting: Cutting, dtype) -> np.ndarray:
    """Patches (channels, n, h, w) from a part (channels, f, rows, nx) of the frames that begins at ``origin``."""
    rows, columns = _windows(y, x, size, cutting)
    patches = _gathered(np.asarray(block), frame - origin[0], rows.index - origin[1], columns.index)
    if rows.taps is not None:
        patches = patches.astype(dtype, copy=False)
        patches = _tapped(patches, rows.taps[:, :, None, None], -2, cutting.shape[0], dtype)
        patches = _tapped(patches, columns.taps[:, :, None, None], -1, cutting.shape[1], dtype)
    patches = patches.astype(dtype, copy=False)
    if cutting.edge == "mask":
        patches[:, rows.outside[:, :, None] | columns.outside[:, None, :]] = np.nan
    return normalise(patches, cutting.normalisation)


def _gathered(block: np.ndarray, frame: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pixels (channels, n, h, w) at rows (n, h) and columns (n, w)."""
    size = rows.shape[1], columns.shape[1]
    out = np.empty((block.shape[0], len(frame), *size), block.dtype)
    inside = (np.diff(rows, axis=1) == 1).all(axis=1) & (np.diff(columns, axis=1) == 1).all(axis=1)
    if inside.any():  # whole rows are copied, ten times as fast as pixels
        windows = np.lib.stride_tricks.sliding_window_view(block, size, axis=(-2, -1))
        out[:, inside] = windows[:, frame[inside], rows[inside, 0], columns[inside, 0]]
    rest = ~inside
    if rest.any():
        out[:, rest] = block[:, frame[rest, None, None], rows[rest][:, :, None], columns[rest][:, None, :]]
    return out


def _tapped(patches: np.ndarray, taps: np.ndarray, axis: int, size: int, dtype) -> np.ndarray:
    part = [slice(None)] * patches.ndim
    total = 0
    for k in range(taps.shape[1]):
        part[axis] = slice(k, k + size)
        total = total + patches[tuple(part)] * taps[:, k].astype(dtype)
    return total


def _windows(y, x, size, cutting: Cutting):
    how = {"centring": cutting.centring, "edge": cutting.edge}
    return (
        place_windows(y, cutting.shape[0], size[0], **how),
        place_windows(x, cutting.shape[1], size[1], **how),
    )


def _spans(data, frame: np.ndarray, cutting: Cutting) -> Iterator[tuple[int, int]]:
    """Ranges of patches, each of few bytes and from few frames."""
    channels, _, ny, nx = data.shape
    most = max(1, CHUNK // (4 * channels * cutting.shape[0] * cutting.shape[1]))
    frames = max(1, LOADED // max(1, channels * ny * nx * data.dtype.itemsize))
    start = 0
    while start < frame.size:
        stop = min(start + most, int(np.searchsorted(frame, frame[start] + frames)))
        yield start, stop
        start = stop


def _block(data, frame, y, x, cutting: Cutting):
    """The part of the data that these patches need, and where it lies."""
    size = data.shape[-2:]
    rows = place_windows(y, cutting.shape[0], size[0], centring=cutting.centring, edge=cutting.edge).index
    top, bottom = int(rows.min()), int(rows.max()) + 1
    first, last = int(frame[0]), int(frame[-1]) + 1
    return data[:, first:last, top:bottom], (frame, y, x, size, (first, top))


def _lazy(data, frame, y, x, cutting: Cutting, spans, dtype):
    import dask.array as da
    from dask import delayed

    cut = delayed(cut_block, pure=False)
    parts = []
    for start, stop in spans:
        block, arguments = _block(data, frame[start:stop], y[start:stop], x[start:stop], cutting)
        shape = (data.shape[0], stop - start, *cutting.shape)
        parts.append(da.from_delayed(cut(block, *arguments, cutting, dtype), shape, dtype))
    return da.concatenate(parts, axis=1) if parts else da.zeros((data.shape[0], 0, *cutting.shape), dtype)
