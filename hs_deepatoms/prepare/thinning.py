"""Two independent halves of one recorded image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import convolve, gaussian_filter

from hs_deepatoms._core.warn import warn_user

SECOND = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6.0  # noise of sigma 1 stays at 1, smooth images vanish


FOURTH = np.outer([1, -4, 6, -4, 1], [1, -4, 6, -4, 1]) / 70.0  # the same, of columns of little more than a pixel
LEVEL = 3.0  # pixels over which brightness is smoothed before it is sorted
LEAST_GAIN, MOST_GAIN, DOUBT = 0.75, 1.25, 6.0  # noise of counts; how much that is widened with few of them


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

    Counts (whole numbers, none negative, whose noise is that of counts) by a binomial draw per pixel: parts of a
    Poisson variable are independent Poisson variables. Anything else by adding and subtracting noise of the image's own
    strength, which gives independent parts of a Gaussian variable; whole numbers with other noise (scaled to 8 or 16
    bit, with an offset, blurred) are treated like that, and a warning says so.

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
    if is_whole(frames):
        gain = noise_gain(frames)
        if counted(gain, frames):
            there = np.isfinite(frames)
            kept = rng.binomial(np.where(there, frames, 0).astype(np.int64), share).astype(np.float32)
            kept = np.where(there, kept, np.float32(np.nan))
            return Halves(kept, frames.astype(np.float32) - kept, share, None)
        text = (
            f"These are whole numbers, but no counts: the variance of their noise is {gain:.2g} times that of counts. "
            "They are split as Gaussian noise of one strength; give raw counts if there are any."
        )
        warn_user(text)
    frames = frames.astype(np.float64)
    noise = np.array([noise_sigma(frame) for frame in frames])
    spread = np.sqrt(share * (1 - share)) * noise
    kept = share * frames + spread[:, None, None] * rng.standard_normal(frames.shape)
    return Halves(kept.astype(np.float32), (frames - kept).astype(np.float32), share, np.sqrt(1 - share) * noise)


def is_counts(frames: np.ndarray) -> bool:
    """Whether all values that are finite are whole numbers, none is negative, and their noise is that of counts."""
    return is_whole(frames) and counted(noise_gain(frames), frames)


def is_whole(frames: np.ndarray) -> bool:
    """Whether all values that are finite are whole numbers and none is negative."""
    if frames.dtype.kind == "f":
        known = frames[np.isfinite(frames)]
        return bool(known.size and (known >= 0).all() and (known == np.rint(known)).all())
    return frames.dtype.kind in "bu" or bool((frames >= 0).all())


def counted(gain: float, frames: np.ndarray) -> bool:
    """Whether a gain is 1 as nearly as so many counts in so many pixels can tell."""
    known = np.isfinite(frames)
    doubt = DOUBT / np.sqrt(max(min(float(np.sum(frames, where=known, dtype=float)), known.sum()), 1.0))
    return bool(LEAST_GAIN - doubt <= gain <= MOST_GAIN + doubt)


def noise_gain(frames: np.ndarray) -> float:
    """Variance of the noise of frames (n, h, w) in units of their mean: 1 for counts; 1 where nothing can be seen.

    Fourth differences, squared, over what their square is for counts: without bias at any dose. Structure that is left
    can only add to it, so that of three levels of brightness the one with the least counts.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(20.0, (1, 400, 400))
    >>> round(noise_gain(counts), 1), round(noise_gain(7 * counts)), round(noise_gain(counts + 20), 1)
    (1.0, 7, 0.5)
    """
    seen, due, level = [], [], []
    for frame in frames:
        frame = np.asarray(frame, float)
        rest, expected = convolve(frame, FOURTH, mode="reflect"), convolve(frame, FOURTH**2, mode="reflect")
        good = np.isfinite(rest)
        level.append(gaussian_filter(expected, LEVEL, mode="reflect")[good] if good.all() else expected[good])
        seen.append(rest[good] ** 2)
        due.append(expected[good])
    seen, due, level = (np.concatenate(part) for part in (seen, due, level))
    parts = np.array_split(np.argsort(level), 3)
    found = [seen[part].sum() / due[part].sum() for part in parts if due[part].sum() > 0]
    return float(min(found, default=1.0))


def noise_sigma(frame: np.ndarray) -> float:
    """Sigma of the white noise of a frame, shape (h, w), from its second differences.

    Immerkaer, Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060, with a median instead of a mean.
    """
    rest = convolve(np.asarray(frame, float), SECOND, mode="reflect")
    rest = rest[np.isfinite(rest)]
    return float(1.4826 * np.median(np.abs(rest))) if rest.size else 0.0
