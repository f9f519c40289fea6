"""How the noise of an image grows with its brightness, read off what a fit leaves over."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BINS, SAMPLE = 24, 10_000
ROWS = 64
LEAST = 0.02  # of the mean variance: no pixel is believed without limit


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel of expected value ``m``: ``gain * (m - dark) + offset``, in the image's own units squared.

    ``excess`` is how much more the residual varies over the size of a column than independent pixels would: texture of
    the support, correlated noise, a model that does not fit. A column's place is only as sure as that.

    ``faintest`` is the signal-to-noise ratio of the faintest columns of the image (their lowest twentieth).
    """

    gain: float
    offset: float
    dark: float
    least: float
    excess: float = 1.0
    faintest: float = 0.0

    def variance(self, mean: torch.Tensor) -> torch.Tensor:
        return (self.gain * (mean - self.dark) + self.offset).clamp(min=self.least) * self.excess

    def weigh(
        self, image: torch.Tensor, mean: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Weights of pixels, (h, w) as the image; residuals times weights; and how badly the mean fits.

        The misfit is twice the negative quasi-log-likelihood (Wedderburn, Biometrika 61, 439 (1974),
        doi:10.1093/biomet/61.3.439): the function whose slope is zero where residuals weighed by their variance cancel.
        """
        weight, weighed, misfit = torch.empty_like(mean), torch.empty_like(mean), 0.0
        for k in range(0, len(mean), ROWS):  # a few rows at a time stay in the processor's cache
            rows = slice(k, k + ROWS)
            there, variance = valid[rows], self.variance(mean[rows])
            rest = torch.where(there, image[rows] - mean[rows], 0.0)
            weight[rows] = there / variance
            weighed[rows] = rest / variance
            misfit += float(self._deviance(rest * (self.excess * self.gain) / variance, rest * weighed[rows]).sum())
        return weight, weighed, misfit

    @staticmethod
    def _deviance(share: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        """Misfit of pixels from the residual relative to the mean, and the residual's square over the variance."""
        # relative to the perfect fit, so that the digits are spent on the difference
        small = share.abs() < 1e-2
        safe = torch.where(small, 0.5, share.clamp(min=-0.999999))
        deviance = torch.where(small, 1 - share / 3, 2 * ((1 + safe) * torch.log1p(safe) - safe) / safe**2)
        return (deviance * square).double()


def noise_of(mean: torch.Tensor, rest: torch.Tensor, parameters: int, kind: str = "auto") -> Noise:
    """Fit the variance-mean relation of a frame.

    Parameters
    ----------
    mean, rest : tensor, shape (pixels,)
        The fitted image and what is left over.
    parameters : int
        Free parameters of the fit: they take up that many degrees of freedom.
    kind : {"auto", "poisson", "gaussian"}
        "gaussian" is the same variance everywhere, "poisson" one proportional to the mean above zero.
    """
    mean, square = mean.double(), rest.double() ** 2
    if len(mean) == 0:
        return Noise(0.0, 1.0, 0.0, 1e-12)
    square = square * (len(mean) / max(len(mean) - parameters, 0.25 * len(mean)))
    overall = float(square.mean())
    least = max(LEAST * overall, 1e-12)  # images are of order one
    if kind == "poisson":
        gain = float(square.sum() / mean.clamp(min=0).sum().clamp(min=1e-30))
        return Noise(gain, 0.0, 0.0, least)
    dark = float(mean.min())
    if kind == "gaussian" or len(mean) < 20 * BINS:
        return Noise(0.0, overall, dark, least)
    # bins of about as many pixels each; a few thousand of them tell where the bins end
    some = torch.sort(mean[:: len(mean) // SAMPLE + 1]).values
    edges = some[torch.arange(1, BINS, device=mean.device) * len(some) // BINS]
    which = torch.bucketize(mean, edges)
    count, level, spread = (torch.bincount(which, w, BINS) for w in (None, mean, square))
    count, level, spread = (v[count > 0] for v in (count, level, spread))
    level, spread = level / count - dark, spread / count
    gain, offset = _line(level, spread)
    return Noise(gain, offset, dark, least)


def _line(level: torch.Tensor, spread: torch.Tensor) -> tuple[float, float]:
    """Non-negative slope and offset; a bin's variance is known to a fixed share of itself."""
    weight = 1 / spread.clamp(min=1e-3 * spread.mean().clamp(min=1e-30)) ** 2
    gain = offset = 0.0
    for _ in range(3):
        total, first, second = weight.sum(), (weight * level).sum(), (weight * level**2).sum()
        a, b = (weight * spread).sum(), (weight * level * spread).sum()
        det = total * second - first**2
        gain = float((total * b - first * a) / det) if det > 0 else 0.0
        if gain <= 0:
            return 0.0, float(spread.mean())
        offset = float((a - gain * first) / total)
        if offset < 0:
            gain, offset = float(b / second), 0.0
        weight = 1 / (gain * level + offset).clamp(min=1e-3 * spread.mean().clamp(min=1e-30)) ** 2
    return gain, offset
