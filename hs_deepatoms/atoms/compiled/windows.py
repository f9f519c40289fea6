"""Own blocks of the normal equations, gradients, first heights and the drawn image, column by column."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.compiled.bells import (
    HEIGHT,
    X,
    Y,
    bell,
    derivatives,
    lanes_of,
    lined_up,
    precision,
    span,
    tilts,
)
from hs_deepatoms.atoms.compiled.moments import (
    low_moments,
    moments,
    multiplied,
    powers,
    slope,
    tilted,
    times_turned,
    with_polynomials,
)


@kernel
def sums(start, stop, table, weighed, weight, half, unit, elliptical, hessian, gradient, ground):
    """Of the columns ``start`` to ``stop``: own blocks, slopes, and own blocks with the polynomials."""
    height, width = weight.shape
    lanes = lanes_of(half)
    rows, line, along = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32), np.zeros((5, lanes), np.float32)
    by_row, by_line = np.zeros((5, lanes), np.float32), np.zeros((5, lanes), np.float32)
    of_rest, once, twice = np.zeros((5, 5), np.float32), np.zeros((5, 5), np.float32), np.zeros((5, 5), np.float32)
    t, part = np.zeros((6 if elliptical else 4, 6)), np.zeros((6 if elliptical else 4, 6))
    tilted_rest, tilted_weight = np.zeros((lanes, lanes), np.float32), np.zeros((lanes, lanes), np.float32)
    tilt, value, ratio = np.zeros((lanes, lanes), np.float32), np.zeros(lanes), np.zeros(lanes)
    for n in range(start, stop):
        y, x = table[n, Y], table[n, X]
        yy, yx, xx = precision(table[n], elliptical)
        top, bottom = span(y, half, height)
        left, right = span(x, half, width)
        if top >= bottom or left >= right:
            hessian[n], gradient[n], ground[n] = 0.0, 0.0, 0.0
            continue
        begin, m = lined_up(left, lanes, width)
        bell(y, yy, top, top, bottom, rows)
        bell(x, xx, begin, left, right, line)
        powers(y, unit, top, rows, by_row)
        powers(x, unit, begin, line, by_line)
        rest, pixels, high, left, none = weighed, weight, top, begin, top - top
        if elliptical:
            tilts(yx, 0.0, 0.0, 0.0, top - y, begin - x, bottom - top, value, ratio, tilt)
            tilted(weighed, top, bottom, begin, m, tilt, tilted_rest)
            tilted(weight, top, bottom, begin, m, tilt, tilted_weight)
            rest, pixels, high, left = tilted_rest, tilted_weight, none, none
        low_moments(rest, high, bottom - top, left, m, by_row, by_line, along, of_rest)
        moments(pixels, high, bottom - top, left, m, by_row, by_line, along, once)
        if elliptical:
            tilted(tilted_weight, none, bottom - top, none, m, tilt, tilted_weight)
        multiplied(by_row, rows)
        multiplied(by_line, line)
        moments(pixels, high, bottom - top, left, m, by_row, by_line, along, twice)
        derivatives(table[n], unit, elliptical, t)
        with_polynomials(t, once, ground[n])
        slope(t, of_rest, gradient[n])
        with_polynomials(t, twice, part)
        times_turned(part, t, hessian[n])


@kernel
def slopes(start, stop, table, weighed, half, unit, elliptical, gradient):
    """The gradient of :func:`sums` alone."""
    height, width = weighed.shape
    lanes = lanes_of(half)
    rows, line, along = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32), np.zeros((3, lanes), np.float32)
    by_row, by_line = np.zeros((3, lanes), np.float32), np.zeros((3, lanes), np.float32)
    of_rest, t = np.zeros((3, 3), np.float32), np.zeros((6 if elliptical else 4, 6))
    tilted_rest, tilt = np.zeros((lanes, lanes), np.float32), np.zeros((lanes, lanes), np.float32)
    value, ratio = np.zeros(lanes), np.zeros(lanes)
    for n in range(start, stop):
        y, x = table[n, Y], table[n, X]
        yy, yx, xx = precision(table[n], elliptical)
        top, bottom = span(y, half, height)
        left, right = span(x, half, width)
        if top >= bottom or left >= right:
            gradient[n] = 0.0
            continue
        begin, m = lined_up(left, lanes, width)
        bell(y, yy, top, top, bottom, rows)
        bell(x, xx, begin, left, right, line)
        powers(y, unit, top, rows, by_row)
        powers(x, unit, begin, line, by_line)
        rest, high, left = weighed, top, begin
        if elliptical:
            tilts(yx, 0.0, 0.0, 0.0, top - y, begin - x, bottom - top, value, ratio, tilt)
            tilted(weighed, top, bottom, begin, m, tilt, tilted_rest)
            rest, high, left = tilted_rest, top - top, top - top
        low_moments(rest, high, bottom - top, left, m, by_row, by_line, along, of_rest)
        derivatives(table[n], unit, elliptical, t)
        slope(t, of_rest, gradient[n])


@kernel
def local_heights(start, stop, table, image, valid, half, out):
    """Height of each round column over an even background of its own."""
    height, width = image.shape
    rows, line = np.zeros(2 * half + 1, np.float32), np.zeros(2 * half + 1, np.float32)
    for n in range(start, stop):
        top, bottom = span(table[n, Y], half, height)
        left, right = span(table[n, X], half, width)
        one = two = three = level = peak = np.float32(0)
        if top < bottom and left < right:
            q = precision(table[n], False)[0]
            bell(table[n, Y], q, top, top, bottom, rows)
            bell(table[n, X], q, left, left, right, line)
            for r in range(top, bottom):
                seen, known, factor = image[r, left:right], valid[r, left:right], rows[r - top]
                for k in range(len(seen)):
                    b = factor * line[k] if known[k] else np.float32(0)
                    value = seen[k] if known[k] else np.float32(0)
                    one += b
                    two += b * b
                    three += b * b * b
                    level += b * value
                    peak += b * b * value
        # least squares weighed by the column itself: its neighbours hardly count
        det = three * one - two * two
        out[n] = (one * peak - two * level) / det if det > np.float32(1e-3) * three * one else 0.0


@kernel
def brightness(start, stop, image, valid, y, x, sigma, half, out):
    """Mean of the valid pixels around places, weighed by a Gaussian; 0 where there are none."""
    rows, line = np.zeros(2 * half + 1, np.float32), np.zeros(2 * half + 1, np.float32)
    q = 1 / (sigma * sigma)
    for n in range(start, stop):
        top, bottom = span(y[n], half, image.shape[0])
        left, right = span(x[n], half, image.shape[1])
        bell(y[n], q, top, top, bottom, rows)
        bell(x[n], q, left, left, right, line)
        total = known = np.float32(0)
        for r in range(top, bottom):
            for k in range(left, right):
                if valid[r, k]:
                    weight = rows[r - top] * line[k - left]
                    total += weight * image[r, k]
                    known += weight
        out[n] = total / max(known, np.float32(1e-6))


@kernel
def draw(first, stop, out, table, order, ends, strip, half, sign, elliptical):
    """Add the columns to strips of rows, each in the order of the table: ``order[ends[s] : ends[s + 1]]`` are those
    that reach strip ``s``."""
    height, width = out.shape
    lanes = lanes_of(half)
    rows, line = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32)
    tilt, value, ratio = np.ones((lanes if elliptical else 1, lanes), np.float32), np.zeros(lanes), np.zeros(lanes)
    for s in range(first, stop):
        for n in order[ends[s] : ends[s + 1]]:
            y, x = table[n, Y], table[n, X]
            yy, yx, xx = precision(table[n], elliptical)
            top, bottom = span(y, half, height)
            left, right = span(x, half, width)
            top, bottom = max(top, s * strip), min(bottom, (s + 1) * strip)
            if top >= bottom or left >= right:
                continue
            bell(y, yy, top, top, bottom, rows)
            begin, m = lined_up(left, lanes, width)
            bell(x, xx, begin, left, right, line)
            h = sign * table[n, HEIGHT]
            if elliptical:
                tilts(yx, 0.0, 0.0, 0.0, top - y, begin - x, bottom - top, value, ratio, tilt)
            for r in range(top, bottom):
                f = np.float32(h * rows[r - top])
                to = out[r, begin : begin + m]
                if elliptical:
                    factor = tilt[r - top]
                    for k in range(m):
                        to[k] += f * line[k] * factor[k]
                else:
                    for k in range(m):
                        to[k] += f * line[k]


@kernel
def by_strip(table, half, strip, height):
    """Which columns reach each strip of rows, in the order of the table, and where each strip's begin."""
    n = -(-height // strip)
    ends = np.zeros(n + 1, np.int64)
    for k in range(len(table)):
        top, bottom = span(table[k, Y], half, height)
        if top < bottom:
            for s in range(top // strip, (bottom - 1) // strip + 1):
                ends[s + 1] += 1
    ends = np.cumsum(ends)
    order, place = np.empty(ends[n], np.int64), ends.copy()
    for k in range(len(table)):
        top, bottom = span(table[k, Y], half, height)
        if top < bottom:
            for s in range(top // strip, (bottom - 1) // strip + 1):
                order[place[s]] = k
                place[s] += 1
    return order, ends
