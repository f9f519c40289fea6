"""Pairs of atoms that are near each other, and the parts that are linked."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.cells import neighbours
from hs_deepatoms._core.compiled.loops import kernel


@kernel
def near_pairs(y, x, radius):
    """Rows (first, second) of points at most ``radius`` apart, first < second, sorted."""
    found = neighbours(y, x, radius)
    first, second = np.empty(len(found), np.int64), np.empty(len(found), np.int64)
    start = 0
    for k in range(len(found)):
        first[k] = found[k, 0]
        if k > 0 and first[k] != first[k - 1]:
            start = k
        place = k  # each has few partners: put in order as they come
        while place > start and second[place - 1] > found[k, 1]:
            second[place] = second[place - 1]
            place -= 1
        second[place] = found[k, 1]
    return first, second


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
