"""Pixels that say nothing: NaN, infinities, hot and dead pixels, and what the user masked; and how they are filled."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import (
    distance_transform_edt,
    generate_binary_structure,
    label,
    maximum,
    maximum_filter,
    minimum_filter,
)

SPIKE = 2.0  # a single pixel that stands out of all its neighbours by two full ranges of the frame is no column
BEYOND = 1e4  # ranges of the frame: fill values of a file format, whatever their number
SMALL_GAP = 2.0  # pixels: gaps up to twice this width are bridged smoothly
_RING = generate_binary_structure(2, 2)
_RING[1, 1] = False


def invalid_pixels(scaled: np.ndarray, masked: np.ndarray | None = None) -> np.ndarray:
    """Where a scaled frame has no meaning.

    Parameters
    ----------
    scaled : ndarray, float32, shape (h, w)
        Frame after :func:`~hs_deepatoms.prepare.scaling.apply_scaling`; may hold NaN.
    masked : ndarray, bool, shape (h, w), optional
        True where the user wants nothing to be seen.

    Returns
    -------
    ndarray, bool, shape (h, w)
    """
    size = np.abs(scaled)
    bad = ~(size < BEYOND)  # not finite ones too
    if bad.any():
        size[bad] = 0
    if size.max(initial=0) > SPIKE:
        filled = np.where(bad, 0, scaled)
        bad |= filled - maximum_filter(filled, footprint=_RING, mode="mirror") > SPIKE
        bad |= minimum_filter(filled, footprint=_RING, mode="mirror") - filled > SPIKE
    return bad if masked is None else bad | masked


def fill_invalid(scaled: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Fill invalid pixels: smoothly over narrow gaps (a lost line, a hot pixel), by the nearest valid pixel elsewhere.

    Parameters
    ----------
    scaled : ndarray, float32, shape (h, w)
    bad : ndarray, bool, shape (h, w)

    Returns
    -------
    ndarray, float32, shape (h, w)
        A copy if anything is invalid, else ``scaled`` itself.
    """
    if not bad.any():
        return scaled
    if bad.all():
        return np.zeros_like(scaled)
    depth, nearest = distance_transform_edt(bad, return_indices=True)
    filled = np.where(bad, scaled[tuple(nearest)], scaled)
    narrow = _narrow_gaps(bad, depth)
    if narrow.any():
        from skimage.restoration import inpaint_biharmonic

        filled = inpaint_biharmonic(filled, narrow, split_into_regions=True).astype(np.float32)
    return filled


def _narrow_gaps(bad: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Gaps that are nowhere wider than a few pixels, each judged by itself so that tiles agree."""
    gaps, n = label(bad, generate_binary_structure(2, 2))
    deepest = maximum(depth, gaps, np.arange(n + 1))
    return bad & (np.asarray(deepest)[gaps] <= SMALL_GAP)
