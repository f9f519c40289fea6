"""Where a spectrum has its main peak above the background, as far as the noise of a measurement lets it be told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMOOTH = 0.006  # of the channels: sigma of the Gaussian before a peak is looked for
ENDS = 50  # the background goes through the mean of one channel in so many at either end
LEAST = 1e-3  # of the measured end: what the end of a prediction has at least, for its logarithm
CLEAR = 5.0  # standard deviations above the background from which a maximum is a peak
DOUBT = 2.0  # standard deviations of a difference within which two channels may both be the highest


@dataclass(frozen=True, eq=False)
class MeasuredPeaks:
    """Places at which measured spectra may have their highest peak.

    Attributes
    ----------
    energy : numpy.ndarray, shape (n,)
    open : numpy.ndarray of bool, shape (m, n)
        Channels that are not lower than the highest one by more than the noise of both.
    ends : numpy.ndarray, shape (m, 2)
        Mean of the channels at either end.
    power : numpy.ndarray of bool, shape (m,)
        Whether the background is a power law; else it is a straight line.
    clear : numpy.ndarray of bool, shape (m,)
        Whether there is a peak: the highest place is five standard deviations above the background (Rose, J. Opt. Soc.
        Am. 38, 196 (1948), doi:10.1364/JOSA.38.000196).
    """

    energy: np.ndarray
    open: np.ndarray
    ends: np.ndarray
    power: np.ndarray
    clear: np.ndarray

    def distance(self, predicted: np.ndarray) -> np.ndarray:
        """Distance (m,) from the peak of predictions (m, n) to the nearest place that the measurement allows.

        NaN where the measured spectrum has no peak.
        """
        ends = _ends(predicted)
        ends = np.where(self.power[:, None], np.maximum(ends, LEAST * self.ends), ends)
        place = np.argmax(_smooth(predicted) - _background(ends, self.energy, self.power), 1)
        found = np.where(self.clear, 0.0, np.nan)
        off = np.flatnonzero(~self.open[np.arange(len(place)), place])
        away = np.abs(self.energy[None] - self.energy[place[off], None])
        found[off] += np.where(self.open[off], away, np.inf).min(1, initial=np.inf)
        return found


def measured_peaks(measured: np.ndarray, noise: np.ndarray, energy: np.ndarray) -> MeasuredPeaks:
    """Which channels may be the highest above a line through both ends, a power law where these are positive.

    Parameters
    ----------
    measured, noise : numpy.ndarray, shape (m, n)
        Spectra, and the variance of their noise, which is independent in all channels.
    energy : numpy.ndarray, shape (n,)
    """
    ends = _ends(measured)
    power = (ends > 0).all(1) & bool((energy > 0).all())
    line = _background(ends, energy, power)
    net = _smooth(measured) - line
    rows, top = np.arange(len(net)), net.argmax(1)
    own = _smoothed_noise(noise)
    height = own[rows, top].copy()  # variances, of the net counts at the top and of the difference to it
    difference = own + height[:, None]
    for slope, end in zip(_slopes(line, ends, energy, power), _end_noise(noise), strict=True):
        at_top = slope[rows, top]
        height += at_top**2 * end
        difference += (slope - at_top[:, None]) ** 2 * end[:, None]
    allowed = net >= net[rows, top][:, None] - DOUBT * np.sqrt(difference)
    return MeasuredPeaks(energy, allowed, ends, power, net[rows, top] > CLEAR * np.sqrt(height))


def _sigma(n: int) -> float:
    return max(1.0, SMOOTH * n)


def _smooth(spectra: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(spectra, _sigma(spectra.shape[1]), axis=1, mode="nearest")


def _smoothed_noise(noise: np.ndarray) -> np.ndarray:
    """Variance (m, n) of smoothed spectra: the square of a Gaussian is one of sigma / sqrt(2)."""
    from scipy.ndimage import gaussian_filter1d

    sigma = _sigma(noise.shape[1])
    return gaussian_filter1d(noise, sigma / np.sqrt(2), axis=1, mode="nearest") / (2 * np.sqrt(np.pi) * sigma)


def _width(n: int) -> int:
    return max(1, n // ENDS)


def _ends(spectra: np.ndarray) -> np.ndarray:
    """Mean (m, 2) of the channels at either end."""
    end = _width(spectra.shape[1])
    return np.stack([spectra[:, :end].mean(1), spectra[:, -end:].mean(1)], 1)


def _end_noise(noise: np.ndarray) -> list[np.ndarray]:
    """Variance (m,) of either end."""
    return [one / _width(noise.shape[1]) for one in _ends(noise).T]


def _along(energy: np.ndarray, power: bool) -> np.ndarray:
    """0 in the middle of the first and 1 in that of the last end, along the energy or its logarithm."""
    x = np.log(energy) if power else energy.astype(float)
    first, last = _ends(x[None])[0]
    return (x - first) / (last - first)


def _background(ends: np.ndarray, energy: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Power laws or straight lines (m, n) through both ends."""
    t = _along(energy, False)
    line = ends[:, :1] * (1 - t) + ends[:, 1:] * t
    if power.any():
        t, log = _along(energy, True), np.log(ends[power])
        line[power] = np.exp(log[:, :1] * (1 - t) + log[:, 1:] * t)
    return line


def _slopes(line: np.ndarray, ends: np.ndarray, energy: np.ndarray, power: np.ndarray) -> list[np.ndarray]:
    """Change (m, n) of the background with either end."""
    t = _along(energy, False)
    found = [np.broadcast_to(one, line.shape).copy() for one in (1 - t, t)]
    if power.any():
        t = _along(energy, True)
        for one, end, share in zip(found, ends[power].T, (1 - t, t), strict=True):
            one[power] = line[power] / end[:, None] * share
    return found
