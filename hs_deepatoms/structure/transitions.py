"""Markov chain of the classes of tracked atoms: counts, probabilities, what each state is, stationary distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("left", "never_left", "only_last", "never_seen")
"""Of a state: atoms left it; atoms stayed and none ever left (absorbing, as far as was seen); it was only seen at the
ends of tracks; it was not seen."""


class Chain(NamedTuple):
    """Rows are the states that atoms come from."""

    counts: np.ndarray
    probability: np.ndarray
    probability_std: np.ndarray
    kind: np.ndarray
    stationary: np.ndarray


def markov_chain(before: np.ndarray, after: np.ndarray, seen: np.ndarray, n_states: int) -> Chain:
    """Transition probabilities from pairs of states, one frame apart.

    Parameters
    ----------
    before, after
        Shape (n_links,): states 0 ... n_states - 1 at the two ends of every link over one frame.
    seen
        Shape (n_states,): in how many detections each state was seen.
    n_states
        Number of states.

    Returns
    -------
    Chain
        ``counts`` (n_states, n_states); ``probability``, the counts over the sum of their row; ``probability_std``, one
        sigma of the posterior of each with Jeffreys' prior, which is not 0 for what was never or always seen [1]_;
        ``kind`` (n_states,), an index into `KINDS`; ``stationary`` (n_states,), NaN unless there is exactly one.
        States seen at the ends of tracks only get 1 on the diagonal with an error of NaN: this is assumed, not
        measured. Rows of states never seen are NaN.

    References
    ----------
    .. [1] L. D. Brown, T. T. Cai and A. DasGupta, "Interval estimation for a binomial proportion", Statistical Science
       16 (2001) 101-133, https://doi.org/10.1214/ss/1009213286

    Examples
    --------
    >>> chain = markov_chain(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([2, 3]), 2)
    >>> chain.probability.tolist(), [KINDS[one] for one in chain.kind], chain.stationary.tolist()
    ([[0.5, 0.5], [0.0, 1.0]], ['left', 'never_left'], [0.0, 1.0])
    """
    counts = np.bincount(np.asarray(before) * n_states + after, minlength=n_states**2).reshape(n_states, n_states)
    total = counts.sum(axis=1)
    probability = np.full((n_states, n_states), np.nan)
    std = np.full((n_states, n_states), np.nan)
    followed = total > 0
    n = total[followed, None].astype(float)
    probability[followed] = counts[followed] / n
    centre = (counts[followed] + 0.5) / (n + 1)
    std[followed] = np.sqrt(centre * (1 - centre) / (n + 2))
    only_last = ~followed & (np.asarray(seen) > 0)
    probability[only_last] = np.eye(n_states)[only_last]
    never_left = followed & (np.diag(counts) == total)
    kind = np.select([never_left, followed, only_last], [1, 0, 2], 3).astype(np.int8)
    return Chain(counts, probability, std, kind, stationary_distribution(probability))


def stationary_distribution(probability: np.ndarray) -> np.ndarray:
    """The distribution (n_states,) over states that the transitions leave as it is.

    It is unique where one set of states, and only one, is never left; else NaN. States whose row is NaN take no part
    and get NaN.

    Examples
    --------
    >>> stationary_distribution(np.array([[0.9, 0.1], [0.3, 0.7]])).round(6).tolist()
    [0.75, 0.25]
    >>> stationary_distribution(np.eye(2)).tolist()
    [nan, nan]
    """
    from scipy.sparse.csgraph import connected_components

    made = np.full(len(probability), np.nan)
    known = np.flatnonzero(np.isfinite(probability).all(axis=1))
    if not known.size:
        return made
    matrix = probability[np.ix_(known, known)]
    number, label = connected_components(matrix > 0, directed=True, connection="strong")
    leaves = np.array([(matrix[label == one][:, label != one] > 0).any() for one in range(number)])
    if np.count_nonzero(~leaves) != 1:
        return made
    inside = label == np.flatnonzero(~leaves)[0]
    kept = matrix[np.ix_(inside, inside)]
    # (P^T - 1) pi = 0 and sum(pi) = 1
    system = np.vstack([kept.T - np.eye(len(kept)), np.ones(len(kept))])
    made[known] = 0.0
    made[known[inside]] = np.linalg.lstsq(system, np.append(np.zeros(len(kept)), 1.0), rcond=None)[0]
    return made
