"""What the image shows at the site of a doubtful column, were all around it as around its equivalents.

A fit to an empty site finds the highest peak of the noise near it, and bends the background under what is missing.
Here place, width and background are those of the equivalents, and only the height is left to the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from hs_deepatoms.atoms.noise import Noise
    from hs_deepatoms.atoms.refine import Fitted

ASTRAY = 2.5  # column sigmas: twice as far as a column may stand from its site
PAIRS = 1  # of equivalents on opposite sides: one alone may hold a vacancy, or the rim of the crystal
REACH, SHINE = 3.0, 5.0  # sigmas of a column that tell its height, and from which others shine in
NEIGHBOURS = 16
FEW = 2048  # columns at a time


def at_sites(
    image: np.ndarray, valid: np.ndarray, noise: Noise, fit: Fitted, near: np.ndarray, which: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Signal-to-noise ratio of what stands at the sites of some columns, and of what would stand there.

    Parameters
    ----------
    image, valid : ndarray, shape (h, w)
        What was fitted.
    noise : Noise
    fit : Fitted
        The columns.
    near : ndarray of int, shape (k, m)
        Rows in ``fit`` of the equivalents of the columns in question; -1 for none.
    which : ndarray of int, shape (k,)
        Rows of these columns themselves.
    sigma : float
        Typical width, pixels.

    Returns
    -------
    own, typical : ndarray, shape (k,)
        NaN where too few equivalents have a column on the opposite side.
    """
    parts = range(0, len(which), FEW)
    parts = [_few(image, valid, noise, fit, near[k : k + FEW], which[k : k + FEW], sigma) for k in parts]
    own, typical = (np.concatenate(v) for v in zip(*parts, strict=True))
    return own, typical


def _few(image, valid, noise, fit, near, which, sigma) -> tuple[np.ndarray, np.ndarray]:
    own, typical = np.full((2, len(which)), np.nan)
    near, other = opposites(fit.y, fit.x, near, which, sigma)
    known = (near >= 0).sum(1) >= PAIRS
    if not known.any():
        return own, typical
    rows, near, other = which[known], near[known], other[known]
    width = np.sqrt(fit.width_y * fit.width_x)
    y, x, ground, shape = (_between(v, near, other) for v in (fit.y, fit.x, fit.background, width))
    height = _between(fit.height, near, other)
    side = np.arange(-int(REACH * sigma) - 1, int(REACH * sigma) + 2)
    py = np.rint(y).astype(int)[:, None, None] + side[:, None] + 0 * side
    px = np.rint(x).astype(int)[:, None, None] + side + 0 * side[:, None]
    inside = (py >= 0) & (px >= 0) & (py < image.shape[0]) & (px < image.shape[1])
    cy, cx = py.clip(0, image.shape[0] - 1), px.clip(0, image.shape[1] - 1)
    bell = _bell(py, px, y, x, shape)
    under = ground[:, None, None] + _others(py, px, y, x, rows, fit, width, sigma)
    variance = noise.variance(torch.from_numpy(under + height[:, None, None] * bell)).numpy()
    good = inside & valid[cy, cx]
    weight, rest = np.where(good, bell / variance, 0.0), np.where(good, image[cy, cx] - under, 0.0)
    power = np.sqrt(np.maximum((weight * bell).sum((1, 2)), 1e-12))
    own[known] = (weight * rest).sum((1, 2)) / power
    typical[known] = height * power
    return own, typical


def opposites(y, x, near: np.ndarray, which: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (k, m) of an equivalent and the column on its opposite side, as rows; -1 for none.

    Half-way between two such a site lies in a strained crystal too, and the background is that of a slope.
    """
    place = np.column_stack([y, x])
    opposite = 2 * place[which][:, None] - place[near]
    distance, other = cKDTree(place).query(opposite, distance_upper_bound=ASTRAY * sigma)
    found = (near >= 0) & np.isfinite(distance) & (other != which[:, None]) & (other != near)
    return np.where(found, near, -1), np.where(found, other, -1)


def _between(values: np.ndarray, near: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean (k,) of the values of both columns of the pairs; the median of the pairs, some of which may lack one."""
    return np.nanmedian(np.where(near >= 0, (values[near] + values[other]) / 2, np.nan), axis=1)


def _others(py, px, y, x, rows, fit: Fitted, width, sigma: float) -> np.ndarray:
    """What the columns around shine on the pixels of each."""
    tree = cKDTree(np.column_stack([fit.y, fit.x]))
    near = tree.query(np.column_stack([y, x]), k=NEIGHBOURS, distance_upper_bound=(REACH + SHINE) * sigma)[1]
    light = np.zeros(py.shape)
    for j in near.T:  # a few
        there = (j < len(fit.y)) & (j != rows)
        j = np.where(there, j, 0)
        light += np.where(there, fit.height[j], 0.0)[:, None, None] * _bell(py, px, fit.y[j], fit.x[j], width[j])
    return light


def _bell(py, px, y, x, width) -> np.ndarray:
    square = (py - y[:, None, None]) ** 2 + (px - x[:, None, None]) ** 2
    return np.exp(-0.5 * square / width[:, None, None] ** 2)
