"""How far a column is from the middle of the columns of another kind around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

MOST = 8  # neighbours that a cage may have
LEAST = 2
WITHIN = 1.35  # of the typical distance of the last neighbour: what is farther belongs to another cell


class OffCentring(NamedTuple):
    """Vector from the middle of its neighbours to each column, its errors, and how many neighbours count; (n,) each.

    NaN where neighbours are missing.
    """

    y: np.ndarray
    x: np.ndarray
    y_std: np.ndarray
    x_std: np.ndarray
    neighbours: int


def off_centring(y, x, around_y, around_x, *, std=None, around_std=None, neighbours: int | None = None) -> OffCentring:
    """Vector from the mean of the surrounding columns to each column.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Columns inside the cages, in one unit.
    around_y, around_x : ndarray, shape (m,)
        Columns that form the cages.
    std, around_std : pair of ndarray, shapes (n,) and (m,), optional
        Uncertainties along y and x; NaN comes back without.
    neighbours : int, optional
        How many form a cage. By default where the distances make their largest jump.

    Returns
    -------
    OffCentring

    Notes
    -----
    As polar displacements are read from images: Jia et al., "Atomic-scale study of electric dipoles near charged and
    uncharged domain walls in ferroelectric films", Nat. Mater. 7, 57 (2008), doi:10.1038/nmat2080.

    Examples
    --------
    >>> import numpy as np
    >>> corner = np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 2.0, 0.0, 2.0])
    >>> found = off_centring(np.array([1.1]), np.array([1.0]), *corner, neighbours=4)
    >>> found.y.round(6).tolist(), found.x.tolist()
    ([0.1], [0.0])
    """
    nothing = np.full(np.size(y), np.nan)
    number = min(MOST, np.size(around_y)) if neighbours is None else neighbours
    if not np.size(y) or np.size(around_y) < max(number, LEAST):
        return OffCentring(nothing, nothing, nothing, nothing, neighbours or 0)
    tree = cKDTree(np.column_stack([around_y, around_x]))
    distance, row = tree.query(np.column_stack([y, x]), number)
    number = _cage(distance) if neighbours is None else number
    distance, row = distance.reshape(np.size(y), -1)[:, :number], row.reshape(np.size(y), -1)[:, :number]
    whole = distance[:, -1] < WITHIN * np.median(distance[:, -1])
    made = [
        np.where(whole, own - np.asarray(other)[row].mean(1), np.nan) for own, other in ((y, around_y), (x, around_x))
    ]
    if std is None or around_std is None:
        return OffCentring(*made, nothing, nothing, number)
    errors = [np.sqrt(np.asarray(own) ** 2 + (np.asarray(other)[row] ** 2).sum(1) / number**2)
              for own, other in zip(std, around_std, strict=True)]  # fmt: skip
    return OffCentring(*made, *(np.where(whole, error, np.nan) for error in errors), number)


def _cage(distance) -> int:
    """How many neighbours come before the largest jump of their typical distances."""
    typical = np.median(distance, axis=0)
    if typical.size <= LEAST:
        return typical.size
    return int(np.argmax(typical[LEAST:] / np.maximum(typical[LEAST - 1 : -1], 1e-12))) + LEAST
