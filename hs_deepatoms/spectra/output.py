"""Numbers that a network predicts -> spectra, with the variance of each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.spectra.space import SpectrumSpace


@dataclass(frozen=True, eq=False)
class SpectrumOutput:
    """How outputs (2 * k + s, ...) of a model become spectra.

    The first k outputs are scores and (where spectra are normalised) the logarithm of the total; then come their
    standard deviations; then the channels of a spectrum that was decoded whole, if any.

    Parameters
    ----------
    space : SpectrumSpace
    root : numpy.ndarray, shape (k, k)
        Square root of the correlation of the errors.
    whole : bool
        Whether spectra are decoded whole.
    """

    space: SpectrumSpace
    root: np.ndarray
    whole: bool

    @property
    def n_outputs(self) -> int:
        """k."""
        return self.space.k + self.space.normalised

    def totals(self, out: np.ndarray) -> np.ndarray:
        """Predicted totals (...)."""
        if not self.space.normalised:
            return np.ones(out.shape[1:], np.float32)
        return np.exp(np.clip(out[self.space.k], -80, 80))

    def shapes(self, out: np.ndarray) -> np.ndarray:
        """Predicted normalised spectra (..., n)."""
        if not self.whole:
            return self.space.spectra(np.moveaxis(out[: self.space.k], 0, -1))
        found = np.moveaxis(out[2 * self.n_outputs :], 0, -1)
        if not self.space.poisson:
            return np.maximum(found, 0) if self.space.non_negative else found
        share = np.exp(found - found.max(-1, keepdims=True))
        return share / share[..., self.space.counted].sum(-1, keepdims=True)

    def shape_variance(self, out: np.ndarray) -> np.ndarray:
        """Variance (..., n) of the true normalised spectrum around the predicted one."""
        k, space = self.space.k, self.space
        deviation = np.moveaxis(out[self.n_outputs : self.n_outputs + k], 0, -1)
        root, basis = self.root[:k, :k].astype(np.float32), space.basis
        scores = np.moveaxis(out[:k], 0, -1)
        # the mean and the components are themselves known from noisy spectra only
        variance = (1 + (scores**2).sum(-1))[..., None] * space.spread.astype(np.float32)
        for j in range(k):
            variance += ((deviation * root[:, j]) @ basis) ** 2
        return variance

    def spectra(self, out: np.ndarray) -> np.ndarray:
        """Predicted spectra (..., n), counts."""
        return self.shapes(out) * self.totals(out)[..., None]

    def variance(self, out: np.ndarray, *, noise: bool) -> np.ndarray:
        """Variance (..., n) of the predicted spectra; with ``noise`` that of a measurement around them."""
        shapes, totals = self.shapes(out), self.totals(out)
        variance = self.shape_variance(out)
        if self.space.normalised:
            log = out[self.n_outputs + self.space.k]
            variance = variance + (shapes * np.clip(log, 0, 3)[..., None]) ** 2
        if noise:
            variance = variance + self.space.noise(shapes, totals)
        return variance * totals[..., None] ** 2
