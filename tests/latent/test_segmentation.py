"""Phases are found, counted by rising mean, and not made of noise."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.latent.segmentation import phases


def two_phases(noise=0.2):
    truth = np.zeros((20, 27), int)
    truth[:, 11:] = 1
    return truth, truth + noise * np.random.default_rng(0).standard_normal(truth.shape)


@pytest.mark.parametrize("options", [{}, {"method": "chan_vese"}, {"denoise": None}])
@pytest.mark.parametrize("factor", [3.0, -2.0])
def test_two_phases(options, factor):
    truth, values = two_phases()
    found = phases(factor * values + 7, **options)
    expected = truth if factor > 0 else 1 - truth
    assert (found == expected).mean() > 0.98


def test_three_phases_and_nan():
    values = np.repeat([0.0, 5.0, 10.0], 30) + 0.3 * np.random.default_rng(1).standard_normal(90)
    values[4] = np.nan
    found = phases(values, classes=3)
    assert found[4] == -1
    np.testing.assert_array_equal(np.delete(found, 4), np.delete(np.repeat([0, 1, 2], 30), 4))


def test_noise_is_one_phase():
    values = np.random.default_rng(2).standard_normal((30, 31))
    assert (phases(values, denoise=None) == 0).all()
    assert (phases(np.full((5, 6), 2.0)) == 0).all()
    assert (phases(np.full(4, np.nan)) == -1).all()


@pytest.mark.parametrize("options", [{"method": "watershed"}, {"classes": 1}, {"method": "chan_vese", "classes": 3}])
def test_what_is_refused(options):
    with pytest.raises(InvalidArgumentError):
        phases(two_phases()[1], **options)
    with pytest.raises(InvalidArgumentError, match="grid"):
        phases(np.arange(9.0), method="chan_vese")


@pytest.mark.parametrize("turns", range(4))
def test_denoising_moves_no_boundary(turns):
    """Patches that overlap make ramps of boundaries: their middle is where the boundary is, along whichever axis."""
    truth = np.rot90(np.arange(24) >= 11 + np.zeros((20, 1)), turns)
    ramp = np.rot90(np.clip((np.arange(24) - 10.5) / 3, -1, 1) + np.zeros((20, 1)), turns)
    np.testing.assert_array_equal(phases(ramp), truth)
    np.testing.assert_array_equal(phases(ramp, denoise=2.0), truth)


def test_what_is_not_known_is_no_neighbour():
    truth, values = two_phases(0.05)
    hole = np.zeros(truth.shape, bool)
    hole[4:9, 6:15] = True
    found = phases(np.where(hole, np.nan, values))
    assert (found[hole] == -1).all()
    np.testing.assert_array_equal(found[~hole], truth[~hole])


@pytest.mark.parametrize("options", [{}, {"method": "chan_vese"}, {"denoise": None}])
@pytest.mark.parametrize("outliers", [(1e3, 1e3), (-40.0, 40.0), (8.0, 9.0)])
def test_outliers_are_no_phase_and_hide_none(outliers, options):
    """Everything was scaled by the extremes: all else was one phase."""
    truth, values = two_phases()
    values[3, 5], values[12, 20] = outliers
    far = np.zeros(truth.shape, bool)
    far[3, 5] = far[12, 20] = True
    assert (phases(values, **options) == truth)[~far].mean() > 0.98
    flat = np.where(far, values, 2.0)
    assert (phases(flat, **options) == 0).all()
    noise = np.where(far, values, np.random.default_rng(3).standard_normal(truth.shape))
    assert (phases(noise, **options) == 0).all()


def test_outliers_of_values_without_neighbours():
    values = np.repeat([0.0, 5.0], 60) + 0.3 * np.random.default_rng(1).standard_normal(120)
    values[[4, 90]] = 1e4, -1e4
    found = phases(values)
    np.testing.assert_array_equal(np.delete(found, [4, 90]), np.delete(np.repeat([0, 1], 60), [4, 90]))


def test_small_and_narrow_phases_are_no_outliers():
    truth = np.zeros((24, 31), int)
    truth[10:13, 7:10] = 1  # 1.2 % of the map
    noise = 0.05 * np.random.default_rng(5).standard_normal(truth.shape)
    np.testing.assert_array_equal(phases(truth + noise), truth)
    line = np.zeros((24, 31), int)
    line[:, 14] = 1
    np.testing.assert_array_equal(phases(line + noise, denoise=None), line)


@pytest.mark.parametrize("options", [{}, {"denoise": None}])
def test_a_rare_phase_is_no_outlier(options):
    truth = np.zeros((40, 50), int)
    truth[20, 10:25] = 1  # 0.75 % of the map, one pixel wide
    values = 5 * truth + 0.05 * np.random.default_rng(2).standard_normal(truth.shape)
    if options:
        np.testing.assert_array_equal(phases(values, **options), truth)
    rare = np.where(np.isin(np.arange(100), (7, 60)), 9.0, 0.1 * np.random.default_rng(3).standard_normal(100))
    np.testing.assert_array_equal(np.flatnonzero(phases(rare)), (7, 60))
