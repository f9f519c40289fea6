"""Non-negative factors of spectra, in the space that `reduce_cube` gives: no pass per iteration."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.spectra.abundances import constrained
from hs_deepatoms.spectra.reduce import Reduced

ROUNDS = 300
TOLERANCE = 1e-5
EXACT = 10  # rounds after which the scores are solved for, and it is seen whether it may end


def fit_factors(
    reduced: Reduced, spectra: np.ndarray, *, same_sum: bool = True, rounds: int = ROUNDS
) -> tuple[np.ndarray, int]:
    """Non-negative spectra whose non-negative multiples come nearest to the cube, weighted by the noise.

    Hierarchical alternating least squares (Cichocki & Phan, IEICE Trans. Fundamentals E92-A, 708 (2009),
    doi:10.1587/transfun.E92.A.708); noise of counts made even as by Keenan & Kotula, Surf. Interface Anal. 36, 203
    (2004), doi:10.1002/sia.1657.

    Parameters
    ----------
    reduced : Reduced
    spectra : numpy.ndarray, shape (k, channels)
        Where to begin.
    same_sum : bool
        All spectra get the mean sum of those to begin with; else the sums with which scores add up to about one.
    rounds : int

    Returns
    -------
    spectra : numpy.ndarray, shape (k, channels)
    rounds : int
        That were needed.

    Notes
    -----
    Many factors fit equally well. It ends, where it can, as soon as what is left along the leading components is no
    more than noise, one variance for each abundance but one. These are the first on the way from ``spectra`` outwards;
    going on would fit the noise by making the components ever more extreme.
    """
    size = np.maximum(spectra.sum(1, keepdims=True), 1e-300)
    spectra = np.maximum(spectra / size, 0)
    weight = 1 / (reduced.brightness if reduced.noise.poisson else np.ones(len(reduced.points)))
    weighted = reduced.points * weight[:, None]
    done, scores = 0, np.empty(0)
    for done in range(rounds + 1):
        scaled = spectra / reduced.level
        target, gram = reduced.points @ (reduced.up @ scaled.T), scaled @ spectra.T
        if done % EXACT == 0:
            scores = constrained(np.broadcast_to(gram, (len(target), *gram.shape)), target)
            if _excess(reduced, scores, spectra, weight) <= len(spectra) - 1:
                break
        else:
            _descend(scores, target, gram, 3)
        before = spectra.copy()
        target = (scores.T @ weighted) @ reduced.up
        _descend(spectra.T, target.T, (scores * weight[:, None]).T @ scores, 2)
        spectra /= np.maximum(spectra.sum(1, keepdims=True), 1e-300)
        if np.abs(spectra - before).max() <= TOLERANCE * before.max():
            break
    if same_sum:
        return spectra * size.mean(), done
    share = np.linalg.lstsq(scores, np.ones(len(scores)), rcond=None)[0]
    return spectra / np.where(share > 0, share, 1 / size.mean())[:, None], done


def _excess(reduced: Reduced, scores: np.ndarray, spectra: np.ndarray, weight: np.ndarray) -> float:
    """Mean squared misfit of a pixel along the leading components, in variances of the noise."""
    k = len(spectra)
    left = reduced.points[:, :k] - scores @ (spectra @ reduced.down[:, :k])
    return float((np.einsum("mk,mk->m", left, left) * weight).mean() / reduced.noise.factor)


def _descend(values: np.ndarray, target: np.ndarray, gram: np.ndarray, sweeps: int) -> None:
    """Coordinate descent in place, one column of values (m, k) >= 0 at a time."""
    gram = gram + 1e-12 * np.trace(gram) * np.eye(len(gram))
    for _ in range(sweeps):
        for k in range(len(gram)):
            step = (target[:, k] - values @ gram[:, k]) / gram[k, k]
            values[:, k] = np.maximum(values[:, k] + step, 0)
