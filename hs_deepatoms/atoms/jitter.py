"""Error of positions beyond what their counts explain: by how much frames of the same area disagree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms.atoms.link import drift, neighbour_spacing

REACH_OF_SPACING = 0.3
"""How far a partner may be in the next frame, drift taken off."""
FEWEST = 20
"""Pairs that say something about a scatter."""
PER_TERM, BANDS_PER_DEGREE, MOST_DEGREE = 30, 10, 3
"""Pairs per term of the distortion, and bands of scan lines per degree: less, and jitter is taken for distortion."""
TRIM = 3.0
KEPT_VARIANCE = 0.97333
"""Of a unit normal cut off at ``TRIM``."""
FOLLOWS = 0.11
"""Of an error of the variance, what comes back as the cut-off follows it."""
SHARED = 1.5
"""Variance of a sum of squared steps if each frame is in two of them: their squares are correlated by 1/4."""
ROUNDS, CLOSE = 50, 1e-4
SURELY, PLAINLY = 2.0, 3.0
"""Of its errors that a variance is below the stated one, and above it along the other axis."""
MANY_PAIRS, MANY_BANDS, LEAST_SHARE = 200, 10, 0.5
"""Pairs, and bands of scan lines, that tell that it is less, and the least share that is believed."""


class Jitter(NamedTuple):
    """Variance of a coordinate beyond the stated one (below 0 where there is less), and one sigma of it.

    ``y_share`` and ``x_share`` are the share of the stated variance that the frames show where that is plainly less.
    """

    y: float
    x: float
    y_std: float
    x_std: float
    n_pairs: int
    y_share: float = 1.0
    x_share: float = 1.0


class _Fit(NamedTuple):
    """What the smooth distortion leaves of the differences (2, n), and which share of either variance it left."""

    rest: np.ndarray
    own: np.ndarray
    line: np.ndarray


def scan_jitter(
    frame: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    y_std: np.ndarray,
    x_std: np.ndarray,
    *,
    n_frames: int | None = None,
    extent: tuple[float, float, float, float] | None = None,
) -> Jitter:
    """Variance of positions beyond their stated one, from frames of the same area, along y and along x.

    The same atom in two successive frames is found at places that differ by the random errors of both. Drift and a
    smooth distortion (a polynomial up to the third degree) are taken off; what the stated errors do not explain of
    the squares of the rest is the jitter of both frames. Atoms that moved, whose rest is over three sigmas, do not
    count.

    Parameters
    ----------
    frame
        Shape (n_atoms,): whole numbers from 0.
    y, x
        Shape (n_atoms,), in the same units; scan lines run along x.
    y_std, x_std
        Shape (n_atoms,): stated errors, in these units. Atoms where they are not finite are left out.
    n_frames
        Number of frames. None: up to the last one with atoms.
    extent
        Field of view (y from, y to, x from, x to).

    Returns
    -------
    Jitter
        In the square of the units of y and x. Atoms on the same scan lines share their jitter, so its own error comes
        from the scatter between bands of lines. NaN with fewer than 20 pairs.

    Notes
    -----
    Repeated scans as a measure of precision: Yankovich et al., Nat. Commun. 5, 4155 (2014), doi:10.1038/ncomms5155.
    Line jitter and its share in it: Jones and Nellist, Microsc. Microanal. 19, 1050 (2013),
    doi:10.1017/S1431927613001402.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, x = (g.ravel() for g in np.mgrid[:60, :60] * 10.0)
    >>> places = np.array([[y, x]] * 2) + 0.05 * rng.standard_normal((2, 2, y.size))
    >>> stated = np.full(2 * y.size, 0.03)
    >>> found = scan_jitter(np.repeat([0, 1], y.size), *places.swapaxes(0, 1).reshape(2, -1), stated, stated)
    >>> bool(abs(np.sqrt(found.x) - 0.04) < 0.003)
    True
    """
    known = np.isfinite(y_std) & np.isfinite(x_std) & (np.asarray(frame) >= 0)
    frame, y, x, y_std, x_std = (np.asarray(one)[known] for one in (frame, y, x, y_std, x_std))
    spacing = neighbour_spacing(frame, y, x)
    first, second = _same_atoms(frame, y, x, spacing, n_frames, extent)
    if first.size < FEWEST:
        return Jitter(np.nan, np.nan, np.nan, np.nan, int(first.size))
    steps = np.stack([y[second] - y[first], x[second] - x[first]])
    stated = np.stack([y_std[first] ** 2 + y_std[second] ** 2, x_std[first] ** 2 + x_std[second] ** 2])
    order = np.argsort(frame[first], kind="stable")
    steps, stated, first = steps[:, order], stated[:, order], first[order]
    parts = np.split(np.arange(first.size), np.flatnonzero(np.diff(frame[first])) + 1)
    band = np.floor((y[first] - y[first].min()) / spacing).astype(np.int64)
    parts = [(rows, y[first[rows]], x[first[rows]], band[rows]) for rows in parts]
    excess, std, share, n = _excess(steps, stated, parts)
    return Jitter(*map(float, (*excess, *std)), n, *map(float, share))


def _same_atoms(frame, y, x, spacing, n_frames, extent) -> tuple[np.ndarray, np.ndarray]:
    """Rows (first, second) of one atom in successive frames: each the nearest to the other, drift taken off."""
    none = np.empty(0, np.int64)
    if y.size < FEWEST or not spacing > 0:
        return none, none
    from scipy.spatial import cKDTree

    moved = drift(frame, y, x, n_frames=n_frames, spacing=spacing, extent=extent)
    reach = REACH_OF_SPACING * spacing
    # frames are kept apart by a third coordinate, in which the search goes exactly one frame on or back
    points = np.stack([frame * (4 * spacing), y - moved.y[frame], x - moved.x[frame]], axis=1)
    tree, next_frame = cKDTree(points), np.array([4 * spacing, 0.0, 0.0])
    on, back = (tree.query(points + way, distance_upper_bound=reach)[1] for way in (next_frame, -next_frame))
    first = np.flatnonzero(on < y.size)
    first = first[back[on[first]] == first]
    return first, on[first]


def _excess(steps: np.ndarray, stated: np.ndarray, parts: list) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Jitter variance (2,) of one frame along y and x, one sigma of it, the share of the stated variance that there is,
    and the pairs that count."""
    n = steps.shape[1]
    kept, excess = np.ones(n, bool), np.zeros(2)
    terms = [_terms(*part[1:]) for part in parts]
    for number in range(ROUNDS):
        total = stated + 2 * excess[:, None]
        fit = _without_distortion(steps, total, kept, parts, terms, robust=number == 0)
        if number == 0:  # the median is not led astray by atoms that moved
            excess = _start(fit.rest, stated)
            total = stated + 2 * excess[:, None]
        size = total - stated * (1 - fit.own) - 2 * excess[:, None] * (1 - fit.line)
        kept = (fit.rest**2 < TRIM**2 * np.maximum(size, 0.1 * total)).all(axis=0)
        old, excess = excess, _solve(fit, stated, total, kept)
        floor = -0.45 * stated[:, kept].min(axis=1)  # the whole variance stays above 0
        excess = np.maximum(excess, floor)
        if (np.abs(excess - old) < CLOSE * total.mean(axis=1)).all():
            break
    error = _error(fit, stated, excess, kept, parts)
    return excess, error, _surely_less(fit, stated, excess, error, kept, parts), int(kept.sum())


