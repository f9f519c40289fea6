"""What an image looks like regardless of what is in it: its power spectrum and its grey values."""

from __future__ import annotations

import numpy as np

BANDS = (0.02, 0.05, 0.08, 0.12, 0.17, 0.23, 0.3, 0.38, 0.46, 0.6)  # edges, cycles per pixel
GREYS = (2, 25, 75, 98)  # percentiles
FAINT = 1e-9  # power of a window that is black


def texture(windows: np.ndarray) -> np.ndarray:
    """Numbers that noise, blur, sampling and contrast change, and a rotation or a shift hardly does.

    Parameters
    ----------
    windows : ndarray, shape (n, h, w)
        Scaled images (:func:`~hs_deepatoms.prepare.scaling.apply_scaling`), 8 x 8 pixels or more.

    Returns
    -------
    ndarray, float64, shape (n, 13)
        Logarithm of the mean power in nine rings of spatial frequency (Hann window, Harris, Proc. IEEE 66, 51 (1978),
        doi:10.1109/PROC.1978.10837), then four percentiles of the values about their mean.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((1, 64, 64))
    >>> texture(noise).shape, bool(np.ptp(texture(noise)[0, 2:9]) < 0.3)
    ((1, 13), True)
    """
    windows = np.asarray(windows, float)
    windows = windows - windows.mean((1, 2), keepdims=True)
    shape = windows.shape[1:]
    taper = np.hanning(shape[0] + 2)[1:-1, None] * np.hanning(shape[1] + 2)[1:-1]
    power = np.abs(np.fft.rfft2(windows * taper)) ** 2 / (taper**2).sum()
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    rings = np.digitize(frequency.ravel(), BANDS) - 1
    flat = power.reshape(len(windows), -1)
    bands = [np.log10(_mean(flat[:, rings == k]) + FAINT) for k in range(len(BANDS) - 1)]
    greys = np.percentile(windows.reshape(len(windows), -1), GREYS, axis=1)
    return np.column_stack([*bands, *greys])


def cut_evenly(image: np.ndarray, window: tuple[int, int], most: int) -> np.ndarray:
    """Windows spread evenly over an image (h, w), about ``most`` of them at most, shape (n, *window).

    A side shorter than the window is taken whole.
    """
    sides = [min(w, n) for w, n in zip(window, image.shape, strict=True)]
    counts = [min(max(1, round(most**0.5)), n // w) for w, n in zip(sides, image.shape, strict=True)]
    starts = [np.linspace(0, n - w, c).astype(int) for n, w, c in zip(image.shape, sides, counts, strict=True)]
    return np.stack([image[y : y + sides[0], x : x + sides[1]] for y in starts[0] for x in starts[1]])


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(1) if values.shape[1] else np.zeros(len(values))
