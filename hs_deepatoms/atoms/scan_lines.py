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
LAGS = 4
MEMORIES = (0.0, 0.3, 0.5, 0.65, 0.8)
SURE = 25.0
"""Fall of the misfit that a longer memory must bring: else the shorter one does as well."""
AT_ONCE = 2048
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
    rest, weight = _rest(np.asarray(image, float), atoms, sigma)
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
    for start in range(0, atoms.shape[1], AT_ONCE):
        here = slice(start, start + AT_ONCE)
        yield here, _drawn(*atoms[:, here], half)


def _drawn(y, x, height, width_y, width_x, rotation, half: int) -> _Part:
    offset = np.arange(-half, half + 1)
    rows, columns = (np.rint(one).astype(np.int64)[:, None] + offset for one in (y, x))
    dy, dx = (rows - y[:, None])[:, :, None], (columns - x[:, None])[:, None, :]
    cosine, sine = (f(rotation)[:, None, None] for f in (np.cos, np.sin))
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    a, b = along / width_x[:, None, None] ** 2, across / width_y[:, None, None] ** 2
    square = a * along + b * across
    bell = np.exp(-0.5 * square)
    model = height[:, None, None] * bell
    slopes = [model * (a * sine + b * cosine), model * (a * cosine - b * sine), bell, model * square]
    return _Part(rows, columns, model, np.stack(slopes, axis=-1))


def _rest(image: np.ndarray, atoms: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """What columns and a smooth background leave of the image, and weights: the inverse of about its variance."""
    from scipy.ndimage import gaussian_filter

    half = int(np.ceil(DRAWN * sigma))
    wide = np.array(image.shape) + 2 * half
    model = np.zeros(int(wide.prod()))
    for _, part in _parts(atoms, half):
        place = np.clip(part.rows + half, 0, wide[0] - 1)[:, :, None] * wide[1]
        place = place + np.clip(part.columns + half, 0, wide[1] - 1)[:, None, :]
        model += np.bincount(place.ravel(), part.model.ravel(), model.size)
    model = model.reshape(wide)[half:-half, half:-half]
    there = np.isfinite(image)
    left = np.where(there, image - model, 0.0)
    weight = gaussian_filter(there.astype(float), SMOOTH * sigma)
    ground = gaussian_filter(left, SMOOTH * sigma) / np.maximum(weight, 1e-6)
    rest = np.where(there, left - ground, 0.0)
    # weights only: that the noise grows with brightness is enough to know, and by about how much
    square = rest[there] ** 2
    slope, offset = np.polyfit((model + ground)[there], square, 1)
    variance = np.maximum(slope * (model + ground) + offset, 0.1 * square.mean() + 1e-300)
    return rest, np.where(there, 1 / variance, 0.0)


def _as_fitted(rest: np.ndarray, weight: np.ndarray, atoms: np.ndarray, half: int) -> np.ndarray:
    """Which columns look like what was fitted: no stacking fault, dirt or second column."""
    misfit = np.empty(atoms.shape[1])
    for here, part in _parts(atoms, half):
        at = part.rows[:, :, None], part.columns[:, None, :]
        misfit[here] = (weight[at] * rest[at] ** 2).sum(axis=(1, 2))
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
        at = part.rows[:, :, None], part.columns[:, None, :]
        line[here] = label[here, None] * ny + part.rows
        seen = weight[at] * part.slopes[..., X]
        score[here], size[here] = (seen * rest[at]).sum(axis=2), (seen * part.slopes[..., X]).sum(axis=2)
        taken, pull[here] = _taken(part.slopes, weight[at], seen)
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
    # columns beside pixels that are absent may not have all four
    scale = np.sqrt(np.einsum("naa->na", information)) + 1e-300
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
