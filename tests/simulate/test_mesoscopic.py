import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label

from hs_deepatoms.simulate.masks import parted
from hs_deepatoms.simulate.particles import simulate_particles
from hs_deepatoms.simulate.walls import simulate_steps, simulate_walls

SHAPE = (96, 130)


@pytest.mark.parametrize("make", [simulate_particles, simulate_walls, simulate_steps])
def test_scenes_are_functions_of_their_seed(make):
    one, same, other = (make(np.random.default_rng(seed), SHAPE) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert (one.image != other.image).any()
    assert one.image.shape == one.labels.shape == SHAPE
    assert one.image.dtype == np.float32 and set(np.unique(one.labels)) == {0, 1} and np.isfinite(one.image).all()


@pytest.mark.parametrize("dark", [False, True])
def test_particles_stand_out_and_have_numbers_without_gaps(dark):
    for seed in range(4):
        scene = simulate_particles(np.random.default_rng(seed), SHAPE, covered=0.3, dark=dark)
        inside = scene.objects > 0
        assert 0.2 < inside.mean() < 0.4
        assert (np.unique(scene.objects) == np.arange(scene.objects.max() + 1)).all()
        difference = scene.image[inside].mean() - scene.image[~inside].mean()
        assert (difference < 0) if dark else (difference > 0)


def test_particles_that_touch_are_apart_in_the_labels():
    scene = simulate_particles(np.random.default_rng(1), (160, 180), touching=1.0, covered=0.35)
    joined, apart = label(scene.objects > 0)[1], label(scene.labels)[1]
    assert joined < scene.objects.max()  # some do touch
    assert apart >= scene.objects.max()
    np.testing.assert_array_equal(parted(scene.objects), scene.labels == 1)
    alone = np.zeros((9, 12), int)
    alone[2:7, 3:9] = 4
    np.testing.assert_array_equal(parted(alone), alone > 0)  # nothing is lost at the rim of a single one


def test_walls_lie_where_the_image_changes():
    for seed in range(5):
        scene = simulate_walls(np.random.default_rng(seed), SHAPE)
        away = distance_transform_edt(~scene.line)
        assert 0.005 < scene.line.mean() < 0.2
        near, far = scene.image[away <= 1], scene.image[(away > 6) & (away < 12)]
        assert abs(near.mean() - far.mean()) > 3 * far.std() / np.sqrt(near.size)
        assert away[scene.labels == 1].max() < 2 and scene.labels[scene.line].all()


def test_steps_part_terraces_of_whole_heights():
    rng = np.random.default_rng(2)
    scene = simulate_steps(rng, (128, 150))
    terraces = label(~scene.line)[0]
    sizes = np.bincount(terraces.ravel())[1:]
    large = np.flatnonzero(sizes > 400) + 1
    assert len(large) > 2
    heights = np.sort([np.median(scene.image[terraces == k]) for k in large])
    steps = np.diff(heights)
    assert ((steps < 0.4) | (np.abs(steps - np.rint(steps)) < 0.4)).all() and steps.max() > 0.6
