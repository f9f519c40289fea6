"""Weights of what the crystal says, fitted on simulated images."""

import numpy as np
import pytest
from scipy.special import expit

from hs_deepatoms.modelfile.registry import shipped_model
from hs_deepatoms.workflows.fit_order import EMPTY, averaged_samples, fit_averaged


def test_weights_of_averages_are_found_again_where_what_is_none_counts_twice():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40_000, 6))
    weights = np.array([2.0, 0.3, -0.5, 0.1, 0.0, 0.6])
    column = rng.random(len(values)) < expit(values @ weights - 0.8)
    found = fit_averaged([(values[::2], column[::2], np.ones(20_000)), (values[1::2], column[1::2], np.ones(20_000))])
    np.testing.assert_allclose(found[:-1], weights, atol=0.08)
    assert found[-1] == pytest.approx(-0.8 - np.log(2), abs=0.08)


def test_samples_of_averages_know_the_truth():
    order = (0.7798, 0.506, 1.1688, 0.1065, -0.0174, -0.1531, -0.3208, 0.0491, 0.3508)
    values, column, weight = (
        np.concatenate(v) for v in zip(*averaged_samples(shipped_model(), order, 1, 0, 5), strict=True)
    )
    assert values.shape == (len(column), 6) and np.isfinite(values).all() and len(column) > 50
    assert set(np.unique(weight)) <= {1.0, EMPTY} and not column[weight == EMPTY].any()
    high = values[:, 0] > 0.3
    assert high.sum() > 50 and column[high].mean() > 0.95 > column[~high].mean()
