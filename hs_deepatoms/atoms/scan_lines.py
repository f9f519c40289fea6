"""Scan lines that sit beside their place, seen in a single image against the columns fitted to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

DRAWN, SCORED = 4.5, 2.5
"""Half the side of the square in which a column is drawn, and in which its lines are compared; column sigmas."""
SMOOTH = 6.0
"""Column sigmas over which what the columns leave is background."""
FEWEST, PER_PART, MOST_PARTS = 60, 5, 8
"""Columns that say something about lines, columns beside each other in a part of the image, and parts."""
ODD = 8.0
"""Robust sigmas of misfit from which a column is not the one that was fitted."""
TRUNCATED = 4.0
"""Sigmas at which that smoothing ends."""
LAGS = 4
MEMORIES = (0.0, 0.3, 0.5, 0.65, 0.8)
SURE = 25.0
"""Fall of the misfit that a longer memory must bring: else the shorter one does as well."""
AT_ONCE, STRIP = 2**19, 2**20
"""Pixels of columns, and of a strip of the image without its halo, that are looked at at once."""
X = 1  # of the four slopes: by y, x, height and log width


class Lines(NamedTuple):
    """Variance of a column's x by the jitter of its lines along x, and one sigma of it; variance of a line; memory.

    ``memory`` is the correlation of a line with the next one; that with the k-th is its k-th power.
    """

    column: float
    column_std: float
    line: float
    memory: float


class _Part(NamedTuple):
    """Some columns on their pixels: rows and columns (n, p), the model (n, p, p) and its slopes (n, p, p, 4)."""

    rows: np.ndarray
    columns: np.ndarray
    model: np.ndarray
    slopes: np.ndarray


class _Scores(NamedTuple):
    """What lines say, by part of the image.

    ``values`` (parts, ny), and ``response`` (parts, ny, 2 p - 1) of it to shifts of the lines around; ``pull`` (n, p)
    of the lines on the x of each column.
    """

    values: np.ndarray
    response: np.ndarray
    pull: np.ndarray


def line_jitter(
    image: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    height: np.ndarray,
    width_y: np.ndarray,
    width_x: np.ndarray,
    rotation: np.ndarray | None = None,
    *,
    use: np.ndarray | None = None,
) -> Lines:
    """How far scan lines sit beside their place along x, and what that does to the columns.

    A line that sits beside its place leaves, in all of its columns, the slope of the fitted columns behind. That is
    measured on parts of the line apart; only what different parts agree on counts, so that the noise need not be known.
    What the fit of the columns took for their own shift, height and width is accounted for.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels that are not finite count as absent.
    y, x, height, width_y, width_x, rotation : ndarray, shape (n,)
        Fitted columns: pixels, Gaussian sigmas, radians from +x towards +y.
    use : ndarray of bool, shape (n,), optional
        Columns to look at; all are drawn.

    Returns
    -------
    Lines
        Variances in pixels squared, below 0 where parts of a line agree less than by chance. NaN with fewer than 60
        columns inside of the image.

    Notes
    -----
    Lines follow each other with a correlation that falls geometrically, the shortest memory that does about as well as
    any. What moves a whole column at once cannot be seen, and is inferred from that memory alone. Nor can lines that
    are displaced along y: they look like lines that are brighter or darker than they should be.

    Examples
    --------
    >>> from hs_deepatoms.simulate.columns import draw_columns
    >>> from hs_deepatoms.simulate.detector import shift_lines
    >>> rng = np.random.default_rng(0)
    >>> y, x = (np.mgrid[:20, :20].reshape(2, -1) + 0.5) * 14 + rng.standard_normal((2, 400))
    >>> one = np.ones(400)
    >>> image = draw_columns((280, 284), y, x, 500 * one, 2.5)
    >>> image = rng.poisson(np.clip(shift_lines(image, 0.1 * rng.standard_normal(280)), 0, None) + 50)
    >>> found = line_jitter(image, y, x, 500 * one, 2.5 * one, 2.5 * one)
    >>> bool(abs(np.sqrt(found.line) - 0.1) < 0.02)
    True
    """
    rotation = np.zeros(len(y)) if rotation is None else rotation
    atoms = np.stack([np.asarray(one, float) for one in (y, x, height, width_y, width_x, rotation)])
    known = np.isfinite(atoms).all(axis=0) & (atoms[2] != 0) & (atoms[3] > 0) & (atoms[4] > 0)
    use = known if use is None else known & use
    if use.sum() < FEWEST:
        return Lines(*[np.nan] * 4)
    atoms, use = atoms[:, known], use[known]
    sigma = float(np.median(np.sqrt(atoms[3] * atoms[4])))
    # of order one, for single precision; a power of two changes no digit
    scale = 2.0 ** np.round(np.log2(np.median(np.abs(atoms[2]))))
    atoms[2] /= scale
    rest, weight = _rest(np.asarray(image), atoms, sigma, scale)
    half = int(np.ceil(SCORED * sigma))
    middle = np.rint(atoms[:2])
    shape = np.array(rest.shape)[:, None]
    inner = use & ((middle >= half) & (middle < shape - half)).all(axis=0)
    atoms = atoms[:, inner]
    atoms = atoms[:, _as_fitted(rest, weight, atoms, half)]
    if atoms.shape[1] < FEWEST:
        return Lines(*[np.nan] * 4)
    return _lines(_scores(rest, weight, atoms, half), half)


def _parts(atoms: np.ndarray, half: int) -> Iterator[tuple[slice, _Part]]:
    for here in _turns(atoms.shape[1], half):
        yield here, _drawn(*atoms[:, here], half)


def _turns(n: int, half: int) -> Iterator[slice]:
    most = max(1, AT_ONCE // (2 * half + 1) ** 2)
    return (slice(start, start + most) for start in range(0, n, most))


def _drawn(y, x, height, width_y, width_x, rotation, half: int, *, sloped: bool = True) -> _Part:
    offset = np.arange(-half, half + 1)
    rows, columns = (np.rint(one).astype(np.int64)[:, None] + offset for one in (y, x))
    dy, dx = (rows - y[:, None])[:, :, None], (columns - x[:, None])[:, None, :]
    cosine, sine = (f(rotation)[:, None, None] for f in (np.cos, np.sin))
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    a, b = along / width_x[:, None, None] ** 2, across / width_y[:, None, None] ** 2
    square = a * along + b * across
    bell = np.exp(-0.5 * square)
    model = height[:, None, None] * bell
    if not sloped:
        return _Part(rows, columns, model, np.empty(0))
    slopes = [model * (a * sine + b * cosine), model * (a * cosine - b * sine), bell, model * square]
    return _Part(rows, columns, model, np.stack(slopes, axis=-1))


def _rest(image: np.ndarray, atoms: np.ndarray, sigma: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """What columns and a smooth background leave of the image, and weights: the inverse of about its variance.

    Strip by strip; only these two stay, in single precision and in units of ``scale``.
    """
    rest, mean = np.empty((2, *image.shape), np.float32)
    shift, sums = None, np.zeros(5)
    for rows in _strips(image.shape):
        left, expected, there = _of_strip(image, atoms, sigma, scale, rows)
        rest[rows], mean[rows] = left, expected
        square, level = left[there] ** 2, expected[there]
        shift = level.mean() if shift is None and level.size else shift or 0.0
        level = level - shift
        sums += level.size, level.sum(), (level**2).sum(), square.sum(), (level * square).sum()
    # weights only: that the noise grows with brightness is enough to know, and by about how much
    n, first, second, squares, product = sums / max(sums[0], 1.0)
    slope = (product - first * squares) / max(second - first**2, 1e-300) if n else 0.0
    for rows in _strips(image.shape):
        variance = squares + slope * (mean[rows] - shift - first)
        variance = np.maximum(variance, 0.1 * squares + 1e-30)
        mean[rows] = np.where(np.isfinite(image[rows]), 1 / variance, 0.0)
    return rest, mean


def _strips(shape: tuple[int, int]) -> Iterator[slice]:
    most = max(1, STRIP // shape[1])
    return (slice(start, min(start + most, shape[0])) for start in range(0, shape[0], most))


def _of_strip(image: np.ndarray, atoms: np.ndarray, sigma: float, scale: float, rows: slice) -> tuple:
    """Of some rows: what is left, what is expected, and which pixels are there."""
    from scipy.ndimage import gaussian_filter

    halo = int(TRUNCATED * SMOOTH * sigma + 0.5)  # what the smoothing sees
    top, stop = max(0, rows.start - halo), min(image.shape[0], rows.stop + halo)
    pixels = np.asarray(image[top:stop], float) / scale
    model = _model(pixels.shape, top, atoms, int(np.ceil(DRAWN * sigma)))
    there = np.isfinite(pixels)
    left = np.where(there, pixels - model, 0.0)
    weight = gaussian_filter(there.astype(float), SMOOTH * sigma, truncate=TRUNCATED)
    ground = gaussian_filter(left, SMOOTH * sigma, truncate=TRUNCATED) / np.maximum(weight, 1e-6)
    core = slice(rows.start - top, rows.stop - top)
    return np.where(there, left - ground, 0.0)[core], (model + ground)[core], there[core]


def _model(shape: tuple[int, int], top: int, atoms: np.ndarray, half: int) -> np.ndarray:
    """All columns on the rows from ``top`` on."""
    wide = np.array(shape) + 2 * half
    row = np.rint(atoms[0])
    atoms = atoms[:, (row >= top - half) & (row < top + shape[0] + half)]
    model = np.zeros(int(wide.prod()))
    for here in _turns(atoms.shape[1], half):
        part = _drawn(*atoms[:, here], half, sloped=False)
        place = np.clip(part.rows - top + half, 0, wide[0] - 1)[:, :, None] * wide[1]
        place = place + np.clip(part.columns + half, 0, wide[1] - 1)[:, None, :]
        model += np.bincount(place.ravel(), part.model.ravel(), model.size)
    return model.reshape(wide)[half:-half, half:-half]


def _at(image: np.ndarray, part: _Part) -> np.ndarray:
    """An image on the pixels of columns, (n, p, p), in double precision."""
    return image[part.rows[:, :, None], part.columns[:, None, :]].astype(float)


def _as_fitted(rest: np.ndarray, weight: np.ndarray, atoms: np.ndarray, half: int) -> np.ndarray:
    """Which columns look like what was fitted: no stacking fault, dirt or second column."""
    misfit = np.empty(atoms.shape[1])
    for here, part in _parts(atoms, half):
        misfit[here] = (_at(weight, part) * _at(rest, part) ** 2).sum(axis=(1, 2))
    if not misfit.size:
        return np.zeros(0, bool)
    middle = np.median(misfit)
    return misfit < middle + ODD * 1.4826 * np.median(np.abs(misfit - middle))


def _scores(rest: np.ndarray, weight: np.ndarray, atoms: np.ndarray, half: int) -> _Scores:
    n, p, (ny, nx) = atoms.shape[1], 2 * half + 1, rest.shape
    n_parts = int(np.clip(np.sqrt(n) / PER_PART, 2, MOST_PARTS))
    label = np.clip((atoms[1] * n_parts / nx).astype(np.int64), 0, n_parts - 1)
    response = np.zeros(n_parts * ny * (2 * p - 1))
    line, score, size, pull = np.empty((n, p), np.int64), *np.empty((3, n, p))
    offset = np.arange(p)[None, :] - np.arange(p)[:, None] + p - 1
    for here, part in _parts(atoms, half):
        line[here] = label[here, None] * ny + part.rows
        w = _at(weight, part)
        seen = w * part.slopes[..., X]
        score[here], size[here] = (seen * _at(rest, part)).sum(axis=2), (seen * part.slopes[..., X]).sum(axis=2)
        taken, pull[here] = _taken(part.slopes, w, seen)
        block = -taken
        block[:, np.arange(p), np.arange(p)] += size[here]
        place = line[here][:, :, None] * (2 * p - 1) + offset
        response += np.bincount(place.ravel(), block.ravel(), response.size)
    score -= size * _in_common(score, size, atoms[0] - np.rint(atoms[0]))
    values = np.bincount(line.ravel(), score.ravel(), n_parts * ny)
    return _Scores(values.reshape(n_parts, ny), response.reshape(n_parts, ny, -1), pull)


def _taken(slopes: np.ndarray, w: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of shifts of its lines, what the fit of a column takes for its own (n, p, p), and its coordinate (n, p)."""
    information = np.einsum("npqa,npq,npqb->nab", slopes, w, slopes, optimize=True)
    # columns beside pixels that are absent may not have all four, or any
    scale = np.sqrt(np.einsum("naa->na", information)) + 1e-30
    information = information / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(4)
    shown = np.einsum("npq,npqa->npa", seen, slopes) / scale[:, None, :]
    fitted = np.linalg.solve(information, shown.mT)
    return shown @ fitted, fitted[:, X] / scale[:, X, None]


