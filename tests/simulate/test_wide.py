import numpy as np
import pytest
from scipy.spatial import cKDTree

from hs_deepatoms.simulate.samples import detector_sample
from hs_deepatoms.simulate.sites import Sites
from hs_deepatoms.simulate.wide import KINDS, merged, simulate_wide


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dark", [False, True])
def test_a_scene_is_a_function_of_its_seed_and_its_truth_lies_inside(kind, dark):
    one, same, other = (simulate_wide(np.random.default_rng(s), (70, 90), 1.7, kind=kind, dark=dark) for s in (3, 3, 4))
    assert one.image.shape == (70, 90) and np.isfinite(one.image).all() and one.kind == kind
    np.testing.assert_array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
    assert ((one.y > -0.5) & (one.y < 69.5) & (one.x > -0.5) & (one.x < 89.5)).all()
    assert (np.sign(one.height) == (-1 if dark else 1)).all()


def test_kinds_are_drawn_as_often_as_said():
    assert sum(chance for chance, _ in KINDS.values()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = [simulate_wide(rng, (24, 24), 1.0).kind for _ in range(60)]
    assert set(drawn) == set(KINDS) and drawn.count("grainy") > drawn.count("moire")


def brightness(scene, y, x):
    y, x = (np.rint(v).astype(int).clip(0, n - 1) for v, n in zip((y, x), scene.image.shape, strict=True))
    return scene.image[y, x]


@pytest.mark.parametrize("dark", [False, True])
def test_columns_are_where_the_truth_says(dark):
    """Columns stand out, to the side that was asked for, of what lies a sigma and a half beside them."""
    better = []
    for seed in range(24):
        scene = simulate_wide(np.random.default_rng(seed), (96, 96), 3.0, kind="grainy", dark=dark)
        plain = scene.strength > 6
        at, beside = (brightness(scene, scene.y[plain] + d, scene.x[plain]) for d in (0, 4.5))
        better += list((at < beside) if dark else (at > beside))
    assert len(better) > 100 and np.mean(better) > 0.9


def test_columns_of_two_sheets_that_have_one_maximum_are_one():
    def sheet(y, x, height):
        return Sites(np.array(y), np.array(x), np.array(height), np.zeros(len(y), int))

    both = merged(sheet([10.0, 30.0], [10.0, 30.0], [1.0, 1.0]), sheet([11.0, 50.0], [10.0, 50.0], [0.5, 0.5]), 3.0)
    assert len(both.y) == 3
    assert both.y[0] == pytest.approx(10 + 1 / 3) and 1.3 < both.height[0] < 1.5
    assert set(both.y[1:]) == {30.0, 50.0}
    scene = simulate_wide(np.random.default_rng(1), (120, 120), 2.0, kind="moire")
    assert cKDTree(np.column_stack([scene.y, scene.x])).query(np.column_stack([scene.y, scene.x]), 2)[0][:, 1].min() > 2


def test_samples_of_the_stage_are_functions_of_seed_and_number():
    images = [detector_sample(5, k, size=32, stage="wide")[0] for k in range(8)]
    np.testing.assert_array_equal(images[3], detector_sample(5, 3, size=32, stage="wide")[0])
    assert all(np.isfinite(image).all() for image in images)
