"""From expected intensity to a recorded image: scan distortions, blur, counting and electronics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d


@dataclass(frozen=True)
class Recording:
    """How an image is recorded. ``counts`` is the number of counts that height 1 stands for."""

    counts: float
    readout: float = 0.0  # Gaussian noise, counts
    jitter: float = 0.0  # rms shift of scan lines, pixels
    jitter_memory: float = 0.0  # 0: every line by itself; near 1: slow drift
    blur: float = 0.0  # after counting: resampled or filtered files, pixels
    lag: float = 0.0  # after counting, along the fast axis: slow scintillator, pixels
    gamma: float = 1.0
    bits: int = 0  # 0: not rounded
    hot_pixels: int = 0


def shift_lines(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each scan line shifted by its own sub-pixel amount (positive: to the right), exact for band-limited lines."""
    frequency = np.fft.rfftfreq(image.shape[1])
    spectrum = np.fft.rfft(image, axis=1) * np.exp(-2j * np.pi * frequency * shift[:, None])
    return np.fft.irfft(spectrum, n=image.shape[1], axis=1)


def line_shifts(rng: np.random.Generator, n: int, rms: float, memory: float) -> np.ndarray:
    """Shifts of successive scan lines: white noise, or a first-order autoregressive walk of the same rms."""
    white = rng.standard_normal(n)
    if memory <= 0:
        return rms * white
    from scipy.signal import lfilter

    return rms * lfilter([np.sqrt(1 - memory**2)], [1, -memory], white)


def record(rng: np.random.Generator, expected: np.ndarray, how: Recording) -> np.ndarray:
    """One recorded image from the expected intensity (heights relative to the main column, background included)."""
    if how.jitter:
        expected = shift_lines(expected, line_shifts(rng, expected.shape[0], how.jitter, how.jitter_memory))
    image = rng.poisson(np.clip(expected, 0, None) * how.counts).astype(float)
    if how.readout:
        image += how.readout * rng.standard_normal(image.shape)
    if how.blur:
        image = gaussian_filter(image, how.blur)
    if how.lag:
        image = gaussian_filter1d(image, how.lag, axis=1)
    return electronics(rng, image, how)


def electronics(rng: np.random.Generator, image: np.ndarray, how: Recording) -> np.ndarray:
    """Contrast curve, rounding and hot pixels."""
    low, high = image.min(), image.max()
    if how.gamma != 1 and high > low:
        image = ((image - low) / (high - low)) ** how.gamma
        low, high = 0.0, 1.0
    if how.bits and high > low:
        image = np.round((image - low) / (high - low) * (2**how.bits - 1))
    if how.hot_pixels:
        where = rng.integers(0, image.size, how.hot_pixels)
        image = image.copy()
        image.flat[where] = image.max() * rng.uniform(0.8, 4.0, how.hot_pixels)
    return image
