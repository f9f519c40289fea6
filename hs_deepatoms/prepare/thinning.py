"""Two independent halves of one recorded image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import convolve

SECOND = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6.0  # noise of sigma 1 stays at 1, smooth images vanish


class Halves(NamedTuple):
    """Parts of frames with independent noise. Their means are ``share`` and ``1 - share`` times that of the whole.

    ``noise`` is the sigma of the held-out part per frame, shape (n,), or None for counts (Poisson).
    """

    kept: np.ndarray
    held: np.ndarray
    share: float
    noise: np.ndarray | None


def thinned(frames: np.ndarray, rng: np.random.Generator, share: float = 0.5) -> Halves:
    """Split frames into two parts with independent noise.

    Counts (whole numbers, none negative) by a binomial draw per pixel: parts of a Poisson variable are independent
    Poisson variables. Anything else by adding and subtracting noise of the image's own strength, which gives
    independent parts of a Gaussian variable.

    Parameters
    ----------
    frames : ndarray, shape (n, h, w)
        NaN stays NaN in both parts.
    rng : numpy.random.Generator
    share : float
        Of the first part, between 0 and 1.

    Returns
    -------
    Halves
        float32 arrays of the same shape.

    Notes
    -----
    Neufeld et al., J. Mach. Learn. Res. 25 (57), 1 (2024), arXiv:2301.07276. Noise that is correlated between pixels
    (blurred after counting, denoised) is not split into independent parts.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(8.0, (1, 200, 200))
    >>> kept, held, _, _ = thinned(counts, np.random.default_rng(1))
    >>> bool((kept + held == counts).all()), bool(abs(np.corrcoef(kept.ravel(), held.ravel())[0, 1]) < 0.02)
    (True, True)
    """
    frames = np.asarray(frames)
    if is_counts(frames):
        kept = rng.binomial(np.asarray(frames, np.int64), share).astype(np.float32)
        return Halves(kept, frames.astype(np.float32) - kept, share, None)
    frames = frames.astype(np.float64)
    noise = np.array([noise_sigma(frame) for frame in frames])
    spread = np.sqrt(share * (1 - share)) * noise
    kept = share * frames + spread[:, None, None] * rng.standard_normal(frames.shape)
    return Halves(kept.astype(np.float32), (frames - kept).astype(np.float32), share, np.sqrt(1 - share) * noise)


def is_counts(frames: np.ndarray) -> bool:
    """Whether all values are whole numbers and none is negative."""
    if frames.dtype.kind == "f":
        return bool(np.isfinite(frames).all() and (frames >= 0).all() and (frames == np.rint(frames)).all())
    return frames.dtype.kind in "u" or bool((frames >= 0).all())


def noise_sigma(frame: np.ndarray) -> float:
    """Sigma of the white noise of a frame, shape (h, w), from its second differences.

    Immerkaer, Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060, with a median instead of a mean.
    """
    rest = convolve(np.asarray(frame, float), SECOND, mode="reflect")
    rest = rest[np.isfinite(rest)]
    return float(1.4826 * np.median(np.abs(rest))) if rest.size else 0.0
