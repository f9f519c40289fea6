"""Diffusion of tracked atoms from their steps, with the error of localisation and the drift taken out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Diffusion(NamedTuple):
    """``constant`` (length^2 per frame) and ``localisation`` (variance of one coordinate), means over both axes."""

    constant: float
    constant_std: float
    localisation: float
    steps: int


def diffusion(track, time, y, x, *, drift: bool = True) -> Diffusion:
    """The covariance estimator [1]_: D = <d^2>/2 + <d_n d_(n+1)> per axis, which localisation errors do not bias.

    Parameters
    ----------
    track, time
        Shape (n,): which atom, and which frame; only steps over one frame count.
    y, x
        Shape (n,), in one unit.
    drift
        Whether the mean step of all atoms of a frame is taken off. With N atoms this takes 1/N of the diffusion along:
        squares are multiplied by N/(N-1) for it, products of two steps divided by 1 - 1/N - 1/M + K/(NM), with N and M
        atoms that take the one and the other, and K that take both. A frame where one atom alone takes a step says
        nothing.

    Returns
    -------
    Diffusion
        The error is the larger one of what the scatter of the atoms says and of what the estimator itself has for atoms
        that are all alike [1]_: the first sees atoms that differ, the second does not need many.

    References
    ----------
    .. [1] C. L. Vestergaard, P. C. Blainey and H. Flyvbjerg, "Optimal estimation of diffusion coefficients from
       single-particle trajectories", Physical Review E 89 (2014) 022726, https://doi.org/10.1103/PhysRevE.89.022726

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> walk = np.cumsum(rng.normal(0, 1, (2, 50, 300)), axis=2) + rng.normal(0, 0.5, (2, 50, 300))
    >>> track, time = (k.ravel() for k in np.indices((50, 300)))
    >>> round(diffusion(track, time, walk[0].ravel(), walk[1].ravel()).constant, 1)
    0.5
    """
    track, time = np.asarray(track), np.asarray(time)
    order = np.lexsort((time, track))
    track, time = track[order], time[order]
    follows = (np.diff(track) == 0) & (np.diff(time) == 1)
    step = np.stack([np.diff(np.asarray(w, float)[order]) for w in (y, x)])
    step[:, ~follows] = np.nan
    left = np.ones(follows.size)
    if drift:
        step, left, follows = _without_drift(step, time[:-1], follows)
    pairs = np.flatnonzero(follows[1:] & follows[:-1])
    if not follows.any():
        return Diffusion(np.nan, np.nan, np.nan, 0)
    square = step**2 / left
    product = step[:, pairs] * step[:, pairs + 1]
    share = np.ones(pairs.size)
    if drift:
        pairs, product, share = _of_products(product, pairs, time, left)
    mean_square = square[:, follows].mean()
    mean_product = product.mean() if pairs.size else np.nan
    constant = mean_square / 2 + mean_product
    # steps, less one per frame whose mean was taken off; where atoms are missed fewer of them follow each other
    free = min(left[follows].sum(), share.sum()) if pairs.size else left[follows].sum()
    own = _of_estimator(constant, -mean_product, free)
    std = float(np.fmax(own, _scatter(track, follows, pairs, square, product)))
    return Diffusion(float(constant), std, float(-mean_product), int(follows.sum()))


def _of_estimator(constant: float, localisation: float, steps: float) -> float:
    """Error of the estimate from so many steps along each of two axes."""
    d, blur = max(constant, 0.0), max(localisation, 0.0)
    return float(np.sqrt((6 * d**2 + 4 * d * blur + 2 * blur**2) / (2 * steps))) if steps > 0 else np.nan


def _without_drift(step: np.ndarray, time: np.ndarray, follows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Steps less the mean step of their frame, the share 1 - 1/N of their squares that is left, and which steps say
    something: not those of frames with one step."""
    frames, which = np.unique(time, return_inverse=True)
    number = np.bincount(which[follows], minlength=frames.size)
    mean = np.stack([np.bincount(which[follows], one[follows], frames.size) for one in step]) / np.maximum(number, 1)
    left = 1 - 1 / np.maximum(number, 2)
    return step - mean[:, which], left[which], follows & (number > 1)[which]


def _of_products(product, pairs, time, left) -> tuple[np.ndarray, ...]:
    """Pairs of successive steps, their products without what the drift took of them, and the share that it left.

    The means of two frames share the noise of the atoms that are seen in both, K of N and M: that many only.
    """
    which = np.unique(time[pairs], return_inverse=True)[1]
    both = np.bincount(which)[which] if pairs.size else which
    rest = 1 - left[pairs], 1 - left[pairs + 1]  # 1/N and 1/M
    share = 1 - rest[0] - rest[1] + both * rest[0] * rest[1]
    some = share > 1e-9
    return pairs[some], product[:, some] / share[some], share[some]


def _scatter(track, follows, pairs, square, product) -> float:
    names, which = np.unique(track, return_inverse=True)
    rows = np.flatnonzero(follows)
    n_square = np.bincount(which[rows], minlength=names.size)
    n_product = np.bincount(which[pairs], minlength=names.size)
    some = (n_square > 0) & (n_product > 0)
    if some.sum() < 2:
        return float("nan")
    each = [np.bincount(which[at], values.mean(axis=0), names.size)[some] / number[some]
            for at, values, number in ((rows, square[:, rows], n_square), (pairs, product, n_product))]  # fmt: skip
    value, weight = each[0] / 2 + each[1], n_square[some] / n_square[some].sum()
    mean = (weight * value).sum()
    return float(np.sqrt((weight**2 * (value - mean) ** 2).sum() * some.sum() / (some.sum() - 1)))
