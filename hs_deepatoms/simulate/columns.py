"""Draw atomic columns into an image. Pixel 0 is the centre of the first pixel."""

from __future__ import annotations

import numpy as np


def draw_columns(
    shape: tuple[int, int],
    y: np.ndarray,
    x: np.ndarray,
    height: np.ndarray,
    sigma: np.ndarray | float,
    *,
    tail: float = 0.0,
    tail_width: float = 3.0,
) -> np.ndarray:
    """Sum of isotropic columns: a Gaussian plus, optionally, a wider one for the probe's tails.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx) of the image.
    y, x : ndarray, shape (n,)
        Positions, pixels.
    height : ndarray, shape (n,)
        Peak heights.
    sigma : float or ndarray, shape (n,)
        Gaussian sigma, pixels.
    tail : float
        Share of the peak height that sits in the tail.
    tail_width : float
        Sigma of the tail in units of ``sigma``.

    Returns
    -------
    ndarray, float64, shape (ny, nx)
    """
    sigma = np.broadcast_to(np.asarray(sigma, float), np.shape(y))
    image = _separable(shape, y, x, height * (1 - tail), sigma)
    if tail:
        image += _separable(shape, y, x, height * tail, sigma * tail_width)
    return image


def _separable(shape, y, x, height, sigma):
    # a Gaussian is a product, so all columns at once are one matrix product
    rows = np.exp(-0.5 * ((np.arange(shape[0])[:, None] - y) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(shape[1])[:, None] - x) / sigma) ** 2)
    return (rows * height) @ columns.T
