"""Abundances that are like those of the neighbours, as far as the noise lets them."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.spectra.abundances import constrained

SWEEPS = 60
SETTLED = 0.02  # standard errors
FLOOR = 0.01  # of the noise's variance: what true differences are at least


def smooth_abundances(scores: np.ndarray, information: np.ndarray, target: np.ndarray, places: np.ndarray,
                      scan: tuple[int, ...], strength: float, *, sum_to_one: bool = False) -> np.ndarray:  # fmt: skip
    """Maximum a posteriori abundances (m, k) with a Gaussian Markov random field as prior.

    Squared differences to the next pixels along each axis of the scan are added to the misfit, over the variance that
    such differences have beyond noise. Even and odd pixels take turns.

    Parameters
    ----------
    scores : numpy.ndarray, shape (m, k)
        Where to begin.
    information, target : numpy.ndarray, shapes (m, k, k), (m, k)
        The noise's factor included; as for `sample_abundances`.
    places : numpy.ndarray, int, shape (m,)
        In the flattened scan.
    scan : tuple of int
    strength : float
        1: as the cube itself says; more: smoother.
    sum_to_one : bool
    """
    k = scores.shape[1]
    weight = np.diag(strength / _true_variance(information, target, places, scan))
    known = np.zeros(int(np.prod(scan, dtype=int)), bool)
    known[places] = True
    grid = np.zeros((known.size, k))
    grid[places] = scores
    degree = _around(known.astype(float)[:, None], scan)[places, 0]
    matrix = information + degree[:, None, None] * weight
    odd = np.add.reduce(np.indices(scan), 0).ravel()[places] % 2 == 1
    tolerance = SETTLED / np.sqrt(np.maximum(np.diag(information.mean(0)), 1e-300))
    for _ in range(SWEEPS):
        before = grid[places]
        for half in (odd, ~odd):
            here = places[half]
            pull = _around(grid * known[:, None], scan)[here] @ weight
            if here.size:
                grid[here] = constrained(matrix[half], target[half] + pull, sum_to_one)
        if (np.abs(grid[places] - before).max(0) <= tolerance).all():
            break
    return grid[places]


def _true_variance(information, target, places: np.ndarray, scan: tuple[int, ...]) -> np.ndarray:
    """Variance (k,) of half of the squared differences between next pixels, less that of the noise."""
    k = target.shape[1]
    inverse = np.linalg.inv(information)
    own = np.einsum("mij,mj->mi", inverse, target)
    noise = np.full((int(np.prod(scan, dtype=int)), k), np.nan)
    grid = noise.copy()
    noise[places], grid[places] = np.einsum("mkk->mk", inverse), own
    found, level = [], np.nanmean(noise, 0)
    for axis, size in enumerate(scan):
        if size > 1:
            step = np.diff(grid.reshape(*scan, k), axis=axis).reshape(-1, k)
            found.append(np.nanmean(step**2, 0))
    excess = np.mean(found, 0) / 2 - level if found else level
    return np.maximum(excess, FLOOR * level)


def _around(values: np.ndarray, scan: tuple[int, ...]) -> np.ndarray:
    """Sums (n, k) over the next pixels along each axis of values (n, k)."""
    grid = values.reshape(*scan, -1)
    out = np.zeros_like(grid)
    for axis in range(len(scan)):
        one, two = [slice(None)] * grid.ndim, [slice(None)] * grid.ndim
        one[axis], two[axis] = slice(1, None), slice(None, -1)
        out[tuple(one)] += grid[tuple(two)]
        out[tuple(two)] += grid[tuple(one)]
    return out.reshape(values.shape)
