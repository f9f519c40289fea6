"""Abundances as a distribution: samples of what is not negative and agrees with the spectrum within its noise."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

BEFORE, KEPT = 20, 100  # sweeps


def sample_abundances(first: np.ndarray, information: np.ndarray, target: np.ndarray, rng: np.random.Generator, *,
                      sum_to_one: bool = False) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Mean and standard deviation of the posterior, uniform before the data where abundances are not negative.

    Gibbs samples (Dobigeon et al., IEEE Trans. Signal Process. 57, 4355 (2009), doi:10.1109/TSP.2009.2025797) of all
    pixels together, with the spectra of the components as they are.

    Parameters
    ----------
    first : numpy.ndarray, shape (m, k)
        Allowed abundances to begin with.
    information : numpy.ndarray, shape (m, k, k)
        Inverse covariance of unconstrained abundances.
    target : numpy.ndarray, shape (m, k)
        ``information @ a`` of the unconstrained maximum ``a``.
    rng : numpy.random.Generator
    sum_to_one : bool
        Uniform on the simplex instead.

    Returns
    -------
    mean, std : numpy.ndarray, shape (m, k)
    """
    a, k = first.copy(), first.shape[1]
    if sum_to_one and k == 1:
        return a, np.zeros_like(a)
    ways = _directions(information, sum_to_one)
    bends = np.einsum("dmi,mij,dmj->dm", ways, information, ways, optimize=True)
    total, squares = np.zeros_like(a), np.zeros_like(a)
    for sweep in range(BEFORE + KEPT):
        slope = target - np.einsum("mij,mj->mi", information, a)
        for d in rng.permutation(len(ways)):
            step = _step(a, ways[d], (slope * ways[d]).sum(1), bends[d], rng)
            a = np.maximum(a + step, 0)
            slope -= np.einsum("mij,mj->mi", information, step)
        if sweep >= BEFORE:
            total += a
            squares += a**2
    mean = total / KEPT
    return mean, np.sqrt(np.maximum(squares / KEPT - mean**2, 0))


def _directions(information: np.ndarray, sum_to_one: bool) -> np.ndarray:
    """Ways (d, m, k) to go: the axes of the distribution, for spectra that are alike, and those of the limits."""
    m, k, _ = information.shape
    if not sum_to_one:
        own = np.moveaxis(np.linalg.eigh(information)[1], 2, 0)
        return np.concatenate([own, np.broadcast_to(np.eye(k)[:, None], (k, m, k))])
    plane = np.linalg.svd(np.ones((1, k)))[2][1:]
    own = np.linalg.eigh(plane @ information @ plane.T)[1]
    pairs = np.array([np.eye(k)[i] - np.eye(k)[j] for i in range(k) for j in range(i)])
    return np.concatenate([np.einsum("mab,ak->bmk", own, plane), np.broadcast_to(pairs[:, None], (len(pairs), m, k))])


def _step(a: np.ndarray, way: np.ndarray, push: np.ndarray, bend: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random step (m, k) along ``way`` that keeps all abundances above zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = -a / way
    low = np.where(way > 1e-12, reach, -np.inf).max(1)
    high = np.where(way < -1e-12, reach, np.inf).min(1)
    width = 1 / np.sqrt(np.maximum(bend, 1e-300))
    return truncated_normal(push * width**2, width, low, np.maximum(high, low), rng)[:, None] * way


def truncated_normal(mean, width, low, high, rng: np.random.Generator) -> np.ndarray:
    """Normal numbers (m,) between low and high, also where these are far out in one tail."""
    low, high = (low - mean) / width, (high - mean) / width
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    below, above = ndtr(low), ndtr(high)
    z = ndtri(below + rng.random(len(below)) * (above - below))
    z = np.clip(np.where(np.isfinite(z), z, high), low, high)  # beyond 37 sigma nothing but the limit is left
    return mean + width * np.where(flip, -z, z)
