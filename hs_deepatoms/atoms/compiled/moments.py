"""Moments of weights under bells, of which every block of the normal equations is made."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.atoms.compiled.loops import kernel

# the polynomials 1, u, v, uu, uv, vv as powers of (u, v), and the places of their products among moments, 5 x 5
POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
PRODUCTS = np.array([[5 * (a + c) + b + d for c, d in POWERS] for a, b in POWERS], np.uint64)


@kernel()
def powers(place, unit, begin, values, out):
    """``values`` times 1, v, vv, ... of the distance v from ``place`` over ``unit``, into the rows of ``out``."""
    first, step = np.float32((begin - place) / unit), np.float32(1 / unit)
    for k in range(len(values)):
        out[0, k] = values[k]
    for a in range(1, len(out)):
        last, here = out[a - 1], out[a]
        for k in range(len(values)):
            here[k] = last[k] * (first + np.float32(k) * step)


@kernel()
def cut(image, top, bottom, begin, m, out):
    """Copy a window: ``image[top:bottom, begin : begin + m]``, and zeros beyond."""
    for r in range(bottom - top):
        here, to = image[top + r, begin : begin + m], out[r]
        for k in range(m):
            to[k] = here[k]
        to[m:] = 0.0
    out[bottom - top :] = 0.0


@kernel()
def times_five(image, n, lines, out):
    """The first ``n`` rows of an image times five lines: ``out[line, row]``."""
    a, b, c, d, e = lines[0], lines[1], lines[2], lines[3], lines[4]
    for r in range(n):
        here = image[r]
        za = zb = zc = zd = ze = np.float32(0)
        for k in range(len(a)):
            value = here[k]
            za += value * a[k]
            zb += value * b[k]
            zc += value * c[k]
            zd += value * d[k]
            ze += value * e[k]
        out[0, r], out[1, r], out[2, r], out[3, r], out[4, r] = za, zb, zc, zd, ze


@kernel()
def moments(pixels, rows, lines, along, out):
    """Sums ``out[a, b]`` of pixels times the bells and powers u^a in ``rows`` and v^b in ``lines``; zero beyond."""
    times_five(pixels, len(pixels), lines, along)
    times_five(along, len(along), rows, out)


@kernel()
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


@kernel()
def times_turned(half, right, out):
    """``half @ right.T``; much of ``right`` is zero."""
    out[:] = 0.0
    for j in range(len(right)):
        for q in range(6):
            factor = right[j, q]
            if factor != 0:
                for i in range(len(half)):
                    out[i, j] += half[i, q] * factor


@kernel()
def slope(t, moments, out):
    """Derivatives ``t`` (k, 6) times the moments of the six polynomials."""
    for i in range(len(t)):
        out[i] = (t[i, 0] * moments[0, 0] + t[i, 1] * moments[1, 0] + t[i, 2] * moments[0, 1]
                  + t[i, 3] * moments[2, 0] + t[i, 4] * moments[1, 1] + t[i, 5] * moments[0, 2])  # fmt: skip