def _in_common(score: np.ndarray, size: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Shifts (n, p) that lines at one distance from their column have in common, in all of the image.

    Columns of another shape than was fitted show them, and a lattice row of such columns would pass for lines that are
    beside their place. ``rest`` (n,) is where a column sits in its pixel, on which they depend a little.
    """
    moments = [(size * (rest**k)[:, None]).sum(axis=0) for k in range(3)]
    seen = [(score * (rest**k)[:, None]).sum(axis=0) for k in range(2)]
    det = np.maximum(moments[0] * moments[2] - moments[1] ** 2, 1e-9 * moments[0] ** 2 + 1e-300)
    level = (moments[2] * seen[0] - moments[1] * seen[1]) / det
    slope = (moments[0] * seen[1] - moments[1] * seen[0]) / det
    # columns that all sit alike in their pixels say nothing of a slope
    spread = moments[2] * moments[0] - moments[1] ** 2 > 1e-3 * moments[0] ** 2
    plain = seen[0] / np.maximum(moments[0], 1e-300)
    return np.where(spread, level + slope * rest[:, None], plain)


def _lines(scores: _Scores, half: int) -> Lines:
    """The variance and memory that best explain what parts of the image agree on."""
    a, response = scores.values, scores.response
    whole, p = response.sum(axis=0), 2 * half + 1
    seen = [_agreed(a[:, : a.shape[1] - k], a[:, k:]) for k in range(LAGS)]
    size = np.abs(whole[:, p - 1])
    expected = {one: [_expected(response, whole, one, k) for k in range(LAGS)] for one in MEMORIES}
    variance = 0.0
    for _ in range(3):  # the weights need the variance
        weights = _weights(size + max(variance, 0.0) * size**2)
        best = {one: _solved(seen, expected[one], weights) for one in MEMORIES}
        least = min(misfit for _, misfit in best.values())
        enough = least * (1 + SURE / (LAGS * len(size)))
        memory = next(one for one in MEMORIES if best[one][1] <= enough)
        if best[memory][0] <= 0:
            memory = 0.0
        variance = best[memory][0]
    error = _error(seen, expected[memory], weights, variance, p)
    share = _share(scores.pull, memory)
    return Lines(float(variance * share), float(error * share), float(variance), float(memory))


def _weights(noise: np.ndarray) -> list[np.ndarray]:
    """Of `_agreed` at each lag; a square scatters twice as much as a product."""
    n, least = len(noise), (1e-3 * noise.max(initial=0)) ** 2 + 1e-300
    return [(0.5 if k == 0 else 1.0) / np.maximum(noise[: n - k] * noise[k:], least) for k in range(LAGS)]


def _agreed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of different parts, summed."""
    return a.sum(axis=0) * b.sum(axis=0) - (a * b).sum(axis=0)


def _correlation(size: int, memory: float, shift: int = 0) -> np.ndarray:
    lag = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :] - shift)
    return np.where(lag == 0, 1.0, float(memory) ** np.maximum(lag, 1))


