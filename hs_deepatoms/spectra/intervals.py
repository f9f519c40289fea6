"""Widths of intervals from held-out blocks, and how often they hold what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ONE_SIGMA = 0.6826894921370859
PEN = 16  # blocks needed for a quantile of their own
FOR_STRETCH = 20_000  # residuals that are looked at
USUAL_STRETCH = 0.3  # how far powers are from 1


def inflation(
    residual: np.ndarray, variance: np.ndarray, noise: np.ndarray, block: np.ndarray, extra: np.ndarray | None = None
) -> float:
    """What standard deviations must be multiplied with so that 68 % of the residuals lie inside.

    Parameters
    ----------
    residual, variance, noise : numpy.ndarray, shape (n,)
        Of one target: measured minus predicted, variance that the model claims, and known variance of the measurement.
    block : numpy.ndarray of int, shape (n,)
        Held-out block of each; every block counts the same.
    extra : numpy.ndarray, shape (n,), optional
        Variance of normal noise that comes on top of what the intervals are for, as that of a single channel on top of
        the total's error. Errors are no normal distribution: of the sum of both, widths for one hold too little.

    Returns
    -------
    float
        ``c`` with ``|residual| < sqrt(c**2 * variance + noise)`` for 68 % (conformal over blocks, so a little more for
        few of them: Dunn et al., J. Am. Stat. Assoc. 118, 2491 (2023), doi:10.1080/01621459.2022.2060112).
    """
    _, where, count = np.unique(block, return_inverse=True, return_counts=True)
    weight = 1.0 / (count[where] * len(count))

    def covered(c: float) -> float:
        return float((weight * (residual**2 < c**2 * variance + noise)).sum())

    def covered_with_extra(c: float) -> float:
        width = np.sqrt(c**2 * variance + noise + extra)
        return float((weight * _share_inside(residual, width, extra)).sum())

    few = ONE_SIGMA * (1 + 1 / len(count)) if len(count) >= PEN else ONE_SIGMA
    if extra is None:
        return _where_reached(covered, few)
    # where the extra noise is most of it, a share that is a little larger would ask for any width
    return _where_reached(covered_with_extra, ONE_SIGMA) * (
        _where_reached(covered, few) / _where_reached(covered, ONE_SIGMA)
    )


def _where_reached(rising: Callable[[float], float], level: float) -> float:
    """Where a function of a factor from 1e-3 to 1e3 reaches a level."""
    low, high = 1e-3, 1e3
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return high


def _share_inside(residual: np.ndarray, width: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """Share of ``residual`` plus normal noise that lies inside of ``width``."""
    from scipy.special import ndtr

    sigma = np.sqrt(np.maximum(extra, 1e-30))
    return ndtr((width - residual) / sigma) - ndtr((-width - residual) / sigma)


def likely_inflation(residual: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> float:
    """The factor of the standard deviations that makes the residuals most likely."""
    from scipy.optimize import minimize_scalar

    def cost(log: float) -> float:
        total = np.exp(2 * log) * variance + noise
        return float(np.mean(np.log(total) + np.minimum(residual**2 / total, 16.0)))

    return float(np.exp(minimize_scalar(cost, bounds=(-4.0, 4.0), method="bounded").x))


def likely_stretch(residual: np.ndarray, deviation: np.ndarray, noise: np.ndarray, block: np.ndarray) -> float:
    """The power of the standard deviations that makes the residuals most likely.

    A network whose variances are learned on its own training knows too little of how much larger errors are where they
    are large. Small blocks count as one residual each beside the expectation that the power is 1.

    Parameters
    ----------
    residual, deviation, noise : numpy.ndarray, shape (n,)
        As for `inflation`, with deviations in place of variances.
    block : numpy.ndarray of int, shape (n,)
    """
    from scipy.optimize import minimize

    some = np.linspace(0, len(residual) - 1, min(len(residual), FOR_STRETCH)).astype(int)
    square, log, noise = residual[some].astype(float) ** 2, np.log(np.maximum(deviation[some], 1e-12)), noise[some]
    log, blocks = log - log.mean(), len(np.unique(block))
    start = 0.5 * np.log(max(float(square.mean()), 1e-24))

    def cost(point: np.ndarray) -> float:
        total = np.exp(2 * np.clip(point[0] + point[1] * log, -30, 30)) + noise
        doubt = (point[1] - 1) ** 2 / (2 * USUAL_STRETCH**2 * blocks)
        return 0.5 * float(np.mean(np.log(total) + np.minimum(square / total, 16.0))) + doubt

    return float(np.clip(minimize(cost, [start, 1.0], method="BFGS").x[1], 0.5, 2.0))


def calibrate(
    residual: np.ndarray, deviation: np.ndarray, noise: np.ndarray, block: np.ndarray,
    extra: list[np.ndarray | None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Powers and factors of the standard deviations (k,) and a square root (k, k) of the correlation of the errors.

    Parameters
    ----------
    residual, deviation, noise : numpy.ndarray, shape (k, n)
        As for `likely_stretch`; ``noise`` may be 0.
    block : numpy.ndarray of int, shape (n,)
    extra : list, optional
        For each target as for `inflation`.
    """
    stretch, factors = np.ones((2, len(residual)))
    deviation = deviation.astype(float)
    for k in range(len(residual)):
        likely = likely_inflation(residual[k].astype(float), deviation[k] ** 2, noise[k])
        # where noise hides the model's own error, how many residuals lie inside says nothing about it
        factors[k] = likely
        if np.median(likely**2 * deviation[k] ** 2) > 0.5 * np.median(noise[k]):
            stretch[k] = likely_stretch(residual[k], deviation[k], noise[k], block)
            deviation[k] **= stretch[k]
            factors[k] = inflation(residual[k], deviation[k] ** 2, noise[k], block, None if extra is None else extra[k])
    wide = deviation * factors[:, None]
    scaled = residual / np.maximum(wide, 1e-12)
    weight = wide**2 / (wide**2 + noise)  # pixels whose residual is not noise alone
    joint = (scaled * weight) @ (scaled * weight).T
    own = np.sqrt(np.maximum(np.diag(joint), 1e-30))
    correlation = joint / own[:, None] / own[None, :]
    values, axes = np.linalg.eigh(correlation)
    correlation = (axes * np.maximum(values, 1e-4)) @ axes.T
    own = np.sqrt(np.diag(correlation))
    return stretch, factors, np.linalg.cholesky(correlation / own[:, None] / own[None, :])


