"""Classes of columns from how strong they are: mixture, k-means, mean shift or thresholds, with probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hs_deepatoms.atoms.trend import DEGREES, fit_mixture, fit_trend

UNKNOWN = -1  # the class of an atom without a value
FEWEST = 8  # atoms of which anything can be said
OUTER_QUANTILES = (0.2, 0.8)  # of the neighbours: the faint and the strong ones
FAINTEST = 1e-3  # of the median: what a value of the wrong sign counts as, before the logarithm is taken


@dataclass(frozen=True)
class Classes:
    """Classes of n atoms, strongest first.

    Attributes
    ----------
    label : ndarray of int, shape (n,)
        0 is the strongest class; -1 where there is no value.
    probability : ndarray of float, shape (n, k)
        Of every class; NaN where there is no value.
    value : ndarray of float, shape (n,)
        What was classified: log values without their trend.
    trend : ndarray of float, shape (n,)
        The trend taken off, 0 where there is none.
    degree : int
        Of the trend's polynomial.
    """

    label: np.ndarray
    probability: np.ndarray
    value: np.ndarray
    trend: np.ndarray
    degree: int

    @property
    def number(self) -> int:
        return self.probability.shape[1]

    @property
    def of_own(self) -> np.ndarray:
        """Probability (n,) of the class each atom was given."""
        if not self.number:
            return np.full(self.label.size, np.nan)
        return np.take_along_axis(self.probability, np.maximum(self.label, 0)[:, None], 1)[:, 0]


def classify(
    y: np.ndarray,
    x: np.ndarray,
    strength: np.ndarray,
    *,
    n: int | str = "auto",
    method: str = "mixture",
    local: bool | str = "auto",
    trusted: np.ndarray | None = None,
    seed: int | np.random.Generator = 0,
) -> Classes:
    """Classes of atoms from one strength each, in the logarithm, with or without a smooth trend.

    Parameters
    ----------
    y, x : ndarray, shape (n_atoms,)
        Positions, any one unit.
    strength : ndarray, shape (n_atoms,)
        Intensity or height; negative for dark columns. NaN: unknown.
    n : int or "auto"
        Number of classes. ``"auto"``: as many as the density of the values has clear maxima, where it is the mixture of
        Gaussians that the BIC prefers, so a skewed or heavy-tailed class stays one.
    method : {"mixture", "kmeans", "meanshift", "threshold"}
        ``"threshold"`` is Otsu's, of several levels where there are more than two classes; ``"meanshift"`` finds its
        own number.
    local : bool or "auto"
        Take a smooth trend off, never, or where that makes the classes narrower by more than its terms cost.
    trusted : ndarray of bool, shape (n_atoms,), optional
        Which atoms the classes are learned from; all are classified.
    seed : int or numpy.random.Generator

    Returns
    -------
    Classes

    Notes
    -----
    Gaussians are joined where their sum has no dip: Hennig, Adv. Data Anal. Classif. 4, 3 (2010),
    doi:10.1007/s11634-010-0058-3. Thresholds: Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979),
    doi:10.1109/TSMC.1979.4310076. Mean shift: Comaniciu and Meer, IEEE TPAMI 24, 603 (2002),
    doi:10.1109/34.1000236.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, x = rng.random((2, 300))
    >>> strength = np.where(np.arange(300) % 3, 50.0, 100.0) * np.exp(0.05 * rng.standard_normal(300))
    >>> np.bincount(classify(y, x, strength).label).tolist()
    [100, 200]
    """
    value = log_strength(strength)
    known = np.isfinite(value)
    use = known if trusted is None or (known & trusted).sum() < FEWEST else known & trusted
    if use.sum() < FEWEST or np.ptp(value[use]) == 0:
        return _ranked(value, known, n)
    degrees = {True: DEGREES[1:], False: DEGREES[:1]}.get(local, DEGREES)
    trend = fit_trend(y, x, np.where(known, value, 0.0), use=use, degrees=degrees, seed=seed)
    rest = value - trend.values
    sample, number = trend.rest, 0
    centres, edges = trend.centres, trend.edges
    if method == "meanshift":
        labels = _mean_shift(sample)
    else:
        number = len(centres) if n == "auto" else min(int(n), np.unique(sample).size)
        labels = _LABELLED[method](sample, number, centres, edges, n == "auto")
    label, probability = _posterior(rest, known, sample, labels, hard=method != "mixture")
    return Classes(label, probability, rest, np.where(known, trend.values, np.nan), trend.degree)


def log_strength(strength: np.ndarray) -> np.ndarray:
    """Logarithm of positive (or, of dark columns, negative) strengths (n,); the wrong sign is very faint."""
    strength = np.asarray(strength, float)
    finite = strength[np.isfinite(strength)]
    middle = float(np.median(finite)) if finite.size else 1.0
    middle = middle or float(np.abs(finite).max()) or 1.0
    signed = strength * np.sign(middle)
    with np.errstate(invalid="ignore"):
        return np.log(np.where(np.isfinite(signed), np.maximum(signed, FAINTEST * abs(middle)), np.nan))


def contrast_to_neighbours(y, x, strength, frame=None, k: int = 12) -> np.ndarray:
    """Strength of every atom over the local middle (n,), of both kinds of neighbours; NaN without neighbours.

    The middle is halfway, in the logarithm, between the stronger and the fainter ones of the ``k`` nearest: how many of
    which kind there are, which at the rim is another number, does not matter.
    """
    from hs_deepatoms.tables.neighbours import nearest

    distance, row = nearest(y, x, frame, k=k)
    value = log_strength(strength)
    around = np.where(np.isfinite(distance), value[row] if value.size else distance, np.nan)
    alone = ~np.isfinite(around).any(1)
    around[alone] = 0.0  # numpy would warn of a row of nothing
    middle = np.nanquantile(around, OUTER_QUANTILES, axis=1).mean(0) if value.size else value
    return np.where(alone, np.nan, np.exp(value - middle))


def _by_mixture(sample, n, centres, edges, automatic):
    if automatic:
        return np.digitize(-sample, -edges)
    share = np.bincount(np.digitize(-sample, -edges), minlength=len(centres))
    heaviest = np.sort(np.argsort(-share, kind="stable")[:n])
    start = centres[heaviest] if len(heaviest) == n else None
    return fit_mixture(sample, n, 0, start).predict(sample[:, None])


def _by_kmeans(sample, n, centres, edges, automatic):
    from sklearn.cluster import KMeans

    start = centres[:, None] if len(centres) == n else "k-means++"
    return KMeans(n, init=start, n_init=1 if len(centres) == n else 5, random_state=0).fit_predict(sample[:, None])


def _by_threshold(sample, n, centres, edges, automatic):
    from skimage.filters import threshold_multiotsu

    if n == 1:
        return np.zeros(sample.size, int)
    low, high = np.percentile(sample, (0.5, 99.5))  # a few outliers would take all the bins
    return np.digitize(sample, threshold_multiotsu(np.clip(sample, low, high), n, nbins=256 if n < 4 else 96))


def _mean_shift(sample):
    from sklearn.cluster import MeanShift

    spread = float(np.std(sample))
    few = np.quantile(sample, np.linspace(0, 1, min(sample.size, 500)))[:, None]  # as dense as the sample itself
    fitted = MeanShift(bandwidth=spread / 2, bin_seeding=True, min_bin_freq=max(1, len(few) // 100)).fit(few)
    return fitted.predict(sample[:, None])


_LABELLED = {"mixture": _by_mixture, "kmeans": _by_kmeans, "threshold": _by_threshold}
METHODS = (*_LABELLED, "meanshift")


def _posterior(value, known, sample, labels, hard: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n, k), classes in descending order, each a Gaussian of robust mean and width.

    Beyond the outermost means an atom counts as at them: in the tails the widest class would win, on either side.
    """
    groups = sorted((sample[labels == k] for k in np.unique(labels)), key=np.median, reverse=True)
    mean = np.array([np.median(group) for group in groups])
    floor = 1e-3 * max(float(np.std(sample)), 1e-300)
    width = np.array([max(1.4826 * float(np.median(np.abs(g - m))), floor) for g, m in zip(groups, mean, strict=True)])
    share = np.array([group.size for group in groups]) / sample.size
    at = np.clip(np.where(known, value, mean[0]), mean[-1], mean[0])[:, None]
    logs = np.log(share / width) - 0.5 * ((at - mean) / width) ** 2
    probability = np.exp(logs - logs.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    label = probability.argmax(1)
    if hard:
        between = np.array([(a.min() + b.max()) / 2 for a, b in pairwise(groups)])
        label = np.digitize(-np.where(known, value, mean[0]), -between)
    return np.where(known, label, UNKNOWN), np.where(known[:, None], probability, np.nan)


def _ranked(value, known, n) -> Classes:
    """Too few atoms, or all alike: one class, or as many values as there are, up to the number asked for."""
    distinct = np.unique(value[known])[::-1]
    number = min(1 if n == "auto" else int(n), max(distinct.size, 1))
    starts = [part[-1] for part in np.array_split(distinct, number)[:-1]] if distinct.size else []
    label = np.where(known, np.digitize(-np.where(known, value, 0.0), -np.array(starts), right=True), UNKNOWN)
    probability = np.where(known[:, None], np.eye(number)[np.maximum(label, 0)], np.nan)
    return Classes(label, probability, value, np.where(known, 0.0, np.nan), 0)
