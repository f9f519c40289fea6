"""The normal equations of columns and background: products with them, and their solution."""

from __future__ import annotations

from math import sqrt

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.compiled import surface

# moments are of single precision: diagonals were raised by that share, and no pivot is smaller but by rounding
ROUNDING = 1e-6


@kernel
def series(t, unit, out):
    """Taylor coefficients (4, 4) of the four cubic B-splines over the fraction ``t`` of a knot interval."""
    s = 1 - t
    a, b, c = unit, unit * unit, unit * unit * unit
    out[0, 0], out[0, 1] = s * s * s / 6, (3 * t * t * t - 6 * t * t + 4) / 6
    out[0, 2], out[0, 3] = (-3 * t * t * t + 3 * t * t + 3 * t + 1) / 6, t * t * t / 6
    out[1, 0], out[1, 1] = -3 * s * s * a / 6, (9 * t * t - 12 * t) * a / 6
    out[1, 2], out[1, 3] = (-9 * t * t + 6 * t + 3) * a / 6, 3 * t * t * a / 6
    out[2, 0], out[2, 1], out[2, 2], out[2, 3] = s * b / 2, (3 * t - 2) * b / 2, (1 - 3 * t) * b / 2, t * b / 2
    # slopes with what terms of third degree add to them under a Gaussian of that unit
    out[1, 0] -= 3 * c / 6
    out[1, 1] += 9 * c / 6
    out[1, 2] -= 9 * c / 6
    out[1, 3] += 3 * c / 6


@kernel
def place(p, size, origin, first, knots, knot):
    """The first of the four splines over a point, and the fraction of the interval between knots that it is at; beyond
    the window, of its last interval: what a column there shares with the background lies on its own side of the rim."""
    at = (min(max(p, -0.5), size - 0.5) + origin) / knot
    start = min(max(int(np.floor(at)) - 1 - first, 0), knots - 4)
    return start, (p + origin) / knot - (start + first + 1)


@kernel
def coupling(start, stop, y, x, by_polynomials, shape, origin, first, knots, knot, unit, index, out):
    """Of each column: the first of the sixteen splines over it, and its coupling (k, 16) to them."""
    wy, wx, across = np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((2, 4))
    for n in range(start, stop):
        row, t = place(y[n], shape[0], origin[0], first[0], knots[0], knot)
        series(t, unit / knot, wy)
        column, t = place(x[n], shape[1], origin[1], first[1], knots[1], knot)
        series(t, unit / knot, wx)
        for p in range(4):
            across[0, p], across[1, p] = wy[0, p] + wy[2, p], wx[0, p] + wx[2, p]
        for p in range(4):
            for q in range(4):
                index[n, 4 * p + q] = (row + p) * knots[1] + column + q
        for k in range(by_polynomials.shape[1]):
            f = by_polynomials[n, k]
            for p in range(4):
                one = f[0] * wy[0, p] + f[3] * wy[2, p]
                slope, by_v, by_uv, by_vv = f[1] * wy[1, p], f[2] * across[0, p], f[4] * wy[1, p], f[5] * wy[0, p]
                for q in range(4):
                    out[n, k, 4 * p + q] = (one * wx[0, q] + slope * across[1, q] + by_v * wx[1, q]
                                            + by_uv * wx[1, q] + by_vv * wx[2, q])  # fmt: skip


@kernel
def levels(start, stop, y, x, shape, origin, first, knots, knot, splines, out):
    """The background at points; at the rim for those beyond."""
    wy, wx = np.zeros((4, 4)), np.zeros((4, 4))
    for n in range(start, stop):
        near_y, near_x = min(max(y[n], -0.5), shape[0] - 0.5), min(max(x[n], -0.5), shape[1] - 0.5)
        row, t = place(near_y, shape[0], origin[0], first[0], knots[0], knot)
        series(t, 0.0, wy)
        column, t = place(near_x, shape[1], origin[1], first[1], knots[1], knot)
        series(t, 0.0, wx)
        total = 0.0
        for p in range(4):
            for q in range(4):
                total += wy[0, p] * wx[0, q] * splines[(row + p) * knots[1] + column + q]
        out[n] = total


