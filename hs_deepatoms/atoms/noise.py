"""How the noise of an image grows with its brightness, read off what a fit leaves over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hs_deepatoms.atoms.kernels import kernels

BINS, SAMPLE = 24, 10_000
SAMPLES = 2**17  # pixels whose weights are made at a time
LEAST = 0.02  # of the mean variance: no pixel is believed without limit


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel of expected value ``m``: ``gain * (m - dark) + offset``, in the image's own units squared.

    ``excess`` is how much more the residual varies over the size of a column than independent pixels would: texture of
    the support, correlated noise, a model that does not fit. A column's place is only as sure as that.

    Of the columns that it was measured beside, it also keeps what is the same for all parts of a frame: ``faintest``
    and ``usual`` are the signal-to-noise ratios of the faintest (their lowest twentieth) and of most (their median),
    ``log_width``, ``height`` and ``high`` are their typical width and height (their medians) and largest height (their
    highest twentieth); None where none was fitted. ``peaks`` is the signal-to-noise ratio below which hardly any of the
    columns is more than one of the peaks that the noise alone has.
    """

    gain: float
    offset: float
    dark: float
    least: float
    excess: float = 1.0
    faintest: float = 0.0
    usual: float = 0.0
    log_width: float | None = None
    height: float | None = None
    high: float | None = None
    peaks: float = 0.0

    def variance(self, mean: torch.Tensor) -> torch.Tensor:
        return (mean - self.dark).mul_(self.gain).add_(self.offset).clamp_(min=self.least).mul_(self.excess)

    def information(self) -> tuple[float, ...] | None:
        """What the image tells of y, x, height, log width, plus and cross of the usual column, were it alone."""
        if not self.height or not self.height > 0:
            return None
        known, square = (self.usual / self.height) ** 2, self.height**2
        place = square / (2 * np.exp(2 * self.log_width))
        return tuple(known * v for v in (place, place, 1.0, 2 * square, square / 4, square / 4))

    def weigh(
        self, image: torch.Tensor, mean: torch.Tensor, valid: torch.Tensor, *, judged: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Weights of pixels, (h, w) as the image; residuals times weights; and how badly the mean fits, if asked for.

        The misfit is twice the negative quasi-log-likelihood (Wedderburn, Biometrika 61, 439 (1974),
        doi:10.1093/biomet/61.3.439): the function whose slope is zero where residuals weighed by their variance cancel.
        """
        weight, weighed, misfit = torch.empty_like(mean), torch.empty_like(mean), 0.0
        few = max(1, SAMPLES // max(1, mean[:1].numel()))
        for k in range(0, len(mean), few):  # a few rows at a time stay in the processor's cache
            rows = slice(k, k + few)
            here = torch.div(valid[rows], self.variance(mean[rows]), out=weight[rows])
            rest = torch.where(valid[rows], image[rows] - mean[rows], 0.0)
            square = torch.mul(rest, here, out=weighed[rows])
            if judged:
                square = rest * square
                misfit += float(self._deviance(rest.mul_(here).mul_(self.excess * self.gain), square))
        return weight, weighed, misfit

    def weigh_under(self, columns, window, image, mean, valid, weight, weighed) -> None:
        """Weights and weighed residuals, which are written to, of what may have changed: the pixels under columns."""
        weight[:], weighed[:], _ = self.weigh(image, mean, valid, judged=False)

    def beyond(
        self, image: torch.Tensor, mean: torch.Tensor, valid: torch.Tensor, chance: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (y, x) farther from the mean than noise takes one with a probability of ``exp(-chance)``.

        Bernstein's inequality (Boucheron, Lugosi and Massart, Concentration Inequalities (2013), theorem 2.10,
        doi:10.1093/acprof:oso/9780199535255.001.0001), which holds for single counts too. Downwards counts have no
        longer tail than a normal distribution.
        """
        off = torch.where(valid, image - mean, 0.0)
        sure = torch.where(off > 0, off - 2 * chance / 3 * self.gain, off)
        far = off * sure > 2 * chance * self.variance(mean)
        return torch.nonzero(far & ((sure > 0) | (off < 0)), as_tuple=True)

    def _deviance(self, share: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        """Misfit of pixels from the residual relative to the mean, and the residual's square over the variance."""
        if self.gain == 0:
            return square.sum(dtype=torch.float64)
        # relative to the perfect fit, so that the digits are spent on the difference
        small = share.abs() < 1e-2
        safe = share.clamp(min=-0.999999).masked_fill_(small, 0.5)
        full = torch.log1p(safe)
        full = full.addcmul_(full, safe).sub_(safe).div_(safe.square_())
        return 2 * torch.where(small, share.mul_(-1 / 6).add_(0.5), full).mul_(square).sum(dtype=torch.float64)


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
    n, work = len(mean), kernels(mean)
    if n == 0:
        return Noise(0.0, 1.0, 0.0, 1e-12)
    taken_up = n / max(n - parameters, 0.25 * n)
    square, bright, dark = work.totals(mean, rest)
    overall = taken_up * square / n
    least = max(LEAST * overall, 1e-12)  # images are of order one
    if kind == "poisson":
        return Noise(taken_up * square / max(bright, 1e-30), 0.0, 0.0, least)
    if kind == "gaussian" or n < 20 * BINS:
        return Noise(0.0, overall, dark, least)
    # bins of about as many pixels each; a few thousand of them tell where the bins end
    some = np.sort(mean[:: n // SAMPLE + 1].cpu().numpy())
    count, level, spread = work.binned(mean, rest, some[np.arange(1, BINS) * len(some) // BINS])
    count, level, spread = (v[count > 0] for v in (count, level, taken_up * spread))
    gain, offset = _line(level / count - dark, spread / count)
    return Noise(gain, offset, dark, least)


def totals(mean: torch.Tensor, rest: torch.Tensor) -> tuple[float, float, float]:
    """Sum of the squares of what is left over (n,), sum of what is above zero of the fitted image (n,), its least."""
    return float(rest.double().square().sum()), float(mean.double().clamp(min=0).sum()), float(mean.min())


def binned(mean: torch.Tensor, rest: torch.Tensor, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels between the edges (k,) of their means, sums of their means and of the squares of what is left over."""
    which = torch.bucketize(mean, torch.from_numpy(edges).to(mean.device))
    sums = (None, mean.double(), rest.double().square())
    return tuple(torch.bincount(which, w, len(edges) + 1).cpu().numpy() for w in sums)


def _line(level: np.ndarray, spread: np.ndarray) -> tuple[float, float]:
    """Non-negative slope and offset; a bin's variance is known to a fixed share of itself."""
    least = 1e-3 * max(float(spread.mean()), 1e-30)
    weight = 1 / np.maximum(spread, least) ** 2
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
        weight = 1 / np.maximum(gain * level + offset, least) ** 2
    return gain, offset
