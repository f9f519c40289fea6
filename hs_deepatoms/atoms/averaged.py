"""What stands, on average, where lattice vectors lead from a candidate: in the pixels, whatever was detected there.

A column of a weak sublattice hardly stands out of the noise, and few of its equivalents are detected. The mean over all
places that lattice vectors lead to does stand out, where they hold columns; where there are none it is nothing. Places
that a plain column covers count as nothing, so that a mean is rather too low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from hs_deepatoms.atoms.faint import Faint, at

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.refine import FrameFit

PLACES = 6  # that lattice vectors lead to, at least; the same place may be led to more than once
# mean signal-to-noise ratio there from which it begins to raise a candidate, and from which it does so fully
NOTHING, SOMETHING = 0.3, 0.7
# log likelihood ratio of a column as high as the mean to none, below and above which it says no more; and the mean
BOUND, HIGHEST = 6.0, 3.0
VACANT = 0.5  # log odds above that ratio to which a candidate is raised at most: an empty site stays empty
EDGE, CERTAIN = 0.01, 1e-4  # probabilities count as no nearer to 0 and 1: as features, and as what is raised
# of the features below, and the constant (``python -m hs_deepatoms.workflows.fit_order``)
WEIGHTS = (1.2683, 0.3928, 0.2026, 0.4129, -0.1423, 0.6906, -2.1719)


def averaged(points: Points, faint: Faint, alone: np.ndarray) -> np.ndarray:
    """Signal-to-noise ratio at some of the fitted candidates, and where lattice vectors lead from them, on average.

    Parameters
    ----------
    points : Points
        With the lattice vectors of the candidates, and what detections say about their equivalents.
    faint : Faint
    alone : ndarray of bool, shape (k,)
        The fitted candidates that are asked about.

    Returns
    -------
    ndarray, shape (k, 2)
        NaN where no crystal is known, or few of its places lie in the image.
    """
    done: FrameFit = faint.done
    out = np.full((len(alone), 2), np.nan)
    if "evidence" not in points.fitted:
        return out
    asked = np.flatnonzero(alone & faint.which & np.isfinite(points.fitted["evidence"][done.rows, 0]))
    if not len(asked):
        return out
    place = np.column_stack([done.fit.y, done.fit.x])[np.flatnonzero(done.known)[asked]]
    steps = points.fitted["steps"][done.rows[asked]].astype(float)
    i, j = np.triu_indices(steps.shape[1])
    steps = np.concatenate([steps, steps[:, i] + steps[:, j]], axis=1)  # sums of lattice vectors are such, too
    steps[np.hypot(*np.moveaxis(steps, -1, 0)) < faint.sigma] = np.nan  # back to the candidate itself
    own, there = at(faint.clearness, place), at(faint.clearness, place[:, None] + steps)
    known = np.isfinite(own) & (np.isfinite(there).sum(1) >= PLACES)
    out[asked[known]] = np.column_stack([own[known], np.nanmean(there[known], axis=1)])
    return out


def features(p: np.ndarray, seen: np.ndarray, evidence: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What the regression sees, shape (n, 6).

    Parameters
    ----------
    p, seen : ndarray, shape (n,)
        Probabilities in the light of the crystal, and as the detector alone has them.
    evidence : ndarray, shape (n, 2)
        Mean and spread of the log odds of a column at the equivalents.
    mean : ndarray, shape (n, 2)
        See :func:`averaged`.
    """
    own, there = mean.T
    ratio = (own * there - 0.5 * there**2).clip(-BOUND, BOUND)  # of likelihoods: a column as high as the mean, or none
    odds = [logit(np.clip(v, EDGE, 1 - EDGE)) for v in (seen, p)]
    return np.column_stack([np.minimum(there, HIGHEST), ratio, evidence, *odds])


def raised(now: np.ndarray, mean: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Probabilities ``now`` (n,), raised where the mean and the other features (n, 6) speak for a column."""
    share = np.nan_to_num((mean[:, 1] - NOTHING) / (SOMETHING - NOTHING)).clip(0, 1)
    known = share > 0
    before = logit(np.clip(now[known], CERTAIN, 1 - CERTAIN))
    after = np.minimum(values[known] @ np.asarray(WEIGHTS[:-1]) + WEIGHTS[-1], values[known, 1] + VACANT)
    out = np.array(now, float)
    out[known] = np.where(after > before, expit(before + share[known] * (after - before)), now[known])
    return out
