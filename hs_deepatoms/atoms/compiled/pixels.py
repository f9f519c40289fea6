"""Weights of pixels, and how badly they fit, row by row."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel
from hs_deepatoms.atoms.compiled.bells import X, Y, span

# (1 + s) log(1 + s) - s over the square of s, around zero: 1/2 - s/6 + s^2/12 - ...
SERIES = tuple(np.float32((-1) ** k / ((k + 1) * (k + 2))) for k in range(9))
# the area tangent of z over z: 1 + z^2/3 + z^4/5 + ...
AREA_TANGENT = tuple(np.float32(1 / (2 * k + 1)) for k in range(6))
AT_ONCE = 1024  # pixels, that stay in the processor's nearest cache
ZERO, ONE, TWO, THREE, SIXTEEN, CLOSE, LEAST = (np.float32(v) for v in (0, 1, 2, 3, 16, 0.25, 1e-6))


@kernel
def logarithm(v):
    """Of a positive number, in steps that vectors can take: eight times that of its eighth root, near one."""
    root = np.sqrt(np.sqrt(np.sqrt(v)))
    z = (root - ONE) / (root + ONE)
    return SIXTEEN * z * polynomial(AREA_TANGENT, z * z)


@kernel
def polynomial(coefficients, x):
    value = coefficients[-1]
    for k in range(len(coefficients) - 2, -1, -1):
        value = value * x + coefficients[k]
    return value


@kernel
def deviance(s):
    """((1 + s) log(1 + s) - s) / s^2: relative to a perfect fit, so that the digits are spent on the difference."""
    far = max(s, LEAST - ONE)
    # both, or pixels would have to go one by one
    there = ((ONE + far) * logarithm(ONE + far) - far) / (far * far)
    return polynomial(SERIES, s) if abs(s) < CLOSE else there


@kernel
def weigh_row(seen, there, known, noise, weight, weighed):
    """Weights, and residuals times weights, of some pixels of a row."""
    gain, offset, dark, least, excess = noise
    for k in range(len(seen)):
        w = ONE / (max((there[k] - dark) * gain + offset, least) * excess)
        weight[k] = w if known[k] else ZERO
        weighed[k] = (seen[k] - there[k]) * w if known[k] else ZERO


@kernel
def misfit_of(seen, there, known, weighed, slope):
    """Twice the negative logarithm of the likelihood of a row."""
    total = ZERO
    for k in range(len(seen)):
        square = weighed[k] * (seen[k] - there[k]) if known[k] else ZERO
        total += square if slope == 0 else TWO * deviance(weighed[k] * slope) * square
    return total


@kernel
def weigh(start, stop, image, mean, valid, noise, judged, weight, weighed, misfit):
    """Rows of weights, of residuals times weights, and the misfit of each row if asked for."""
    for r in range(start, stop):
        weigh_row(image[r], mean[r], valid[r], noise, weight[r], weighed[r])
        if judged:
            misfit[r] = misfit_of(image[r], mean[r], valid[r], weighed[r], noise[4] * noise[0])


@kernel
def weigh_under(table, half, image, mean, valid, noise, weight, weighed):
    """Weights and weighed residuals of the pixels under the columns, anew."""
    for n in range(len(table)):
        top, bottom = span(table[n, Y], half, image.shape[0])
        left, right = span(table[n, X], half, image.shape[1])
        for r in range(top, bottom):
            here = slice(left, right)
            weigh_row(image[r, here], mean[r, here], valid[r, here], noise, weight[r, here], weighed[r, here])


@kernel
def beyond(start, stop, image, mean, valid, noise, chance, out, counts):
    """Which pixels of some rows are farther from the mean than chance takes them, and how many in each row."""
    gain, offset, dark, least, excess = noise
    step, limit = TWO * chance / THREE * gain, TWO * chance * excess
    for r in range(start, stop):
        seen, there, known, to, count = image[r], mean[r], valid[r], out[r], 0
        for k in range(len(seen)):
            off = seen[k] - there[k]
            more = off - step if off > 0 else off
            far = off * more > limit * max((there[k] - dark) * gain + offset, least)
            to[k] = far and (more > 0 or off < 0) and known[k]
            count += to[k]
        counts[r] = count


@kernel
def totals(mean, rest):
    """Sum of the squares of ``rest``, sum of what is above zero of ``mean``, its least."""
    square, bright, least = 0.0, 0.0, np.inf
    for k in range(len(mean)):
        square += np.float64(rest[k]) * np.float64(rest[k])
        bright += max(np.float64(mean[k]), 0.0)
        least = min(least, np.float64(mean[k]))
    return square, bright, least


@kernel
def binned(mean, rest, edges, counts, levels, squares):
    """Add pixels, their means and the squares of ``rest`` to the bins between ``edges`` that their means are in."""
    which = np.empty(AT_ONCE, np.int32)
    for begin in range(0, len(mean), AT_ONCE):
        here = mean[begin : begin + AT_ONCE]
        which[:] = 0
        for edge in edges:
            for k in range(len(here)):
                which[k] += here[k] > edge
        for k in range(len(here)):
            counts[which[k]] += 1
            levels[which[k]] += here[k]
            squares[which[k]] += np.float64(rest[begin + k]) * np.float64(rest[begin + k])


@kernel
def filtered(start, stop, image, bell, out):
    """Rows of an image filtered by a bell along both axes; zeros around it."""
    height, width = image.shape
    half = len(bell) // 2
    line = np.zeros(width + 2 * half, np.float32)
    middle = line[half : half + width]
    for r in range(start, stop):
        middle[:] = 0.0
        for q in range(max(0, r - half), min(height, r + half + 1)):
            here, factor = image[q], bell[q - r + half]
            for k in range(width):
                middle[k] += factor * here[k]
        to = out[r]
        to[:] = 0.0
        for d in range(len(bell)):
            here, factor = line[d : d + width], bell[d]
            for k in range(width):
                to[k] += factor * here[k]
