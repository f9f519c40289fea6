"""Spectra as total counts and a few scores of their normalised shape, and back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hs_deepatoms.spectra.rows import SpectrumRows

MOST = 20  # scores
FLOOR = 0.01  # of the mean of the mean spectrum: the least a channel counts in the scaling
WIDEST = 2048  # channels up to which the whole covariance is taken
FOR_COVARIANCE = 32768  # spectra that are enough for it


@dataclass(frozen=True, eq=False)
class SpectrumSpace:
    """How spectra become numbers that a network predicts.

    A spectrum of n channels is ``total * shape``, and ``shape = mean + ((scores * deviation) @ components) * scale``.

    Attributes
    ----------
    mean, scale : numpy.ndarray, shape (n,)
        Mean of the normalised spectra, and what each channel is divided by: the square root of the mean for counts,
        whose noise is then the same in all channels (Keenan & Kotula, Surf. Interface Anal. 36, 203 (2004),
        doi:10.1002/sia.1657); else 1.
    components : numpy.ndarray, shape (k, n)
        Orthonormal.
    deviation : numpy.ndarray, shape (k,)
        Standard deviation of the scores, noise included.
    counted : numpy.ndarray of bool, shape (n,)
        Channels whose sum is the total; none of them: spectra are not normalised, and the total is 1.
    gain : float
        Counts: variance over mean. Else: variance of the noise of a channel.
    poisson : bool
        Whether the noise grows with the counts.
    spread : numpy.ndarray, shape (n,)
        Variance of the estimated mean of each channel of the shape, from the noise of the spectra it was made of.
    channel_variance : numpy.ndarray, shape (n,)
        Variance of the noise of each channel, where it does not grow with the counts.
    non_negative : bool
        Whether spectra that are made of scores are never below zero.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    deviation: np.ndarray
    counted: np.ndarray
    gain: float
    poisson: bool
    spread: np.ndarray
    channel_variance: np.ndarray
    non_negative: bool = False

    @property
    def k(self) -> int:
        """Number of scores."""
        return len(self.components)

    @property
    def normalised(self) -> bool:
        """Whether spectra are divided by their total."""
        return bool(self.counted.any())

    def totals(self, spectra: np.ndarray) -> np.ndarray:
        """Total counts (...,) of spectra (..., n); 1 where they are not normalised."""
        if not self.normalised:
            return np.ones(spectra.shape[:-1], np.float32)
        return spectra[..., self.counted].sum(-1)

    def shapes(self, spectra: np.ndarray) -> np.ndarray:
        """Normalised spectra."""
        return spectra / self.totals(spectra)[..., None]

    def scores(self, shapes: np.ndarray) -> np.ndarray:
        """Scores (..., k) of normalised spectra (..., n), in their standard deviations."""
        basis = (self.components / self.scale / self.deviation[:, None]).astype(np.float32)
        return shapes @ basis.T - (basis @ self.mean.astype(np.float32))

    def score_noise(self, totals: np.ndarray) -> np.ndarray:
        """Variance (k, ...) that noise gives to scores of spectra with these totals."""
        if self.poisson:
            return (self.gain / self.deviation**2)[(..., *(None,) * np.ndim(totals))] / totals
        own = (self.components / self.scale) ** 2 @ self.channel_variance / self.deviation**2
        return own[(..., *(None,) * np.ndim(totals))] / totals**2

    def noise(self, shapes: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """Variance (..., n) of the noise of spectra, over the square of their expected totals (...)."""
        if self.poisson:
            return np.maximum(shapes, 0) * (self.gain / totals)[..., None]
        return self.channel_variance / totals[..., None] ** 2

    def shape_noise(self, shapes: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """Variance (..., n) of the noise of normalised spectra, which are divided by totals with noise of their own.

        To first order in the noise. Where all channels are counted, that of Poisson counts is multinomial.
        """
        noise = self.noise(shapes, totals)
        if not self.normalised:
            return noise
        shared = (noise * np.where(self.counted, 2, 0).astype(np.float32)) * shapes  # of a channel and the total
        return np.maximum(noise - shared + shapes**2 * noise[..., self.counted].sum(-1, keepdims=True), 0)

    def spectra(self, scores: np.ndarray) -> np.ndarray:
        """Normalised spectra (..., n) of scores (..., k)."""
        found = scores.astype(np.float32) @ self.basis + self.mean.astype(np.float32)
        return np.maximum(found, 0, out=found) if self.non_negative else found

    @property
    def basis(self) -> np.ndarray:
        """Change of the normalised spectrum with one standard deviation of each score, float32 (k, n)."""
        return (self.components * self.deviation[:, None] * self.scale).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Everything as arrays."""
        return {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SpectrumSpace:
        """The space of `state`."""
        made = {one.name: np.asarray(state[one.name]) for one in fields(cls) if one.name in state}
        poisson = bool(made["poisson"].item())
        own = bool(made["non_negative"].item()) if "non_negative" in made else poisson  # of files without it
        return cls(**{**made, "gain": float(made["gain"].item()), "poisson": poisson, "non_negative": own})


def fit_space(
    rows: SpectrumRows,
    used: np.ndarray,
    *,
    poisson: bool,
    counted: np.ndarray,
    n_components: int | None = None,
    scale: np.ndarray | None = None,
) -> tuple[SpectrumSpace, np.ndarray]:
    """The space of spectra, and the eigenvalues by which the scores were chosen.

    Parameters
    ----------
    rows : SpectrumRows
    used : numpy.ndarray of bool, shape (ny, nx)
        Spectra that may be looked at.
    poisson : bool
        Whether the variance of the noise is proportional to the counts.
    counted : numpy.ndarray of bool, shape (n,)
        Channels that make the total.
    n_components : int, optional
        None: as many as stand out of the noise (their eigenvalue is above the edge of the Marchenko-Pastur
        distribution), at most 20.
    scale : numpy.ndarray, shape (n,), optional
        What channels are divided by; None: as for Poisson noise, or nothing.

    Returns
    -------
    SpectrumSpace
    numpy.ndarray
        Eigenvalues over that of the noise, largest first.
    """
    n = rows.n_channels
    chosen = used & _thinned(used)
    count, total, inverse = 0, np.zeros(n), 0.0  # the last: what the noise of a spectrum is divided by
    for place, block in rows.blocks(chosen):
        some = block[chosen[place]]
        totals = some[:, counted].sum(-1) if counted.any() else np.ones(len(some), np.float32)
        total += (some / totals[:, None]).sum(0, dtype=float)
        inverse += float((totals.astype(float) ** (-1 if poisson else -2)).sum())
        count += len(some)
    mean = total / count
    if scale is None:
        scale = np.ones(n)
    if poisson:
        scale = np.sqrt(np.maximum(mean, FLOOR * np.abs(mean).mean()))
    covariance, weight = np.zeros((n, n)), 0.0
    for place, block in rows.blocks(chosen):
        some = block[chosen[place]]
        totals = some[:, counted].sum(-1) if counted.any() else np.ones(len(some), np.float32)
        scaled = (some / totals[:, None] - mean.astype(np.float32)) / scale.astype(np.float32)
        amplify = np.sqrt(totals) if poisson else totals  # makes the noise of all spectra alike
        scaled *= amplify[:, None]
        covariance += scaled.T @ scaled
        weight += float((amplify.astype(float) ** 2).sum())
    covariance /= count
    k, axes, values, gain = _principal(covariance, count, n_components)
    variance = values[:k] * count / weight
    spread = _spread(scale, gain, inverse / count, count)
    space = SpectrumSpace(mean, scale, axes[:k], np.sqrt(np.maximum(variance, 1e-30)), counted, gain, poisson, spread,
                          gain * scale**2, poisson)  # fmt: skip
    return space, values / gain


def with_channel_variance(
    space: SpectrumSpace, rows: SpectrumRows, used: np.ndarray, n_components: int | None = None
) -> SpectrumSpace:
    """A space scaled by the noise of each channel, which is measured from what the scores leave of the spectra."""
    total, count = np.zeros(rows.n_channels), 0.0
    for place, block in rows.blocks(used):
        spectra = block[used[place]]
        totals = space.totals(spectra)
        shapes = spectra / totals[:, None]
        rest = shapes - space.spectra(space.scores(shapes))
        total += ((rest * totals[:, None]) ** 2).sum(0, dtype=float)
        count += len(spectra)
    kept = np.maximum(1 - (space.components**2).sum(0), 0.05)  # of the noise of a channel, not taken up by the scores
    variance = total / max(count, 1.0) / kept
    scale = np.sqrt(np.maximum(variance, 1e-6 * variance.mean() + 1e-30))
    return fit_space(rows, used, poisson=False, counted=space.counted, scale=scale, n_components=n_components)[0]


def _thinned(used: np.ndarray) -> np.ndarray:
    """Enough of the spectra for a covariance, the same everywhere in the map."""
    keep = np.zeros(used.size, bool)
    places = np.flatnonzero(used.ravel())
    step = len(places) / min(len(places), FOR_COVARIANCE)
    keep[places[np.unique((np.arange(int(len(places) / step)) * step).astype(int))]] = True
    return keep.reshape(used.shape)


def _principal(covariance: np.ndarray, count: int, wanted: int | None):
    """Number of components, axes (r, n), all eigenvalues, and the level of the noise."""
    from scipy.linalg import eigh

    n = len(covariance)
    values, axes = eigh(covariance)
    values, axes = np.maximum(values[::-1], 0), axes.T[::-1]
    noise = noise_level(values, count)
    edge = noise * (1 + np.sqrt(n / count)) ** 2
    found = int((values > 1.02 * edge).sum())
    k = int(np.clip(found, 1, MOST)) if wanted is None else min(wanted, n, count)
    axes = axes[:k]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return k, np.where(largest < 0, -axes, axes), values, noise


def noise_level(values: np.ndarray, count: int) -> float:
    """Variance of white noise from the median of the eigenvalues of a covariance of ``count`` samples.

    The median of the Marchenko-Pastur distribution is computed; Gavish & Donoho, IEEE Trans. Inf. Theory 60, 5040
    (2014), doi:10.1109/TIT.2014.2323359.
    """
    ratio = len(values) / count
    values = values[: max(1, count - 1)]  # the others are 0 where there are fewer samples than values
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    x = np.linspace(low, high, 20001)[1:-1]
    density = np.sqrt((high - x) * (x - low)) / x
    share = np.cumsum(density) / density.sum()
    middle = float(np.interp(0.5, share, x))
    return max(float(np.median(values)) / middle, 1e-12 * float(values[0]), 1e-30)


def _spread(scale: np.ndarray, gain: float, inverse: float, count: int) -> np.ndarray:
    """Variance of the mean of ``count`` noisy normalised spectra."""
    return gain * scale**2 * inverse / count
