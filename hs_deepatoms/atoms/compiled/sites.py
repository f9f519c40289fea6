"""What stands at the sites that lattice vectors take candidates to, and how much each vector counts."""

from __future__ import annotations

from math import sqrt

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel


@kernel
def reached(a, b, row, distance):
    """The row of the map of a candidate at (a, b), shifted by ``row``, and the first and last column within reach."""
    i = np.rint(a) + row
    left = distance * distance - (i - a) * (i - a)
    if left < 0:
        return i, 0, -1
    return i, np.ceil(b - np.sqrt(left)), np.floor(b + np.sqrt(left))


@kernel
def claimed(a, b, width, distance, number, alone):
    """How many candidates claim each cell of a map, and the one that does where it is one; how many claims there are
    on cells with several. The map reaches farther than ``distance`` beyond all candidates."""
    half, none = int(np.ceil(distance)), len(a)
    for n in range(len(a)):
        for row in range(-half, half + 1):
            i, first, last = reached(a[n], b[n], row, distance)
            for cell in range(int(i) * width + int(first), int(i) * width + int(last) + 1):
                number[cell] += 1
                alone[cell] = n
    several = 0
    for cell in range(len(number)):
        if number[cell] > 1:
            alone[cell] = none
            several += number[cell]
    return several


@kernel
def shared(a, b, width, distance, number, cells, candidates):
    """The claims on cells with several."""
    half, place = int(np.ceil(distance)), 0
    for n in range(len(a)):
        for row in range(-half, half + 1):
            i, first, last = reached(a[n], b[n], row, distance)
            for cell in range(int(i) * width + int(first), int(i) * width + int(last) + 1):
                if number[cell] > 1:
                    cells[place], candidates[place] = cell, n
                    place += 1


@kernel
def looked_up(start, stop, there, occupant, p, who, found):
    """Who stands in the cells ``there`` of some rows, and with which probability; the last of ``p`` is nobody's."""
    for n in range(start, stop):
        cells, to, value = there[n], who[n], found[n]
        for k in range(len(cells)):
            to[k] = occupant[cells[k]]
            value[k] = p[to[k]]


@kernel
def summed(place, inside, p, there, total, hits):
    """Sums over the candidates in each square: of those whose vectors end inside, and of their partners."""
    for n in range(len(place)):
        own, here, value, square = p[n] * p[n], inside[n], there[n], place[n]
        for k in range(len(here)):
            column = own if here[k] else 0.0
            total[square, k] += column
            hits[square, k] += column * value[k]


@kernel
def weighed(start, stop, place, inside, share, known, reliable, nearly, out):
    """How much each vector counts for some candidates, from its ``share`` (squares, m) of partners there."""
    zero = np.float32(0)
    for n in range(start, stop):
        of, here, enough, to = share[place[n]], inside[n], known[place[n]], out[n]
        best = np.float32(0.5)
        for k in range(len(of)):
            best = max(best, of[k])
        best *= nearly
        for k in range(len(of)):
            counts = here[k] and enough[k] and of[k] > reliable and of[k] > best
            to[k] = of[k] - best if counts else zero


@kernel
def evidence(start, stop, weight, who, odds, mean, spread, number):
    """Weighed mean and spread of the ``odds`` of those at the equivalents, and the effective number of these."""
    for n in range(start, stop):
        of, at = weight[n], who[n]
        total = first = square = 0.0
        for k in range(len(of)):
            total += of[k]
            first += of[k] * odds[at[k]]
            square += of[k] * of[k]
        known = max(total, 1e-9)
        middle, second = first / known, 0.0
        for k in range(len(of)):
            away = odds[at[k]] - middle
            second += of[k] * away * away
        mean[n], spread[n] = middle, sqrt(second / known)
        number[n] = total * total / max(square, 1e-12)
