"""Columns that look alike at equivalent sites of a crystal: what a doubtful one among them has to measure up to."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.special import expit, logit

from hs_deepatoms.atoms.order import EQUIVALENTS, TOLERANCE, OrderedPart, ordered_parts

MOST = 8  # equivalents, and lattice vectors, that are remembered of a candidate
FARTHEST = 20.0  # column sigmas: longest of these vectors
UNDECIDED = 0.98  # probability below which they are
WINDOW = 1.5  # column sigmas: half the side of the window on which brightness is measured
# lattice vectors lead to columns of the same kind if brightness changes along them hardly more than along the best one:
# by this factor, and this share of its spread over the frame
FACTOR, SLACK = 1.3, 0.05
STARTS = 1000  # columns, from which lattice vectors are measured
PAIRS = 5.0  # columns with a partner, to know how brightness changes along a vector
OCCUPIED = 0.3  # share of the equivalents that hold columns: of a site at least, between sites at most
BESIDE = 0.5  # of the shortest lattice vector: nearer to a likelier candidate it is no site of its own
LEAST = 3  # equivalents, to know what a column looks like
USUAL, WORTH = 0.15, 4.0  # spread of clearness relative to its mean, and how many columns that is worth
PLAIN = 2.7  # clearness of the equivalents below which they may be peaks of the noise
UNEVEN = 0.8  # median relative to the mean below which a few strong ones are no measure of the others
NOTHING = 0.5  # clearness that a fit finds where there is none
# log likelihood ratio below and above which it says no more: a bright spot may be something else than a column
FAINTEST, ENOUGH = -7.0, 0.0
DECIDED = 0.01  # probabilities count as no nearer to 0 and 1
ODDS = 1e-3  # of a column where nothing but the image speaks for one


def brightness_at(image: np.ndarray, valid: np.ndarray, y, x, sigma: float) -> np.ndarray:
    """Mean of the image around each position (n,), weighed by a Gaussian of the columns' width; float32.

    Parameters
    ----------
    image : ndarray, float32, shape (h, w)
    valid : ndarray, bool, shape (h, w)
        False where pixels do not count.
    y, x : ndarray, shape (n,)
        Positions, pixels.
    sigma : float
        Column sigma, pixels.
    """
    from hs_deepatoms._core.compiled.loops import in_parts
    from hs_deepatoms.atoms.compiled.windows import brightness

    y, x, out = np.asarray(y, float), np.asarray(x, float), np.empty(len(y), np.float32)
    in_parts(brightness, len(y), image, valid, y, x, float(sigma), max(1, int(WINDOW * sigma)), out)
    return out


@dataclass(frozen=True)
class Alike:
    """What each of n candidates has to measure up to; the arrays are filled in part by part.

    Attributes
    ----------
    near : ndarray, int32, shape (n, MOST)
        Indices of the columns that it should be like; -1 where there are fewer.
    between : ndarray of bool, shape (n,)
        True for candidates in a crystal that stand on none of its sites.
    steps : ndarray, float32, shape (n, MOST, 2)
        Lattice vectors (y, x; pixels) along which brightness hardly changes, of the undecided candidates; NaN where
        there are fewer.
    evidence : ndarray, float32, shape (n, 2)
        Mean and spread of the log odds of a column at the equivalents; NaN where there is no lattice.
    """

    near: np.ndarray
    between: np.ndarray
    steps: np.ndarray
    evidence: np.ndarray

    @staticmethod
    def unknown(n: int) -> Alike:
        return Alike(np.full((n, MOST), -1, np.int32), np.zeros(n, bool), np.full((n, MOST, 2), np.nan, np.float32),
                     np.full((n, 2), np.nan, np.float32))  # fmt: skip

    def put(self, which: np.ndarray, part: Alike) -> None:
        """Write those of some candidates."""
        for field in fields(self):
            getattr(self, field.name)[which] = getattr(part, field.name)


def reconsidered_with_alike(
    y, x, probability, brightness, sigma: float, shape: tuple[int, int], weights: tuple[float, ...]
) -> tuple[np.ndarray, Alike]:
    """As :func:`~hs_deepatoms.atoms.order.reconsidered`, and which columns each candidate has to measure up to.

    These stand where lattice vectors lead along which brightness hardly changes: a weak column among strong ones is
    compared with weak ones. Candidates that are no site of a crystal have none.

    Returns
    -------
    probability : ndarray, float64, shape (n,)
    alike : Alike
    """
    out, alike = np.array(probability, float), Alike.unknown(len(y))
    for part in ordered_parts(y, x, probability, sigma, shape, weights):
        here = part.around[part.inside]
        out[here] = part.probability[part.inside]
        near, between, steps, evidence = (
            v[part.inside] for v in _alike(part, np.asarray(brightness, float)[part.around])
        )
        alike.put(here, Alike(np.where(near >= 0, part.around[near], -1), between, sigma * steps, evidence))
    return out, alike


def _alike(part: OrderedPart, brightness: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from hs_deepatoms._core.compiled.loops import in_parts
    from hs_deepatoms.atoms.compiled.pairs import heaviest

    sites, p = part.sites, part.probability
    who, there = sites.ends(p)
    weight = sites.weights(p, there)
    evidence = sites.evidence_of(p, who, weight)
    change = _change(sites, p, brightness, who, there, weight)
    slack = SLACK * float(np.std(brightness[p > 0.5])) if (p > 0.5).any() else 0.0
    between = (weight * (there > 0.5)).sum(1) < OCCUPIED * weight.sum(1)
    between &= evidence.number > EQUIVALENTS
    weight[change > FACTOR * change.min(1, keepdims=True) + slack] = 0
    held = weight * (there > 0.5)
    occupied = held.sum(1) > OCCUPIED * np.maximum(weight.sum(1), 1e-9)
    found = np.empty((len(p), MOST), np.int32)
    in_parts(heaviest, len(p), held, who, found)
    site = occupied & (evidence.number > EQUIVALENTS) & (evidence.mean > 0)
    site &= ~_beside(part.places, p, sites.shortest) & ((found >= 0).sum(1) >= LEAST)
    found[~site] = -1
    known = np.where(evidence.number > EQUIVALENTS, [evidence.mean, evidence.spread], np.nan)
    return found, between, _steps(part, who, there, weight), known.T


def _steps(part: OrderedPart, who, there, weight) -> np.ndarray:
    """The vectors (n, MOST, 2) that count most for each undecided candidate, sigmas."""
    from hs_deepatoms._core.compiled.loops import in_parts
    from hs_deepatoms.atoms.compiled.pairs import heaviest

    out = np.full((len(weight), MOST, 2), np.nan, np.float32)
    short = np.flatnonzero(np.hypot(*part.sites.vectors.T) < FARTHEST)
    rows = np.flatnonzero(part.inside & (part.probability < UNDECIDED))
    weight = weight[np.ix_(rows, short)]
    if not (weight > 0).any():
        return out
    best = np.empty((len(rows), MOST), np.int32)
    numbers = np.tile(np.arange(len(short), dtype=who.dtype), (len(rows), 1))
    in_parts(heaviest, len(rows), weight, numbers, best)
    vectors = np.append(_measured_vectors(part, who, there, short), [[np.nan, np.nan]], axis=0)
    out[rows] = vectors[best]
    return out


def _measured_vectors(part: OrderedPart, who, there, which: np.ndarray) -> np.ndarray:
    """Some of the lattice vectors (m, 2) as the mean of the displacements that they stand for, of columns all over."""
    vectors, start = part.sites.vectors[which], np.flatnonzero(part.probability > 0.5)
    some = np.ix_(start[:: max(1, len(start) // STARTS)], which)
    row, k = np.nonzero((there[some] > 0.5) & part.sites.inside[some])
    away = part.places[who[some][row, k]] - part.places[some[0].ravel()[row]]
    near = np.hypot(*(away - vectors[k]).T) < TOLERANCE
    number = np.bincount(k[near], minlength=len(vectors))
    mean = [np.bincount(k[near], w, len(vectors)) / np.maximum(number, 1) for w in away[near].T]
    return np.where((number > PAIRS)[:, None], np.column_stack(mean), vectors)


def _change(sites, p, brightness, who, there, weight) -> np.ndarray:
    """How much brightness changes from column to column along each vector around each candidate, (n, m)."""
    ends = np.append(brightness, 0.0)[who]
    counted = (p > 0.5)[:, None] & (there > 0.5) & sites.inside & (weight > 0)
    pairs = sites.around(counted.astype(float))
    change = sites.around(np.where(counted, np.abs(brightness[:, None] - ends), 0.0)) / np.maximum(pairs, 1e-9)
    return np.where((pairs > PAIRS)[sites.place] & (weight > 0), change[sites.place], np.inf)


def _beside(places: np.ndarray, p: np.ndarray, shortest: float) -> np.ndarray:
    """True for candidates with a likelier one right beside them."""
    from hs_deepatoms._core.compiled.cells import neighbours

    near = neighbours(*np.ascontiguousarray(places.T), BESIDE * shortest)
    out = np.zeros(len(p), bool)
    if len(near):
        out[np.where(p[near[:, 0]] < p[near[:, 1]], near[:, 0], near[:, 1])] = True
    return out


def rows_of(ids: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Where candidates with these numbers stand among ``ids`` (n,), which ascend; -1 where they are not, or for -1."""
    if not len(ids):
        return np.full(alike.shape, -1)
    # by a table of all numbers up to the last one; the one after it, and -1, stand for none
    row = np.full(ids[-1] + 2, -1, np.int32)
    row[ids] = np.arange(len(ids))
    return row[np.minimum(alike, ids[-1] + 1)]


