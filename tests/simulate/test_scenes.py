import numpy as np
import pytest

from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.demo import demo_image
from hs_deepatoms.simulate.detector import Recording, line_shifts, record, shift_lines
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal, lattice_points, random_crystal, shortest_distance
from hs_deepatoms.simulate.samples import column_target, detector_sample, survey_sample, survey_target
from hs_deepatoms.simulate.scenes import simulate_scene


def test_columns_are_drawn_at_their_positions():
    y, x, height = np.array([10.25, 30.0]), np.array([20.5, 55.75]), np.array([2.0, 1.0])
    image = draw_columns((45, 80), y, x, height, 2.0)
    rows, columns = np.indices(image.shape)
    want = sum(h * np.exp(-((rows - a) ** 2 + (columns - b) ** 2) / 8) for a, b, h in zip(y, x, height, strict=True))
    np.testing.assert_allclose(image, want, atol=1e-12)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_spacing_of_prototypes(name):
    cell, basis = PROTOTYPES[name]
    crystal = Crystal(np.array(cell), np.array(basis, float), np.ones(len(basis)), name).scaled()
    y, x, _ = lattice_points(crystal, 7.0, 0.4, (30.0, 40.0), 25.0)
    distance = np.hypot(y[:, None] - y, x[:, None] - x) + 1e9 * np.eye(len(y))
    assert distance.min() == pytest.approx(7.0)
    assert np.hypot(y - 30, x - 40).max() <= 25


def test_random_crystals_keep_their_distance():
    rng = np.random.default_rng(0)
    for _ in range(50):
        crystal = random_crystal(rng, 4.0)
        assert shortest_distance(crystal.cell, crystal.basis) == pytest.approx(1.0)
        assert crystal.heights.max() == 1.0 and len(crystal.heights) == len(crystal.basis)


@pytest.mark.parametrize("kind", ["crystal", "single_atoms", "nothing"])
def test_scene_is_a_function_of_its_seed_and_its_truth_lies_inside(kind):
    one, same, other = (simulate_scene(np.random.default_rng(s), (70, 90), 1.7, kind=kind) for s in (3, 3, 4))
    assert one.image.shape == (70, 90) and np.isfinite(one.image).all()
    np.testing.assert_array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
    assert ((one.y > -0.5) & (one.y < 69.5) & (one.x > -0.5) & (one.x < 89.5)).all()
    assert (len(one.y) == 0) == (kind == "nothing")


def test_strength_is_the_matched_filter_ratio():
    """Many recordings of one column: height estimated by least squares, compared with what ``strength`` promises."""
    rng = np.random.default_rng(1)
    sigma, level, counts = 2.0, 3.0, 4.0
    profile = draw_columns((31, 33), np.array([15.0]), np.array([16.0]), np.ones(1), sigma)
    expected = sigma * np.sqrt(np.pi * counts / level)
    heights = []
    for _ in range(400):
        image = record(rng, np.full(profile.shape, level), Recording(counts=counts)) / counts - level
        heights.append((image * profile).sum() / (profile**2).sum())
    assert 1 / np.std(heights) == pytest.approx(expected, rel=0.1)


def test_lines_are_shifted_by_what_was_asked():
    y, x = np.array([12.0]), np.array([40.0])
    image = draw_columns((24, 80), y, x, np.ones(1), 3.0)
    shift = np.linspace(-2, 2, 24)
    moved = shift_lines(image, shift)
    centre = (moved * np.arange(80)).sum(1) / moved.sum(1)
    np.testing.assert_allclose(centre, 40 + shift, atol=1e-6)
    assert line_shifts(np.random.default_rng(0), 4000, 0.3, 0.9).std() == pytest.approx(0.3, rel=0.15)


def test_detector_targets_point_at_the_columns():
    y, x = np.array([20.3, 41.0]), np.array([33.9, 10.2])
    target = column_target(64, y, x, np.array([5.0, 5.0]), 0.1)
    assert target.shape == (6, 32, 32) and target[0].sum() == 2
    i, j = np.nonzero(target[0])
    np.testing.assert_allclose(np.sort(2 * i + 0.5 + target[2, i, j]), np.sort(y), atol=1e-5)
    np.testing.assert_allclose(np.sort(2 * j + 0.5 + target[3, i, j]), np.sort(x), atol=1e-5)
    i, j = np.nonzero(target[4])  # neighbours point at the nearest column too
    found = np.column_stack([2 * i + 0.5 + target[2, i, j], 2 * j + 0.5 + target[3, i, j]])
    distance = np.hypot(found[:, :1] - y, found[:, 1:] - x).min(1)
    assert distance.max() < 1e-4 and len(i) > 8


def test_columns_below_the_noise_are_not_asked_for():
    assert column_target(64, np.array([20.0]), np.array([20.0]), np.array([0.3]), 0.0)[0].sum() == 0


def test_samples_are_functions_of_seed_and_index():
    image, target = detector_sample(5, 7, size=64)
    again, _ = detector_sample(5, 7, size=64)
    assert image.shape == (1, 64, 64) and target.shape == (6, 32, 32) and image.dtype == target.dtype == np.float32
    np.testing.assert_array_equal(image, again)
    crop, classes = survey_sample(5, 7)
    assert crop.shape == (1, 128, 128) and classes.sum() == pytest.approx(1, abs=1e-5)


def test_survey_classes():
    assert survey_target(0.5, False, 3, 17)[:17].argmax() == 0
    assert survey_target(8.0, True, 3, 17)[17:34].argmax() == 16
    assert survey_target(30.0, False, 3, 17)[-1] == survey_target(2.0, False, 0, 17)[-1] == 1


def test_demo_sample_has_vacancies_and_truth():
    image, truth = demo_image()
    assert image.dtype == np.uint16 and image.shape == (320, 440)
    assert len(truth["y_px"]) == len(truth["species"]) > 200 and len(truth["vacancy_y_px"]) > 3
    np.testing.assert_array_equal(image, demo_image()[0])
