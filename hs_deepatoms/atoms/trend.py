"""A smooth trend under values that come in classes: thickness gradients, without eating the contrast of sublattices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.seeds import generator
from hs_deepatoms.engine.serial import one_core_blas

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

DEGREES = (0, 1, 2, 3, 5, 8)  # of the polynomials tried; 0 is no trend
PER_TERM = 5  # atoms that every term of a polynomial needs
PER_CLASS = 10  # atoms that every Gaussian needs
SAMPLE = 5000  # atoms that a model is fitted to; more of them change nothing but the time
WORKING = 4  # classes that stand in for the unknown ones while the trend is fitted
MOST = 6  # Gaussians that the values may take
ROUNDS = 6
GAIN = 10.0  # by which one more Gaussian must lower the BIC
DIP = 0.35  # two classes are two where the density between them is this much lower than at the lower of them
SMALLEST, LEAST = 0.02, 5  # share of the atoms, and atoms, that make a class
SPLIT = 0.3  # cost per atom of one more class: many terms can arrange the values in heaps
GRID = 4096
NARROWEST = 1e-3  # smallest width of a Gaussian, in standard deviations of the values


@dataclass(frozen=True)
class Trend:
    """The trend, and the classes that show without it.

    Attributes
    ----------
    values : ndarray, shape (n,)
        The trend at every atom, mean 0 over the atoms it was fitted to.
    rest : ndarray, shape (m,)
        Values of these atoms without it.
    centres, edges : ndarray, shapes (k,) and (k - 1,)
        Where the density of ``rest`` is highest, descending, and the dips between.
    degree : int
        Of the polynomial.
    """

    values: np.ndarray
    rest: np.ndarray
    centres: np.ndarray
    edges: np.ndarray
    degree: int


def fit_trend(y: np.ndarray, x: np.ndarray, values: np.ndarray, *, use: np.ndarray, degrees=DEGREES, seed=0) -> Trend:
    """Polynomial in (y, x) shared by all classes of the values, of the degree that best explains them.

    Classes and trend are fitted in turn: a mixture of Gaussians to what the trend leaves, then the trend to what the
    classes leave, every atom weighted by how sharp its class is; both "no trend" and "a trend under a single class" are
    starting points. Of the degrees that one is taken whose classes are narrowest, each term at its cost in the BIC:
    what the classes are is free, so that species that lie apart are not taken for a gradient.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Positions in any one unit.
    values : ndarray, shape (n,)
        What the classes differ in, e.g. log intensities.
    use : ndarray of bool, shape (n,)
        Which atoms the model is fitted to; their values are finite.
    degrees : sequence of int
        Degrees to try; those with too few atoms are left out.
    seed : int or numpy.random.Generator

    Returns
    -------
    Trend

    Notes
    -----
    A mixture of regressions with common slopes: DeSarbo and Cron, J. Classif. 5, 249 (1988), doi:10.1007/BF01897167;
    the criterion: Schwarz, Ann. Stat. 6, 461 (1978), doi:10.1214/aos/1176344136.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, x = rng.random((2, 500))
    >>> v = np.where(np.arange(500) % 2, 1.0, 0.4) + 0.7 * x + 0.02 * rng.standard_normal(500)
    >>> trend = fit_trend(y, x, v, use=np.ones(500, bool))
    >>> bool(np.ptp(trend.values - 0.7 * x) < 0.05)
    True
    """
    rng = generator(seed)
    rows = np.flatnonzero(use)
    if rows.size > SAMPLE:
        rows = np.sort(rng.choice(rows, SAMPLE, replace=False))
    number = int(rng.integers(2**31))
    low, half = _frame(y[use], x[use])
    best = None
    for degree in degrees:
        terms = polynomial(*_scaled(y[rows], x[rows], low, half), degree)
        if degree > min(degrees) and terms.shape[1] * PER_TERM > rows.size:
            continue
        centre = terms.mean(0)
        with one_core_blas():  # many small products: its threads would spend more time on waiting for each other
            slopes, rest, mixture = _fit_degree(values[rows], terms - centre, number)
        centres, edges = modes(rest, mixture)
        cost = rows.size * (2 * np.log(_width(rest, edges)) + SPLIT * len(edges)) + terms.shape[1] * np.log(rows.size)
        if best is None or cost < best[0]:
            best = cost, degree, slopes, centre, rest, centres, edges
    _, degree, slopes, centre, rest, centres, edges = best
    whole = (polynomial(*_scaled(y, x, low, half), degree) - centre) @ slopes
    return Trend(whole, rest, centres, edges, degree)


def polynomial(a: np.ndarray, b: np.ndarray, degree: int) -> np.ndarray:
    """Products of Legendre polynomials of a, b in -1 ... 1 up to a total degree, without the constant: (n, terms)."""
    p, q = (np.polynomial.legendre.legvander(w, degree) for w in (a, b))
    powers = [(i, k - i) for k in range(1, degree + 1) for i in range(k + 1)]
    return np.stack([p[:, i] * q[:, j] for i, j in powers], 1) if powers else np.empty((len(p), 0))


def fit_mixture(values: np.ndarray, n: int, seed: int, means: np.ndarray | None = None) -> GaussianMixture:
    """Mixture of n Gaussians for values (m,)."""
    from sklearn.mixture import GaussianMixture

    least = (NARROWEST * float(np.std(values))) ** 2 + 1e-300
    start = None if means is None else np.asarray(means)[:, None]
    model = GaussianMixture(n, reg_covar=least, random_state=seed, init_params="k-means++", means_init=start)
    return _quiet(model.fit, values[:, None])


def best_mixture(values: np.ndarray, seed: int) -> GaussianMixture:
    """Mixture of as many Gaussians as lower the BIC clearly."""
    best, least = None, np.inf
    for n in range(1, min(MOST, max(values.size // PER_CLASS, 1)) + 1):
        model = fit_mixture(values, n, seed)
        bic = model.bic(values[:, None])
        if best is None or bic < least - GAIN * (n - best.n_components):
            best, least = model, bic
    return best


def modes(rest: np.ndarray, mixture: GaussianMixture) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k,) of the classes that the mixture's density shows, descending, and the dips between them.

    ``rest`` (m,) are the values. A maximum counts where the density drops clearly on both sides of it, and enough atoms
    belong to it.
    """
    from scipy.signal import find_peaks

    means, widths = mixture.means_[:, 0], np.sqrt(mixture.covariances_[:, 0, 0])
    grid = np.linspace((means - 4 * widths).min(), (means + 4 * widths).max(), GRID)
    density = np.exp(mixture.score_samples(grid[:, None]))
    peaks, found = find_peaks(np.concatenate([[0], density, [0]]), prominence=0)
    peaks = peaks[found["prominences"] >= DIP * density[peaks - 1]] - 1
    while True:
        dips = [a + int(np.argmin(density[a : b + 1])) for a, b in pairwise(peaks)]
        edges = grid[dips]
        number = np.bincount(np.digitize(rest, edges), minlength=len(peaks))
        if len(peaks) == 1 or number.min() >= max(SMALLEST * rest.size, LEAST):
            return grid[peaks][::-1], edges[::-1]
        peaks = np.delete(peaks, np.argmin(number))


