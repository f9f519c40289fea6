"""Empty and odd sites of lattices whose vacancies and dopants are known."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.sites import empty_sites, site_labels
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal, lattice_points

SHAPE, SPACING = (380, 460), 12.0


def crystal(name, angle=0.3, seed=0, vacant=0.05):
    """y, x (disordered by 0.05 spacings), class, and which sites are empty."""
    rng = np.random.default_rng(seed)
    cell, basis = PROTOTYPES[name]
    made = Crystal(np.array(cell), np.array(basis, float), np.ones(len(basis)), name).scaled()
    y, x, kind = lattice_points(made, SPACING, angle, (SHAPE[0] / 2, SHAPE[1] / 2 + 0.3), np.hypot(*SHAPE) / 2)
    y, x = (w + 0.05 * SPACING * rng.standard_normal(len(w)) for w in (y, x))
    inside = (y > -0.5) & (x > -0.5) & (y < SHAPE[0] - 0.5) & (x < SHAPE[1] - 0.5)
    return y[inside], x[inside], kind[inside], rng.random(inside.sum()) < vacant


def recall_precision(found, y, x, empty, asked):
    """Share of the empty sites asked for that were found, and of the sites found that are empty."""
    truth, sites = np.column_stack([y, x])[empty], np.column_stack([found.y, found.x])
    near = cKDTree(sites).query(truth)[0] < SPACING / 3
    right = cKDTree(truth).query(sites)[0] < SPACING / 3
    return near[asked[empty]].mean(), right.mean()


def core(y, x, rim=0.8 * SPACING):
    return (y > rim) & (x > rim) & (y < SHAPE[0] - rim) & (x < SHAPE[1] - rim)


@pytest.mark.parametrize("name", ["square", "hexagonal", "honeycomb", "perovskite_001", "perovskite_110_split"])
def test_vacancies_and_the_species_that_is_missing(name):
    y, x, kind, empty = crystal(name)
    found = empty_sites(y[~empty], x[~empty], SHAPE, kind[~empty])
    recall, precision = recall_precision(found, y, x, empty, core(y, x))
    assert recall >= 0.95 and precision >= 0.95
    row = cKDTree(np.column_stack([y, x])).query(np.column_stack([found.y, found.x]))[1]
    assert (found.label == kind[row]).mean() > 0.95
    assert found.confidence.min() > 0.5 and found.confidence.max() <= 1


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_a_whole_crystal_has_no_vacancies(name):
    y, x, *_ = crystal(name)
    assert len(empty_sites(y, x, SHAPE).y) == 0


def test_two_grains():
    one, other = crystal("perovskite_001", 0.1), crystal("perovskite_001", 0.5, seed=1)
    left, right = one[1] < SHAPE[1] / 2 - 2, other[1] > SHAPE[1] / 2 + 2
    y, x, _, empty = (np.concatenate([a[left], b[right]]) for a, b in zip(one, other, strict=True))
    found = empty_sites(y[~empty], x[~empty], SHAPE)
    recall, precision = recall_precision(found, y, x, empty, core(y, x) & (np.abs(x - SHAPE[1] / 2) > 2 * SPACING))
    assert recall >= 0.95 and precision >= 0.95
    assert len(empty_sites(y, x, SHAPE).y) <= 3  # of 1200: sites that the boundary cut off


def test_nothing_is_missing_in_the_vacuum_around_a_particle():
    y, x, _, empty = crystal("perovskite_001")
    radius = np.hypot(y - SHAPE[0] / 2, x - SHAPE[1] / 2 + 10 * np.sin(y / 7))
    y, x, empty, radius = (w[radius < 150] for w in (y, x, empty, radius))
    assert len(empty_sites(y, x, SHAPE).y) == 0
    found = empty_sites(y[~empty], x[~empty], SHAPE)
    recall, precision = recall_precision(found, y, x, empty, radius < 150 - 3 * SPACING)
    assert recall >= 0.8 and precision == 1


def test_dopants_are_atoms_unlike_their_equivalents():
    y, x, kind, odd = crystal("perovskite_001")
    expected, share = site_labels(y, x, np.where(odd, 1 - kind, kind), SHAPE)
    inner = core(y, x)
    assert (expected == kind)[inner].mean() > 0.995
    assert np.nanmedian(share) > 0.9


@pytest.mark.parametrize("n", [0, 1, 2, 12, 400])
def test_without_a_lattice_nothing_is_said(n):
    rng = np.random.default_rng(0)
    y, x = rng.uniform(0, SHAPE[0], n), rng.uniform(0, SHAPE[1], n)
    label = rng.integers(0, 2, n)
    assert len(empty_sites(y, x, SHAPE, label).y) == 0
    expected, share = site_labels(y, x, label, SHAPE)
    assert (expected == label).all() and np.isnan(share).all()


def test_atoms_on_one_spot():
    assert len(empty_sites(np.ones(20), np.ones(20), SHAPE).y) == 0
