"""Single pixels that are hot or dead without being wild: what neither noise nor a column of known width explains."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, maximum_filter, uniform_filter

REACH = 10  # pixels around a candidate from which the noise is told
GAP, MISMATCH = 0.15, 0.3  # ranges of the frame: what stands out less moves no column far
CHANCE = 14.0  # -log of the probability with which noise may do the same
SHARPER = 1.3  # times as pointed as the peak of a column is
ROWS = 64  # that one thread takes at a time
FEW, MANY = 4096, 500  # candidates at a time, and more than are looked at one by one
# A smooth image continues from the neighbours (at 1, the square root of 2, and 2 pixels) to the pixel between them.
NEAR, DIAGONAL, FAR = 8 / 20, -2 / 20, -1 / 20
NOISE = 1 + 4 * (NEAR**2 + DIAGONAL**2 + FAR**2)  # variance of what is left then, in that of a pixel


def lone_pixels(scaled: np.ndarray, bad: np.ndarray, sigma: float) -> np.ndarray:
    """Where one pixel differs from all its neighbours by more than noise, and more sharply than a column does.

    A pixel is compared with what its twelve neighbours lead to expect, and the difference with the same differences
    around it. Their growth with brightness gives an upper limit of the noise's gain, and Bernstein's inequality [1]_,
    which holds for single counts too, how far noise may reach.

    Parameters
    ----------
    scaled : ndarray, float32, shape (h, w)
        A frame after :func:`~hs_deepatoms.prepare.scaling.apply_scaling`.
    bad : ndarray, bool, shape (h, w)
        Pixels that are known to mean nothing.
    sigma : float
        Width of the columns, pixels.

    Returns
    -------
    ndarray, bool, shape (h, w)

    References
    ----------
    .. [1] S. Boucheron, G. Lugosi, P. Massart, Concentration Inequalities (2013), theorem 2.10,
       doi:10.1093/acprof:oso/9780199535255.001.0001.
    """
    lone = np.zeros(scaled.shape, np.float32)  # by how much
    if min(scaled.shape) < REACH + 3:  # too small to mirror
        return lone > 0
    image, unsure = scaled, bad
    if bad.any():
        image, unsure = np.where(bad, 0, scaled), binary_dilation(bad, iterations=2)
    for sign, gap in zip((1, -1), _gaps(image), strict=True):
        y, x = _candidates(image, gap, unsure, sign)
        for k in range(0, len(y), FEW):
            here = slice(k, k + FEW)
            odd = _out_of_place(image, unsure, sign, y[here], x[here], gap, sigma)
            lone[y[here][odd], x[here][odd]] = gap[y[here][odd], x[here][odd]]
    if not lone.any():
        return lone > 0
    return (lone > 0) & (lone == maximum_filter(lone, 3))  # a neighbour of theirs seems out of place too


def _candidates(image, gap, unsure, sign) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (y, x) that stand out, and where they are many (in noise) only those that do so more than most."""
    y, x = np.divmod(np.flatnonzero(gap > GAP), image.shape[1])
    side = np.arange(-2, 3)
    rows, columns = (_mirrored(c[:, None] + side, n) for c, n in zip((y, x), image.shape, strict=True))
    rest = sign * (image[y, x] - _expected(image[rows[:, :, None], columns[:, None, :]])[:, 0, 0])
    clear = (rest > MISMATCH) & ~unsure[y, x]
    if clear.sum() > MANY:
        everywhere = image - _expected(np.pad(image, 2, mode="reflect")[None])[0]
        typical = uniform_filter(np.where(unsure, 0, everywhere) ** 2, 2 * REACH + 1, mode="mirror")
        clear &= rest**2 > CHANCE * typical[y, x]
    return y[clear], x[clear]


def _gaps(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far every pixel lies above the highest of its eight neighbours, and below the lowest."""
    # not with the module: numba takes some tenths of a second to import
    from hs_deepatoms._core.compiled.loops import in_parts
    from hs_deepatoms.prepare.compiled.gaps import gaps

    above, below = np.empty_like(image), np.empty_like(image)
    in_parts(gaps, len(image), image, above, below, part=ROWS)
    return above, below


def _out_of_place(image, unsure, sign, y, x, gap, sigma: float) -> np.ndarray:
    """Which of the candidates neither noise nor the peak of a column explains, shape (n,)."""
    r = REACH
    side = np.arange(-r - 2, r + 3)
    rows, columns = (_mirrored(c[:, None] + side, n) for c, n in zip((y, x), image.shape, strict=True))
    place = rows[:, :, None], columns[:, None, :]
    patch = sign * image[place]
    expected = _expected(patch)
    rest = patch[:, 2:-2, 2:-2] - expected
    good = ~unsure[place][:, 2:-2, 2:-2]
    good[:, r - 1 : r + 2, r - 1 : r + 2] = False  # the pixel itself, and where it is a neighbour
    around = _around(patch)
    spread, gain, mean = _noise(rest**2 / NOISE, around, good)
    variance = NOISE * (spread + gain * np.abs(around[:, r, r] - mean))
    reach = gain * CHANCE / 3 + np.sqrt((gain * CHANCE / 3) ** 2 + 2 * variance * CHANCE)
    low = np.percentile(around, 5, axis=(1, 2))
    pointed = SHARPER * np.expm1(0.5 / sigma**2)
    highest = sign * image[y, x] - gap[y, x]
    return (rest[:, r, r] > reach) & (gap[y, x] > pointed * (highest - low))


def _noise(square, level, good) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean variance of the pixels of each patch, the most it can grow with their level, and their mean level.

    Columns may be bright or dark: what grows does so from one end of the levels. Where that says little, as in a flat
    film, the regression of squares on levels does, with three times its standard error.
    """
    count = np.maximum(good.sum(axis=(1, 2)), 1)
    spread, mean = ((v * good).sum(axis=(1, 2)) / count for v in (square, level))
    low, high = np.percentile(level, (5, 95), axis=(1, 2))
    most = spread / np.maximum(np.minimum(mean - low, high - mean), 1e-6)
    square, level = ((v - m[:, None, None]) * good for v, m in ((square, spread), (level, mean)))
    width = np.maximum((level**2).sum(axis=(1, 2)), 1e-12)
    slope, error = (level * square).sum(axis=(1, 2)) / width, np.sqrt((square**2).sum(axis=(1, 2)) / count / width)
    return spread, np.minimum(most, np.abs(slope) + 3 * error), mean


def _around(patch: np.ndarray) -> np.ndarray:
    """Mean of the eight neighbours, two pixels smaller on every side."""
    rows = patch[:, 1:-3] + patch[:, 2:-2] + patch[:, 3:-1]
    return (rows[:, :, 1:-3] + rows[:, :, 2:-2] + rows[:, :, 3:-1] - patch[:, 2:-2, 2:-2]) / 8


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    index = np.abs(index)
    return np.where(index > n - 1, 2 * (n - 1) - index, index)


def _expected(patch: np.ndarray) -> np.ndarray:
    """What the neighbours lead to expect, two pixels smaller on every side."""

    def at(dy, dx):
        h, w = patch.shape[1:]
        return patch[:, 2 + dy : h - 2 + dy, 2 + dx : w - 2 + dx]

    near = at(1, 0) + at(-1, 0) + at(0, 1) + at(0, -1)
    diagonal = at(1, 1) + at(-1, -1) + at(-1, 1) + at(1, -1)
    far = at(2, 0) + at(-2, 0) + at(0, 2) + at(0, -2)
    return NEAR * near + DIAGONAL * diagonal + FAR * far
