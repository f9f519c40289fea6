"""Positions of atoms in probability maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, label, maximum_filter, maximum_position
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.pixelmaps import MapJob, around, maps_block
from hs_deepatoms.engine.plan import Block

STEPS = 3  # of the centre of mass: the window follows it


class Located(NamedTuple):
    """Positions in pixels of the map, their probability, and their class (0 is the first); shape (n,) each."""

    y: np.ndarray
    x: np.ndarray
    probability: np.ndarray
    kind: np.ndarray


def locate(maps: np.ndarray, threshold: float, radius: float) -> Located:
    """One position per bright spot of every class; of two classes in one place the more probable one.

    Maxima of the smoothed map, then the centre of mass of the map itself within a radius: blobs that touch stay two.

    Parameters
    ----------
    maps : ndarray, shape (k, h, w)
        Probability of every class.
    threshold : float
        Smallest probability of a spot's middle.
    radius : float
        Of a spot, pixels.

    Returns
    -------
    Located

    Examples
    --------
    >>> import numpy as np
    >>> yy, xx = np.mgrid[:20, :30]
    >>> spot = np.exp(-0.5 * ((yy - 8.3) ** 2 + (xx - 12.6) ** 2) / 4)
    >>> found = locate(spot[None], 0.5, 3.0)
    >>> [round(float(v[0]), 1) for v in found[:2]]
    [8.3, 12.6]
    """
    parts = []
    for kind, own in enumerate(maps):
        y, x, probability = _spots(own, threshold, radius)
        parts.append(Located(y, x, probability, np.full(len(y), kind)))
    return _without_doubles(Located(*(np.concatenate(column) for column in zip(*parts, strict=True))), radius)


def locate_block(frames: np.ndarray, block: Block, job: MapJob, threshold: float, radius: float) -> Points:
    """Positions that the block owns, in pixels of the whole frame; ``fitted`` holds their class as "kind"."""
    wide = around(block, seen_around(radius), job.view.shape)
    maps = maps_block(frames, wide, job)
    parts = []
    for k in range(len(frames)):
        found = locate(maps[:, k], threshold, radius)
        y, x = found.y + wide.core[0], found.x + wide.core[2]
        mine = in_core(y, x, block, job.view.shape)
        n = int(mine.sum())
        spread = np.full(n, radius / 4)  # about what a centre of mass of a noisy spot is good for
        parts.append(Points(np.full(n, block.frames[0] + k), y[mine], x[mine], spread, spread,
                            np.full(n, radius), found.probability[mine], {"kind": found.kind[mine]}))  # fmt: skip
    return Points.join(parts)


def seen_around(radius: float) -> int:
    """Pixels of the maps around a block that its positions depend on."""
    return int(np.ceil(3 * radius)) + 2


def spot_radius(maps: np.ndarray, threshold: float) -> float | None:
    """Radius of a typical bright spot of maps (k, h, w), pixels; None where there is none."""
    areas = [np.bincount(label(own >= threshold)[0].ravel())[1:] for own in maps]
    areas = np.concatenate(areas)
    areas = areas[areas > 2]
    return float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else None


def _spots(own: np.ndarray, threshold: float, radius: float):
    smooth = gaussian_filter(own, max(0.5, radius / 2))
    side = 2 * max(1, round(0.7 * radius)) + 1
    peak = (smooth == maximum_filter(smooth, side)) & (smooth > 0.25 * threshold)
    marked, n = label(peak, np.ones((3, 3)))
    if not n:
        return np.empty(0), np.empty(0), np.empty(0)
    y, x = np.array(maximum_position(smooth, marked, np.arange(1, n + 1)), float).T
    top = maximum_filter(own, 3)[y.astype(int), x.astype(int)]
    good = top >= threshold
    y, x = _centres(own, y[good], x[good], radius, 0.3 * threshold)
    return y, x, top[good]


def _centres(own: np.ndarray, y: np.ndarray, x: np.ndarray, radius: float, floor: float):
    """Centres of mass of what exceeds the floor within a radius, followed for a few steps."""
    reach = int(np.ceil(radius)) + 1
    step = np.arange(-reach, reach + 1)
    padded = np.pad(np.clip(own - floor, 0, None), reach)
    for _ in range(STEPS):
        iy, ix = np.rint(y).astype(int), np.rint(x).astype(int)
        rows, columns = iy[:, None, None] + step[:, None], ix[:, None, None] + step
        weight = padded[rows + reach, columns + reach]
        # a soft rim, so that the centre moves evenly
        inside = np.clip(radius + 1 - np.hypot(rows - y[:, None, None], columns - x[:, None, None]), 0, 1)
        weight = weight * inside
        total = weight.sum((1, 2)).clip(1e-9)
        y, x = (weight * rows).sum((1, 2)) / total, (weight * columns).sum((1, 2)) / total
        y, x = np.clip(y, 0, own.shape[0] - 1), np.clip(x, 0, own.shape[1] - 1)
    return y, x


def _without_doubles(found: Located, radius: float) -> Located:
    if len(found.y) < 2:
        return found
    pairs = cKDTree(np.column_stack(found[:2])).query_pairs(0.7 * radius, output_type="ndarray")
    keep = np.ones(len(found.y), bool)
    for a, b in pairs:
        if keep[a] and keep[b]:
            keep[b if found.probability[a] >= found.probability[b] else a] = False
    return Located(*(column[keep] for column in found))


def in_core(y: np.ndarray, x: np.ndarray, block: Block, shape: tuple[int, int]) -> np.ndarray:
    """True for positions of the whole frame that the block owns."""
    return _owned(y, block.core[:2], shape[0]) & _owned(x, block.core[2:], shape[1])


def _owned(position: np.ndarray, core: tuple[int, int], size: int) -> np.ndarray:
    """Half-open, so that every position has one owner."""
    low = -np.inf if core[0] == 0 else core[0] - 0.5
    high = np.inf if core[1] == size else core[1] - 0.5
    return (position >= low) & (position < high)
