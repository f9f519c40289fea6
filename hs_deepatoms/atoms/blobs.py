"""Columns without a network: blobs (Laplacian of Gaussian) or maxima, at the column width the survey measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_laplace, maximum_filter

from hs_deepatoms.atoms.decode import APART, Points, without_doubles
from hs_deepatoms.atoms.detect import Detection, block_views, in_source
from hs_deepatoms.engine.plan import Block

SIGMA = 2.0  # column sigma on the grid, pixels


def blobs_block(frames: np.ndarray, block: Block, job: Detection, method: str) -> Points:
    """Columns of one block found by ``method`` ("log" or "max"); ``probability`` holds the signal-to-noise ratio.

    The threshold of the job is in units of the noise that the filter passes, estimated from the finest wavelets of
    the frame (Donoho & Johnstone, Biometrika 81, 425 (1994), doi:10.1093/biomet/81.3.425).
    """
    windows, views = block_views(frames, block, job)
    apart = max(APART, (job.apart or 0.0) * job.zoom)
    parts = []
    for k, view in views:
        points = without_doubles(blob_points(view, method, job.threshold), apart)
        parts.append(replace(points, frame=np.full(len(points.y), block.frames[0] + k)))
    return in_source(Points.join(parts) if parts else Points.none(), block, job, windows)


def blob_response(image: np.ndarray, method: str) -> tuple[np.ndarray, float]:
    """Filtered image in which columns are maxima, and the filter's gain for white noise of unit variance."""
    if method == "log":
        response = -gaussian_laplace(image, SIGMA) * SIGMA**2
        return response, float(np.sqrt(1 / (2 * np.pi)) / SIGMA)
    response = gaussian_filter(image, 0.5 * SIGMA) - gaussian_filter(image, 3 * SIGMA)
    return response, float(1 / (2 * np.sqrt(np.pi) * 0.5 * SIGMA))


def blob_points(image: np.ndarray, method: str, threshold: float) -> Points:
    """Maxima of the response that stand out of the noise, with a parabola for the sub-pixel part."""
    from skimage.restoration import estimate_sigma

    image = np.asarray(image, np.float32)
    response, gain = blob_response(image, method)
    noise = max(float(estimate_sigma(image)) * gain, 1e-3 * float(np.ptp(response)), 1e-12)
    peak = (response == maximum_filter(response, size=5)) & (response > threshold * noise)
    i, j = np.nonzero(peak)
    y, x = i + _vertex(response, i, j, 0), j + _vertex(response, i, j, 1)
    strength = response[i, j] / noise
    # the width of the response divided by its signal-to-noise ratio: the usual bound of a matched filter
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
