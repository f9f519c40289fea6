"""The background's splines: their surface, an image's sums with them, and their own normal equations.

The matrix of a surface has few elements, those of splines that overlap: ``values[s, e, 3 + d]`` is that of spline ``s``
with the one ``e`` rows of knots further and ``d`` beside it.
"""

from __future__ import annotations

import numpy as np

from hs_deepatoms.atoms.compiled.loops import kernel


@kernel()
def surface(start, stop, c, row_starts, rows, column_starts, columns, out):
    """Rows of the surface of coefficients ``c``; ``rows`` (4, h), ``columns`` (4, w) are the four splines over each."""
    nx, width = c.shape[1], out.shape[1]
    across = np.zeros(nx, np.float32)
    b0, b1, b2, b3 = columns[0], columns[1], columns[2], columns[3]
    for r in range(start, stop):
        s = row_starts[r]
        for k in range(nx):
            across[k] = (rows[0, r] * c[s, k] + rows[1, r] * c[s + 1, k]
                         + rows[2, r] * c[s + 2, k] + rows[3, r] * c[s + 3, k])  # fmt: skip
        first, to = 0, out[r]
        while first < width:
            s, last = column_starts[first], first + 1
            while last < width and column_starts[last] == s:
                last += 1
            a0, a1, a2, a3 = across[s], across[s + 1], across[s + 2], across[s + 3]
            for k in range(first, last):
                to[k] = a0 * b0[k] + a1 * b1[k] + a2 * b2[k] + a3 * b3[k]
            first = last


@kernel()
def along_row(image, column_starts, columns, out):
    """Sums of a row of pixels times the splines along it."""
    width, first = len(image), 0
    b0, b1, b2, b3 = columns[0], columns[1], columns[2], columns[3]
    out[:] = 0.0
    while first < width:
        s, last = column_starts[first], first + 1
        while last < width and column_starts[last] == s:
            last += 1
        z0 = z1 = z2 = z3 = np.float32(0)
        for k in range(first, last):
            z0 += image[k] * b0[k]
            z1 += image[k] * b1[k]
            z2 += image[k] * b2[k]
            z3 += image[k] * b3[k]
        out[s] += z0
        out[s + 1] += z1
        out[s + 2] += z2
        out[s + 3] += z3
        first = last


@kernel()
def project(start, stop, image, row_starts, rows, column_starts, columns, parts):
    """Sums of the rows between two knots times the splines over them, ``parts`` (knots, 4, nx)."""
    across, low = np.zeros(parts.shape[2]), row_starts[0]
    first, last = np.searchsorted(row_starts, low + start), np.searchsorted(row_starts, low + stop)
    parts[start:stop] = 0.0
    for r in range(first, last):
        along_row(image[r], column_starts, columns, across)
        for k in range(4):
            to, factor = parts[row_starts[r] - low, k], rows[k, r]
            for n in range(len(across)):
                to[n] += factor * across[n]


@kernel()
def together(parts, low, out):
    """Sums over all rows from those between knots."""
    for n in range(len(parts)):
        for k in range(4):
            for m in range(out.shape[1]):
                out[low + n + k, m] += parts[n, k, m]


@kernel()
def products(start, stop, weight, few, columns, column_starts, out):
    """Sums (h', 4, nx) of weights over ``few`` rows times products of splines along them that are 0 to 3 apart.

    ``columns`` (w', up to 5) are the splines over every few pixels, from ``column_starts`` on.
    """
    pooled, most = np.zeros(len(columns)), columns.shape[1]
    for r in range(start, stop):
        pooled[:] = 0.0
        for q in range(r * few, min(len(weight), (r + 1) * few)):
            here, k = weight[q], 0
            for n in range(len(columns)):
                for _ in range(min(few, len(here) - k)):
                    pooled[n] += here[k]
                    k += 1
        to = out[r]
        to[:] = 0.0
        for n in range(len(columns)):
            s = column_starts[n]
            for p in range(most):
                factor = pooled[n] * columns[n, p]
                for d in range(min(4, most - p)):
                    to[d, s + p] += factor * columns[n, p + d]


@kernel()
def hessian(beside, rows, row_starts, values):
    """Normal equations of splines from the :func:`products` of every few rows, added to ``values``."""
    nx, most = beside.shape[2], rows.shape[1]
    total = np.zeros((len(values) // nx, 4, 4, nx))
    for r in range(len(rows)):
        for p in range(most):
            for e in range(min(4, most - p)):
                factor = rows[r, p] * rows[r, p + e]
                if factor != 0:
                    to = total[row_starts[r] + p, e]
                    for d in range(4):
                        for k in range(nx):
                            to[d, k] += factor * beside[r, d, k]
    for b in range(len(total)):
        for e in range(4):
            for d in range(4):
                for k in range(nx - d):
                    value = total[b, e, d, k]
                    values[b * nx + k, e, 3 + d] += value
                    if e > 0 and d > 0:
                        values[b * nx + k + d, e, 3 - d] += value


@kernel()
def band(values, nx, out):
    """The matrix by its lower diagonals as LAPACK wants them, (n, width)."""
    n = len(values)
    out[:] = 0.0
    for s in range(n):
        for e in range(4):
            for d in range(7):
                apart = e * nx + d - 3
                if 0 <= apart < min(out.shape[1], n - s) and values[s, e, d] != 0:
                    out[s, apart] = values[s, e, d]


@kernel()
def times(values, nx, vector, out):
    """The matrix times a vector, added to ``out``."""
    n = len(values)
    for s in range(n):
        here, total = vector[s], values[s, 0, 3] * vector[s]
        for e in range(4):
            for d in range(4 if e == 0 else 0, 7):
                other, value = s + e * nx + d - 3, values[s, e, d]
                if other < n:
                    out[other] += value * here
                    total += value * vector[other]
        out[s] += total


@kernel()
def solve(root, b):
    """Solve in place with the Cholesky factor ``root`` (n, width) of a matrix by its lower diagonals."""
    n, width = root.shape
    for s in range(n):
        line = root[s, : min(width, n - s)]
        value = b[s] / line[0]
        b[s] = value
        to = b[s : s + len(line)]
        for k in range(1, len(line)):
            to[k] -= value * line[k]
    for s in range(n - 1, -1, -1):
        line = root[s, : min(width, n - s)]
        of, total = b[s : s + len(line)], 0.0
        for k in range(1, len(line)):
            total += of[k] * line[k]
        b[s] = (b[s] - total) / line[0]


@kernel()
def block(values, nx, first, out):
    """Elements (16, 16) between the four by four splines from ``first`` on."""
    for p in range(16):
        s = first + p // 4 * nx + p % 4
        for q in range(p, 16):
            e, d = q // 4 - p // 4, q % 4 - p % 4
            out[p, q] = out[q, p] = values[s, e, 3 + d]
