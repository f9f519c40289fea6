"""Make oblong columns round before a network that knows round ones looks at them.

Astigmatism, a tilt or a drifting scan make all columns of a frame the same ellipse, which looks like two round ones
that touch. A smoothing along the short axis alone makes the ellipse round, whatever its direction, and moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

ROUND_ENOUGH = 1.2  # long over short axis that the network takes for round
FINEST = 0.5  # pixels: a narrower kernel is no Gaussian on pixels
REACH = 4.0  # of its sigmas


@dataclass(frozen=True)
class Smoothing:
    """A Gaussian by which images are smoothed.

    Attributes
    ----------
    yy, yx, xx : float
        Its covariance, pixels squared.
    stretch : float
        How much wider it makes the columns: ratio of geometric mean sigmas.
    """

    yy: float
    yx: float
    xx: float
    stretch: float

    @property
    def reach(self) -> int:
        """Pixels that it looks to every side."""
        return int(np.ceil(REACH * np.sqrt(max(self.yy, self.xx))))


def to_round(sigma: float, plus: float, cross: float) -> Smoothing | None:
    """The smoothing that makes columns round; None where they are round enough.

    Parameters
    ----------
    sigma : float
        Geometric mean of the sigmas along both axes of a column, pixels.
    plus, cross : float
        Its shape: the logarithm of its covariance, less that of ``sigma**2``, is [[plus, cross], [cross, -plus]] in
        the order y, x.

    Examples
    --------
    >>> smoothing = to_round(2.0, 0.6, 0.0)  # long in y: smoothed along x
    >>> smoothing.xx > smoothing.yy
    True
    >>> to_round(2.0, 0.1, 0.0) is None
    True
    """
    size = float(np.hypot(plus, cross))
    if size <= np.log(ROUND_ENOUGH) + 1e-9:
        return None
    log, axes = np.linalg.eigh([[plus, cross], [cross, -plus]])  # the short axis first
    short, long = sigma**2 * np.exp(log)
    wider = np.array([long / ROUND_ENOUGH**2 - short, 0.0]) + FINEST**2
    covariance = (axes * wider) @ axes.T
    stretch = ((short + wider[0]) * (long + wider[1])) ** 0.25 / sigma
    return Smoothing(*(float(v) for v in covariance[[0, 0, 1], [0, 1, 1]]), float(stretch))


@lru_cache(maxsize=16)
def _kernel(smoothing: Smoothing) -> np.ndarray:
    place = np.arange(-smoothing.reach, smoothing.reach + 1)
    y, x = place[:, None], place
    square = smoothing.xx * y**2 - 2 * smoothing.yx * y * x + smoothing.yy * x**2
    bell = np.exp(-0.5 * square / (smoothing.yy * smoothing.xx - smoothing.yx**2))
    return (bell / bell.sum()).astype(np.float32)


def smoothed(image: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    """The image, shape (h, w), smoothed; beyond its rim the border pixels are repeated."""
    from scipy.signal import oaconvolve  # takes seconds to import, and round columns need none

    reach = smoothing.reach
    return oaconvolve(np.pad(image, reach, mode="edge"), _kernel(smoothing), mode="valid").astype(np.float32)
