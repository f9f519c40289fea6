"""Neighbours within a frame against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.tables.neighbours import nearest, pairs_within


def brute(y, x, frame):
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    distance[(frame[:, None] != frame) | np.eye(y.size, dtype=bool)] = np.inf
    return distance


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_against_brute_force(k, n_frames):
    rng = np.random.default_rng(k)
    y, x = rng.uniform(0, 50, 60), rng.uniform(0, 20, 60)
    frame = rng.choice([0, 7, 9][:n_frames], 60)
    expected = brute(y, x, frame)
    distance, row = nearest(y, x, frame, k=k)
    np.testing.assert_allclose(distance, np.sort(expected, axis=1)[:, :k])
    np.testing.assert_array_equal(row, np.argsort(expected, axis=1)[:, :k])
    pairs = pairs_within(y, x, 3.0, frame)
    np.testing.assert_array_equal(pairs, np.argwhere(np.triu(expected <= 3.0)))


def test_few_atoms():
    assert nearest([], [], k=2)[0].shape == (0, 2)
    distance, row = nearest([1.0, 4.0, 2.0], [1.0, 1.0, 1.0], [0, 0, 1], k=2)
    np.testing.assert_array_equal(distance, [[3, np.inf], [3, np.inf], [np.inf, np.inf]])
    np.testing.assert_array_equal(row, [[1, -1], [0, -1], [-1, -1]])
    assert pairs_within([1.0], [1.0], 5.0).shape == (0, 2)


def test_atoms_on_one_point():
    distance, row = nearest(np.zeros(4), np.zeros(4), k=2)
    assert (distance == 0).all()
    assert (row != np.arange(4)[:, None]).all()
