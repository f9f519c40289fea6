import numpy as np
import pytest

from hs_deepatoms.atoms.instances import label_objects, measure_objects


def discs(shape, places):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.any([np.hypot(yy - y, xx - x) < r for y, x, r in places], 0)


def true_labels(shape, places):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    distance = np.stack([np.hypot(yy - y, xx - x) - r for y, x, r in places])
    return np.where(distance.min(0) < 0, distance.argmin(0) + 1, 0)


def test_touching_particles_are_parted_as_they_are():
    rng = np.random.default_rng(1)
    places = [(20 + 24 * i + rng.uniform(-2, 2), 20 + 22 * j + rng.uniform(-2, 2), rng.uniform(9, 12.5))
              for i in range(5) for j in range(6)]  # fmt: skip
    true, found = true_labels((140, 150), places), label_objects(discs((140, 150), places))
    hits = 0
    for k in range(1, len(places) + 1):
        own = true == k
        best = np.bincount(found[own])[1:].argmax() + 1
        hits += (own & (found == best)).sum() / (own | (found == best)).sum() > 0.5
    assert 2 * hits / (len(places) + found.max()) >= 0.95


def test_shallow_and_small_objects():
    mask = discs((60, 80), [(15, 15, 8)])
    mask[40, 5:60] = True  # one pixel wide: no maximum of the distance is deeper than that
    mask[50:52, 70:72] = True
    found = label_objects(mask)
    assert found.max() == 2 and set(found[40, 5:60]) == {found[40, 5]}
    assert label_objects(mask, smallest=1).max() == 3 and not label_objects(np.zeros((8, 9))).any()
    assert found.dtype == np.int32


def test_a_gap_that_is_only_suspected_parts_objects():
    # a block without a neck: the map alone says that there are two, and nowhere less than it takes to be an object
    probability = np.zeros((40, 70))
    probability[10:30, 10:60] = 0.99
    probability[10:30, 34:36] = 0.8
    found = label_objects(probability)
    assert found.max() == 2 and (found > 0).sum() == (probability >= 0.5).sum()
    sizes = np.bincount(found.ravel())[1:]
    assert abs(sizes[0] - sizes[1]) <= 40
    assert label_objects(probability > 0.5).max() == 1 and label_objects(probability, depth=None).max() == 1


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.3, 2.4])
def test_geometry_in_the_axes_units(angle):
    yy, xx = np.mgrid[:120, :140]
    c, s = np.cos(angle), np.sin(angle)
    along, across = (xx - 70) * c + (yy - 50) * s, -(xx - 70) * s + (yy - 50) * c
    mask = (along / 40) ** 2 + (across / 15) ** 2 < 1
    found = measure_objects(label_objects(mask), 2.0 * mask, (0.1, 0.1))
    assert found["y_px"][0] == pytest.approx(50, abs=0.1) and found["x_px"][0] == pytest.approx(70, abs=0.1)
    assert found["area"][0] == pytest.approx(np.pi * 4 * 1.5, rel=0.02)
    assert found["major_axis"][0] == pytest.approx(8, rel=0.02)
    assert found["minor_axis"][0] == pytest.approx(3, rel=0.02)
    assert found["diameter"][0] == pytest.approx(2 * np.sqrt(6), rel=0.02)
    assert found["mean_intensity"][0] == 2
    turn = (found["rotation"][0] - angle + np.pi / 2) % np.pi - np.pi / 2
    assert abs(turn) < 0.02


def test_pixels_that_are_not_square_have_no_perimeter():
    found = measure_objects(label_objects(discs((40, 40), [(20, 20, 8)])), None, (0.1, 0.2))
    assert "perimeter" not in found and found["area"][0] == pytest.approx(np.pi * 64 * 0.02, rel=0.05)
    assert len(measure_objects(np.zeros((8, 8), int))["area"]) == 0
