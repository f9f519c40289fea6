"""Corners from all pixels that may be pure: single extreme pixels are extreme because of their noise.

Near a corner the share of every other component is zero (pure, or mixed with the others only) or anything above. Where
this distribution begins, blurred by the known noise of each pixel, is fitted by maximum likelihood, share by share.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

NEAR = 3.0  # sigma that the shares of third components may be away from zero
BELOW = 6.0  # sigma below zero where a share is believed
REACH = 8.0  # sigma that the shares are looked at
FARTHEST = 0.6
FEWEST = 6
MOST = 4000
ROUNDS = 12
STEPS = np.arange(-5, 5.01, 0.25)  # sigma
SETTLED = 0.05
FARTHEST_MOVE = 0.3


def purify_corners(points: np.ndarray, corners: np.ndarray, spread: np.ndarray, blur) -> tuple[np.ndarray, np.ndarray]:
    """Corners moved to where the shares of the others begin.

    Parameters
    ----------
    points : numpy.ndarray, shape (m, k)
        Shares of a corner's pixel are ``points @ inv(corners)``.
    corners : numpy.ndarray, shape (k, k)
    spread : numpy.ndarray, shape (m,)
        Standard deviation of each pixel's noise in units of a mean pixel's.
    blur : callable
        ``blur(corners)`` gives the covariances (k, k, k) of the noise of ``points`` of a mean pixel at each corner.

    Returns
    -------
    corners : numpy.ndarray, shape (k, k)
    error : numpy.ndarray, shape (k, k)
        Standard errors of the shares of corner j in the spectrum of corner i; NaN where there were too few pixels.
    """
    k = len(corners)
    corners, error = corners.copy(), np.full((k, k), np.nan)
    if k == 1:
        return corners, error
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(corners)
        shares = points @ inverse
        moves = np.zeros((k, k))
        widths = np.stack([np.sqrt(np.diag(inverse.T @ one @ inverse)) for one in blur(corners)])
        for i in range(k):
            for j in range(k):
                if i != j:
                    moves[i, j], error[i, j] = _begin(shares, spread, widths[i], i, j)
        np.fill_diagonal(moves, -moves.sum(1))
        corners = corners + moves @ corners
        np.fill_diagonal(moves, 0)
        if (np.abs(moves) <= SETTLED * widths).all():
            break
    return corners, error


def _begin(shares: np.ndarray, spread: np.ndarray, width: np.ndarray, i: int, j: int) -> tuple[float, float]:
    """Where the shares of j begin next to corner i, and its standard error."""
    reach = float(np.clip(REACH * width[j], 1e-12, FARTHEST))
    x, s = shares[:, j], width[j] * spread
    near = (x > -BELOW * s) & (x < reach)
    for m in range(shares.shape[1]):
        if m not in (i, j):
            near &= np.abs(shares[:, m]) < NEAR * width[m] * spread
    chosen = np.flatnonzero(near)
    if len(chosen) < FEWEST:
        return 0.0, np.nan
    if len(chosen) > MOST:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST).astype(int)]
    return _fit_begin(x[chosen], s[chosen], reach)


def _fit_begin(x: np.ndarray, s: np.ndarray, reach: float) -> tuple[float, float]:
    """Place d of the mixture ``q N(d, s) + (1 - q) U(d, reach) * N(0, s)`` of largest likelihood."""
    places = STEPS * float(np.median(s))
    places = places[(np.abs(places) <= FARTHEST_MOVE) & (places < 0.8 * reach)]
    z = (x - places[:, None]) / s
    pure = np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * s)
    mixed = ndtr(z) / (reach - places)[:, None]
    q = np.full((len(places), 1), 0.5)
    for _ in range(30):
        total = q * pure + (1 - q) * mixed
        q = np.clip((q * pure / np.maximum(total, 1e-300)).mean(1, keepdims=True), 1e-3, 1 - 1e-3)
    likelihood = np.log(np.maximum(q * pure + (1 - q) * mixed, 1e-300)).sum(1)
    best = int(likelihood.argmax())
    if not 0 < best < len(places) - 1:  # further than is looked: on from there in the next round
        return float(places[best]), np.nan
    below, at, above = likelihood[best - 1 : best + 2]
    step, bend = places[1] - places[0], 2 * at - below - above
    if bend <= 0:
        return float(places[best]), np.nan
    return float(places[best] + 0.5 * step * (above - below) / bend), float(step / np.sqrt(bend))