def _surely_less(fit: _Fit, stated, excess, error, kept, parts: list) -> np.ndarray:
    """Share (2,) of the stated variance that there is: less than 1 only beside plain jitter along the other axis, whose
    misfit enlarged the stated errors. Frames that share their noise agree too well along both axes."""
    less, more = excess < -SURELY * error, excess > PLAINLY * error
    bands = min(np.unique(part[3]).size for part in parts)
    if kept.sum() < MANY_PAIRS or bands < MANY_BANDS:
        return np.ones(2)
    share = np.maximum(_share(fit, stated, excess, kept), LEAST_SHARE)
    return np.where(less & more[::-1], share, 1.0)


def _start(rest: np.ndarray, stated: np.ndarray) -> np.ndarray:
    scatter = np.median(rest**2, axis=1) / 0.4549  # the median of the square of a unit normal
    return np.maximum(scatter - np.median(stated, axis=1), 0) / 2


def _solve(fit: _Fit, stated: np.ndarray, total: np.ndarray, kept: np.ndarray) -> np.ndarray:
    weight = kept / total**2
    beyond = fit.rest**2 / KEPT_VARIANCE - stated * fit.own
    return (weight * beyond).sum(axis=1) / (2 * weight * fit.line).sum(axis=1)


def _share(fit: _Fit, stated: np.ndarray, excess: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Share (2,) of the stated variance that the scatter shows."""
    weight = kept / (stated + 2 * excess[:, None]) ** 2
    seen, said = ((weight * one).sum(axis=1) for one in (fit.rest**2 / KEPT_VARIANCE, stated * fit.own))
    return np.divide(seen, said, out=np.ones(2), where=said > 0)


def _error(fit: _Fit, stated: np.ndarray, excess: np.ndarray, kept: np.ndarray, parts: list) -> np.ndarray:
    """One sigma of the excess, from what bands of scan lines say one by one."""
    weight = kept / (stated + 2 * excess[:, None]) ** 2
    score = weight * (fit.rest**2 / KEPT_VARIANCE - stated * fit.own - 2 * excess[:, None] * fit.line)
    most = max(int(part[3].max()) for part in parts) + 1
    label = np.concatenate([number * most + part[3] for number, part in enumerate(parts)])
    label = np.unique(label, return_inverse=True)[1]
    bands = np.stack([np.bincount(label, one) for one in score])
    n = bands.shape[1]
    if n < 2:
        return np.full(2, np.nan)
    shared = SHARED if len(parts) > 1 else 1.0
    variance = shared * n / (n - 1) * (bands**2).sum(axis=1) / (2 * weight * fit.line).sum(axis=1) ** 2
    return np.sqrt(variance) / (1 - FOLLOWS)


def _terms(y: np.ndarray, x: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Terms (n, terms) of the smooth distortion between two frames that these pairs can tell from jitter."""
    n_bands = np.unique(band).size
    degree = MOST_DEGREE
    while degree and (y.size < PER_TERM * (degree + 1) * (degree + 2) / 2 or n_bands < BANDS_PER_DEGREE * degree):
        degree -= 1
    a, b = (2 * (one - one.min()) / max(np.ptp(one), 1e-300) - 1 for one in (y, x))
    p, q = (np.polynomial.legendre.legvander(one, degree) for one in (a, b))
    return np.stack([p[:, i] * q[:, k - i] for k in range(degree + 1) for i in range(k + 1)], axis=1)


def _without_distortion(steps, total, kept, parts: list, terms: list, *, robust: bool) -> _Fit:
    rest, own, line = np.empty_like(steps), np.empty_like(steps), np.empty_like(steps)
    for (rows, _, _, band), design in zip(parts, terms, strict=True):
        for axis in (0, 1):
            # errors stated as nothing at all weigh alike
            weight = kept[rows] / np.maximum(total[axis, rows], 1e-12 * np.square(steps[axis, rows]).max(initial=1e-30))
            made = _one_fit(steps[axis, rows], design, weight, band, robust)
            rest[axis, rows], own[axis, rows], line[axis, rows] = made
    return _Fit(rest, own, line)


def _one_fit(step, design, weight, band, robust: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rest (n,), and the shares of independent errors and of those common to a band of lines that are left in it."""
    for _ in range(8 if robust else 1):
        weighted = design * weight[:, None]
        solve = np.linalg.pinv(weighted.T @ design) @ weighted.T
        rest = step - design @ (solve @ step)
        if robust:  # sum of absolute deviations
            scale = np.median(np.abs(rest)) + 1e-300
            weight = 1 / np.maximum(np.abs(rest), 0.1 * scale)
    own = 1 - 2 * (design * solve.T).sum(axis=1) + ((design @ (solve @ solve.T)) * design).sum(axis=1)
    sums = np.stack([np.bincount(band, one) for one in solve])
    line = 1 - 2 * (design * sums[:, band].T).sum(axis=1) + ((design @ (sums @ sums.T)) * design).sum(axis=1)
    # a band is not all of one mind: where a few bands hold everything, do not divide by next to nothing
    return rest, np.clip(own, 0.2, 1), np.clip(line, 0.2, 1)
