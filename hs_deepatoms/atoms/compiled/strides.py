"""What holds each column by itself, and how far it goes in a step: column by column."""

from __future__ import annotations

from math import exp, hypot, sqrt

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.compiled.bells import CROSS, HEIGHT, LOG_WIDTH, PLUS, X, Y
from hs_deepatoms.atoms.strides import (
    AT_END,
    FADE,
    LEAST,
    LONGEST,
    LONGEST_SHAPE,
    ROUNDING,
    SETTLED,
    SHAPE_SPREAD,
    SHRINKING,
    SWING,
    WIDEST,
    WIDTH_SPREAD,
)


@kernel
def pulled(table, first, leeway, held, typical, precision, gradient):
    """Precisions and pulls, and twice what these cost."""
    misfit = 0.0
    for n in range(len(table)):
        known = 1 / (leeway[n] * leeway[n])
        precision[n, Y], precision[n, X], precision[n, HEIGHT] = known, known, held[n]
        precision[n, LOG_WIDTH] = 1 / (WIDTH_SPREAD * WIDTH_SPREAD)
        for p in range(PLUS, precision.shape[1]):
            precision[n, p] = 1 / (SHAPE_SPREAD * SHAPE_SPREAD)
        for p in range(precision.shape[1]):
            middle = first[n, p] if p < HEIGHT else typical[p]
            gradient[n, p] = (middle - table[n, p]) * precision[n, p]
            misfit += gradient[n, p] * (middle - table[n, p])
    return misfit


@kernel
def hold(hessian, precision):
    """Add precisions to diagonals, and enough for blocks to be positive."""
    total = 0.0
    for n in range(len(hessian)):
        for p in range(precision.shape[1]):
            hessian[n, p, p] = (hessian[n, p, p] + precision[n, p]) * (1 + ROUNDING)
        total += hessian[n, HEIGHT, HEIGHT]
    for n in range(len(hessian)):
        hessian[n, HEIGHT, HEIGHT] += LEAST[0] + LEAST[1] * total / len(hessian)


@kernel
def in_equations(table, first, reach, free, placed, gradient, looked_at, keep):
    """Which parameters are in the equations; by the ``gradient`` if that is to be ``looked_at``."""
    for n in range(len(table)):
        there = placed[n]
        if there and looked_at:
            dy, dx = table[n, Y] - first[n, Y], table[n, X] - first[n, X]
            there = not (sqrt(dy * dy + dx * dx) > AT_END * reach[n] and dy * gradient[n, Y] + dx * gradient[n, X] > 0)
        keep[n, :] = free[n]
        keep[n, Y] = keep[n, X] = there
        keep[n, HEIGHT] = 1.0


@kernel
def changes(old, new, out):
    for n in range(len(old)):
        width, most = exp(new[n, LOG_WIDTH]), 0.0
        for p in range(old.shape[1]):
            size = width if p < HEIGHT else new[n, HEIGHT] if p == HEIGHT else 1.0
            value = abs((new[n, p] - old[n, p]) / size)
            if not value <= most:
                most = value
            if value != value:
                most = 1.0
                break
        out[n] = most


@kernel
def stride(table, first, reach, beyond, placed, own, da, last, small, shape, usual, new, taken, settled, share):
    """A bounded step of every column; ``last`` is empty where there was none."""
    k = da.shape[1]
    for n in range(len(table)):
        now = then = along = 0.0
        for p in range(k):
            taken[n, p] = da[n, p] * sqrt(own[n, p, p])
            now += taken[n, p] * taken[n, p]
        now, factor, share[n] = sqrt(now), 1.0, SHRINKING
        if len(last):
            for p in range(k):
                then += last[n, p] * last[n, p]
                along += taken[n, p] * last[n, p]
            then = sqrt(then)
            if along < -0.5 * now * then and (small or now > SWING * then):
                factor = then / (then + now)
            share[n] = min(now * factor / max(then, 1e-30), SHRINKING)
        for p in range(k):
            taken[n, p] *= factor
        settled[n] = abs(taken[n, Y]) < SETTLED and abs(taken[n, X]) < SETTLED
        moved(table[n], first[n], reach[n], beyond[n], placed[n], da[n], factor, shape, usual, new[n])


@kernel
def moved(column, first, reach, beyond, placed, da, factor, shape, usual, new):
    """A column after a bounded step; what is no number stays none."""
    width = exp(column[LOG_WIDTH])
    new[:] = column
    for p in range(len(da)):
        step, longest = da[p] * factor, LONGEST[p] * width if p < HEIGHT else LONGEST[p]
        if step > longest:
            step = longest
        elif step < -longest:
            step = -longest
        new[p] += step
    if beyond:
        new[HEIGHT] = flank_kept(column, new, shape)
    if placed and new[HEIGHT] < FADE * column[HEIGHT]:
        new[HEIGHT] = FADE * column[HEIGHT]
    dy, dx = new[Y] - first[Y], new[X] - first[X]
    away = hypot(dy, dx)
    part = 1.0 if away <= reach else reach / away
    new[Y], new[X] = first[Y] + part * dy, first[X] + part * dx
    if new[LOG_WIDTH] < usual - WIDEST:
        new[LOG_WIDTH] = usual - WIDEST
    elif new[LOG_WIDTH] > usual + WIDEST:
        new[LOG_WIDTH] = usual + WIDEST
    long = hypot(new[PLUS], new[CROSS])
    if len(da) > PLUS and long > LONGEST_SHAPE:
        new[PLUS] /= long / LONGEST_SHAPE
        new[CROSS] /= long / LONGEST_SHAPE


@kernel
def flank_kept(column, new, shape):
    """Height of a moved column whose flank at the rim is as high as it was to become."""
    y, x = min(max(column[Y], -0.5), shape[0] - 0.5), min(max(column[X], -0.5), shape[1] - 0.5)
    if y == column[Y] and x == column[X]:
        return new[HEIGHT]
    narrow = exp(-2 * column[LOG_WIDTH])
    dy, dx = y - column[Y], x - column[X]
    there, then = dy * dy + dx * dx, (y - new[Y]) * (y - new[Y]) + (x - new[X]) * (x - new[X])
    along = dy * (new[Y] - column[Y]) + dx * (new[X] - column[X])
    meant = new[HEIGHT] + column[HEIGHT] * along * narrow
    return meant * exp(0.5 * (then - there) * narrow)


@kernel
def raised(own, least, damping, out):
    """Blocks whose diagonals are larger by a share of themselves, or of the ``least`` where they are less."""
    for n in range(len(own)):
        for p in range(own.shape[1]):
            for q in range(own.shape[1]):
                out[n, p, q] = own[n, p, q]
            out[n, p, p] += damping * max(own[n, p, p], least[p])
