"""A smooth trend under values that come in classes: thickness gradients, without eating the contrast of sublattices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.seeds import generator

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

DEGREES = (0, 1, 2, 3, 5, 8)  # of the polynomials tried; 0 is no trend
PER_TERM = 5  # atoms that every term of a polynomial needs
PER_CLASS = 10  # atoms that every Gaussian needs
SAMPLE = 5000  # atoms that a model is fitted to; more of them change nothing but the time
WORKING = 4  # classes that stand in for the unknown ones while the trend is fitted
MOST = 6  # Gaussians that the values may take
ROUNDS = 6
NARROWEST = 1e-3  # smallest width of a Gaussian, in standard deviations of the values


@dataclass(frozen=True)
class Trend:
    """The polynomial of the lowest BIC, and the mixture that what is left of the values follows.

    ``values`` (n,) is the trend at every atom, mean 0 over the atoms fitted; ``rest`` (m,) are the values of these
    atoms without it; ``bic`` is that of trend and mixture together.
    """

    values: np.ndarray
    rest: np.ndarray
    mixture: GaussianMixture
    degree: int
    bic: float


def fit_trend(
    y: np.ndarray, x: np.ndarray, values: np.ndarray, *, use: np.ndarray, degrees=DEGREES, seed=0
) -> Trend:
    """Polynomial in (y, x) shared by all classes of the values, its degree and the number of classes by BIC.

    Classes and trend are fitted in turn: a mixture of Gaussians to what the trend leaves, then the trend to what the
    classes leave, every atom weighted by how sharp its class is. Both "no trend" and "a trend under a single class" are
    starting points, so that species that lie apart are not taken for a gradient, nor a gradient for species.

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
        found = _fit_degree(values[rows], terms, number)
        if best is None or found[0] < best[0]:
            best = (*found, degree, terms.mean(0))
    bic, slopes, mixture, degree, centre = best
    return Trend(
        (polynomial(*_scaled(y, x, low, half), degree) - centre) @ slopes,
        values[rows] - (polynomial(*_scaled(y[rows], x[rows], low, half), degree) - centre) @ slopes,
        mixture,
        degree,
        bic,
    )


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


def best_mixture(values: np.ndarray, n_terms: int, seed: int) -> tuple[float, GaussianMixture]:
    """BIC (of ``n_terms`` parameters more) and mixture of the number of Gaussians that makes it least."""
    penalty = n_terms * np.log(values.size)
    best = None
    for n in range(1, min(MOST, max(values.size // PER_CLASS, 1)) + 1):
        model = fit_mixture(values, n, seed)
        bic = model.bic(values[:, None]) + penalty
        if best is None or bic < best[0]:
            best = bic, model
        elif n > 3 and bic > best[0] + 2 * penalty + 30:
            break
    return best


def _fit_degree(values: np.ndarray, terms: np.ndarray, seed: int):
    centred = terms - terms.mean(0)
    if not terms.shape[1]:
        bic, mixture = best_mixture(values, 0, seed)
        return bic, np.empty(0), mixture
    single = np.linalg.lstsq(centred, values - values.mean(), rcond=None)[0]
    ends = [_alternate(values, centred, slopes, seed) for slopes in (single, np.zeros_like(single))]
    slopes = max(ends, key=lambda end: end[0])[1]
    bic, mixture = best_mixture(values - centred @ slopes, terms.shape[1], seed)
    return bic, slopes, mixture


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
