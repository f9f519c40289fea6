"""Distance from the training data."""

import json

import numpy as np

from hs_deepatoms.training.familiarity import Familiarity


def test_the_limit_is_exceeded_by_one_in_a_hundred():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    seen = Familiarity.of(rng.normal(size=(2000, 6)) @ mixing + 50)
    new = rng.normal(size=(5000, 6)) @ mixing + 50
    assert 0.003 < np.mean(seen.score(new) > 1) < 0.02
    direction = np.linalg.eigh(mixing.T @ mixing)[1][:, 0]  # along which there is little variance
    assert (seen.score(new + 3 * direction) > seen.score(new)).mean() > 0.9


def test_constant_features_and_few_samples():
    seen = Familiarity.of(np.column_stack([np.arange(5.0), np.full(5, 2.0)]))
    assert seen.score([[2.0, 2.0]])[0] < 1 < seen.score([[2.0, 2.5]])[0]
    again = Familiarity.from_dict(json.loads(json.dumps(seen.as_dict())))
    np.testing.assert_array_equal(again.score([[1.0, 2.1]]), seen.score([[1.0, 2.1]]))
