"""Pairs of neighbours: how alike columns as far apart, in that direction, are elsewhere around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from hs_deepatoms.tables.neighbours import nearest

NEIGHBOURS = 24
FEATURES = 9
WHOLE = 3  # the last ones, which are the same for all pairs of a frame
REACH, BIN = 4.2, 0.15  # of the map of differences of position, in distances of nearest neighbours
HALF = int(REACH / BIN)
SIDE = 2 * HALF + 1
TILE = 8.0  # side of the squares that share a map, three by three, in the same
MANY, FEWEST, OUTER = 25, 50, (0.1, 0.9)  # of the order: pairs as far apart, pairs that have as many, quantiles
TOUCHING = 0.01  # of a column's share of the frame: what is nearer is one column twice
FAR = 4.0  # differences beyond this many spreads teach no more than these
PEAK = 2 * np.pi  # of a blur of one bin, in its inverse


@dataclass(frozen=True)
class Kin:
    """Neighbours of n columns.

    Attributes
    ----------
    row : ndarray of int, shape (n, NEIGHBOURS)
        Of each neighbour; that of the column itself where there are fewer.
    there : ndarray of bool, shape (n, NEIGHBOURS)
        Whether there is one.
    features : ndarray of float32, shape (n, NEIGHBOURS, FEATURES)
        Of each pair: how unlike pairs with the same difference of position are, by how much the one is the stronger,
        how many there are, how regularly they occur, the distance and the rank; of the whole frame its ``order``, and
        the skewness and flatness of what columns are against their neighbours.
    spread : ndarray of float, shape (n,)
        Of the values of neighbours, in the column's frame: what differences are measured in.
    order : ndarray of float, shape (n,)
        How much the frame's pairs differ in how alike they are (in the logarithm): by what is left where the own pair
        does not count, so near 0 where positions say nothing about values.
    """

    row: np.ndarray
    there: np.ndarray
    features: np.ndarray
    spread: np.ndarray
    order: np.ndarray


def find_kin(y: np.ndarray, x: np.ndarray, value: np.ndarray, frame: np.ndarray | None = None) -> Kin:
    """What the neighbours of columns are to them, from their positions and values alone.

    Nothing depends on a scale, rotation or mirror image of the positions, nor on an offset or factor of the values.

    Parameters
    ----------
    y, x, value : ndarray, shape (n,)
        Positions in any one unit, and finite values (log strengths).
    frame : ndarray of int, shape (n,), optional
        Columns of different frames are no neighbours.
    """
    y, x, value = (np.asarray(w, float) for w in (y, x, value))
    distance, row = nearest(y, x, frame, k=NEIGHBOURS)
    there = np.isfinite(distance)
    row = np.where(there, row, np.arange(y.size)[:, None])
    features = np.zeros((y.size, NEIGHBOURS, FEATURES), np.float32)
    spread, order = np.ones(y.size), np.zeros(y.size)
    for rows in by_frame(frame, y.size):
        if there[rows].any():
            features[rows], spread[rows], order[rows] = _of_frame(y, x, value, row[rows], there[rows], distance[rows],
                                                                  rows)  # fmt: skip
    return Kin(row, there, features, spread, order)


def by_frame(frame: np.ndarray | None, n: int) -> list[np.ndarray]:
    """Rows of each frame."""
    if frame is None:
        return [np.arange(n)] if n else []
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(np.asarray(frame)[order])) + 1) if n else []


def _of_frame(y, x, value, row, there, distance, one):
    """Features (m, NEIGHBOURS, FEATURES), spread and order of the columns ``one`` (m,) of a frame."""
    scale, side = _sizes(y[one], x[one], distance, there)
    difference = value[row] - value[one][:, None]
    size = np.abs(difference[there])
    spread = max(1.05 * float(np.median(size)), 0.2 * float(np.sqrt(np.mean(size**2))), 1e-9)
    step = np.clip(difference / spread, -FAR, FAR)
    away = np.stack([(w[row] - w[one][:, None]) / scale for w in (y, x)])
    bins = np.rint(away / BIN).astype(int)
    near = there & (np.abs(bins) <= HALF).all(0)
    place = [((w[one] - w[one].min()) / side).astype(int) for w in (y, x)]
    step = step - _slope(place, away, np.where(there, step, 0.0))
    unlike, stronger, number, columns = _at_pairs(place, bins, near, step)
    known = near & (number > 0.5)
    count = np.maximum(number, 1e-6)
    unlike = np.log(np.maximum(np.where(known, unlike / count, 1.0), 0.02))
    many = unlike[known & (number > MANY)]
    order = float(np.diff(np.quantile(many, OUTER))[0]) if many.size > FEWEST else 0.0
    parts = (unlike, np.where(known, stronger / count, 0.0), np.log1p(number) / 3,
             np.where(known, number / columns[:, None], 0.0), distance / scale / 3,
             np.broadcast_to(np.arange(NEIGHBOURS) / NEIGHBOURS, row.shape),
             *(np.full(row.shape, one) for one in (order, *_form(step, there))))  # fmt: skip
    return (
        np.stack([np.where(there, np.minimum(part, 5.0), 0.0) for part in parts], -1).astype(np.float32),
        spread,
        order,
    )


def _sizes(y, x, distance, there) -> tuple[float, float]:
    """Distance of neighbours that do not stand on each other, as in a table that was joined to itself; and side of the
    squares: few, however far away a single column stands."""
    few = max(1.0, len(y)) ** 0.5
    share = max(float(np.ptp(np.quantile(w, (0.05, 0.95)))) for w in (y, x)) / few
    first = np.where(there & (distance > TOUCHING * share), distance, np.inf).min(1)
    first = first[np.isfinite(first)]
    whole = max(float(np.ptp(w)) for w in (y, x))
    scale = float(np.median(first)) if first.size else max(whole, 1e-300)
    return scale, max(TILE * scale, whole / few)


def _slope(place, away, step) -> np.ndarray:
    """Differences (m, NEIGHBOURS) that a slope of the values, one for each square and those around it, explains."""
    size = tuple(int(p.max()) + 1 for p in place)
    v, u = away
    sums = np.zeros((5, *size))
    for k, term in enumerate((v * v, v * u, u * u, v * step, u * step)):
        np.add.at(sums[k], tuple(place), term.sum(1))
    vv, vu, uu, vd, ud = _with_beside(_with_beside(sums, 1), 2)
    det = np.maximum(vv * uu - vu**2, 1e-9 * (vv + uu + 1e-9) ** 2)
    slope = np.stack([uu * vd - vu * ud, vv * ud - vu * vd]) / det
    return (slope[:, place[0], place[1], None] * away).sum(0)


def _form(step: np.ndarray, there: np.ndarray) -> tuple[float, float]:
    """Skewness and flatness of the middle difference to the neighbours: two heaps are flatter than one."""
    middle = np.sort(np.where(there, step, np.inf), 1)
    number = there.sum(1)
    middle = middle[np.arange(len(middle)), np.maximum(number - 1, 0) // 2][number > 0]
    width = max(float(middle.std()), 1e-9)
    from_middle = middle - np.median(middle)
    return 3 * float(from_middle.mean()) / width, 5 * (float(np.abs(from_middle).mean()) / width - 0.8)


def _at_pairs(place, bins, near, step):
    """Of every pair: sums over the other pairs alike in position of squared and plain differences of value, their
    number; and the number of columns around each column."""
    rows, columns = (int(p.max()) + 1 for p in place)
    out = np.zeros((3, *near.shape))
    around = np.zeros(near.shape[0])
    for r in range(rows):
        maps, number = _maps(place, bins, near, step, r, columns)
        here = np.flatnonzero(place[0] == r)
        c, (v, u) = place[1][here][:, None], np.clip(bins[:, here] + HALF, 0, SIDE - 1)
        own = np.stack([step[here] ** 2, step[here], np.ones_like(step[here])])
        out[:, here] = np.where(near[here], maps[:, c, v, u] - own, 0.0)
        around[here] = number[place[1][here]]
    out[[0, 2]] = np.maximum(out[[0, 2]], 0)
    return (*out, np.maximum(around, 1.0))


def _maps(place, bins, near, step, r, columns):
    """Maps (3, columns, SIDE, SIDE) of one row of squares, each with the squares around it, and their columns."""
    pick = np.abs(place[0] - r) <= 1
    i, j = np.nonzero(near & pick[:, None])
    c, v, u = place[1][i], bins[0, i, j], bins[1, i, j]
    d = step[i, j]
    size = (columns, SIDE, SIDE)
    maps = np.zeros((3, *size))
    for sign in (1, -1):  # a pair seen from its other end
        key = np.ravel_multi_index((c, sign * v + HALF, sign * u + HALF), size)
        for k, weight in enumerate((d**2, sign * d, None)):
            maps[k] += np.bincount(key, weight, minlength=maps[k].size).reshape(size)
    maps *= 0.5  # most pairs are counted from both ends
    number = np.bincount(place[1][pick], minlength=columns).astype(float)
    maps = gaussian_filter(_with_beside(maps, 1), (0, 0, 1, 1), truncate=3) * PEAK
    return maps, _with_beside(number, 0)


def _with_beside(values: np.ndarray, axis: int) -> np.ndarray:
    padded = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in range(values.ndim)])
    n = values.shape[axis]
    return sum(np.take(padded, range(k, k + n), axis) for k in range(3))