def _fit_degree(values: np.ndarray, terms: np.ndarray, seed: int):
    """Slopes (terms,), the values without them, and their mixture."""
    if not terms.shape[1]:
        return np.empty(0), values, best_mixture(values, seed)
    single = np.linalg.lstsq(terms, values - values.mean(), rcond=None)[0]
    ends = [_alternate(values, terms, slopes, seed) for slopes in (single, np.zeros_like(single))]
    slopes = max(ends, key=lambda end: end[0])[1]
    rest = values - terms @ slopes
    return slopes, rest, best_mixture(rest, seed)


def _width(values: np.ndarray, edges: np.ndarray) -> float:
    """Robust standard deviation of values (m,) about the middle of their class."""
    label = np.digitize(-values, -edges)
    middle = np.array([np.median(values[label == k]) for k in range(len(edges) + 1)])
    return max(1.4826 * float(np.median(np.abs(values - middle[label]))), NARROWEST * float(np.std(values)), 1e-300)


def _alternate(values: np.ndarray, terms: np.ndarray, slopes: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
    """Mean log likelihood and slopes after a few turns of mixture and weighted least squares."""
    means, score = None, -np.inf
    n = min(WORKING, max(values.size // PER_CLASS, 1))
    for _ in range(ROUNDS):
        rest = values - terms @ slopes
        model = fit_mixture(rest, n, seed, means)
        means, before, score = model.means_[:, 0], score, float(model.lower_bound_)
        share = model.predict_proba(rest[:, None]) / model.covariances_[:, 0, 0]
        weight = share.sum(1)
        target = values - (share @ means) / weight
        root = np.sqrt(weight)
        new = np.linalg.lstsq(terms * root[:, None], target * root, rcond=None)[0]
        if score < before + 1e-4:
            break
        slopes = new
    return score, slopes


def _frame(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([y.min(), x.min()])
    return low, np.maximum(np.array([np.ptp(y), np.ptp(x)]) / 2, 1e-300)


def _scaled(y, x, low, half) -> tuple[np.ndarray, np.ndarray]:
    # atoms that were not fitted may lie further out, where a polynomial would run away
    return tuple(np.clip((w - a) / h - 1, -1, 1) for w, a, h in zip((y, x), low, half, strict=True))


def _quiet(fit, values):
    """A mixture that stopped before it converged is as good a starting point; sklearn would warn every time."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(values)
