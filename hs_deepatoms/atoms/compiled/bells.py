"""Gaussian columns on their windows, as the loops of the other kernels see them."""

from __future__ import annotations

from math import cosh, exp, sinh, sqrt

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.peaks import STEEPEST

LANES = 8  # numbers that a processor handles at once: rows of windows are a multiple of it
# a table of columns has the rows y, x, height, log_width, plus, cross
Y, X, HEIGHT, LOG_WIDTH, PLUS, CROSS = range(6)


@kernel
def span(place, half, size):
    """First and last (excluded) pixel of a window, in an image of that size; none of it may be inside."""
    if not abs(place) < 1e9:
        return 0, 0
    middle = int(np.rint(place))
    return max(0, middle - half), min(size, middle + half + 1)


@kernel
def lanes_of(half):
    return (2 * half + LANES) // LANES * LANES


@kernel
def lined_up(first, lanes, size):
    """Where a whole number of lanes begins that holds the pixels from ``first`` on, and how many are in the image."""
    begin = max(0, min(first, size - lanes))
    return begin, min(lanes, size - begin)


@kernel
def bell(place, q, begin, first, stop, out):
    """The Gaussian of precision ``q`` at the pixels ``first`` to ``stop``, in an array that starts at ``begin``; zero
    at all others. Every value follows from the one before."""
    out[:] = 0.0
    away = first - place
    value, ratio, bend = exp(-0.5 * q * away * away), exp(-q * (away + 0.5)), exp(-q)
    for k in range(first - begin, stop - begin):
        out[k] = value
        value *= ratio
        ratio *= bend


@kernel
def precision(column, elliptical):
    """Inverse covariance of a column: its elements yy, yx, xx."""
    scale = exp(-2 * column[LOG_WIDTH])
    if not elliptical:
        return scale, 0.0, scale
    plus, cross = column[PLUS], column[CROSS]
    e = max(sqrt(plus * plus + cross * cross), 1e-6)
    even, odd = cosh(e), sinh(e) / e
    return scale * (even - odd * plus), -scale * odd * cross, scale * (even + odd * plus)


@kernel
def derivatives(column, unit, elliptical, t):
    """Coefficients (k, 6) of the six polynomials in the derivatives by the parameters of a column, into ``t``."""
    yy, yx, xx = precision(column, elliptical)
    h = column[HEIGHT]
    t[:] = 0.0
    t[0, 1], t[0, 2] = h * unit * yy, h * unit * yx
    t[1, 1], t[1, 2] = h * unit * yx, h * unit * xx
    t[2, 0] = 1.0
    b = -0.5 * h * unit * unit
    t[3, 3], t[3, 4], t[3, 5] = -2 * b * yy, -4 * b * yx, -2 * b * xx
    if not elliptical:
        return
    plus, cross, scale = column[PLUS], column[CROSS], exp(-2 * column[LOG_WIDTH])
    e = max(sqrt(plus * plus + cross * cross), 1e-6)
    odd = sinh(e) / e
    slope = (cosh(e) - odd) / (e * e)
    for k in range(2):
        part = plus if k == 0 else cross
        along, bent = scale * odd * part, scale * slope * part
        t[4 + k, 3] = b * (along - bent * plus - (scale * odd if k == 0 else 0.0))
        t[4 + k, 4] = 2 * b * (-bent * cross - (scale * odd if k == 1 else 0.0))
        t[4 + k, 5] = b * (along + bent * plus + (scale * odd if k == 0 else 0.0))


@kernel
def tilts(both, by_row, by_line, even, u, v, rows, value, ratio, out):
    """``exp(-(both u v + by_row u + by_line v + even))``, (rows, pixels), from ``u`` and ``v`` on: what tilted ellipses
    are besides their bells along rows and columns. Each from the last, all pixels of a row at once; ``value`` and
    ``ratio`` (pixels,) are room for that."""
    step, change = exp(-(both * u + by_line)), exp(-both)
    value[0], ratio[0] = exp(-(v * (both * u + by_line) + by_row * u + even)), exp(-(both * v + by_row))
    for k in range(1, len(value)):
        value[k], ratio[k] = value[k - 1] * step, ratio[k - 1] * change
    for r in range(rows):
        to = out[r]
        for k in range(len(value)):
            to[k] = min(value[k], STEEPEST)
            value[k] *= ratio[k]
