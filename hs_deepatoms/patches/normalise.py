"""Bring patches to one scale, each by itself."""

from __future__ import annotations

import numpy as np

NORMALISATIONS = ("mean", "zscore", "minmax", "norm")
ROUNDINGS = 8  # a constant that was interpolated differs from itself by no more errors of rounding


def rounding_of(dtype: np.dtype) -> float:
    """Relative error of a value of this dtype; 0 for integers.

    Examples
    --------
    >>> rounding_of(np.dtype("float32")), rounding_of(np.dtype("uint8"))
    (1.1920928955078125e-07, 0.0)
    """
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def normalise(patches: np.ndarray, how: str | None) -> np.ndarray:
    """Patches on one scale; NaN pixels are left out of what is measured and stay NaN.

    Parameters
    ----------
    patches : numpy.ndarray, float, shape (channels, n, h, w)
        Every channel of every patch by itself.
    how : {None, "mean", "zscore", "minmax", "norm"}
        ``mean``: minus the mean. ``zscore``: and divided by the standard deviation. ``minmax``: from 0 to 1. ``norm``:
        divided by the square root of the sum of squares.

    Returns
    -------
    numpy.ndarray
        Same shape and dtype. A constant patch becomes 0 (``norm``: a patch of zeros stays).

    Examples
    --------
    >>> normalise(np.array([[[[1.0, 3.0]], [[5.0, 5.0]]]]), "zscore").tolist()
    [[[[-1.0, 1.0]], [[0.0, 0.0]]]]
    """
    if how is None:
        return patches
    dtype = patches.dtype
    known = np.isfinite(patches)
    count = np.maximum(known.sum((-2, -1), keepdims=True), 1)
    values = np.where(known, patches, 0).astype(np.float64)
    if how == "minmax":
        low = np.where(known, patches, np.inf).min((-2, -1), keepdims=True)
        high = np.where(known, patches, -np.inf).max((-2, -1), keepdims=True)
        shifted, scale = patches - np.where(np.isfinite(low), low, 0), high - low
    elif how == "norm":
        shifted, scale = patches, np.sqrt((values**2).sum((-2, -1), keepdims=True))
    else:
        mean = values.sum((-2, -1), keepdims=True) / count
        shifted = patches - mean
        scale = np.ones_like(mean)
        if how == "zscore":
            scale = np.sqrt(np.where(known, shifted.astype(np.float64) ** 2, 0).sum((-2, -1), keepdims=True) / count)
    largest = np.abs(values).max((-2, -1), keepdims=True) if how in ("zscore", "minmax") else 0.0
    flat = ~(scale > ROUNDINGS * rounding_of(dtype) * largest)
    with np.errstate(invalid="ignore"):
        result = shifted / np.where(flat, 1, scale)
    if how != "norm":
        result = np.where(flat & known, 0, result)
    return result.astype(dtype, copy=False)
