"""Images as the pixels of each spectrum, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from hs_deepatoms.bridge.axes import Axis


def image_tiles(image: np.ndarray, step: int) -> np.ndarray:
    """Images (c, ny * step, nx * step) as the pixels of each spectrum, (c * step ** 2, ny, nx)."""
    c, h, w = image.shape
    tiles = image.reshape(c, h // step, step, w // step, step).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(tiles.reshape(-1, h // step, w // step))


def finer_axis(axis: Axis, step: int) -> Axis:
    """The axis of an image with ``step`` pixels per spectrum."""
    if step == 1:
        return axis
    scale = axis.step if axis.scale is None else float(axis.scale)
    first = float(axis.to_value(0)) - scale * (step - 1) / (2 * step)
    return Axis(axis.name, axis.size * step, axis.units, scale / step, first, None, False, axis.named)


def untiled(maps: np.ndarray, step: int, lazy: bool) -> Any:
    """Pixels of every spectrum (c * step ** 2, ny, nx) as images ([c,] ny * step, nx * step)."""
    _, ny, nx = maps.shape
    image = maps.reshape(-1, step, step, ny, nx).transpose(0, 3, 1, 4, 2).reshape(-1, ny * step, nx * step)
    image = image[0] if len(image) == 1 else image
    if not lazy:
        return image
    import dask.array as da

    return da.from_array(image)
