"""A quantity from latents: found, and its uncertainty is that of patches whose values nobody knew."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.latent.quantity import Quantity, fit_quantity, held_out


def test_a_smooth_function_is_found():
    rng = np.random.default_rng(0)
    z = np.vstack([rng.standard_normal((30, 2)), np.full((1, 2), np.nan)])
    value, spread = fit_quantity(z, 2 * z[:, 0] + 7.5).predict(z)
    np.testing.assert_allclose(value[:30], 2 * z[:30, 0] + 7.5, atol=0.01)
    assert np.isnan([value[30], spread[30]]).all()


def test_what_the_others_say_is_what_they_say_alone():
    rng = np.random.default_rng(1)
    z = rng.standard_normal((12, 2))
    process = fit_quantity(z, z[:, 0] + 0.2 * rng.standard_normal(12))
    centred, deviations = process.values - process.values.mean(), process.left_out()
    square = (((z[:, None] - z) / process.lengths) ** 2).sum(2)
    covariance = process.signal**2 * np.exp(-0.5 * square) + process.noise**2 * np.eye(12)
    for k in (0, 7):
        rest = np.delete(np.arange(12), k)
        weights = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[rest, k])
        spread = np.sqrt(covariance[k, k] - weights @ covariance[rest, k])
        np.testing.assert_allclose(deviations[k], (centred[k] - weights @ centred[rest]) / spread, rtol=1e-6)


def test_held_out_values_span_the_range():
    values = np.append(np.random.default_rng(2).permutation(41) / 7, [np.nan] * 30)
    chosen = held_out(values)
    assert chosen.sum() == 10 and not chosen[41:].any()
    assert np.array_equal(np.sort(values[chosen] * 7 // 4).astype(int), np.arange(10))
    assert not held_out(values[:7]).any() and not np.array_equal(chosen, held_out(values, seed=1))


@pytest.mark.parametrize("seed", range(3))
def test_the_uncertainty_is_that_of_values_nobody_knew(seed):
    """Latents that were told the values say more of them than others do."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(2060)
    values = np.where(np.arange(2060) < 60, truth, np.nan)
    unseen = held_out(values, seed)
    told = np.isfinite(values) & ~unseen
    z = np.stack([truth + np.where(told, 0.05, 0.3) * rng.standard_normal(2060), rng.standard_normal(2060)], 1)
    share = []
    for given in (None, unseen):
        value, spread = fit_quantity(z, values, given).predict(z)
        share.append((np.abs(value - truth) < spread)[60:].mean())
    assert abs(share[1] - 0.683) < 0.15 and abs(share[1] - 0.683) < abs(share[0] - 0.683)


def test_state_and_back():
    z = np.random.default_rng(3).standard_normal((20, 3))
    process = fit_quantity(z, z[:, 0], held_out(z[:, 0]))
    back = Quantity.from_state(process.state())
    np.testing.assert_array_equal(process.predict(z), back.predict(z))
