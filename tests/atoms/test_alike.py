"""Columns that look alike at equivalent sites, and what their heights say about doubtful ones."""

import numpy as np
import pytest

from hs_deepatoms.atoms import alike
from hs_deepatoms.atoms.alike import (
    brightness_at,
    likeness,
    on_its_own,
    reconsidered_with_alike,
    rows_of,
    usual,
    weighed,
)
from hs_deepatoms.atoms.order import reconsidered
from hs_deepatoms.methods.images import find_model

SIGMA, SPACING = 2.0, 13.0
SHAPE = (200, 280)


@pytest.fixture
def weights():
    return find_model(None).order


def two_sublattices(angle=0.3):
    """Square lattice of bright columns with dim ones between: y, x, brightness, True for the dim ones."""
    i, j = np.meshgrid(np.arange(-40, 40), np.arange(-40, 40), indexing="ij")
    c, s = np.cos(angle) * SPACING, np.sin(angle) * SPACING
    i, j = (np.concatenate([w.ravel(), w.ravel() + 0.5]) for w in (i, j))
    dim = np.arange(len(i)) >= len(i) // 2
    y, x = 100 + c * i - s * j, 140 + s * i + c * j
    inside = (y > 0) & (y < SHAPE[0]) & (x > 0) & (x < SHAPE[1])
    return y[inside], x[inside], np.where(dim, 1.0, 3.0)[inside], dim[inside]


def test_brightness_is_the_weighed_mean_of_valid_pixels():
    rows, columns = np.mgrid[:40, :52]
    image = (2.0 * rows + 3.0 * columns).astype(np.float32)
    valid = np.ones(image.shape, bool)
    y, x = np.array([20.0, 11.5]), np.array([30.0, 25.25])
    np.testing.assert_allclose(brightness_at(image, valid, y, x, 2.0), 2 * y + 3 * x, rtol=5e-3)
    image[20, 30], valid[20, 30] = np.nan, False
    np.testing.assert_allclose(brightness_at(image, valid, y[:1], x[:1], 2.0), 2 * y[:1] + 3 * x[:1], rtol=5e-3)
    corner = brightness_at(image, valid, np.array([0.0]), np.array([0.0]), 2.0)
    assert 0 < corner[0] < 12  # of the pixels that there are
    assert brightness_at(image, valid, y[:0], x[:0], 2.0).shape == (0,)


def test_a_column_is_compared_with_its_own_sublattice(weights):
    y, x, bright, dim = two_sublattices()
    rng = np.random.default_rng(0)
    noisy = bright + 0.2 * rng.standard_normal(len(bright))
    p, found = reconsidered_with_alike(y, x, np.full(len(y), 0.97), noisy, SIGMA, SHAPE, weights)
    near, between = found.near, found.between
    np.testing.assert_array_equal(p, reconsidered(y, x, np.full(len(y), 0.97), SIGMA, SHAPE, weights))
    some = near[:, 0] >= 0
    assert some.mean() > 0.95
    assert (dim[near] == dim[:, None])[near >= 0].mean() > 0.99
    assert (near != np.arange(len(y))[:, None]).all()
    assert not between.any()


def test_an_empty_site_is_compared_and_what_stands_between_sites_is_not(weights):
    y, x, bright, _ = two_sublattices()
    p = np.full(len(y), 0.97)
    site = np.argmin(np.hypot(y - 100, x - 140))
    p[site] = 0.2
    # beside a column; and between sites
    half = SPACING / 2 * np.array([np.cos(0.3), np.sin(0.3)])
    y, x = np.append(y, [y[site + 5] + 1.5, y[site] + half[0]]), np.append(x, [x[site + 5], x[site] + half[1]])
    p, bright = np.append(p, [0.3, 0.3]), np.append(bright, [3.0, 1.0])
    _, found = reconsidered_with_alike(y, x, p, bright, SIGMA, SHAPE, weights)
    near, between = found.near, found.between
    assert (near[site] >= 0).sum() >= alike.LEAST
    assert (near[-2] < 0).all()
    assert between[-1] and between.sum() == 1


def test_steps_of_doubtful_candidates_are_lattice_vectors_though_few_columns_tell_them(weights, monkeypatch):
    y, x, bright, dim = two_sublattices()
    rng = np.random.default_rng(2)
    y, x = (w + 0.3 * rng.standard_normal(len(w)) for w in (y, x))
    p = np.where(dim & (rng.random(len(y)) < 0.3), 0.3, 0.97)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    for starts in (100, 100_000):
        monkeypatch.setattr(alike, "STARTS", starts)
        after, found = reconsidered_with_alike(y, x, p, bright, SIGMA, SHAPE, weights)
        steps = found.steps
        assert np.isnan(steps[after >= alike.UNDECIDED]).all()
        led = steps[np.isfinite(steps[:, 0, 0])]
        whole = led[np.isfinite(led[..., 0])] @ turn / SPACING  # in cells
        assert len(led) > 20 and np.abs(whole - whole.round()).max() < 0.03
        assert (np.abs(whole.round()).sum(1) > 0).all()


