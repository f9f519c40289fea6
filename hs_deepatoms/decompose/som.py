"""A small self-organising map."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.decompose.model import nearest_node

EPOCHS = 30


def fit_som(points: np.ndarray, k: int, rng: np.random.Generator, epochs: int = EPOCHS) -> np.ndarray:
    """Nodes of a map whose neighbours are alike.

    Parameters
    ----------
    points : numpy.ndarray, shape (n, d)
        Principal scores, the first of largest variance.
    k : int
        Number of nodes, on a sheet of rows x columns as near to a square as k allows.
    rng : numpy.random.Generator
        Breaks ties of the start.
    epochs : int
        Passes over the points while the neighbourhood shrinks.

    Returns
    -------
    numpy.ndarray, shape (k, d)

    Notes
    -----
    The batch rule (Kohonen, Neural Networks 37, 52 (2013), doi:10.1016/j.neunet.2012.09.018), started on the plane of
    the first two axes.
    """
    rows, columns = som_shape(k)
    sheet = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    apart = ((sheet[:, None] - sheet) ** 2).sum(-1)
    spread = points.std(axis=0) + 1e-300
    nodes = rng.normal(scale=1e-3 * spread, size=(k, points.shape[1])) + points.mean(axis=0)
    for axis, place in zip(range(min(2, points.shape[1])), (1, 0), strict=False):
        nodes[:, axis] += 2 * spread[axis] * (sheet[:, place] - sheet[:, place].mean()) / max(rows, columns)
    for width in np.geomspace(max(rows, columns) / 2, 0.2, epochs):
        nearest = nearest_node(points, nodes)
        count = np.bincount(nearest, minlength=k)
        total = np.zeros_like(nodes)
        np.add.at(total, nearest, points)
        near = np.exp(-0.5 * apart / width**2)
        weight = near @ count
        nodes = np.where(weight[:, None] > 1e-12, near @ total / np.maximum(weight, 1e-12)[:, None], nodes)
    return nodes


def som_shape(k: int) -> tuple[int, int]:
    """Rows and columns whose product is k, nearest to a square."""
    rows = max(r for r in range(1, int(np.sqrt(k)) + 1) if k % r == 0)
    return rows, k // rows
