"""A quantity that is known of some patches, from the latents of all: a Gaussian process."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

MOST = 500  # known patches that it goes through
EVERY, FEWEST = 4, 8  # one known value of so many is not trained with; of fewer than eight all are
AS_STATED = 4  # unseen values as uncertain as is stated, counted with those that there are: few say little
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
    factor : float
        How many times larger the errors of patches are whose values the training did not see.
    """

    z: np.ndarray
    values: np.ndarray
    lengths: list[float]
    signal: float
    noise: float
    factor: float = 1.0

    def state(self) -> dict[str, np.ndarray]:
        """As named arrays, float64."""
        return {"z": self.z, "values": self.values, "lengths": np.asarray(self.lengths, float),
                "deviations": np.array([self.signal, self.noise, self.factor])}  # fmt: skip

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray]) -> Quantity:
        """And back."""
        return cls(arrays["z"], arrays["values"], arrays["lengths"].tolist(), *arrays["deviations"].tolist())

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantity and its one-sigma uncertainty (n,) at latents (n, d); NaN where they are."""
        from scipy.linalg import cho_factor, cho_solve

        mean = self.values.mean()
        factor = cho_factor(self._own_covariance())
        weights = cho_solve(factor, self.values - mean)
        found, variance = np.full(len(z), np.nan), np.full(len(z), np.nan)
        good = np.flatnonzero(np.isfinite(z).all(1))
        for place in (good[k : k + BATCH] for k in range(0, good.size, BATCH)):
            across = self._covariance(z[place])
            found[place] = mean + across @ weights
            variance[place] = self.signal**2 - (across * cho_solve(factor, across.T).T).sum(1)
        return found, self.factor * np.sqrt(np.maximum(variance, 0) + self.noise**2)

    def left_out(self) -> np.ndarray:
        """Deviation (k,) of each known value from what the others say of it, in standard deviations of that.

        Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), equations 5.10 to 5.12.
        """
        inverse = np.linalg.inv(self._own_covariance())
        return inverse @ (self.values - self.values.mean()) / np.sqrt(np.diagonal(inverse))

    def _own_covariance(self) -> np.ndarray:
        return self._covariance(self.z) + (self.noise**2 + 1e-10 * self.signal**2) * np.eye(len(self.z))

    def _covariance(self, z: np.ndarray) -> np.ndarray:
        scaled, known = np.asarray(z, float) / self.lengths, self.z / self.lengths
        square = (scaled**2).sum(1)[:, None] + (known**2).sum(1) - 2 * scaled @ known.T
        return self.signal**2 * np.exp(-0.5 * np.maximum(square, 0))


def held_out(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which of the values (n,) a training must not see, so that its errors can be measured: bool.

    One of every four that follow each other in size; none where fewer than eight are known.
    """
    order = np.argsort(values)[: np.isfinite(values).sum()]
    chosen = np.zeros(values.shape, bool)
    if order.size >= FEWEST:
        groups = order[: order.size // EVERY * EVERY].reshape(-1, EVERY)
        chosen[np.random.default_rng([seed, 7]).permuted(groups, axis=1)[:, 0]] = True
    return chosen


def fit_quantity(z: np.ndarray, values: np.ndarray, unseen: np.ndarray | None = None, seed: int = 0) -> Quantity:
    """The process whose widths make the known values most probable (scikit-learn).

    The latents of patches that an encoder was trained with say more of their values than those of others do: what is
    stated is multiplied by how much larger the errors of ``unseen`` ones are.

    Parameters
    ----------
    z : numpy.ndarray, shape (n, d)
        Latents; NaN: none.
    values : numpy.ndarray, shape (n,)
        NaN: unknown. Of more than 500 known ones 500 are taken.
    unseen : numpy.ndarray, bool, shape (n,), optional
        Values that the training did not see. None: the latents do not depend on any.
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
    quantity = Quantity(points, target, lengths, float(spread * np.sqrt(found.k1.k1.constant_value)),
                        float(spread * np.sqrt(found.k2.noise_level)))  # fmt: skip
    if unseen is None or not unseen[known].any():
        return quantity
    squares = quantity.left_out()[unseen[known]] ** 2
    return replace(quantity, factor=float(np.sqrt((squares.sum() + AS_STATED) / (squares.size + AS_STATED))))