@kernel
def row_times(blocks, n, p, a):
    """Row ``p`` of a block times what belongs to it."""
    total = 0.0
    for q in range(a.shape[1]):
        total += blocks[n, p, q] * a[n, q]
    return total


@kernel
def over_splines(ground, n, p, first, nx, b):
    """What one parameter couples to the splines, times these."""
    total = 0.0
    for i in range(4):
        for j in range(4):
            total += ground[n, p, 4 * i + j] * b[first + i * nx + j]
    return total


@kernel
def add_over(ground, n, p, first, nx, factor, over):
    for i in range(4):
        for j in range(4):
            over[first + i * nx + j] += factor * ground[n, p, 4 * i + j]


@kernel
def columns_times(own, i, j, blocks, a, out):
    """Add own blocks, and those of pairs both ways, times ``a`` (n, k)."""
    k = a.shape[1]
    for n in range(len(a)):
        for p in range(k):
            out[n, p] += row_times(own, n, p, a)
    if k == 4:
        round_pairs_times(i, j, blocks, a, out)
        return
    for n in range(len(i)):
        one, two = i[n], j[n]
        for p in range(k):
            total, factor = 0.0, a[one, p]
            for q in range(k):
                total += blocks[n, p, q] * a[two, q]
                out[two, q] += blocks[n, p, q] * factor
            out[one, p] += total


@kernel
def round_pairs_times(i, j, blocks, a, out):
    """The same for pairs of round columns: sums that stay in registers."""
    for n in range(len(i)):
        one, two, b = i[n], j[n], blocks[n]
        a0, a1, a2, a3 = a[one, 0], a[one, 1], a[one, 2], a[one, 3]
        c0, c1, c2, c3 = a[two, 0], a[two, 1], a[two, 2], a[two, 3]
        for p in range(4):
            out[one, p] += b[p, 0] * c0 + b[p, 1] * c1 + b[p, 2] * c2 + b[p, 3] * c3
        for p in range(4):
            out[two, p] += b[0, p] * a0 + b[1, p] * a1 + b[2, p] * a2 + b[3, p] * a3


@kernel
def inverted(matrix, root, out, least):
    """Inverse of a positive matrix by its Cholesky factor, which goes into ``root``; NaN where it is not positive.

    No pivot is smaller than the share ``least`` of its diagonal, if that is above 0.
    """
    k = len(matrix)
    for p in range(k):
        for q in range(p):
            total = matrix[p, q]
            for m in range(q):
                total -= root[p, m] * root[q, m]
            root[p, q] = total / root[q, q]
        total = matrix[p, p]
        for m in range(p):
            total -= root[p, m] * root[p, m]
        if 0 < least and total < least * matrix[p, p]:
            total = least * matrix[p, p]
        root[p, p] = sqrt(total)
    for p in range(k):  # the factor's inverse, above its diagonal; then the product with itself
        out[p, p] = 1 / root[p, p]
        for c in range(p):
            total = 0.0
            for m in range(c, p):
                total -= root[p, m] * out[c, m]
            out[c, p] = total * out[p, p]
    for p in range(k):
        for c in range(p, k):
            total = 0.0
            for m in range(c, k):
                total += out[p, m] * out[c, m]
            out[p, c] = total
    for p in range(k):
        for c in range(p):
            out[p, c] = out[c, p]


@kernel
def invert(start, stop, matrices, roots, out):
    for n in range(start, stop):
        inverted(matrices[n], roots[n], out[n], ROUNDING)