def test_without_order_nothing_is_alike(weights):
    rng = np.random.default_rng(0)
    y, x, p = rng.uniform(0, 200, 120), rng.uniform(0, 280, 120), rng.uniform(0.02, 0.99, 120)
    after, found = reconsidered_with_alike(y, x, p, np.ones(120), SIGMA, SHAPE, weights)
    np.testing.assert_array_equal(after, p)
    assert (found.near == -1).all() and found.near.shape == (120, alike.MOST) and not found.between.any()
    assert np.isnan(found.evidence).all() and found.evidence.shape == (120, 2)
    after, none = reconsidered_with_alike(y[:0], x[:0], p[:0], p[:0], SIGMA, SHAPE, weights)
    shapes = [part.shape for part in (after, none.near, none.between, none.steps, none.evidence)]
    assert shapes == [(0,), (0, alike.MOST), (0,), (0, alike.MOST, 2), (0, 2)]


def test_what_detections_say_of_the_equivalents_is_told_of_candidates_in_a_crystal(weights):
    y, x, bright, dim = two_sublattices()
    p = np.where(dim, 0.2, 0.97)
    _, found = reconsidered_with_alike(y, x, p, bright, SIGMA, SHAPE, weights)
    known = np.isfinite(found.evidence).all(1)
    assert known.mean() > 0.95
    assert np.median(found.evidence[dim & known, 0]) + 2 < np.median(found.evidence[~dim & known, 0])


def judged(clear, ids, near):
    typical, spread = usual(clear, rows_of(ids, near))
    return likeness(clear, typical, spread), typical


def test_likeness_falls_with_what_a_column_lacks():
    clear = np.array([6.0, 6.5, 5.5, 6.2, 5.9, 6.0, 3.0, 0.5, 12.0])
    ids = np.array([2, 3, 5, 7, 11, 13, 17, 19, 23])
    ratio, typical = judged(clear, ids, np.tile([2, 3, 5, 7, 11, -1], (9, 1)))
    np.testing.assert_allclose(typical, np.mean(clear[:5]))
    assert (ratio[:6] == alike.ENOUGH).all() and ratio[8] == alike.ENOUGH
    assert alike.FAINTEST < ratio[6] < -0.5 and ratio[7] == alike.FAINTEST


def test_likeness_is_unknown_without_equivalents_or_with_faint_ones():
    ids = np.arange(5)
    few = np.tile([0, 1, -1, -1], (5, 1))
    assert np.isnan(judged(np.full(5, 6.0), ids, few)[0]).all()
    absent = np.tile([0, 1, 2, 99], (5, 1))  # one was not fitted
    assert np.isfinite(judged(np.full(5, 6.0), ids, absent)[0]).all()
    assert np.isnan(judged(np.full(5, 1.5), ids, absent)[0]).all()
    assert np.isnan(judged(np.array([6, 6, np.nan, 6, 6.0]), ids, absent)[0]).all()
    assert [part.shape for part in judged(np.empty(0), ids[:0], few[:0])] == [(0,), (0,)]


def test_alone_a_column_has_to_stand_out_of_the_noise():
    p = on_its_own(np.array([2.0, 3.5, 4.0, 6.0]))
    assert p[0] < 0.01 and p[1] < 0.4 and p[2] > 0.6 and p[3] > 0.999


def test_probabilities_are_weighed_where_the_ratio_is_known():
    p = weighed(np.array([0.5, 0.5, 0.7]), np.array([np.nan, 0.0, -7.0]), (0.5, 0.9, 1.6))
    assert p[0] == 0.5 and p[1] == pytest.approx(1 / (1 + np.exp(-1.6))) and p[2] < 0.5


def test_a_few_adatoms_are_no_standard_for_peaks_of_the_noise():
    rows = np.tile(np.arange(8), (8, 1))
    columns = np.array([2.6, 3.1, 2.9, 3.4, 2.8, 3.0, 2.5, 3.3])
    adatoms = np.array([7.0, 0.6, 2.3, 5.9, 1.4, 1.4, 8.7, 2.4])  # their mean is higher
    assert np.isfinite(usual(columns, rows)[0]).all() and np.isnan(usual(adatoms, rows)[0]).all()


def test_bumps_are_more_uneven_than_columns():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.choice(np.delete(np.arange(60), k), alike.MOST, replace=False) for k in range(60)])
    columns = 12 * (1 + 0.05 * rng.standard_normal(60)) + rng.standard_normal(60)
    bumps = 12 * (1 + 0.35 * rng.standard_normal(60)) + rng.standard_normal(60)
    even, uneven = alike.unevenness(columns, rows), alike.unevenness(bumps, rows)
    assert np.median(even) < 0.12 and 0.3 < np.median(uneven) < 0.42
    assert np.isnan(alike.unevenness(columns, np.where(np.arange(8) < 2, rows, -1))).all()
    assert len(alike.unevenness(columns[:0], rows[:0])) == 0
