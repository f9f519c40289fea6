"""Weights of pixels, and how badly they fit, row by row."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.atoms.compiled.bells import X, Y, span
from hs_deepatoms.atoms.compiled.loops import kernel

# (1 + s) log(1 + s) - s over the square of s, around zero: 1/2 - s/6 + s^2/12 - ...
SERIES = tuple(np.float32((-1) ** k / ((k + 1) * (k + 2))) for k in range(9))
# logarithm of single precision between the roots of 1/2 and 2 (Moshier, Cephes mathematical library)
LOG = tuple(np.float32(v) for v in (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
            1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1))  # fmt: skip
ROOT, LOG_TWO = np.float32(np.sqrt(0.5)), np.float32(np.log(2))
ONE, HALF, TWO, CLOSE, LEAST = (np.float32(v) for v in (1, 0.5, 2, 0.15, 1e-6))


@kernel
def logarithm(x):
    """Natural logarithm of a positive normal number, in steps that a processor can take for several at once."""
    bits = np.float32(x).view(np.int32)
    power = (bits >> np.int32(23)) - np.int32(126)
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)  # from 1/2 to 1
    small = m < ROOT
    e = np.float32(power) - (ONE if small else np.float32(0))
    m = (m + m if small else m) - ONE
    z = m * m
    p = LOG[0]
    p = p * m + LOG[1]
    p = p * m + LOG[2]
    p = p * m + LOG[3]
    p = p * m + LOG[4]
    p = p * m + LOG[5]
    p = p * m + LOG[6]
    p = p * m + LOG[7]
    p = p * m + LOG[8]
    return m + (m * z * p - HALF * z) + e * LOG_TWO


@kernel
def deviance(s):
    """((1 + s) log(1 + s) - s) / s^2: relative to a perfect fit, so that the digits are spent on the difference."""
    near = s if abs(s) < CLOSE else np.float32(0)
    p = SERIES[8]
    p = p * near + SERIES[7]
    p = p * near + SERIES[6]
    p = p * near + SERIES[5]
    p = p * near + SERIES[4]
    p = p * near + SERIES[3]
    p = p * near + SERIES[2]
    p = p * near + SERIES[1]
    p = p * near + SERIES[0]
    far = max(s, LEAST - ONE) if abs(s) >= CLOSE else ONE
    full = ((ONE + far) * logarithm(ONE + far) - far) / (far * far)
    return p if abs(s) < CLOSE else full


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