@kernel
def strengths(start, stop, i, j, blocks, roots, out):
    """How strongly pairs couple: no less than the largest singular value of ``L_i^-1 block L_j^-T``."""
    k = roots.shape[1]
    inner, by_one, by_two = np.zeros((k, k)), np.zeros(k), np.zeros(k)
    for n in range(start, stop):
        one, two = roots[i[n]], roots[j[n]]
        for p in range(k):
            by_one[p], by_two[p] = 1 / one[p, p], 1 / two[p, p]
        for q in range(k):
            for p in range(k):
                total = blocks[n, p, q]
                for m in range(p):
                    total -= one[p, m] * inner[m, q]
                inner[p, q] = total * by_one[p]
        for p in range(k):
            for q in range(k):
                total = inner[p, q]
                for m in range(q):
                    total -= two[q, m] * inner[p, m]
                inner[p, q] = total * by_two[q]
        along = across = square = 0.0
        for p in range(k):
            row = column = 0.0
            for q in range(k):
                row += abs(inner[p, q])
                column += abs(inner[q, p])
                square += inner[p, q] * inner[p, q]
            along, across = max(along, row), max(across, column)
        out[n] = sqrt(min(along * across, square))


@kernel
def shares(i, j, strength, out):
    """One plus how strongly each column couples to all of its neighbours."""
    out[:] = 1.0
    for n in range(len(i)):
        out[i[n]] += strength[n]
        out[j[n]] += strength[n]


