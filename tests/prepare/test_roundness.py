import numpy as np
import pytest

from hs_deepatoms.prepare.roundness import FINEST, ROUND_ENOUGH, smoothed, to_round


def covariance(sigma, plus, cross):
    log, axes = np.linalg.eigh([[plus, cross], [cross, -plus]])
    return sigma**2 * (axes * np.exp(log)) @ axes.T


@pytest.mark.parametrize(("plus", "cross"), [(0.5, 0.0), (-0.3, 0.4), (0.1, -0.65)])
def test_a_long_column_becomes_round_and_stays_where_it_is(plus, cross):
    rows, columns = np.mgrid[:61, :70]
    there = np.stack([rows - 30.3, columns - 33.8], -1)
    inverse = np.linalg.inv(covariance(2.4, plus, cross))
    image = np.exp(-0.5 * np.einsum("...i,ij,...j", there, inverse, there)).astype(np.float32)
    smoothing = to_round(2.4, plus, cross)
    after = smoothed(image, smoothing)
    assert after.dtype == np.float32 and after.shape == image.shape
    weight = after / after.sum()
    assert abs((weight * there[..., 0]).sum()) < 2e-3 and abs((weight * there[..., 1]).sum()) < 2e-3
    variance = np.linalg.eigvalsh(np.einsum("yx,yxi,yxj", weight, there, there))
    assert np.sqrt(variance[1] / variance[0]) == pytest.approx(ROUND_ENOUGH, abs=0.02)
    assert variance.prod() ** 0.25 == pytest.approx(2.4 * smoothing.stretch, rel=0.01)
    long = 2.4**2 * np.exp(np.hypot(plus, cross))
    assert variance[1] == pytest.approx(long + FINEST**2, rel=0.01)  # along it hardly anything changes


def test_what_is_round_enough_is_left_alone():
    assert to_round(3.0, 0.1, -0.12) is None
    assert to_round(3.0, 0.1, -0.2) is not None


def test_windows_of_an_image_are_smoothed_as_the_whole():
    image = np.random.default_rng(0).normal(size=(70, 83)).astype(np.float32)
    smoothing = to_round(2.0, 0.2, 0.4)
    r = smoothing.reach
    whole, part = smoothed(image, smoothing), smoothed(image[20 - r : 40 + r, 30 - r : 55 + r], smoothing)
    assert np.abs(part[r:-r, r:-r] - whole[20:40, 30:55]).max() < 1e-5
    assert smoothed(np.full((20, 31), 3.0, np.float32), smoothing) == pytest.approx(3.0, rel=1e-5)
