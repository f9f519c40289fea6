"""Which points of a plane are near each other, from cells of a grid."""

from __future__ import annotations

from math import sqrt

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel


@kernel
def cells(y, x, side):
    """Points sorted by cells of a grid: their order, where each cell begins, the shape and the side of the grid."""
    n, low_y, low_x, high_y, high_x = 0, np.inf, np.inf, -np.inf, -np.inf
    for k in range(len(y)):
        if np.isfinite(y[k]) and np.isfinite(x[k]):
            n += 1
            low_y, high_y, low_x, high_x = min(low_y, y[k]), max(high_y, y[k]), min(low_x, x[k]), max(high_x, x[k])
    if n == 0:
        low_y = high_y = low_x = high_x = 0.0
    side = side * (1 + 1e-9)  # or rounding may put two points exactly as far apart two cells apart
    wide, high = high_x - low_x, high_y - low_y
    side = max(side, sqrt(high * wide / (4 * n + 64)), max(high, wide) / 1e5, 1e-9)
    rows, columns = int(high / side) + 1, int(wide / side) + 1
    which = np.full(len(y), -1)
    ends = np.zeros(rows * columns + 1, np.int64)
    for k in range(len(y)):
        if np.isfinite(y[k]) and np.isfinite(x[k]):
            which[k] = int((y[k] - low_y) / side) * columns + int((x[k] - low_x) / side)
            ends[which[k] + 1] += 1
    ends = np.cumsum(ends)
    order, place = np.empty(n, np.int64), ends.copy()
    for k in range(len(y)):
        if which[k] >= 0:
            order[place[which[k]]] = k
            place[which[k]] += 1
    return which, order, ends, rows, columns


@kernel
def neighbours(y, x, distance):
    """Pairs (p, 2) of points not farther than that from each other, the first one the earlier in the table."""
    which, order, ends, rows, columns = cells(y, x, distance)
    found, count = np.empty((4 * len(y) + 16, 2), np.int64), 0
    for i in range(len(y)):
        row, column = which[i] // columns, which[i] % columns
        if which[i] < 0:
            continue
        for r in range(max(0, row - 1), min(rows, row + 2)):
            low, high = r * columns + max(0, column - 1), r * columns + min(columns, column + 2)
            for j in order[ends[low] : ends[high]]:
                dy, dx = y[j] - y[i], x[j] - x[i]
                if j > i and dy * dy + dx * dx <= distance * distance:
                    if count == len(found):
                        more = np.empty((2 * count, 2), np.int64)
                        for k in range(count):
                            more[k, 0], more[k, 1] = found[k, 0], found[k, 1]
                        found = more
                    found[count, 0], found[count, 1] = i, j
                    count += 1
    return found[:count]
