"""What another recording of the same area, with noise of its own, says of atoms that were found in the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from hs_deepatoms.simulate.columns import draw_columns

BROAD = 3.0  # column sigmas: width of the smoothing that gives the background
LEAST = 1e-3  # counts: an expectation of none would forbid what was counted


@dataclass(frozen=True)
class Columns:
    """Fitted atoms of one frame in pixels and the units of the frame, shape (n,) each."""

    y: np.ndarray
    x: np.ndarray
    height: np.ndarray
    sigma: np.ndarray

    @property
    def width(self) -> float:
        """Typical sigma."""
        return float(np.median(self.sigma)) if len(self.sigma) else 2.0


def expected_frame(frame: np.ndarray, columns: Columns, width: float) -> np.ndarray:
    """What another recording of the frame is expected to be: fitted atoms on a smooth background, shape (h, w).

    ``width`` is the sigma of columns, pixels: structure finer than three of it that is no fitted atom is left out.
    Pixels that are not finite say nothing; what is expected there comes from those around (normalised convolution,
    Knutsson & Westin, CVPR 1993, doi:10.1109/CVPR.1993.341081), so that it is finite everywhere.
    """
    atoms = draw_columns(frame.shape, columns.y, columns.x, columns.height, columns.sigma)
    rest, there = known(frame - atoms)
    if there.all():
        return atoms + _smooth(rest, BROAD * width)
    weight = _smooth(there.astype(float), BROAD * width)
    far = weight < 1e-6  # from all pixels that are known
    level = rest[there].mean() if there.any() else 0.0
    return atoms + np.where(far, level, _smooth(rest, BROAD * width) / np.where(far, 1.0, weight))


def log_likelihood(held: np.ndarray, expected: np.ndarray, noise: float | None = None) -> float:
    """Logarithm of the likelihood of a recording, but for a constant of the recording.

    Poisson where ``noise`` is None, else Gaussian of that sigma. Pixels of the recording that are not finite are left
    out, whatever is expected there; NaN if what is expected of any other pixel is not known.

    Examples
    --------
    >>> import numpy as np
    >>> held = np.random.default_rng(0).poisson(5.0, (50, 50))
    >>> log_likelihood(held, np.full((50, 50), 5.0)) > log_likelihood(held, np.full((50, 50), 5.5))
    True
    """
    there = np.isfinite(held)
    held, expected = (np.asarray(a, float)[there] for a in (held, expected))
    if noise is not None:
        return float(-0.5 * np.sum((held - expected) ** 2) / max(noise, 1e-12) ** 2)
    expected = np.maximum(expected, LEAST)
    return float(np.sum(held * np.log(expected) - expected))


def evidence(
    held: np.ndarray,
    expected: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    height: np.ndarray,
    width: float,
    noise: float | None = None,
) -> np.ndarray:
    """Signal-to-noise ratio of every atom in a recording that it was not found in, shape (n,).

    Matched filter (Turin, IRE Trans. Inf. Theory 6, 311 (1960), doi:10.1109/TIT.1960.1057571) of what is left when all
    other atoms and the background are taken away; about N(0, 1) for an atom that is not there.

    Parameters
    ----------
    held, expected : ndarray, shape (h, w)
        The recording, and what atoms and background make one expect of it.
    y, x, height : ndarray, shape (n,)
        Of the atoms, as they are part of ``expected``.
    width : float
        Sigma of the columns, pixels.
    noise : float, optional
        Sigma of Gaussian noise; by default the noise is that of counts.

    Notes
    -----
    Only pixels that are finite count; an atom on none of them has no evidence, 0.
    """
    if not len(y):
        return np.empty(0)
    rest, there = known(held - expected)
    iy, ix = (np.clip(np.rint(p).astype(int), 0, n - 1) for p, n in zip((y, x), held.shape, strict=True))
    rest, variance = matched_filter(rest, width)[iy, ix], filtered_variance(expected, there, width, noise)[iy, ix]
    own = np.pi * width**2 * _smooth(there.astype(float), width / np.sqrt(2))[iy, ix]
    return (rest + height * own) / np.sqrt(variance)


def doubt(frame: np.ndarray, expected: np.ndarray, width: float, noise: float | None = None) -> np.ndarray:
    """Signal-to-noise ratio of an atom that would be missing at each pixel, shape (h, w); 0 where nothing is known."""
    rest, there = known(frame - expected)
    return matched_filter(rest, width) / np.sqrt(filtered_variance(expected, there, width, noise))


def known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values with 0 instead of what is not finite, and where they are."""
    there = np.isfinite(values)
    return np.where(there, values, 0.0), there


def filtered_variance(expected: np.ndarray, there: np.ndarray, width: float, noise: float | None) -> np.ndarray:
    """Variance of the matched filter over the pixels that are ``there``; infinite where it sees none of them."""
    variance = np.maximum(expected, LEAST) if noise is None else np.full(expected.shape, float(noise) ** 2)
    seen = _smooth(there.astype(float), width / np.sqrt(2)) > 1e-6
    variance = np.pi * width**2 * _smooth(np.where(there, variance, 0.0), width / np.sqrt(2))
    return np.where(seen, variance, np.inf)


def matched_filter(image: np.ndarray, width: float) -> np.ndarray:
    """Sum of the image times a Gaussian of height 1 around each pixel."""
    return 2 * np.pi * width**2 * _smooth(image, width)


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(np.asarray(image, float), sigma, mode="nearest")
