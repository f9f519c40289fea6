import numpy as np
import pytest
import torch

from hs_deepatoms.atoms.decode import Points, calibrated, decode, without_doubles
from hs_deepatoms.simulate.samples import column_target


def maps(y, x, size=64, logit=6.0, frames=1):
    """What a perfect detector would say about columns at y, x (grid pixels)."""
    target = torch.from_numpy(column_target(size, np.array(y), np.array(x), np.full(len(y), 9.0), 0.0))
    out = torch.full((frames, 6, size // 2, size // 2), -12.0)
    out[:, 0] = torch.where(target[0] > 0, logit, -12.0)
    out[:, 1:3], out[:, 3:5], out[:, 5] = target[2:4], np.log(0.1), np.log(1.2)
    return out


def test_positions_come_back():
    y, x = [10.2, 30.9, 50.0], [12.4, 33.3, 8.8]
    points = decode(maps(y, x, frames=2), 0.5)
    assert points.frame.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(points.y[:3], y, atol=1e-5)
    np.testing.assert_allclose(points.x[:3], x, atol=1e-5)
    np.testing.assert_allclose(points.y_std, 0.1, rtol=1e-4)
    np.testing.assert_allclose(points.width, 2.4, rtol=1e-4)


@pytest.mark.parametrize("gap", [4.2, 5.0, 6.0])
def test_columns_two_to_three_sigma_apart_stay_two(gap):
    points = decode(maps([20.3, 20.3], [15.1, 15.1 + gap]), 0.5)
    np.testing.assert_allclose(np.sort(points.x), [15.1, 15.1 + gap], atol=1e-4)


def test_a_column_split_between_two_cells_counts_once_and_whole():
    out = maps([20.3], [15.4], logit=-12.0)
    cell = int((20.3 + 0.5) // 2), int((15.4 + 0.5) // 2)
    for dj in (0, 1):  # 40 % here, 40 % next door, both pointing at the same place
        i, j = cell[0], cell[1] + dj
        out[0, 0, i, j] = np.log(0.4 / 0.6)
        out[0, 1, i, j], out[0, 2, i, j] = 20.3 - (2 * i + 0.5), 15.4 - (2 * j + 0.5)
    points = decode(out, 0.5)
    assert len(points.y) == 1
    assert points.probability[0] == pytest.approx(0.8, abs=1e-3)
    assert points.x[0] == pytest.approx(15.4, abs=1e-3)


def test_threshold_and_nothing():
    out = maps([20.3], [15.4], logit=float(np.log(0.3 / 0.7)))
    assert len(decode(out, 0.5).y) == 0 and len(decode(out, 0.2).y) == 1
    assert len(decode(torch.full((2, 6, 8, 8), -12.0), 0.5).y) == 0


def test_doubles_keep_the_more_probable_and_frames_do_not_mix():
    ones = np.ones(4)
    y, x = np.array([5.0, 5.5, 5.0, 9.0]), np.array([5.0, 5.0, 5.0, 9.0])
    points = Points(np.array([0, 0, 1, 1]), y, x, ones, ones, ones, np.array([0.6, 0.9, 0.5, 0.7]))
    kept = without_doubles(points, 1.9)
    assert kept.probability.tolist() == [0.9, 0.5, 0.7]


def test_calibration_moves_probabilities_and_the_threshold_with_them():
    out = maps([20.3], [15.4], logit=float(np.log(0.4 / 0.6)))
    plain, moved = decode(out, 0.1), decode(out, 0.1, calibration=(1.5, 0.9))
    assert plain.probability[0] == pytest.approx(0.4, abs=1e-3)
    want = 1 / (1 + np.exp(-(1.5 * np.log(0.4 / 0.6) + 0.9)))
    assert moved.probability[0] == pytest.approx(want, abs=1e-3)
    assert len(decode(out, 0.5).y) == 0 and len(decode(out, 0.5, calibration=(1.5, 0.9)).y) == 1


def test_a_probability_does_not_depend_on_its_place_in_the_batch():
    presence = torch.rand(999, generator=torch.Generator().manual_seed(5))
    joined = calibrated(presence, (1.3, -0.2))
    alone = torch.cat([calibrated(p[None], (1.3, -0.2)) for p in presence])
    assert joined.dtype == torch.float32
    assert torch.equal(joined, alone)
