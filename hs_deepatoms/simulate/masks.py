"""Label images from positions (discs of classes that exclude each other, or Gaussians) and from numbered objects."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter


def disc_classes(
    shape: tuple[int, int], y: np.ndarray, x: np.ndarray, label: np.ndarray | int, radius: np.ndarray | float
) -> np.ndarray:
    """Class of every pixel: that of the nearest position within its radius, else 0.

    Parameters
    ----------
    shape : (int, int)
    y, x : array, shape (n,)
        Pixels; positions outside of the image may reach into it.
    label : int or array, shape (n,)
        Class of each position, 1 or more.
    radius : float or array, shape (n,)
        Pixels.

    Returns
    -------
    ndarray, int64, shape ``shape``

    Examples
    --------
    >>> disc_classes((5, 7), [2.0, 2.0], [1.0, 5.0], [1, 2], 1.0)[2].tolist()
    [1, 1, 1, 0, 2, 2, 2]
    """
    y, x, label, radius = _columns(y, x, label, radius)
    out = np.zeros(shape, np.int64)
    if not len(y):
        return out
    iy, ix, distance, own = _surroundings(shape, y, x, radius)
    near = distance <= radius[own]
    order = np.argsort(-distance[near], kind="stable")  # the nearest is written last
    out[iy[near][order], ix[near][order]] = label[own[near][order]]
    return out


def gaussian_shares(
    shape: tuple[int, int],
    y: np.ndarray,
    x: np.ndarray,
    label: np.ndarray | int,
    radius: np.ndarray | float,
    n_classes: int,
) -> np.ndarray:
    """Share of every class at every pixel: a Gaussian of height 1 around each position, the largest one counts.

    Parameters
    ----------
    shape, y, x, label
        As in :func:`disc_classes`.
    radius : float or array, shape (n,)
        Where the Gaussian is 1/2, pixels: a threshold of 0.5 gives the disc.
    n_classes : int

    Returns
    -------
    ndarray, float32, shape (n_classes, *shape)
    """
    y, x, label, radius = _columns(y, x, label, radius)
    out = np.zeros((n_classes, *shape), np.float32)
    if not len(y):
        return out
    iy, ix, distance, own = _surroundings(shape, y, x, 3 * radius)
    share = np.exp2(-((distance / radius[own]) ** 2)).astype(np.float32)
    np.maximum.at(out, (label[own] - 1, iy, ix), share)
    return out


def parted(objects: np.ndarray) -> np.ndarray:
    """True in objects, but not in the pixels beside another object: a network that learns this gap tells them apart.

    Parameters
    ----------
    objects : ndarray, int, shape (h, w)
        Numbers of the objects, 0 for none.

    Examples
    --------
    >>> import numpy as np
    >>> parted(np.array([[0, 1, 1, 1, 2, 2, 2, 0]])).astype(int).tolist()
    [[0, 1, 1, 0, 0, 1, 1, 0]]
    """
    highest = maximum_filter(objects, 3)
    lowest = minimum_filter(np.where(objects > 0, objects, objects.max(initial=0) + 1), 3)
    return (objects > 0) & (highest == lowest)


def _columns(y, x, label, radius):
    y, x = np.asarray(y, float), np.asarray(x, float)
    return y, x, np.broadcast_to(np.asarray(label), y.shape), np.broadcast_to(np.asarray(radius, float), y.shape)


def _surroundings(shape, y, x, radius):
    """Pixels around each position: row, column, distance, and whose they are."""
    reach = int(np.ceil(radius.max())) + 1
    step = np.arange(-reach, reach + 1)
    iy = np.rint(y).astype(int)[:, None, None] + step[:, None]
    ix = np.rint(x).astype(int)[:, None, None] + step
    iy, ix = np.broadcast_arrays(iy, ix)
    own = np.broadcast_to(np.arange(len(y))[:, None, None], iy.shape)
    inside = (iy >= 0) & (ix >= 0) & (iy < shape[0]) & (ix < shape[1])
    iy, ix, own = iy[inside], ix[inside], own[inside]
    return iy, ix, np.hypot(iy - y[own], ix - x[own]), own
