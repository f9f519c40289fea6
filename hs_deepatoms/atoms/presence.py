"""Presence of columns as an image: what the detector sees, on the pixels of the source."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from hs_deepatoms.atoms.decode import calibrated
from hs_deepatoms.atoms.detect import Detection, block_views, network_maps
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.engine.resident import at_most
from hs_deepatoms.prepare.resample import resample, resampled_size, resampling_matrix

CELL = 2  # grid pixels per cell of the detector


def presence_block(frames: np.ndarray, block: Block, job: Detection) -> np.ndarray:
    """Probability that a column lies within about one sigma of each pixel, for the core of a block.

    Parameters
    ----------
    frames : ndarray, shape (f, h, w)
    block : Block
    job : Detection

    Returns
    -------
    ndarray, float32, shape (f, core height, core width)
        Zero in frames that are constant or masked.
    """
    windows, views = block_views(frames, block, job)
    out = np.zeros((len(frames), *block.core_shape), np.float32)
    back = [_to_pixels(block.core[2 * k : 2 * k + 2], windows[k], job.shape[k], job.zoom) for k in (0, 1)]
    with at_most(2, "detect"):
        for numbers, maps in network_maps(views, windows, job):
            p = torch.sigmoid(maps[:, :1])
            near = calibrated(9 * F.avg_pool2d(p, 3, 1, 1), job.calibration)[:, 0].cpu().numpy()
            for number, image in zip(numbers, near, strict=True):
                out[number] = np.clip(resample(image, *back), 0, 1)
    if job.masked is not None:
        y0, y1, x0, x1 = block.core
        out[:, job.masked[y0:y1, x0:x1]] = 0
    return out


def _to_pixels(core, window, size, zoom):
    """Matrix from the cells of a window to source pixels ``core``: cells are pixels of a grid ``zoom / 2`` as fine."""
    first, last = window.start // CELL, -(-window.stop // CELL)
    cells = -(-resampled_size(size, zoom) // CELL)
    return resampling_matrix(core[0], core[1], CELL / zoom, (first, last), cells)