def random_pit(
    counts: np.ndarray, mean: np.ndarray, variance: np.ndarray, rng: np.random.Generator, *, discrete: bool
) -> np.ndarray:
    """Probability integral transform of measurements under their predictive distribution, randomised for counts.

    Counts are negative binomial with this mean and variance (Poisson in the limit), anything else is normal.
    Czado, Gneiting & Held, Biometrics 65, 1254 (2009), doi:10.1111/j.1541-0420.2009.01191.x.

    Returns
    -------
    numpy.ndarray
        Uniform from 0 to 1 where the predictions are right.
    """
    from scipy.stats import nbinom, norm

    if not discrete:
        return norm.cdf(counts, mean, np.sqrt(variance))
    mean = np.maximum(mean.astype(float), 1e-6)
    over = np.maximum(variance.astype(float), mean * (1 + 1e-6)) - mean
    size = mean**2 / over
    share = size / (size + mean)
    high = nbinom.cdf(counts, size, share)
    low = high - nbinom.pmf(counts, size, share)
    return low + rng.random(counts.shape) * (high - low)


def inside_one_sigma(pit: np.ndarray) -> np.ndarray:
    """Whether values of the transform lie in the central interval of 68 %."""
    return np.abs(pit - 0.5) < ONE_SIGMA / 2
