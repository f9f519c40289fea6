"""Pairs of atoms that are near each other, and the parts that are linked."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.cells import neighbours
from hs_deepatoms._core.compiled.loops import kernel


@kernel
def near_pairs(y, x, radius):
    """Rows (first, second) of points at most ``radius`` apart, first < second, sorted."""
    found = neighbours(y, x, radius)
    by_second = _placed(found[:, 1], len(y))
    second = np.empty(len(found), np.int64)
    ends = np.zeros(len(y) + 1, np.int64)
    for k in range(len(found)):
        ends[found[k, 0] + 1] += 1
    first, ends = found[:, 0].copy(), np.cumsum(ends)  # firsts come in order, their seconds do not
    for k in by_second:
        second[ends[found[k, 0]]] = found[k, 1]
        ends[found[k, 0]] += 1
    return first, second


@kernel
def _placed(values, n):
    """Rows in the order of values from 0 to n - 1."""
    ends = np.zeros(n + 1, np.int64)
    for value in values:
        ends[value + 1] += 1
    ends, order = np.cumsum(ends), np.empty(len(values), np.int64)
    for k in range(len(values)):
        order[ends[values[k]]] = k
        ends[values[k]] += 1
    return order


@kernel
def linked(n, first, second):
    """Number of the part (n,) that each of ``n`` things belongs to, in the order in which they come."""
    above = np.arange(n)
    for k in range(len(first)):
        a, b = first[k], second[k]
        while above[a] != a:
            above[a] = above[above[a]]
            a = above[a]
        while above[b] != b:
            above[b] = above[above[b]]
            b = above[b]
        above[max(a, b)] = min(a, b)
    part, count = np.empty(n, np.int64), 0
    for k in range(n):  # what it hangs on comes before it
        if above[k] == k:
            part[k] = count
            count += 1
        else:
            part[k] = part[above[k]]
    return part