def usual(clearness: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the equivalents of each column look like.

    Parameters
    ----------
    clearness : ndarray, shape (n,)
        Fitted heights over their standard deviation.
    rows : ndarray of int, shape (n, m)
        Rows of the equivalents; -1 for none.

    Returns
    -------
    typical, spread : ndarray, shape (n,)
        Mean of their clearness and its standard deviation; NaN where too few of them were fitted, or where they are too
        faint themselves.
    """
    fitted = (rows >= 0) & np.isfinite(clearness)[rows]
    number = fitted.sum(1)
    value = np.where(fitted, clearness[rows], 0.0)
    mean = value.sum(1) / np.maximum(number, 1)
    variance = (np.where(fitted, value - mean[:, None], 0.0) ** 2).sum(1)
    variance = (variance + WORTH * (USUAL * mean) ** 2) / (number + WORTH)
    middle, some = np.full(len(value), np.nan), number >= LEAST
    middle[some] = _medians(np.where(fitted, clearness[rows], np.nan)[some], number[some])
    # a few that are plain, as adatoms, make no columns of the peaks of noise that stand where there is none
    known = some & (mean > PLAIN) & ~((middle < PLAIN) & (middle < UNEVEN * mean))
    # a fitted height over its error varies by one
    return np.where(known, mean, np.nan), np.where(known, np.sqrt(np.maximum(variance, 1.0)), np.nan)


def _medians(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Median of each row (n, m) with so many (n,) numbers in it, the others NaN: in a tenth of nanmedian's time."""
    ordered = np.sort(values, axis=1)  # NaN last
    pick = np.stack([(number - 1) // 2, number // 2], axis=1)
    return np.take_along_axis(ordered, pick, axis=1).mean(axis=1)


def unevenness(clearness: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How unequal the equivalents of each column are, beyond the noise: their relative standard deviation (n,).

    Columns of one sublattice are nearly equal. Bumps of a rough ground are not: the heights of the maxima of a random
    field vary by a third (Longuet-Higgins, Phil. Trans. R. Soc. A 249, 321 (1957), doi:10.1098/rsta.1957.0002).

    Parameters
    ----------
    clearness, rows
        See :func:`usual`.

    Returns
    -------
    ndarray, shape (n,)
        Pooled with that of the equivalents themselves, since few tell little; NaN where there are too few.
    """
    fitted = (rows >= 0) & np.isfinite(clearness)[rows]
    value = np.where(fitted, clearness[rows], np.nan)
    some = np.flatnonzero(fitted.sum(1) >= LEAST)
    square = np.full(len(value), np.nan)
    mean = np.maximum(np.nanmean(value[some], axis=1), 1e-6)
    square[some] = (np.nanvar(value[some], axis=1, ddof=1) - 1) / mean**2  # a height over its error varies by one
    near = np.where(fitted, square[rows], np.nan)
    known = np.isfinite(near).any(1) & np.isfinite(square)
    out = np.full(len(value), np.nan)
    out[known] = np.sqrt(np.maximum((square[known] + np.nanmean(near[known], axis=1)) / 2, 0))
    return out


def likeness(clearness: np.ndarray, typical: np.ndarray, spread: np.ndarray, nothing: float = NOTHING) -> np.ndarray:
    """Log likelihood ratio (n,) of a column like its equivalents to none, for which ``nothing`` would be found.

    See :func:`usual`; NaN where they are not known.
    """
    below = np.minimum(clearness - typical, 0) / spread  # a brighter one is no less a column
    ratio = 0.5 * (np.maximum(clearness - nothing, 0) ** 2 - below**2) - np.log(spread)
    return ratio.clip(FAINTEST, ENOUGH)


def weighed(p: np.ndarray, ratio: np.ndarray, weights: tuple[float, float, float]) -> np.ndarray:
    """Probabilities with the fitted heights taken into account; unchanged where the ratio is not known."""
    a, b, constant = weights
    after = expit(a * ratio + b * logit(np.clip(p, DECIDED, 1 - DECIDED)) + constant)
    return np.where(np.isfinite(ratio), after, p)


def on_its_own(ratio: np.ndarray) -> np.ndarray:
    """Probability (n,) of a column that nothing but its signal-to-noise ratio speaks for: a Bayes factor."""
    return expit(0.5 * ratio**2 + np.log(ODDS))
