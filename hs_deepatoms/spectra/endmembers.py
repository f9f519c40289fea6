"""Spectra of pure components, found at the corners of the cube."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.spectra.corners import find_corners
from hs_deepatoms.spectra.purify import purify_corners
from hs_deepatoms.spectra.reduce import Reduced

FAINT = 0.1  # of the median: fainter spectra are too noisy to be corners
EXTREME = 3.0  # sigma


def corner_spectra(reduced: Reduced, k: int, method: str, rng: np.random.Generator, *, sum_to_one: bool = False):
    """Spectra (k, channels) of the purest pixels, and the standard errors (k, k) of their shares of one another.

    Without ``sum_to_one`` only the shape of a spectrum counts, and all have the mean sum of the cube's spectra; with
    it they are as bright as the pixels they come from.

    Raises
    ------
    InvalidArgumentError
        If there are fewer bright spectra than components.
    """
    simplex = _simplex(reduced, k, sum_to_one)
    chosen = find_corners((simplex.points - simplex.mean) @ simplex.plane.T, k, method, rng)
    return _purified(reduced, simplex, _less_extreme(reduced, simplex, simplex.points[chosen]))


class _Simplex(NamedTuple):
    """Points (m, k) in a plane, its mean and axes (k - 1, k), and the width of their noise over a mean pixel's."""

    points: np.ndarray
    mean: np.ndarray
    plane: np.ndarray
    spread: np.ndarray
    shapes: bool  # whether spectra were divided by their sum


def _simplex(reduced: Reduced, k: int, sum_to_one: bool) -> _Simplex:
    points, total = reduced.points[:, :k], reduced.total
    spread = np.ones(len(points))  # without a sum to divide by, all pixels at a corner are equally bright
    usable = np.ones(len(points), bool)
    shapes = bool(not sum_to_one and total.mean() > 0)
    if shapes:
        usable = total > max(FAINT * float(np.median(total)), 0.0)
        points = points[usable] / total[usable, None]
        bright = reduced.brightness[usable]
        spread = 1 / (np.sqrt(bright) if reduced.noise.poisson else bright)
    if usable.sum() < k:
        got = f"{k} components for {int(usable.sum())} spectra that are not empty"
        raise InvalidArgumentError(explain(got, "at least as many spectra", "Give fewer components."))
    mean = points.mean(0)
    plane = np.linalg.eigh((points - mean).T @ (points - mean))[1].T[::-1][: k - 1]
    return _Simplex(mean + (points - mean) @ plane.T @ plane, mean, plane, spread, shapes)


def _less_extreme(reduced: Reduced, simplex: _Simplex, corners: np.ndarray) -> np.ndarray:
    """Corners moved inwards by what the noise of the most extreme of so many pixels is, at most half of the way."""
    out = corners - simplex.mean
    for k, way in enumerate(out):
        size = float(np.linalg.norm(way))
        if size > 0:
            noise = float(np.sqrt(way @ _noise_at(reduced, simplex, corners[k]) @ way) / size)
            out[k] = way * max(0.5, 1 - EXTREME * noise / size)
    return simplex.mean + out


def _purified(reduced: Reduced, simplex: _Simplex, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def blur(corners: np.ndarray) -> np.ndarray:
        return np.stack([_noise_at(reduced, simplex, corner) for corner in corners])

    k = len(corners)
    error = np.full((k, k), np.nan)
    if np.linalg.matrix_rank(corners) == k:
        corners, error = purify_corners(simplex.points, corners, simplex.spread, blur)
    spectra = np.maximum(corners @ reduced.up[:k], 0)
    return (spectra * reduced.total.mean() if simplex.shapes else spectra), error


def _noise_at(reduced: Reduced, simplex: _Simplex, corner: np.ndarray) -> np.ndarray:
    """Covariance (k, k) of the noise of a point of mean brightness at a corner."""
    down, noise = reduced.down[:, : len(corner)], reduced.noise
    spectrum = np.maximum(corner @ reduced.up[: len(corner)], 0)
    variance = noise.factor * (spectrum if noise.poisson else np.ones_like(spectrum))
    if not simplex.shapes:
        return (down * variance[:, None]).T @ down
    size = float(reduced.total.mean())
    reach = down - corner  # the sum has noise, too
    return (reach * (variance / (size if noise.poisson else size**2))[:, None]).T @ reach
