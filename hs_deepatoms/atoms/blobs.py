"""Columns without a network: blobs (Laplacian of Gaussian) or maxima, at the column width the survey measured."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import convolve, gaussian_filter, gaussian_laplace, maximum_filter

from hs_deepatoms.atoms.decode import APART, Points, without_doubles
from hs_deepatoms.atoms.detect import Detection, block_views, in_source
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.prepare.resample import resample_frame

_FINEST = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]).astype(np.float32) / 6
SIGMA = 2.0  # column sigma on the grid, pixels


def find_blobs(frames: np.ndarray, block: Block, job: Detection, method: str) -> Points:
    """Columns of one block and around it, found by ``method``; ``probability`` holds the signal-to-noise ratio.

    The threshold of the job is in units of the noise that the filter passes.
    """
    windows, views = block_views(frames, block, job)
    apart = max(APART, (job.apart or 0.0) * job.zoom)
    parts = []
    for k, view in views:
        points = without_doubles(blob_points(view, method, job.threshold, job.zoom), apart)
        parts.append(replace(points, frame=np.full(len(points.y), block.frames[0] + k)))
    return in_source(Points.join(parts) if parts else Points.none(), job, windows)


def blob_response(image: np.ndarray, method: str) -> np.ndarray:
    """Filtered image in which columns are maxima."""
    if method == "log":
        return -gaussian_laplace(image, SIGMA) * SIGMA**2
    return gaussian_filter(image, 0.5 * SIGMA) - gaussian_filter(image, 3 * SIGMA)


def finest_noise(image: np.ndarray) -> float:
    """Noise seen in the finest details, blind to slopes and curvature (Immerkaer, Comput. Vis. Image Underst. 64,
    300 (1996), doi:10.1006/cviu.1996.0060), by the median absolute deviation."""
    return float(np.median(np.abs(convolve(image, _FINEST, mode="reflect"))) / 0.6745)


@lru_cache(maxsize=64)
def noise_gain(method: str, zoom: float) -> float:
    """Noise of the response over :func:`finest_noise` of the grid, for white noise in the source's pixels.

    Measured rather than derived: resampling correlates the noise, which hides it from the finest details.
    """
    side = int(min(256 / min(zoom, 1.0), 3000))
    noise = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    grid = resample_frame(noise, zoom)
    return float(blob_response(grid, method).std() / finest_noise(grid))


def blob_points(image: np.ndarray, method: str, threshold: float, zoom: float = 1.0) -> Points:
    """Maxima of the response that stand out of the noise, with a parabola for the sub-pixel part."""
    image = np.asarray(image, np.float32)
    response = blob_response(image, method)
    noise = max(finest_noise(image) * noise_gain(method, round(zoom, 3)), 1e-3 * float(np.ptp(response)), 1e-12)
    peak = (response == maximum_filter(response, size=5)) & (response > threshold * noise)
    i, j = np.nonzero(peak)
    y, x = i + _vertex(response, i, j, 0), j + _vertex(response, i, j, 1)
    strength = response[i, j] / noise
    # width over signal-to-noise ratio: what a matched filter can tell of a position
    std = SIGMA / np.maximum(strength, 1.0)
    return Points(np.zeros(len(i), int), y, x, std, std, np.full(len(i), SIGMA), strength)


def _vertex(response, i, j, axis):
    size = response.shape[axis]
    at = (i, j)[axis]
    low, high = np.clip(at - 1, 0, size - 1), np.clip(at + 1, 0, size - 1)
    index = ((low, j), (high, j)) if axis == 0 else ((i, low), (i, high))
    before, here, after = response[index[0]], response[i, j], response[index[1]]
    curvature = before - 2 * here + after
    inner = (at > 0) & (at < size - 1) & (curvature < 0)
    shift = 0.5 * (before - after) / np.where(inner, curvature, -1.0)
    return np.where(inner, np.clip(shift, -0.5, 0.5), 0.0)
