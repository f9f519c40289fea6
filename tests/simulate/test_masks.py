import numpy as np
import pytest

from hs_deepatoms.simulate.masks import disc_classes, gaussian_shares


def test_discs_are_what_is_near():
    rng = np.random.default_rng(0)
    y, x, label = rng.uniform(-2, 42, 30), rng.uniform(-2, 52, 30), rng.integers(1, 4, 30)
    radius = np.array([0.0, 2.0, 3.5, 5.0])[label]
    yy, xx = np.mgrid[:40, :50]
    distance = np.hypot(yy[..., None] - y, xx[..., None] - x)
    distance[distance > radius] = np.inf
    expected = np.where(np.isfinite(distance.min(-1)), label[distance.argmin(-1)], 0)
    np.testing.assert_array_equal(disc_classes((40, 50), y, x, label, radius), expected)


def test_gaussians_are_a_half_at_the_radius():
    shares = gaussian_shares((21, 31), [10.0, 10.0], [8.0, 20.0], [1, 2], [4.0, 6.0], 2)
    assert shares.dtype == np.float32 and shares.shape == (2, 21, 31)
    assert shares[0, 10, 8] == 1 and shares[0, 10, 12] == pytest.approx(0.5) and shares[0, 10, 20] < 0.01
    assert shares[1, 10, 26] == pytest.approx(0.5) and shares[1, 16, 20] == pytest.approx(0.5)


def test_nothing_is_nothing():
    assert not disc_classes((5, 6), [], [], 1, 2.0).any()
    assert not gaussian_shares((5, 6), [], [], 1, 2.0, 3).any()
    assert not disc_classes((5, 6), [30.0], [30.0], 1, 2.0).any()
