import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from hs_deepatoms.prepare import lone as module
from hs_deepatoms.prepare.lone import lone_pixels
from hs_deepatoms.prepare.masks import invalid_pixels
from hs_deepatoms.prepare.scaling import apply_scaling, frame_scale

SHAPE = (147, 203)


def columns(sigma=2.2, height=80.0, background=20.0, spacing=11.0):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sharp = np.exp(-0.5 * ((np.arange(-spacing // 2, spacing // 2 + 1)) / sigma) ** 2)
    grid = np.ix_((y[:, 0] % spacing).astype(int), (x[0] % spacing).astype(int))
    return background + height * np.outer(sharp[:11], sharp[:11])[grid]


def found(image, sigma=2.2):
    scaled = apply_scaling(image, frame_scale(image)[:2])
    bad = invalid_pixels(scaled)
    return lone_pixels(scaled, bad, sigma), bad


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("value", [0.0, 1.5, 1.8])
def test_odd_pixels_are_found_wherever_they_are_plain(sign, value):
    image = np.random.default_rng(0).poisson(10 * columns()).astype(float)
    rng = np.random.default_rng(1)
    y, x = rng.integers(0, SHAPE[0], 12), rng.integers(0, SHAPE[1], 12)
    # on the columns a dark pixel stands out, on the background it does not
    plain = (columns()[y, x] > 45) | (value > 1)
    image[y, x] = value * image.max()
    lone, wild = found(sign * image)
    lone |= wild
    assert lone[y[plain], x[plain]].all()
    lone[y, x] = False
    assert not lone.any()


@pytest.mark.parametrize("counts", [0.02, 0.3, 3.0, 300.0])
def test_noise_is_left_alone(counts):
    image = np.random.default_rng(2).poisson(counts, (401, 403)).astype(float)
    lone, bad = found(image)
    assert (lone & ~bad).sum() <= 5  # of 160,000


@pytest.mark.parametrize("sigma", [1.0, 1.5, 3.0])
def test_the_peaks_of_columns_are_left_alone(sigma):
    image = np.random.default_rng(3).poisson(columns(sigma, 5000.0, 5.0)).astype(float)
    lone, _ = found(image, sigma)
    assert not lone.any()


def test_leaving_most_candidates_out_at_once_changes_nothing(monkeypatch):
    image = np.random.default_rng(4).normal(size=(251, 303))
    image[100, 150], image[30, 40] = 14.0, -14.0
    scaled = apply_scaling(image, frame_scale(image)[:2])
    bad = np.zeros(image.shape, bool)
    monkeypatch.setattr(module, "MANY", 0)
    quick = lone_pixels(scaled, bad, 2.0)
    monkeypatch.setattr(module, "MANY", scaled.size)
    assert np.argwhere(quick).tolist() == [[30, 40], [100, 150]]
    np.testing.assert_array_equal(lone_pixels(scaled, bad, 2.0), quick)
    part = (slice(60, 140), slice(110, 190))
    assert np.argwhere(lone_pixels(scaled[part], bad[part], 2.0)).tolist() == [[40, 40]]


def test_pixels_without_a_value_are_no_neighbours():
    image = np.random.default_rng(5).poisson(10 * columns()).astype(float)
    image[70] = np.nan
    lone, bad = found(image)
    assert bad[70].all() and not lone.any()


def test_frames_too_small_to_tell_have_none():
    assert not lone_pixels(np.zeros((16, 300), np.float32), np.zeros((16, 300), bool), 2.0).any()


@pytest.mark.parametrize("shape", [(13, 17), (203, 61)])
def test_gaps_to_the_eight_neighbours(shape):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    above, below = module._gaps(image)
    np.testing.assert_array_equal(above, image - maximum_filter(image, footprint=ring, mode="mirror"))
    np.testing.assert_array_equal(below, minimum_filter(image, footprint=ring, mode="mirror") - image)
