"""Classes of columns from their strength: the number, the classes and the trend on lattices that are known."""

import numpy as np
import pytest

from hs_deepatoms.atoms.species import METHODS, UNKNOWN, classify, contrast_to_neighbours, log_strength
from hs_deepatoms.simulate.background import smooth_field

BASIS = {1: [(0, 0)], 2: [(0, 0), (0.5, 0.5)], 3: [(0, 0), (0.5, 0.5), (0.5, 0)]}
STRENGTH = {1: [1.0], 2: [1.0, 0.5], 3: [1.0, 0.6, 0.3]}


def lattice(n_species, gradient, seed=0, size=20, noise=0.06, outliers=0.01):
    """y, x, strength, class and whether the strength is no outlier's; 3 % of the sites are empty."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1).reshape(-1, 1, 2)
    y, x = (cells + np.array(BASIS[n_species])).reshape(-1, 2).T
    kind = np.tile(np.arange(n_species), size * size)
    there = rng.random(len(y)) > 0.03
    y, x, kind = y[there], x[there], kind[there]
    field = smooth_field(rng, (100, 100))[(y / size * 99).astype(int), (x / size * 99).astype(int)]
    factor = {"none": np.ones(len(y)), "linear": 1 + x / size, "smooth": 1 + field}[gradient]
    strength = np.array(STRENGTH[n_species])[kind] * factor * np.exp(noise * rng.standard_normal(len(y)))
    out = rng.random(len(y)) < outliers
    strength[out] *= np.exp(rng.standard_normal(out.sum()))
    return y, x, 70 * strength, kind, ~out


@pytest.mark.parametrize("gradient", ["none", "linear", "smooth"])
@pytest.mark.parametrize("n_species", [1, 2, 3])
def test_number_and_classes_of_sublattices_over_a_thickness_gradient(n_species, gradient):
    for seed in range(2):
        y, x, strength, kind, good = lattice(n_species, gradient, seed)
        found = classify(y, x, strength)
        assert found.number == n_species
        assert (found.label == kind)[good].mean() > 0.98
        np.testing.assert_allclose(found.probability.sum(1), 1)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_dark_columns_apart(method):
    y, x, strength, kind, good = lattice(2, "linear")
    found = classify(y, x, -strength, method=method)
    assert found.number == 2 and (found.label == kind)[good].mean() > 0.98
    if method != "meanshift":
        found = classify(y, x, -strength, method=method, n=3)
        assert found.number == 3 and set(np.unique(found.label)) == {0, 1, 2}
        means = [strength[found.label == k].mean() for k in range(3)]
        assert means[0] > means[1] > means[2]  # the strongest first


def test_species_that_lie_apart_are_no_gradient():
    y, x, strength, _, good = lattice(1, "none")
    found = classify(y, x, np.where(x < 8, 1.0, 0.6) * strength)
    assert found.number == 2
    assert ((found.label == 0) == (x < 8))[good].mean() > 0.98


def test_without_the_trend_a_gradient_hides_the_classes():
    y, x, strength, kind, good = lattice(2, "linear", noise=0.03)
    assert classify(y, x, strength, local=False).degree == 0
    there = classify(y, x, strength, local=True, n=2)
    assert there.degree > 0 and (there.label == kind)[good].mean() > 0.98
    centred = np.log(1 + x / 20) - np.log(1 + x / 20).mean()
    assert np.abs(there.trend - centred).max() < 0.1


def test_doubt_is_said_and_only_there():
    rng = np.random.default_rng(1)
    kind = np.arange(2000) % 2
    strength = np.exp(np.where(kind, 0.0, 0.35) + 0.1 * rng.standard_normal(2000))
    found = classify(*rng.random((2, 2000)), strength, n=2, local=False)
    right, sure = found.label == kind, found.of_own
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        here = (sure >= low) & (sure < high)
        assert abs(right[here].mean() - sure[here].mean()) < 0.08


@pytest.mark.parametrize("n", ["auto", 1, 2])
@pytest.mark.parametrize("strength", [[], [3.0], [3.0, 5.0], [np.nan] * 3, [0.0, 0, 0], np.ones(20), -np.arange(9.0)])
def test_few_and_equal_atoms(strength, n):
    strength = np.asarray(strength)
    place = np.arange(len(strength), dtype=float)
    found = classify(place, place, strength, n=n)
    known = np.isfinite(strength)
    assert found.label.shape == strength.shape and ((found.label >= 0) == known).all()
    assert np.isfinite(found.of_own[known]).all()


def test_missing_values_and_bad_fits_teach_nothing():
    y, x, strength, kind, good = lattice(2, "none")
    trusted = np.arange(len(y)) % 3 > 0
    strength[~trusted] *= 30
    strength[4] = np.nan
    found = classify(y, x, strength, trusted=trusted)
    assert found.number == 2 and found.label[4] == UNKNOWN and np.isnan(found.of_own[4])
    assert (found.label == kind)[good & trusted].mean() > 0.98


def test_the_same_seed_gives_the_same_classes_and_no_global_state_is_touched():
    y, x, strength, *_ = lattice(2, "smooth")
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (classify(y, x, strength, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.probability, second.probability)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_contrast_of_single_columns():
    y, x = (w.ravel() for w in np.mgrid[5:60:10, 5:80:10].astype(float))
    strength = np.full(y.size, 4.0)
    strength[20] = 8.0
    contrast = contrast_to_neighbours(y, x, strength)
    assert contrast[20] == pytest.approx(2) and np.median(contrast) == pytest.approx(1)
    assert np.isnan(contrast_to_neighbours(y[:1], x[:1], strength[:1])).all()
    assert contrast_to_neighbours(y[:0], x[:0], strength[:0]).size == 0
    assert np.isfinite(log_strength(np.array([1.0, 0.0, -1.0]))).all()
