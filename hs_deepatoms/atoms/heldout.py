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
    """
    atoms = draw_columns(frame.shape, columns.y, columns.x, columns.height, columns.sigma)
    return atoms + gaussian_filter(frame - atoms, BROAD * width, mode="nearest")


def log_likelihood(held: np.ndarray, expected: np.ndarray, noise: float | None = None) -> float:
    """Logarithm of the likelihood of a recording, but for a constant of the recording.

    Poisson where ``noise`` is None, else Gaussian of that sigma.

    Examples
    --------
    >>> import numpy as np
    >>> held = np.random.default_rng(0).poisson(5.0, (50, 50))
    >>> log_likelihood(held, np.full((50, 50), 5.0)) > log_likelihood(held, np.full((50, 50), 5.5))
    True
    """
    if noise is not None:
        return float(-0.5 * np.nansum((held - expected) ** 2) / max(noise, 1e-12) ** 2)
    expected = np.maximum(expected, LEAST)
    return float(np.nansum(held * np.log(expected) - expected))


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
    """
    if not len(y):
        return np.empty(0)
    rest = matched_filter(held - expected, width)
    variance = gaussian_filter(np.full(held.shape, float(noise) ** 2) if noise is not None
                               else np.maximum(expected, LEAST), width / np.sqrt(2), mode="nearest")  # fmt: skip
    iy, ix = (np.clip(np.rint(p).astype(int), 0, n - 1) for p, n in zip((y, x), held.shape, strict=True))
    own = np.pi * width**2
    return (rest[iy, ix] + height * own) / np.sqrt(variance[iy, ix] * own)


def doubt(frame: np.ndarray, expected: np.ndarray, width: float, noise: float | None = None) -> np.ndarray:
    """Signal-to-noise ratio of an atom that would be missing at each pixel, shape (h, w)."""
    variance = np.maximum(expected, LEAST) if noise is None else np.full(frame.shape, float(noise) ** 2)
    variance = gaussian_filter(variance, width / np.sqrt(2), mode="nearest")
    return matched_filter(frame - expected, width) / np.sqrt(variance * np.pi * width**2)


def matched_filter(image: np.ndarray, width: float) -> np.ndarray:
    """Sum of the image times a Gaussian of height 1 around each pixel."""
    return 2 * np.pi * width**2 * gaussian_filter(image, width, mode="nearest")
