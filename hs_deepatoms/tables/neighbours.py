"""Nearest neighbours within a frame: one KD-tree for all frames, which are kept apart by a third coordinate."""

from __future__ import annotations

import numpy as np


def nearest(
    y: np.ndarray, x: np.ndarray, frame: np.ndarray | None = None, *, k: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest other atoms of the same frame.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in the same units.
    frame
        Shape (n_atoms,): flattened frame. None: all in one.
    k
        How many neighbours.

    Returns
    -------
    distance, row
        Each (n_atoms, k), nearest first; ``inf`` and ``-1`` where the frame has fewer other atoms.
    """
    y, x = np.asarray(y, float), np.asarray(x, float)
    distance = np.full((y.size, k), np.inf)
    row = np.full((y.size, k), -1, np.int64)
    if y.size < 2:
        return distance, row
    from scipy.spatial import cKDTree

    points, gap = _apart(y, x, frame)
    found, index = cKDTree(points).query(points, k=min(k + 1, y.size))
    self_found = index == np.arange(y.size)[:, None]
    # where several atoms sit on one point, the atom itself may not be among the first: then drop the farthest
    self_found[~self_found.any(axis=1), -1] = True
    order = np.argsort(self_found, axis=1, kind="stable")[:, :-1]
    found, index = np.take_along_axis(found, order, 1), np.take_along_axis(index, order, 1)
    same = found < gap
    distance[:, : found.shape[1]] = np.where(same, found, np.inf)
    row[:, : found.shape[1]] = np.where(same, index, -1)
    return distance, row


def pairs_within(y: np.ndarray, x: np.ndarray, radius: float, frame: np.ndarray | None = None) -> np.ndarray:
    """Rows (n_pairs, 2), first < second, of atoms of the same frame that are at most ``radius`` apart."""
    y, x = np.asarray(y, float), np.asarray(x, float)
    if y.size < 2:
        return np.empty((0, 2), np.int64)
    from scipy.spatial import cKDTree

    points, _ = _apart(y, x, frame, at_least=radius)
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)


def _apart(y, x, frame, at_least: float = 0.0) -> tuple[np.ndarray, float]:
    # the gap is larger than any distance within a frame, so that another frame is never nearer
    gap = 2 * (np.hypot(np.ptp(y), np.ptp(x)) + at_least) + 1e-300
    if frame is None or not np.any(frame):
        return np.stack([y, x], axis=1), np.inf
    rank = np.unique(np.asarray(frame), return_inverse=True)[1]
    return np.stack([y, x, rank * gap], axis=1), gap
