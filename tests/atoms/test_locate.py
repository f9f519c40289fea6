import numpy as np
import pytest

from hs_deepatoms.atoms.locate import locate, spot_radius


def spots(shape, y, x, radius, soft=1.0):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(yy[..., None] - y, xx[..., None] - x).min(-1)
    return 1 / (1 + np.exp((distance - radius) / soft))


def test_positions_of_spots_are_centres_of_mass():
    rng = np.random.default_rng(0)
    y, x = (a.ravel() + rng.uniform(-1, 1, a.size) for a in np.mgrid[10:90:14, 12:110:14].astype(float))
    found = locate(spots((96, 120), y, x, 4.0)[None], 0.5, 4.0)
    assert len(found.y) == len(y)
    distance = np.hypot(found.y[:, None] - y, found.x[:, None] - x).min(1)
    assert np.median(distance) < 0.03 and distance.max() < 0.06


def test_spots_that_touch_stay_two():
    found = locate(spots((40, 50), [20.0, 20.0], [18.0, 25.0], 3.5)[None], 0.5, 3.5)
    assert sorted(np.round(found.x)) == [18, 25]


def test_of_two_classes_in_one_place_the_more_probable_one():
    one = spots((40, 50), [20.0], [18.0], 3.5)
    found = locate(np.stack([0.6 * one, 0.9 * one]), 0.5, 3.5)
    assert found.kind.tolist() == [1] and found.probability[0] == pytest.approx(0.9, abs=0.05)
    assert len(locate(np.stack([0.4 * one, 0.3 * one]), 0.5, 3.5).y) == 0


def test_the_radius_is_measured():
    assert spot_radius(spots((96, 120), [20.0, 60.0], [30.0, 80.0], 5.0)[None], 0.5) == pytest.approx(5.0, abs=0.3)
    assert spot_radius(np.zeros((2, 20, 20)), 0.5) is None
