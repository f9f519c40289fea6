"""Pixels that say nothing: NaN, infinities, hot and dead pixels, and what the user masked; and how they are filled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import (
    distance_transform_edt,
    find_objects,
    generate_binary_structure,
    label,
    maximum_filter,
    minimum_filter,
)

SPIKE = 2.0  # a single pixel that stands out of all its neighbours by two full ranges of the frame is no column
BEYOND = 1e4  # ranges of the frame: fill values of a file format, whatever their number
SMALL_GAP = 2.0  # pixels: gaps up to twice this width are bridged smoothly
# gaps are filled one by one where they are few, each worth so many pixels, and lie in boxes that are together smaller
# than so much of the image: not many, nor long scratches
SCATTERED, SPREAD = 200, 1.0
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
    filled, narrow = scaled.copy(), np.zeros_like(bad)
    for box, gaps, n in _boxes(bad):
        depth, nearest = distance_transform_edt(bad[box], return_indices=True)
        own = gaps > 0
        filled[box][own] = scaled[box][tuple(nearest[:, own])]
        deepest = np.zeros(n + 1)
        np.maximum.at(deepest, gaps[own], depth[own])
        narrow[box] |= own & (deepest[gaps] <= SMALL_GAP)  # each judged by itself so that tiles agree
    if narrow.any():
        from skimage.restoration import inpaint_biharmonic

        filled = inpaint_biharmonic(filled, narrow, split_into_regions=True).astype(np.float32)
    return filled


def _boxes(bad: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray, int]]:
    """Boxes with gaps, each gap in one of them with the valid pixels nearest to it: box, gaps by number, their number.

    A gap each, as distances over a whole image take longer than the network does; all of it where that is less.
    """
    gaps, n = label(bad, generate_binary_structure(2, 2))
    # of all pixels nearer to one of a gap than the nearest valid one none is valid: that one touches the gap
    boxes = [tuple(slice(max(0, s.start - 1), s.stop + 1) for s in around) for around in find_objects(gaps)]
    area = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in boxes)
    if n * SCATTERED + area > SPREAD * bad.size:
        yield (slice(None), slice(None)), gaps, n
        return
    for k, box in enumerate(boxes, 1):
        yield box, (gaps[box] == k).astype(np.intp), 1
