"""How much of each known spectrum is in a pixel: constrained maximum likelihood, many pixels at a time."""

from __future__ import annotations

import numpy as np

ROUNDS = 2  # of Fisher scoring, after a fit with the noise of a mean pixel
EXCHANGES = 60
FAINT = 1e-3  # of the mean: models below it do not gain weight


def poisson_abundances(rows: np.ndarray, endmembers: np.ndarray, first: np.ndarray | None = None, *,
                       sum_to_one: bool = False, rounds: int = ROUNDS):  # fmt: skip
    """Maximum-likelihood abundances of counts, by Fisher scoring with the noise of the model.

    Parameters
    ----------
    rows : numpy.ndarray, shape (m, channels)
    endmembers : numpy.ndarray, shape (k, channels)
        Not negative.
    first : numpy.ndarray, shape (m, k), optional
        Where to begin.
    sum_to_one : bool
    rounds : int

    Returns
    -------
    abundances : numpy.ndarray, shape (m, k)
    information : numpy.ndarray, shape (m, k, k)
        Fisher information for Poisson noise.
    target : numpy.ndarray, shape (m, k)
        ``information @ a`` of the unconstrained maximum ``a``.
    """
    k = len(endmembers)
    thin = endmembers.astype(np.float32)
    upper = np.triu_indices(k)
    products = (thin[upper[0]] * thin[upper[1]]).T
    if first is None:
        level = np.maximum(endmembers.mean(0), FAINT * endmembers.mean())
        scaled = endmembers / level
        gram = np.broadcast_to(scaled @ endmembers.T, (len(rows), k, k))
        first = constrained(gram, rows @ scaled.T.astype(np.float32), sum_to_one)
    abundances = first
    floor = FAINT * float(endmembers.mean())
    for _ in range(rounds):
        model = np.maximum(np.maximum(abundances, 0).astype(np.float32) @ thin, np.float32(floor))
        weight = 1 / model
        packed = (weight @ products).astype(float)
        target = ((rows * weight) @ thin.T).astype(float)
        information = np.empty((len(rows), k, k))
        information[:, upper[0], upper[1]] = packed
        information[:, upper[1], upper[0]] = packed
        abundances = constrained(information, target, sum_to_one)
    return abundances, information, target


def constrained(gram: np.ndarray, target: np.ndarray, sum_to_one: bool = False) -> np.ndarray:
    """Minima (m, k) of ``a @ gram @ a / 2 - target @ a`` with a >= 0, and with sum 1 where asked.

    Block principal pivoting (Kim & Park, SIAM J. Sci. Comput. 33, 3261 (2011), doi:10.1137/110821172), every pixel with
    a matrix of its own.

    Parameters
    ----------
    gram : numpy.ndarray, shape (m, k, k)
        Positive definite.
    target : numpy.ndarray, shape (m, k)
    sum_to_one : bool
    """
    m, k = target.shape
    diagonal = np.einsum("mkk->mk", gram)
    size = np.maximum(diagonal, 1e-300) ** -0.5 if not sum_to_one else np.ones((m, k))
    scale = (size * size * diagonal).max(1, initial=1e-300)[:, None]
    gram = gram * size[:, :, None] * size[:, None] / scale[..., None] + 1e-10 * np.eye(k)
    target = target * size / scale
    active, out = np.ones((m, k), bool), np.zeros((m, k))
    left = np.arange(m)
    fewest, tries = np.full(m, k + 1), np.full(m, 3)
    for _ in range(EXCHANGES):
        a, slope = _solved(gram[left], target[left], active[left], sum_to_one)
        wrong = np.where(active[left], a < -1e-12, slope < -1e-12)
        out[left] = np.maximum(a, 0)
        count = wrong.sum(1)
        bad = count > 0
        if not bad.any():
            break
        left, wrong, count = left[bad], wrong[bad], count[bad]
        better = count < fewest[left]
        fewest[left] = np.minimum(fewest[left], count)
        tries[left] = np.where(better, 3, tries[left] - 1)
        last = wrong & (np.cumsum(wrong[:, ::-1], 1)[:, ::-1] == 1)  # the backup rule: only the last one
        change = np.where((better | (tries[left] >= 0))[:, None], wrong, last)
        active[left] ^= change
        if sum_to_one:
            none = ~active[left].any(1)
            active[left[none], np.argmax(target[left[none]], 1)] = True
    if sum_to_one:
        out /= np.maximum(out.sum(1, keepdims=True), 1e-300)
    return out * size


def _solved(gram, target, active, sum_to_one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Solutions with the inactive ones at zero, and the slopes of the cost along these."""
    k = target.shape[1]
    both = active[:, :, None] & active[:, None]
    matrix = np.where(both, gram, np.eye(k) * ~active[:, :, None])
    right = np.where(active, target, 0)
    if not sum_to_one:
        a = np.linalg.solve(matrix, right[..., None])[..., 0]
        return a, np.einsum("mij,mj->mi", gram, a) - target
    ones = np.where(active, 1.0, 0.0)
    pair = np.linalg.solve(matrix, np.stack([right, ones], -1))
    force = ((pair[..., 0] * ones).sum(1) - 1) / np.maximum((pair[..., 1] * ones).sum(1), 1e-300)
    a = pair[..., 0] - force[:, None] * pair[..., 1]
    return a, np.einsum("mij,mj->mi", gram, a) - target + force[:, None]


def standard_errors(information: np.ndarray, factor: float, sum_to_one: bool = False) -> np.ndarray:
    """Of unconstrained abundances (m, k), from the Fisher information; ``factor`` is the variance per count.

    With the sum fixed, one direction is known.
    """
    k = information.shape[-1]
    size = np.maximum(np.einsum("mkk->mk", information), 1e-300) ** -0.5
    inverse = np.linalg.inv(information * size[:, :, None] * size[:, None] + 1e-12 * np.eye(k))
    covariance = inverse * size[:, :, None] * size[:, None]
    if sum_to_one:
        along = covariance.sum(2)
        covariance = covariance - along[:, :, None] * along[:, None] / np.maximum(along.sum(1), 1e-300)[:, None, None]
    return np.sqrt(np.maximum(factor * np.einsum("mkk->mk", covariance), 0))
