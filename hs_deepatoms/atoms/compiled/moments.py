"""Moments of weights under bells, of which every block of the normal equations is made."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel

# the polynomials 1, u, v, uu, uv, vv as powers of (u, v), and the places of their products among moments, 5 x 5
POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
PRODUCTS = np.array([[5 * (a + c) + b + d for c, d in POWERS] for a, b in POWERS], np.uint64)


@kernel
def powers(place, unit, begin, values, out):
    """``values`` times 1, v, vv, ... of the distance v from ``place`` over ``unit``, into the rows of ``out``."""
    first, step = np.float32((begin - place) / unit), np.float32(1 / unit)
    for k in range(len(values)):
        out[0, k] = values[k]
    for a in range(1, len(out)):
        last, here = out[a - 1], out[a]
        for k in range(len(values)):
            here[k] = last[k] * (first + np.float32(k) * step)


@kernel
def tilted(image, top, bottom, begin, m, tilt, out):
    """A window's pixels times what tilts a bell."""
    for r in range(bottom - top):
        here, factor, to = image[top + r, begin : begin + m], tilt[r], out[r]
        for k in range(m):
            to[k] = here[k] * factor[k]


@kernel
def times_five(image, top, n, begin, m, lines, out):
    """``n`` rows of an image from ``top`` on, ``m`` pixels from ``begin`` on, times five lines: ``out[line, row]``."""
    a, b, c, d, e = lines[0], lines[1], lines[2], lines[3], lines[4]
    for r in range(n):
        here = image[top + r, begin : begin + m]
        za = zb = zc = zd = ze = np.float32(0)
        for k in range(m):
            value = here[k]
            za += value * a[k]
            zb += value * b[k]
            zc += value * c[k]
            zd += value * d[k]
            ze += value * e[k]
        out[0, r], out[1, r], out[2, r], out[3, r], out[4, r] = za, zb, zc, zd, ze


@kernel
def times_three(image, top, n, begin, m, lines, out):
    """The same times three lines."""
    a, b, c = lines[0], lines[1], lines[2]
    for r in range(n):
        here = image[top + r, begin : begin + m]
        za = zb = zc = np.float32(0)
        for k in range(m):
            value = here[k]
            za += value * a[k]
            zb += value * b[k]
            zc += value * c[k]
        out[0, r], out[1, r], out[2, r] = za, zb, zc


@kernel
def moments(image, top, n, begin, m, rows, lines, along, out):
    """Sums ``out[a, b]`` of a window's pixels times the bells and powers u^a in ``rows`` and v^b in ``lines``."""
    a, b, c, d, e = along[0, :m], along[1, :m], along[2, :m], along[3, :m], along[4, :m]
    along[:, :m] = 0.0
    for r in range(n):
        here = image[top + r, begin : begin + m]
        fa, fb, fc, fd, fe = rows[0, r], rows[1, r], rows[2, r], rows[3, r], rows[4, r]
        for k in range(m):
            value = here[k]
            a[k] += fa * value
            b[k] += fb * value
            c[k] += fc * value
            d[k] += fd * value
            e[k] += fe * value
    times_five(lines, n - n, len(lines), n - n, m, along, out)


@kernel
def low_moments(image, top, n, begin, m, rows, lines, along, out):
    """Those of :func:`moments` of degrees up to two along each axis."""
    times_three(image, top, n, begin, m, lines, along)
    times_three(along, n - n, 3, n - n, n, rows, out)


@kernel
def multiplied(table, line):
    """All rows of a table times a line, in place."""
    for a in range(len(table)):
        row = table[a]
        for k in range(len(line)):
            row[k] *= line[k]


@kernel
def with_polynomials(left, moments, out):
    """``left @ products of the six polynomials``, (k, 6), from their moments; much of ``left`` (k, 6) is zero."""
    flat = moments.reshape(-1)
    for i in range(len(left)):
        to = out[i]
        to[:] = 0.0
        for p in range(6):
            factor = left[i, p]
            if factor != 0:
                for q in range(6):
                    to[q] += factor * flat[PRODUCTS[p, q]]


@kernel
def times_turned(half, right, out):
    """``half @ right.T``; much of ``right`` is zero."""
    out[:] = 0.0
    for j in range(len(right)):
        for q in range(6):
            factor = right[j, q]
            if factor != 0:
                for i in range(len(half)):
                    out[i, j] += half[i, q] * factor


@kernel
def slope(t, moments, out):
    """Derivatives ``t`` (k, 6) times the moments of the six polynomials."""
    for i in range(len(t)):
        out[i] = (t[i, 0] * moments[0, 0] + t[i, 1] * moments[1, 0] + t[i, 2] * moments[0, 1]
                  + t[i, 3] * moments[2, 0] + t[i, 4] * moments[1, 1] + t[i, 5] * moments[0, 2])  # fmt: skip
