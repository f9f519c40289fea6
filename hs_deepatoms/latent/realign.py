"""Shifts of spectra to the last: against what all spectra, brought to one place, have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROUNDS = 4
MOST = 6  # components in which aligned spectra may differ
ABOVE = 1.5  # times the largest variance that noise may have (Marchenko-Pastur), in terms of the median: less is noise
ALIKE = 1e-8  # spectra that differ by less are the same
LEVELS = 1.5  # times the variance that noise gives to a level
SPREADS = 4  # rounds of fit and spread, at first and again in every round
OWN = 0.05  # of the noise of a channel, at least, is left by a fit
LARGEST = 0.5  # channels, in one round
FAR = 1.0  # channels in all, for which a spectrum has to show a reason


class _Common(NamedTuple):
    """What aligned spectra share: slope, mean and components (2 + r, channels); variances (channels,)."""

    basis: np.ndarray
    noise: np.ndarray
    spread: np.ndarray


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
    Aligned spectra are their mean, brighter or fainter, and a few principal components; the derivative of the mean and
    these are fitted to every spectrum where it lies (Gauss-Newton), by the noise of each channel. Brightness is taken
    out before noise is looked at: of spectra of varying thickness it is most of the variance, and most where the peak
    is that says where a spectrum lies.

    How far classes of spectra lie from one another is a choice: their difference may have a part of the derivative. It
    has none by the channels in which spectra differ no more than by noise; the more they differ, the less they count.
    """
    inside = slice(*_rim(shift, spectra.shape[1]))
    given, middle = shift.astype(float), float(shift.mean())
    shift, std, common = given.copy(), np.full(len(shift), np.nan), None
    for _ in range(rounds):
        straight = moved(spectra, -shift)
        mean, rows = straight.mean(0), straight[:, inside]
        common = _common(rows, np.stack([np.gradient(mean), mean])[:, inside], common)
        step, std = _fit(rows, common)
        std /= np.sqrt(_evenness(shift))
        shift += np.clip(step, -LARGEST, LARGEST)
        shift += middle - shift.mean()
    far = np.flatnonzero(np.abs(shift - given) > FAR)
    lost = far[~_nearer(spectra[far], shift[far], given[far], common, inside)]
    shift[lost], std[lost] = given[lost], np.nan
    return shift, std


def _nearer(spectra, shift, given, common: _Common, inside: slice) -> np.ndarray:
    """Whether spectra (m,) moved back by ``shift`` are more like what all have in common than by ``given``."""
    root = 1 / np.sqrt(common.noise)
    axes = np.linalg.qr(common.basis[1:].T * root[:, None])[0]
    left = []
    for by in (shift, given):
        rows = moved(spectra, -by)[:, inside] * root
        left.append((rows**2).sum(1) - ((rows @ axes) ** 2).sum(1))
    return left[0] <= left[1]


def _variance(left: np.ndarray) -> np.ndarray:
    """Mean square over spectra (m, channels), where that is not far too small."""
    mean = (left**2).mean(0)
    return np.maximum(mean, max(1e-6 * float(mean.mean()), 1e-300))


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


def _common(rows: np.ndarray, known: np.ndarray, before: _Common | None) -> _Common:
    """What aligned rows (m, channels) are made of, beside slope and mean (2, channels)."""
    spread = np.ones(rows.shape[1]) if before is None else before.spread
    known = _with_level(rows, known, None if before is None else before.noise)
    for _ in range(SPREADS):
        alike = 1 / spread if before is None else before.noise / spread / spread
        spread = _variance(rows - rows @ _readers(known, alike).T @ known)
    noise = spread if before is None else before.noise
    alike = noise / spread / spread
    for _ in range(SPREADS if before is None else 1):
        more = _components(rows, known, noise)
        # of the derivative a component has no part, or it would take the shift's
        basis = np.concatenate([known, more - more @ _readers(known, alike).T @ known])
        readers = _readers(basis, 1 / noise)
        # a component that is the noise of one channel leaves none in it: the share of the noise that a fit takes
        taken = (readers * basis).sum(0)
        noise = _variance((rows - rows @ readers.T @ basis) / np.sqrt(np.maximum(1 - taken, OWN)))
    return _Common(basis, noise, spread)


def _with_level(rows: np.ndarray, known: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """And a constant (3, channels), where spectra have levels of their own: these vary by more than noise does."""
    more = np.concatenate([known, np.ones((1, rows.shape[1]))])
    readers = _readers(more, np.ones(rows.shape[1]) if noise is None else 1 / noise)
    found = rows @ readers.T
    noise = _variance(rows - found @ more) if noise is None else noise
    return more if found[:, 2].var() > LEVELS * (readers[2] ** 2 @ noise) else known


def _readers(basis: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rows (p, channels) that give the coefficients of a weighted fit of the basis."""
    scaled = basis * np.sqrt(weight)
    size = np.maximum(np.linalg.norm(scaled, axis=1), 1e-300)[:, None]
    return np.linalg.pinv(scaled / size, rcond=ALIKE).T * np.sqrt(weight) / size


def _components(rows: np.ndarray, known: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Principal components (r, channels) of what the known rows leave, in units of the noise."""
    root = np.sqrt(noise)
    left = (rows - rows @ _readers(known, 1 / noise).T @ known) / root
    values, axes = np.linalg.eigh(left.T @ left)
    rank = max(1, min(rows.shape) - len(known))
    values, axes = values[::-1][:rank], axes[:, ::-1]
    highest = (1 + np.sqrt(min(rows.shape) / max(rows.shape))) ** 2
    k = int(min(MOST, (values[:MOST] > ABOVE * highest * np.median(values)).sum()))
    return axes[:, :k].T * root


def _fit(rows: np.ndarray, common: _Common) -> tuple[np.ndarray, np.ndarray]:
    """Steps (m,) that are left and their standard errors, from the residuals as they are by channel and by row."""
    readers = _readers(common.basis, 1 / common.noise)
    found = rows @ readers.T
    bright = np.where(np.abs(found[:, 1]) > 1e-12, found[:, 1], 1.0)
    row = ((rows - found @ common.basis) ** 2 / common.noise).mean(1)
    std = np.sqrt(row * (readers[0] ** 2 @ common.noise)) / np.abs(bright)
    return -found[:, 0] / bright, np.where(std > 0, std, np.nan)  # 0: there is no derivative
