"""Blocks of the normal equations between columns that touch, and which these are."""

from __future__ import annotations

from math import exp, pi, sqrt

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.compiled.bells import (
    HEIGHT,
    LOG_WIDTH,
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
from hs_deepatoms.atoms.compiled.moments import moments, powers, tilted, times_turned, with_polynomials


@kernel
def within(table, i, j, reach, one, two):
    """Pairs (i, j) that are nearer than what both reach together, into ``one`` and ``two``; how many these are."""
    count = 0
    for n in range(len(i)):
        a, b = i[n], j[n]
        dy, dx, most = table[a, Y] - table[b, Y], table[a, X] - table[b, X], reach[a] + reach[b]
        one[count], two[count] = a, b
        count += dy * dy + dx * dx < most * most
    return count


@kernel
def parted(table, i, j, least, tails, rim, shape, one, two):
    """Pairs (i, j) into ``one`` and ``two``: first, and how many these are, those that touch with more than tails, or
    where the image ends."""
    near = np.empty(len(i), np.bool_)
    for n in range(len(i)):
        a, b = table[i[n]], table[j[n]]
        reach, dy, dx = tails * max(exp(max(a[LOG_WIDTH], b[LOG_WIDTH])), least), a[Y] - b[Y], a[X] - b[X]
        near[n] = dy * dy + dx * dx < reach * reach or at_rim(a, b, rim, shape)
    count = np.count_nonzero(near)
    first, other = 0, count
    for n in range(len(i)):
        if near[n]:
            one[first], two[first] = i[n], j[n]
            first += 1
        else:
            one[other], two[other] = i[n], j[n]
            other += 1
    return count


@kernel
def at_rim(a, b, rim, shape):
    """Whether the image cuts off some of the product of two round columns, which is a Gaussian between them."""
    one, two = exp(-2 * a[LOG_WIDTH]), exp(-2 * b[LOG_WIDTH])
    share, reach = two / (one + two), rim / sqrt(one + two)
    y, x = a[Y] + share * (b[Y] - a[Y]), a[X] + share * (b[X] - a[X])
    return min(y, x, shape[0] - 1 - y, shape[1] - 1 - x) < reach


@kernel
def near_blocks(start, stop, table, i, j, weight, half, unit, elliptical, blocks):
    """Blocks (pairs, k, k), summed over the windows of the columns ``i``."""
    height, width = weight.shape
    lanes, k = lanes_of(half), 6 if elliptical else 4
    rows, line, other = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32), np.zeros(lanes, np.float32)
    by_row, by_line, along = (
        np.zeros((5, lanes), np.float32),
        np.zeros((5, lanes), np.float32),
        np.zeros((5, lanes), np.float32),
    )
    product, tilt, both = (
        np.zeros((lanes, lanes), np.float32),
        np.zeros((lanes, lanes), np.float32),
        np.zeros((5, 5), np.float32),
    )
    value, ratio = np.zeros(lanes), np.zeros(lanes)
    t, part, moved = np.zeros((k, 6)), np.zeros((k, 6)), np.zeros((k, 6))
    for n in range(start, stop):
        a, b = table[i[n]], table[j[n]]
        top, bottom = span(a[Y], half, height)
        left, right = span(a[X], half, width)
        if top >= bottom or left >= right:
            blocks[n] = 0.0
            continue
        begin, m = lined_up(left, lanes, width)
        one, two = precision(a, elliptical), precision(b, elliptical)
        bell(a[Y], one[0], top, top, bottom, rows)
        bell(b[Y], two[0], top, top, bottom, other)
        rows *= other
        bell(a[X], one[2], begin, left, right, line)
        bell(b[X], two[2], begin, left, right, other)
        line *= other
        pixels, high, none = weight, top, top - top
        if elliptical:
            # both of them, by their places from the first
            dy, dx = b[Y] - a[Y], b[X] - a[X]
            tilts(one[1] + two[1], -two[1] * dx, -two[1] * dy, two[1] * dy * dx, top - a[Y], begin - a[X], bottom - top,
                  value, ratio, tilt)  # fmt: skip
            tilted(weight, top, bottom, begin, m, tilt, product)
            pixels, high = product, none
        powers(a[Y], unit, top, rows, by_row)
        powers(a[X], unit, begin, line, by_line)
        moments(pixels, high, bottom - top, none if elliptical else begin, m, by_row, by_line, along, both)
        derivatives(a, unit, elliptical, t)
        with_polynomials(t, both, part)
        derivatives(b, unit, elliptical, t)
        shift(t, (b[Y] - a[Y]) / unit, (b[X] - a[X]) / unit, moved)
        times_turned(part, moved, blocks[n])