@kernel
def by_row(index, nx, rows):
    """Columns sorted by the first row of knots under them, and where each row's begin."""
    ends = np.zeros(rows + 1, np.int64)
    for n in range(len(index)):
        ends[index[n, 0] // nx + 1] += 1
    ends = np.cumsum(ends)
    order, place = np.empty(len(index), np.int64), ends.copy()
    for n in range(len(index)):
        row = index[n, 0] // nx
        order[place[row]] = n
        place[row] += 1
    return order, ends


@kernel
def taken(start, stop, order, ends, inverse, index, ground, nx, values):
    """Subtract from the matrix of the splines, of rows ``start`` to ``stop``, what the columns over them take."""
    lean, line = np.zeros((inverse.shape[1], 16)), np.zeros(16)
    for n in order[ends[max(0, start - 3)] : ends[stop]]:
        row = index[n, 0] // nx
        for p in range(len(lean)):
            combined(inverse, n, p, ground, lean[p])
        for down in range(max(0, start - row), min(4, stop - row)):
            for beside in range(4):
                at, to = 4 * down + beside, index[n, 0] + down * nx + beside
                g0, g1, g2, g3 = ground[n, 0, at], ground[n, 1, at], ground[n, 2, at], ground[n, 3, at]
                for q in range(4 * down, 16):
                    line[q] = g0 * lean[0, q] + g1 * lean[1, q] + g2 * lean[2, q] + g3 * lean[3, q]
                for m in range(4, len(lean)):
                    for q in range(4 * down, 16):
                        line[q] += ground[n, m, at] * lean[m, q]
                for e in range(4 - down):
                    for q in range(4):
                        values[to, e, 3 + q - beside] -= line[4 * (down + e) + q]


@kernel
def combined(blocks, n, p, ground, out):
    """Row ``p`` of a block times the couplings of its column."""
    b0, b1, b2, b3 = blocks[n, p, 0], blocks[n, p, 1], blocks[n, p, 2], blocks[n, p, 3]
    for q in range(16):
        out[q] = b0 * ground[n, 0, q] + b1 * ground[n, 1, q] + b2 * ground[n, 2, q] + b3 * ground[n, 3, q]
    for m in range(4, blocks.shape[1]):
        for q in range(16):
            out[q] += blocks[n, p, m] * ground[n, m, q]


@kernel
def eliminated(inverse, index, ground, root, nx, a, b, first, under, across, taken):
    """Nearly the solution, ``first`` and ``under``: columns apart from each other, not from the background.

    Also what ``under`` couples to the columns, ``across`` (n, k), and what columns take from ``b``, ``taken`` (m).
    """
    k = a.shape[1]
    for s in range(len(b)):
        under[s] = b[s]
    for n in range(len(a)):
        begin = index[n, 0]
        r0, r1 = row_times(inverse, n, 0, a), row_times(inverse, n, 1, a)
        r2, r3 = row_times(inverse, n, 2, a), row_times(inverse, n, 3, a)
        for i in range(4):
            for j in range(4):
                q = 4 * i + j
                taken_here = r0 * ground[n, 0, q] + r1 * ground[n, 1, q] + r2 * ground[n, 2, q] + r3 * ground[n, 3, q]
                under[begin + i * nx + j] -= taken_here
        for p in range(4, k):
            add_over(ground, n, p, begin, nx, -row_times(inverse, n, p, a), under)
    for s in range(len(b)):
        taken[s] = b[s] - under[s]
    surface.solve(root, under)
    for n in range(len(a)):
        begin, t0, t1, t2, t3 = index[n, 0], 0.0, 0.0, 0.0, 0.0
        for i in range(4):
            for j in range(4):
                q, v = 4 * i + j, under[begin + i * nx + j]
                t0 += ground[n, 0, q] * v
                t1 += ground[n, 1, q] * v
                t2 += ground[n, 2, q] * v
                t3 += ground[n, 3, q] * v
        across[n, 0], across[n, 1], across[n, 2], across[n, 3] = t0, t1, t2, t3
        for p in range(4, k):
            across[n, p] = over_splines(ground, n, p, begin, nx, under)
        r0, r1, r2, r3 = a[n, 0] - t0, a[n, 1] - t1, a[n, 2] - t2, a[n, 3] - t3
        for p in range(k):
            total = inverse[n, p, 0] * r0 + inverse[n, p, 1] * r1 + inverse[n, p, 2] * r2 + inverse[n, p, 3] * r3
            for m in range(4, k):
                total += inverse[n, p, m] * (a[n, m] - across[n, m])
            first[n, p] = total


@kernel
def dot(a, b):
    one, two, total = a.reshape(-1), b.reshape(-1), 0.0
    for k in range(len(one)):
        total += one[k] * two[k]
    return total


@kernel
def add(to, factor, what):
    one, two = to.reshape(-1), what.reshape(-1)
    for k in range(len(one)):
        one[k] += factor * two[k]


@kernel
def along(to, factor, what):
    """``what + factor * to``, in place."""
    one, two = to.reshape(-1), what.reshape(-1)
    for k in range(len(one)):
        one[k] = two[k] + factor * one[k]


@kernel
def solve(own, i, j, blocks, index, ground, schur, nx, inverse, root, a, b, accuracy, most, x, y):
    """Preconditioned conjugate gradients, into ``x`` and ``y`` that are zero.

    Where the matrix is found not to be positive the best step so far: on the way there they grow without bounds. What
    the elimination has summed on its way gives most of the matrix times its result, and ``schur``, the splines' matrix
    without what columns take from it, the rest; along a direction it follows from the one before (Chronopoulos and
    Gear, J. Comput. Appl. Math. 25, 153 (1989), doi:10.1016/0377-0427(89)90045-9).
    """
    r, s = a.copy(), b.copy()
    z, w, hz, hw = np.zeros_like(a), np.zeros_like(b), np.zeros_like(a), np.zeros_like(b)
    eliminated(inverse, index, ground, root, nx, r, s, z, w, hz, hw)
    p, q, hp, hq = np.zeros_like(a), np.zeros_like(b), np.zeros_like(a), np.zeros_like(b)
    now = begun = dot(r, z) + dot(s, w)
    least, best_x, best_y, share = np.inf, z.copy(), w.copy(), 0.0
    for k in range(most):
        if 0 < k and now < least:
            least, best_x, best_y = now, x.copy(), y.copy()
        if not now > accuracy * accuracy * begun:
            break
        columns_times(own, i, j, blocks, z, hz)
        surface.times(schur, nx, w, hw)
        along(p, share, z)
        along(q, share, w)
        along(hp, share, hz)
        along(hq, share, hw)
        curve = dot(p, hp) + dot(q, hq)
        if not curve > 0:  # the approximate coupling is not positive along here
            x[:], y[:] = best_x, best_y
            break
        step = now / curve
        add(x, step, p)
        add(y, step, q)
        add(r, -step, hp)
        add(s, -step, hq)
        eliminated(inverse, index, ground, root, nx, r, s, z, w, hz, hw)
        last, now = now, dot(r, z) + dot(s, w)
        share = now / last
