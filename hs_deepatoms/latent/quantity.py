"""A quantity that is known of some patches, from the latents of all: a Gaussian process."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

MOST = 500  # known patches that it goes through
BATCH = 4096


@dataclass(frozen=True, eq=False)
class Quantity:
    """A Gaussian process through known points, with a squared-exponential covariance.

    Attributes
    ----------
    z : numpy.ndarray, shape (k, d)
        Latents of the known patches.
    values : numpy.ndarray, shape (k,)
        What is known of them.
    lengths : list of float
        Of the covariance along each latent.
    signal, noise : float
        Standard deviations of the quantity, and of what the latents do not say of it.
    """

    z: np.ndarray
    values: np.ndarray
    lengths: list[float]
    signal: float
    noise: float

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantity and its one-sigma uncertainty (n,) at latents (n, d); NaN where they are."""
        from scipy.linalg import cho_factor, cho_solve

        mean = self.values.mean()
        own = self._covariance(self.z) + (self.noise**2 + 1e-10 * self.signal**2) * np.eye(len(self.z))
        factor = cho_factor(own)
        weights = cho_solve(factor, self.values - mean)
        found, variance = np.full(len(z), np.nan), np.full(len(z), np.nan)
        good = np.flatnonzero(np.isfinite(z).all(1))
        for place in (good[k : k + BATCH] for k in range(0, good.size, BATCH)):
            across = self._covariance(z[place])
            found[place] = mean + across @ weights
            variance[place] = self.signal**2 - (across * cho_solve(factor, across.T).T).sum(1)
        return found, np.sqrt(np.maximum(variance, 0) + self.noise**2)

    def _covariance(self, z: np.ndarray) -> np.ndarray:
        scaled, known = np.asarray(z, float) / self.lengths, self.z / self.lengths
        square = (scaled**2).sum(1)[:, None] + (known**2).sum(1) - 2 * scaled @ known.T
        return self.signal**2 * np.exp(-0.5 * np.maximum(square, 0))


def fit_quantity(z: np.ndarray, values: np.ndarray, seed: int = 0) -> Quantity:
    """The process whose widths make the known values most probable (scikit-learn).

    Parameters
    ----------
    z : numpy.ndarray, shape (n, d)
        Latents; NaN: none.
    values : numpy.ndarray, shape (n,)
        NaN: unknown. Of more than 500 known ones 500 are taken.
    seed : int

    Examples
    --------
    >>> z = np.linspace(-2, 2, 30)[:, None]
    >>> value, std = fit_quantity(z, np.sin(z[:, 0])).predict(np.array([[0.5], [50.0]]))
    >>> bool(abs(value[0] - np.sin(0.5)) < 0.01), bool(std[1] > 5 * std[0])
    (True, True)
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    known = np.flatnonzero(np.isfinite(values) & np.isfinite(z).all(1))
    if known.size > MOST:
        known = np.sort(np.random.default_rng([seed, 6]).choice(known, MOST, replace=False))
    points, target = z[known].astype(float), values[known].astype(float)
    spread = target.std() or 1.0
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * RBF(np.ones(z.shape[1]), (1e-2, 1e3)) + WhiteKernel(0.1, (1e-6, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a width at its limit: a latent that says nothing
        process = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=seed)
        found = process.fit(points, (target - target.mean()) / spread).kernel_
    lengths = np.broadcast_to(found.k1.k2.length_scale, z.shape[1:]).tolist()
    return Quantity(points, target, lengths, float(spread * np.sqrt(found.k1.k1.constant_value)),
                    float(spread * np.sqrt(found.k2.noise_level)))  # fmt: skip
