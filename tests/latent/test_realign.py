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


def thick_and_thin(counts, classes, seed=0, m=600, channels=96):
    """Counts of whole spectra of varying thickness, one class or two, and their classes, shifts and bound."""
    rng = np.random.default_rng(seed)
    label, shift = rng.integers(0, classes, m), rng.uniform(-5, 5, m)
    thickness = rng.uniform(0.5, 2, (m, 1))

    def at(shift):
        energy = np.arange(channels) - shift[:, None]
        zero, one, two = (np.exp(-0.5 * ((energy - a) / b) ** 2) for a, b in ((25, 2.5), (50, 5), (65, 8)))
        return thickness * (counts * (zero + 0.15 * np.where(label[:, None] == 0, one, two)) + 3)

    mean, slope = at(shift), (at(shift + 1e-3) - at(shift - 1e-3)) / 2e-3
    known = (slope**2 / mean).sum(1) - slope.sum(1) ** 2 / mean.sum(1)  # the thickness is not known
    return rng.poisson(mean).astype(float), label, shift, np.sqrt((1 / known).mean())


@pytest.mark.parametrize("level", [0, 200])
@pytest.mark.parametrize(("counts", "classes"), [(400, 1), (400, 2), (50, 2), (5000, 2)])
def test_thickness_classes_and_levels_cost_nothing(counts, classes, level):
    """Neither what varies in brightness nor the classes' own shapes move a spectrum: not even all of one class."""
    spectra, label, truth, bound = thick_and_thin(counts, classes)
    rng = np.random.default_rng(1)
    rough = truth + rng.normal(scale=0.15, size=truth.size) + 0.2 * label
    found, std = realign(spectra + rng.uniform(-level, level, (len(spectra), 1)), rough)
    error = found - truth
    error -= error.mean()
    assert error.std() < 1.1 * bound
    assert abs(error[label == 0].mean()) < 0.3 * bound
    assert 0.6 < (np.abs(error) < std).mean() < 0.75


def test_spectra_that_say_nothing_have_no_error():
    shift, std = realign(np.zeros((30, 40)), np.linspace(-1, 1, 30))
    np.testing.assert_array_equal(shift, np.linspace(-1, 1, 30))
    assert np.isnan(std).all()


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
