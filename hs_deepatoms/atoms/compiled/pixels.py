"""Weights of pixels, and how badly they fit, row by row."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.atoms.compiled.bells import X, Y, span
from hs_deepatoms.atoms.compiled.loops import kernel

# (1 + s) log(1 + s) - s over the square of s, around zero: 1/2 - s/6 + s^2/12 - ...
SERIES = tuple(np.float32((-1) ** k / ((k + 1) * (k + 2))) for k in range(9))
ONE, TWO, CLOSE, LEAST = (np.float32(v) for v in (1, 2, 0.15, 1e-6))


@kernel
def deviance(s):
    """((1 + s) log(1 + s) - s) / s^2: relative to a perfect fit, so that the digits are spent on the difference."""
    if abs(s) < CLOSE:
        p = SERIES[8]
        for k in range(7, -1, -1):
            p = p * s + SERIES[k]
        return p
    far = max(s, LEAST - ONE)
    return ((ONE + far) * np.log1p(far) - far) / (far * far)


@kernel
def weigh(start, stop, image, mean, valid, gain, offset, dark, least, excess, judged, weight, weighed, misfit):
    """Rows of weights, of residuals times weights, and the misfit of each row if asked for."""
    gain, offset, dark, least, excess = (
        np.float32(gain), np.float32(offset), np.float32(dark), np.float32(least), np.float32(excess))  # fmt: skip
    slope = excess * gain
    for r in range(start, stop):
        seen, there, known, to, rest_to = image[r], mean[r], valid[r], weight[r], weighed[r]
        for k in range(len(seen)):
            w = ONE / (max((there[k] - dark) * gain + offset, least) * excess)
            to[k] = w if known[k] else np.float32(0)
            rest_to[k] = (seen[k] - there[k]) * w if known[k] else np.float32(0)
        total = 0.0
        if judged and gain == 0:
            for k in range(len(seen)):
                total += np.float64(rest_to[k] * (seen[k] - there[k]) if known[k] else np.float32(0))
        elif judged:
            for k in range(len(seen)):
                square = rest_to[k] * (seen[k] - there[k]) if known[k] else np.float32(0)
                total += np.float64(TWO * deviance(rest_to[k] * slope) * square)
        misfit[r] = total


@kernel
def weigh_under(table, half, image, mean, valid, gain, offset, dark, least, excess, weight, weighed):
    """Weights and weighed residuals of the pixels under the columns, anew."""
    gain, offset, dark, least, excess = (
        np.float32(gain), np.float32(offset), np.float32(dark), np.float32(least), np.float32(excess))  # fmt: skip
    for n in range(len(table)):
        top, bottom = span(table[n, Y], half, image.shape[0])
        left, right = span(table[n, X], half, image.shape[1])
        for r in range(top, bottom):
            seen, there, known = image[r, left:right], mean[r, left:right], valid[r, left:right]
            to, rest_to = weight[r, left:right], weighed[r, left:right]
            for k in range(len(seen)):
                w = ONE / (max((there[k] - dark) * gain + offset, least) * excess)
                to[k] = w if known[k] else np.float32(0)
                rest_to[k] = (seen[k] - there[k]) * w if known[k] else np.float32(0)


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
