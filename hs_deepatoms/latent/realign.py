"""Shifts of spectra to the last: against what all spectra, brought to one place, have in common."""

from __future__ import annotations

import numpy as np

ROUNDS = 4
MOST = 6  # components in which aligned spectra may differ
PART = 0.01  # of the variance of the first: below, a component is not taken
LARGEST = 0.5  # channels, in one round
FAR = 1.0  # channels in all, for which a spectrum has to show a reason


def realign(spectra: np.ndarray, shift: np.ndarray, rounds: int = ROUNDS) -> tuple[np.ndarray, np.ndarray]:
    """Shifts refined by least squares, weighted as the noise is.

    Parameters
    ----------
    spectra : numpy.ndarray, shape (m, channels)
        Finite numbers.
    shift : numpy.ndarray, shape (m,)
        Channels; right to about one.
    rounds : int

    Returns
    -------
    shift : numpy.ndarray, shape (m,)
        With the mean of those given. A spectrum that went far, and is no more like the others there, keeps its own.
    std : numpy.ndarray, shape (m,)
        One standard error each, for shifts relative to the mean; NaN where the given shift was kept.

    Notes
    -----
    Aligned spectra are their mean and a few principal components. A component is made orthogonal to the derivative of
    the mean, or it would take the shift's part; both are fitted to every spectrum where it lies (Gauss-Newton).
    """
    inside = slice(*_rim(shift, spectra.shape[1]))
    given, middle = shift.astype(float), float(shift.mean())
    shift, std = given.copy(), np.full(len(shift), np.nan)
    for _ in range(rounds):
        straight = moved(spectra, -shift)
        mean = straight.mean(0)
        # channels in which the spectra differ count less: there the derivative does, too
        weight = _inverse((straight - mean) ** 2)
        basis = _basis(straight, mean, np.gradient(mean), weight, inside)
        step, std = _fit(straight[:, inside], basis[:, inside], weight[inside])
        std /= np.sqrt(_evenness(shift))
        shift += np.clip(step, -LARGEST, LARGEST)
        shift += middle - shift.mean()
    far = np.flatnonzero(np.abs(shift - given) > FAR)
    lost = far[~_nearer(spectra[far], shift[far], given[far], basis[1:, inside], weight[inside], inside)]
    shift[lost], std[lost] = given[lost], np.nan
    return shift, std


def _nearer(spectra, shift, given, basis, weight, inside: slice) -> np.ndarray:
    """Whether spectra (m,) moved back by ``shift`` are more like what all have in common than by ``given``."""
    root = np.sqrt(weight)
    axes = np.linalg.qr(basis.T * root[:, None])[0]
    left = []
    for by in (shift, given):
        rows = moved(spectra, -by)[:, inside] * root
        left.append((rows**2).sum(1) - ((rows @ axes) ** 2).sum(1))
    return left[0] <= left[1]


def _inverse(square: np.ndarray) -> np.ndarray:
    """One over the mean over spectra (m, channels), where that is not far too small."""
    mean = square.mean(0)
    return 1 / np.maximum(mean, max(1e-6 * float(mean.mean()), 1e-300))


def _evenness(shift: np.ndarray) -> np.ndarray:
    """Variance (m,) that white noise of variance 1 has after a shift between channels."""
    parts = np.linspace(0, 1, 33)
    impulse = np.zeros((33, 31))
    impulse[:, 15] = 1
    return np.interp(-shift % 1, parts, (moved(impulse, parts) ** 2).sum(1))


def moved(spectra: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Spectra (m, channels) moved by (m,) channels to the right: cubic splines, the rim goes on."""
    from scipy.ndimage import spline_filter1d

    m, n = spectra.shape
    pad = int(np.ceil(np.abs(by).max(initial=0))) + 4
    coefficients = spline_filter1d(np.pad(spectra, ((0, 0), (pad, pad)), mode="edge"), order=3, axis=1, mode="mirror")
    at = np.arange(n) - by[:, None] + pad
    low = np.floor(at).astype(np.intp)
    t = at - low
    rows = np.arange(m)[:, None]
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    return sum(w * coefficients[rows, low + k] for w, k in zip(weights, (-1, 0, 1, 2), strict=True))


def _rim(shift: np.ndarray, n: int) -> tuple[int, int]:
    edge = min(int(np.ceil(np.abs(shift).max(initial=0))) + 2, n // 8)
    return edge, n - edge


def _basis(straight, mean, slope, weight, inside: slice) -> np.ndarray:
    """Rows: slope, mean, and the components (r, channels) that have no part of the slope."""
    root = np.sqrt(weight[inside])
    known = np.linalg.qr(np.stack([slope, mean])[:, inside].T * root[:, None])[0]
    rows = straight[:, inside] * root
    rows = rows - (rows @ known) @ known.T
    values, axes = np.linalg.eigh(rows.T @ rows)
    values, axes = values[::-1], axes[:, ::-1]
    level = np.median(values[values > 0]) if (values > 0).any() else 0.0
    k = int(min(MOST, (values[:MOST] > 3 * level).sum()))
    out = np.zeros((2 + k, mean.size))
    out[0], out[1] = slope, mean
    out[2:, inside] = (axes[:, :k] / root[:, None]).T
    return out


def _fit(rows: np.ndarray, basis: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps (m,) that are left and their standard errors, from the residuals as they are by channel and by row."""
    scaled = basis * weight
    readers = np.linalg.inv(scaled @ basis.T) @ scaled
    found = rows @ readers.T
    square = (rows - found @ basis) ** 2
    bright = np.where(np.abs(found[:, 1]) > 1e-12, found[:, 1], 1.0)
    noise = 1 / _inverse(square)
    row = (square / noise).mean(1)
    return -found[:, 0] / bright, np.sqrt(row * (readers[0] ** 2 @ noise)) / np.abs(bright)
