"""The background's splines: their surface, an image's sums with them, and their own normal equations.

The matrix of a surface has few elements, those of splines that overlap: ``values[s, e, 3 + d]`` is that of spline ``s``
with the one ``e`` rows of knots further and ``d`` beside it.
"""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel


@kernel
def crossed(start, stop, c, column_starts, columns, out):
    """Rows of coefficients ``c`` (ny, nx) -> what each adds to a row of pixels, (ny, w)."""
    for n in range(start, stop):
        line, to = c[n], out[n]
        for k in range(len(to)):
            s = column_starts[k]
            to[k] = (line[s] * columns[0, k] + line[s + 1] * columns[1, k]
                     + line[s + 2] * columns[2, k] + line[s + 3] * columns[3, k])  # fmt: skip


@kernel
def surface(start, stop, across, row_starts, rows, out):
    """Rows of the surface from what each row of coefficients adds; ``rows`` (4, h) are the four splines over each."""
    for r in range(start, stop):
        s, to = row_starts[r], out[r]
        a, b, c, d = across[s], across[s + 1], across[s + 2], across[s + 3]
        fa, fb, fc, fd = rows[0, r], rows[1, r], rows[2, r], rows[3, r]
        for k in range(len(to)):
            to[k] = fa * a[k] + fb * b[k] + fc * c[k] + fd * d[k]


@kernel
def project(start, stop, image, row_starts, rows, out):
    """Sums of the rows between two knots, times the splines over them: ``out`` (knots, 4, w)."""
    low = row_starts[0]
    first, last = np.searchsorted(row_starts, low + start), np.searchsorted(row_starts, low + stop)
    out[start:stop] = 0.0
    for r in range(first, last):
        here, n = image[r], row_starts[r] - low
        a, b, c, d = out[n, 0], out[n, 1], out[n, 2], out[n, 3]
        add(rows[0, r], here, a)
        add(rows[1, r], here, b)
        add(rows[2, r], here, c)
        add(rows[3, r], here, d)


@kernel
def add(factor, what, to):
    for k in range(len(to)):
        to[k] += factor * what[k]


@kernel
def together(parts, low, column_starts, columns, out):
    """Sums (ny, nx) over all pixels from those of the rows between knots."""
    line = np.empty(parts.shape[2])
    for m in range(len(parts) + 3):  # of a row of knots at a time, all rows of pixels that are under its splines
        line[:] = 0.0
        for p in range(max(0, m - len(parts) + 1), min(4, m + 1)):
            add(1.0, parts[m - p, p], line)
        to = out[low + m]
        for k in range(len(line)):
            s = column_starts[k]
            for q in range(4):
                to[s + q] += line[k] * columns[q, k]


@kernel
def products(start, stop, weight, few, row_starts, rows, out):
    """Sums (ny, 4, w) of pixels times products of splines across rows that are 0 to 3 apart, of first splines ``start``
    to ``stop``; ``rows`` (h', up to 5) are the splines over every ``few`` rows, from ``row_starts`` on."""
    pooled, most = np.zeros(weight.shape[1], np.float32), rows.shape[1]
    out[start:stop] = 0.0
    for r in range(len(rows)):
        s = row_starts[r]
        if s >= stop or s + most <= start:
            continue
        pooled[:] = 0.0
        for q in range(r * few, min(len(weight), (r + 1) * few)):
            add(np.float32(1), weight[q], pooled)
        for p in range(max(0, start - s), min(most, stop - s)):
            for e in range(min(4, most - p)):
                factor = rows[r, p] * rows[r, p + e]
                if factor != 0:
                    add(np.float32(factor), pooled, out[s + p, e])


@kernel
def hessian(start, stop, parts, few, column_starts, columns, values):
    """Add the normal equations of the splines of some rows of knots, from their :func:`products`."""
    nx, most = len(values) // len(parts), columns.shape[1]
    lines = parts[start:stop].reshape(4 * (stop - start), parts.shape[2])
    pooled, total = np.empty(len(lines)), np.zeros((4, nx, len(lines)))
    for n in range(len(columns)):  # all lines at once: that is vectors' work
        s = column_starts[n]
        for r in range(len(lines)):
            value = 0.0
            for k in range(n * few, min((n + 1) * few, lines.shape[1])):
                value += lines[r, k]
            pooled[r] = value
        for p in range(most):
            for d in range(min(4, most - p)):
                if columns[n, p] != 0 and columns[n, p + d] != 0:
                    add(columns[n, p] * columns[n, p + d], pooled, total[d, s + p])
    for r in range(len(lines)):
        b, e = start + r // 4, r % 4
        for d in range(4):
            for a in range(nx - d):
                values[b * nx + a, e, 3 + d] += total[d, a, r]
                if e > 0 and d > 0:
                    values[b * nx + a + d, e, 3 - d] += total[d, a, r]


@kernel
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


@kernel
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


@kernel
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


@kernel
def block(values, nx, first, out, n):
    """Elements between the four by four splines from ``first`` on, on the diagonal and above it, into ``out[:, :, n]``
    (16, 16)."""
    for p in range(16):
        s = first + p // 4 * nx + p % 4
        for q in range(p, 16):
            out[p, q, n] = values[s, q // 4 - p // 4, 3 + q % 4 - p % 4]
