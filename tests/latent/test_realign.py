"""Shifts of spectra reach the bound, and their errors hold."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.latent.realign import moved, realign


def drifting(counts, seed=0, m=500, channels=128):
    """Counts of a zero loss and two plasmons in varying shares, thickness and place."""
    rng = np.random.default_rng(seed)
    share, thickness = rng.random((2, m, 1))
    shift = rng.uniform(-2.5, 2.5, m)
    energy = np.arange(channels) - 32 - shift[:, None]
    zero, one, two = (np.exp(-0.5 * ((energy - at) / width) ** 2) for at, width in ((0, 2.5), (40, 8), (60, 9)))
    mean = counts * (zero + 0.15 * (0.5 + thickness) * (share * one + (1 - share) * two) + 0.01)
    bound = np.sqrt((1 / (np.gradient(mean, axis=1) ** 2 / mean).sum(1)).mean())
    return rng.poisson(mean).astype(float), shift, bound


@pytest.mark.parametrize("counts", [50, 1000, 20000])
def test_shifts_reach_the_bound(counts):
    spectra, truth, bound = drifting(counts)
    rough = truth + np.random.default_rng(1).normal(scale=0.15, size=truth.size)
    found, std = realign(spectra, rough)
    error = found - truth
    error -= error.mean()
    assert error.std() < 1.15 * bound
    assert np.polyfit(truth, found, 1)[0] == pytest.approx(1, abs=0.01)
    assert found.mean() == pytest.approx(rough.mean())
    assert 0.55 < (np.abs(error) < std).mean() < 0.75


def test_spectra_given_far_off_are_found_and_those_without_a_reason_stay():
    spectra, truth, bound = drifting(1000)
    rng = np.random.default_rng(1)
    rough = truth + rng.normal(scale=0.05, size=truth.size)
    rough[:15] += 1.4
    spectra[15:40] = rng.poisson(0.3, (25, 128))  # nothing to be seen in them
    found, std = realign(spectra, rough)
    error, stated = (np.delete(one, slice(15, 40)) for one in (found - truth, std))
    assert np.abs(found - rough)[:15].min() > 1
    assert (np.abs(error - error.mean()) < 6 * stated).all() and np.median(stated) < 2 * bound
    lost = np.isnan(std)
    assert lost[15:40].any() and not lost[:15].any() and not lost[40:].any()
    assert (found[lost] == rough[lost]).all() and std[15:40][~lost[15:40]].min() > 0.3


def test_moved_is_exact_for_smooth_spectra():
    at = np.arange(60.0)
    by = np.array([0.0, 1.3, -2.6])
    expected = np.exp(-0.5 * ((at - 30 - by[:, None]) / 4) ** 2)
    np.testing.assert_allclose(moved(np.repeat(expected[:1], 3, 0), by), expected, atol=2e-4)
