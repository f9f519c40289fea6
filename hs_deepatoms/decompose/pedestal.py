"""What all samples stand on, and parts should not have to share."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.decompose.samples import SOME, Samples

NOISE = 0.05  # of the floor: a mean this far below zero is no noise
FEW, MOST = 0.2, 99.0  # percentiles: of what may be dead (dark atoms are more), and of the range of the others
FAR, WIDE = 2.0, 0.1  # from the low percentile to the median, or of the range: what lies farther below is no sample
BESIDE = 0.2  # percentile of what is not far below, where something is
DEAD = 0.02  # of the features, that may be the same in all samples
ROWS = 1000  # samples that tell how many parts there are
SURELY = 3.0  # eigenvalues of noise
ROUNDING = 1e-9  # of the second moment


def pedestal(samples: Samples, k: int) -> float:
    """What to take away from samples before ``k`` non-negative parts are sought; 0: nothing.

    The floor of samples whose mean is below zero, or a pedestal: a floor higher than what stands on it, without which
    ``k`` parts explain the samples as well. Parts that have a base in common, each as strong as its score, do not: what
    is left of them when a constant is taken away needs a part more.
    """
    low = floor(samples)
    rows = np.maximum(_some(samples), low)
    mean = rows.mean(axis=0)
    if mean.min() < NOISE * min(0.0, low):
        return low
    return low if low > mean.mean() - low and _no_worse_without(rows, low, k) else 0.0


def floor(samples: Samples) -> float:
    """The smallest number, but for up to one in five hundred that lie far below all others, as those of dead pixels do.

    Where there are some, it is a low percentile of the others: patches between pixels have numbers half dead, too.
    """
    some = _alive(_some(samples))
    few, middle, most = np.percentile(some, [FEW, 50, MOST])
    least = few - FAR * max(middle - few, WIDE * (most - few))
    if samples.minimum >= least:
        return samples.minimum
    return float(np.percentile(some[some >= least], BESIDE))


def _alive(some: np.ndarray) -> np.ndarray:
    """Without the few features that are the same in all samples: dead pixels of a detector."""
    dead = (some == some[0]).all(axis=0)
    return some[:, ~dead] if len(some) > 1 and 0 < dead.sum() <= DEAD * some.shape[1] else some


def _some(samples: Samples) -> np.ndarray:
    """Evenly spaced samples of at most ``SOME`` bytes: there may be more in memory than is copied here."""
    return samples.some[:: -(-samples.some.nbytes // SOME)]


def _no_worse_without(rows: np.ndarray, low: float, k: int) -> bool:
    """Whether ``k`` parts leave no more of the rows (n, n_features) without the constant than with it."""
    rows = rows[:: -(-len(rows) // ROWS)]
    with_it, without = _moments(rows), _moments(rows - low)
    noise = with_it[k + 1] if len(with_it) > k + 1 else 0.0  # a constant is no more than one part
    return without[k:].sum() <= with_it[k:].sum() + SURELY * noise + ROUNDING * with_it[0]


def _moments(rows: np.ndarray) -> np.ndarray:
    """Squared singular values, the largest first."""
    return np.linalg.svd(rows, compute_uv=False) ** 2
