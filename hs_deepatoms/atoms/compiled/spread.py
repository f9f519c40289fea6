"""Covariance of each column's parameters, neighbours and background free."""

from __future__ import annotations

from math import sqrt

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.compiled import surface
from hs_deepatoms.atoms.compiled.system import inverted

TOGETHER = 32  # small matrices that are factored at once


@kernel
def couplings(start, stop, own, i, j, blocks, out):
    """The largest element of each pair's block, relative to the columns' own."""
    k = own.shape[1]
    for n in range(start, stop):
        most = 0.0
        for p in range(k):
            for q in range(k):
                value = abs(blocks[n, p, q]) / (sqrt(own[i[n], p, p]) * sqrt(own[j[n], q, q]))
                most = max(most, value)
        out[n] = most


@kernel
def adjacency(n, i, j):
    """The pairs of each column: where they begin in lists of the other column, of the pair, and of which side it is."""
    ends = np.zeros(n + 1, np.int64)
    for p in range(len(i)):
        ends[i[p] + 1] += 1
        ends[j[p] + 1] += 1
    ends = np.cumsum(ends)
    place = ends.copy()
    other, pair = np.empty(2 * len(i), np.int64), np.empty(2 * len(i), np.int64)
    for p in range(len(i)):
        for a, b in ((i[p], j[p]), (j[p], i[p])):
            other[place[a]], pair[place[a]] = b, p
            place[a] += 1
    return ends, other, pair


@kernel
def strongest(n, ends, other, pair, coupling, faint, out):
    """The most strongly coupled neighbours of a column; how many there are."""
    count = 0
    for k in range(len(out)):
        best, which = faint, -1
        for p in range(ends[n], ends[n + 1]):
            value, seen = coupling[pair[p]], False
            for m in range(count):
                seen |= out[m] == other[p]
            if value > best and not seen:
                best, which = value, p
        if which < 0:
            break
        out[k] = other[which]
        count += 1
    return count


@kernel
def filled(matrix, members, count, own, ends, other, pair, i, blocks, index, ground):
    """Normal equations of a column, the last member, and its neighbours, beside their couplings to splines."""
    k, n = own.shape[1], members[count - 1]
    size = count * k
    matrix[:size, : size + 16] = 0.0
    for a in range(count):
        one = members[a]
        for p in range(k):
            for q in range(k):
                matrix[a * k + p, a * k + q] = own[one, p, q]
            # neighbours stand on nearly the same splines; those that differ say little about the column
            if index[one, 0] == index[n, 0]:
                for q in range(16):
                    matrix[a * k + p, size + q] = ground[one, p, q]
        for m in range(ends[one], ends[one + 1]):
            for b in range(count):
                if members[b] == other[m]:
                    block, turned = blocks[pair[m]], i[pair[m]] != one
                    for p in range(k):
                        for q in range(k):
                            matrix[a * k + p, b * k + q] = block[q, p] if turned else block[p, q]


@kernel
def reduce(matrix, size, rows, width):
    """Eliminate the first ``rows`` of ``size`` rows of a symmetric matrix, and of what stands beside it, from those
    after them; below its diagonal it stays as it was."""
    for p in range(rows):
        inverse = 1 / matrix[p, p]
        for q in range(p + 1, size):
            factor = matrix[p, q] * inverse
            if factor != 0:
                line, to = matrix[p, q:width], matrix[q, q:width]
                for m in range(len(line)):
                    to[m] -= factor * line[m]


@kernel
def factored(matrices):
    """Factors, of unit diagonals, and the diagonals of symmetric matrices (16, 16, 32): these need not be positive. In
    place, above the diagonals."""
    inverse, factor = np.empty(TOGETHER), np.empty(TOGETHER)
    for p in range(16):
        line = matrices[p]
        for k in range(TOGETHER):
            inverse[k] = 1 / line[p, k]
        for q in range(p + 1, 16):
            to, here = matrices[q], line[q]
            for k in range(TOGETHER):
                factor[k] = here[k] * inverse[k]
            for m in range(q, 16):
                take(factor, line[m], to[m])
            for k in range(TOGETHER):
                here[k] = factor[k]


@kernel
def take(factor, what, to):
    for k in range(TOGETHER):
        to[k] -= factor[k] * what[k]


@kernel
def grounds(start, stop, values, nx, firsts, out):
    """Factors of the splines' matrices (16, 16) over each cell, a few of these at once: that is vectors' work."""
    many = np.zeros((16, 16, TOGETHER))
    for p in range(16):
        many[p, p] = 1.0
    for begin in range(start, stop, TOGETHER):
        few = min(TOGETHER, stop - begin)
        for n in range(few):
            surface.block(values, nx, firsts[begin + n], many, n)
            for p in range(16):
                # where no pixel is valid, nothing but the penalty holds a spline
                many[p, p, n] *= 1 + 1e-9
        factored(many)
        for n in range(few):
            for p in range(16):
                for q in range(p, 16):
                    out[begin + n, p, q] = many[p, q, n]


@kernel
def covariances(
    start, stop, own, ends, other, pair, coupling, i, blocks, index, ground, cell, factors, most, faint, wanted, out
):
    """Blocks (k, k) of the inverse."""
    k = own.shape[1]
    members, near = np.zeros(most + 1, np.int64), np.zeros(most, np.int64)
    matrix = np.zeros(((most + 1) * k, (most + 1) * k + 16))
    corner, root, inverse = np.zeros((k, k)), np.zeros((k, k)), np.zeros((k, k))
    response, scaled = np.zeros((k, 16)), np.zeros((k, 16))
    for n in range(start, stop):
        if not wanted[n]:
            continue
        count = strongest(n, ends, other, pair, coupling, faint, near)
        for m in range(count):
            members[m] = near[m]
        members[count] = n
        filled(matrix, members, count + 1, own, ends, other, pair, i, blocks, index, ground)
        size, before = (count + 1) * k, count * k
        reduce(matrix, size, before, size + 16)
        for p in range(k):
            for q in range(p, k):
                corner[p, q] = corner[q, p] = matrix[before + p, before + q]
        inverted(corner, root, inverse, 0.0)
        responses(inverse, matrix[before:size, size : size + 16], factors[cell[n]], response, scaled)
        for p in range(k):
            for q in range(k):
                total = inverse[p, q]
                for m in range(16):
                    total += response[p, m] * scaled[q, m]
                out[n, p, q] = total


@kernel
def responses(inverse, ground, factor, out, scaled):
    """How the column's parameters follow the splines, (k, 16), in the frame of these where they vary independently;
    and the same times their variances."""
    for p in range(len(inverse)):
        to, with_variance = out[p], scaled[p]
        to[:] = 0.0
        for q in range(len(inverse)):
            value = inverse[q, p]
            for m in range(16):
                to[m] += value * ground[q, m]
        for q in range(16):
            value, line = to[q], factor[q]
            for m in range(q + 1, 16):
                to[m] -= line[m] * value
            with_variance[q] = value / line[q]
