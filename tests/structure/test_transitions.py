"""Markov chains with every kind of state."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.structure.transitions import KINDS, markov_chain, stationary_distribution


def test_every_kind_of_state():
    # 0 and 1 exchange, 2 is never left, 3 only at the end of a track, 4 never
    before, after = np.array([0, 0, 0, 1, 1, 2, 0]), np.array([0, 1, 1, 0, 3, 2, 2])
    chain = markov_chain(before, after, np.array([4, 3, 2, 1, 0]), 5)
    assert [KINDS[one] for one in chain.kind] == ["left", "left", "never_left", "only_last", "never_seen"]
    np.testing.assert_allclose(chain.probability[0], [0.25, 0.5, 0.25, 0, 0])
    np.testing.assert_array_equal(chain.probability[3], [0, 0, 0, 1, 0])
    assert np.isnan(chain.probability_std[3]).all() and np.isnan(chain.probability[4]).all()
    assert (chain.probability_std[:3] > 0).all()  # also of what was seen always or never
    np.testing.assert_allclose(np.nansum(chain.probability, axis=1), [1, 1, 1, 1, 0])
    assert chain.counts.sum() == before.size
    assert np.isnan(chain.stationary).all()  # two states that are never left


def test_known_chain_is_recovered_within_its_errors():
    rng = np.random.default_rng(0)
    true = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.0, 0.4, 0.6]])
    before = rng.integers(0, 3, 6000)
    after = (rng.random((6000, 1)) > np.cumsum(true[before], axis=1)).sum(axis=1)
    chain = markov_chain(before, after, np.bincount(before), 3)
    assert (np.abs(chain.probability - true) < 4 * chain.probability_std).all()
    np.testing.assert_allclose(chain.stationary @ chain.probability, chain.stationary, atol=1e-12)
    np.testing.assert_allclose(chain.stationary.sum(), 1)


def test_periodic_chains_and_chains_that_end():
    np.testing.assert_allclose(stationary_distribution(np.array([[0.0, 1.0], [1.0, 0.0]])), [0.5, 0.5])
    ends = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(stationary_distribution(ends), [0, 0, 1])


def test_no_states_and_no_links():
    none = np.empty(0, np.int64)
    assert markov_chain(none, none, none, 0).counts.shape == (0, 0)
    chain = markov_chain(none, none, np.array([3, 0]), 2)
    assert [KINDS[one] for one in chain.kind] == ["only_last", "never_seen"]