def _expected(response: np.ndarray, whole: np.ndarray, memory: float, k: int) -> np.ndarray:
    """Of `_agreed` at lag k, for lines of variance one."""
    between = _correlation(whole.shape[1], memory, k)
    n = whole.shape[0] - k
    total = ((whole[:n] @ between) * whole[k:]).sum(axis=1)
    return total - ((response[:, :n] @ between) * response[:, k:]).sum(axis=(0, 2))


def _solved(seen: list, expected: list, weights: list) -> tuple[float, float]:
    """The variance, and the misfit that is left."""
    o, e, w = (np.concatenate(one) for one in (seen, expected, weights))
    variance = (w * e * o).sum() / max((w * e * e).sum(), 1e-300)
    return float(variance), float((w * (o - variance * e) ** 2).sum())


def _error(seen: list, expected: list, weights: list, variance: float, p: int) -> float:
    """One sigma of the variance: lines that share columns are not independent."""
    n = len(seen[0])
    score, size = np.zeros(n), 0.0
    for o, e, w in zip(seen, expected, weights, strict=True):
        score[: len(o)] += w * e * (o - variance * e)
        size += (w * e * e).sum()
    bands = np.add.reduceat(score, np.arange(0, n, p))
    return float(np.sqrt((bands**2).sum() * len(bands) / max(len(bands) - 1, 1)) / max(size, 1e-300))


def _share(pull: np.ndarray, memory: float) -> float:
    """Mean variance of a coordinate for lines of variance one."""
    return float(((pull @ _correlation(pull.shape[1], memory)) * pull).sum(axis=1).mean())