@kernel
def shift(t, dy, dx, out):
    """Coefficients of polynomials in (u - dy, v - dx) as those of polynomials in (u, v)."""
    for k in range(len(t)):
        one, u, v, uu, uv, vv = t[k, 0], t[k, 1], t[k, 2], t[k, 3], t[k, 4], t[k, 5]
        out[k, 0] = one - dy * u - dx * v + dy * dy * uu + dy * dx * uv + dx * dx * vv
        out[k, 1] = u - 2 * dy * uu - dx * uv
        out[k, 2] = v - dy * uv - 2 * dx * vv
        out[k, 3], out[k, 4], out[k, 5] = uu, uv, vv


@kernel
def far_blocks(start, stop, table, i, j, weight, unit, blocks):
    """Blocks (pairs, 4, 4) of round columns that touch with their tails only: the product of two Gaussians is one in
    between, over which the weight hardly varies."""
    height, width = weight.shape
    factors = np.zeros((2, 4))
    for n in range(start, stop):
        a, b = table[i[n]], table[j[n]]
        one, two = exp(-2 * a[LOG_WIDTH]), exp(-2 * b[LOG_WIDTH])
        spread = 1 / (one + two)
        share, dy, dx = two * spread, b[Y] - a[Y], b[X] - a[X]
        row, column = int(np.rint(a[Y] + share * dy)), int(np.rint(a[X] + share * dx))
        if not (0 <= row < height and 0 <= column < width):
            blocks[n] = 0.0
            continue
        size = weight[row, column] * 2 * pi * spread * exp(-0.5 * share * one * (dy * dy + dx * dx))
        tails(share * dy / unit, dy / unit, share * dx / unit, dx / unit, spread / (unit * unit), blocks[n])
        for f, c, q in ((0, a, one), (1, b, two)):
            slope = c[HEIGHT] * q * unit
            factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3] = slope, slope, 1.0, slope * unit
        for p in range(4):
            for q in range(4):
                blocks[n, p, q] *= size * factors[0, p] * factors[1, q]


@kernel
def shared(mean, apart, variance):
    """Mean of u^k (u - apart)^l over a normal distribution of u: (k, l) = 10, 01, 11, 20, 02, 21, 12, 22."""
    a, b = mean, mean - apart
    aa, bb = a * a, b * b
    return (a, b, a * b + variance, aa + variance, bb + variance,
            b * (aa + variance) + 2 * a * variance, a * (bb + variance) + 2 * b * variance,
            aa * bb + variance * (aa + bb + 4 * a * b + 2 * variance) + variance * variance)  # fmt: skip


@kernel
def tails(my, dy, mx, dx, variance, out):
    """Means of u, v, 1, uu + vv about one column with those about the other."""
    y10, y01, y11, y20, y02, y21, y12, y22 = shared(my, dy, variance)
    x10, x01, x11, x20, x02, x21, x12, x22 = shared(mx, dx, variance)
    out[0, 0], out[0, 1], out[0, 2], out[0, 3] = y11, y10 * x01, y10, y12 + y10 * x02
    out[1, 0], out[1, 1], out[1, 2], out[1, 3] = y01 * x10, x11, x10, x12 + x10 * y02
    out[2, 0], out[2, 1], out[2, 2], out[2, 3] = y01, x01, 1.0, y02 + x02
    out[3, 0], out[3, 1], out[3, 2] = y21 + y01 * x20, x21 + x01 * y20, y20 + x20
    out[3, 3] = y22 + y20 * x02 + y02 * x20 + x22


@kernel
def heaviest(start, stop, weight, who, out):
    """Of some rows, those ``who`` with the largest weights above zero, in falling order; -1 where there are fewer."""
    taken = np.zeros(weight.shape[1], np.bool_)
    for n in range(start, stop):
        taken[:] = False
        for place in range(out.shape[1]):
            best, which = weight[n, 0] * 0, -1
            for k in range(len(taken)):
                if weight[n, k] > best and not taken[k]:
                    best, which = weight[n, k], k
            out[n, place] = -1
            if which >= 0:
                out[n, place], taken[which] = who[n, which], True
