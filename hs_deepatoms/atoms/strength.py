"""How strong columns are, read off the image where nothing was fitted."""

from __future__ import annotations

import numpy as np

INNER, OUTER = 0.25, 0.7  # radii of the column and of its surroundings, in nearest distances
ALONE = 12.0  # pixels that stand in for the nearest distance of a single atom


def strength_at(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mean of the image around each position less that of its surroundings (n,), both as Gaussian windows.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels that are not finite count as absent.
    y, x : ndarray, shape (n,)
        Positions, pixels.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((20, 30))
    >>> image[10, 10], image[10, 20] = 2.0, 1.0
    >>> bright, faint = strength_at(image, np.array([10.0, 10.0]), np.array([10.0, 20.0]))
    >>> bool(1.9 < bright / faint < 2.5)
    True
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    from hs_deepatoms.tables.neighbours import nearest

    distance = nearest(y, x)[0][:, 0]
    distance = distance[np.isfinite(distance) & (distance > 0)]
    spacing = float(np.median(distance)) if distance.size else ALONE
    there = np.isfinite(image)
    filled = np.where(there, image, 0.0).astype(float)

    def mean_over(sigma: float) -> np.ndarray:
        weight = gaussian_filter(there.astype(float), sigma)
        return np.divide(gaussian_filter(filled, sigma), weight, out=np.full(filled.shape, np.nan), where=weight > 1e-6)

    difference = mean_over(INNER * spacing) - mean_over(OUTER * spacing)
    return map_coordinates(difference, [y, x], order=1, mode="nearest")
