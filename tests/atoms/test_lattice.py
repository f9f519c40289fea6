"""Grains, lattice indices and sublattices from positions."""

import numpy as np
import pytest

from hs_deepatoms.atoms.lattice import index_sites, reduced

HEXAGONAL = np.array([[0.0, 1.0], [np.sqrt(3) / 2, 0.5]])
SPACING = 13.0


def crystal(angle=0.3, basis=((0.0, 0.0),), cell=None, half=20, noise=0.3, missing=0.05, seed=0):
    """Positions (n, 2), true indices (n, 2), true site of the cell (n,)."""
    rng = np.random.default_rng(seed)
    cell = np.eye(2) if cell is None else cell
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    ij = np.stack([k.ravel() for k in np.mgrid[-half:half, -half:half]], axis=1)
    points = np.concatenate([(ij + site) @ cell @ turn * SPACING for site in basis])
    site = np.repeat(np.arange(len(basis)), len(ij))
    keep = rng.random(len(points)) > missing
    return (points + rng.normal(0, noise, points.shape))[keep], np.tile(ij, (len(basis), 1))[keep], site[keep]


def check_sites(points, sites, grain=0, noise=0.3):
    """All columns of a sublattice lie on its sites, within the noise."""
    for basis in range(sites.basis.max() + 1):
        of = (sites.grain == grain) & (sites.basis == basis)
        rest = points[of] - np.column_stack([sites.i, sites.j])[of] @ sites.vectors[grain]
        assert rest.std(axis=0).max() < 1.15 * noise


def whole_change(found, true):
    """The integer matrix that takes true indices to found ones."""
    design = np.column_stack([true, np.ones(len(true))])
    solution, _, _, _ = np.linalg.lstsq(design, found, rcond=None)
    assert np.abs(design @ solution - found).max() < 1e-6
    return solution[:2]


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("kind", ["square", "graphene", "perovskite"])
def test_indices_and_sublattices(kind, angle):
    basis = {"square": ((0, 0),), "graphene": ((0, 0), (1 / 3, 1 / 3)), "perovskite": ((0, 0), (0.5, 0.5))}[kind]
    points, true, site = crystal(angle, basis, HEXAGONAL if kind == "graphene" else None)
    sites = index_sites(*points.T, site if kind == "perovskite" else None)
    assert len(sites.vectors) == 1 and (sites.grain == 0).mean() > 0.995
    assert sites.basis.max() + 1 == len(basis)
    check_sites(points, sites)
    for number in range(len(basis)):
        of = sites.basis == number
        assert len(np.unique(site[of])) == 1
        change = whole_change(np.column_stack([sites.i, sites.j])[of], true[of])
        assert abs(round(np.linalg.det(change))) == 1
    np.testing.assert_allclose(np.hypot(*sites.vectors[0].T), SPACING, rtol=2e-3)


def test_two_grains():
    left, right = crystal(0.0)[0], crystal(0.5)[0]
    left, right = left[left[:, 1] < -4], right[right[:, 1] > 4]
    points = np.concatenate([left, right])
    sites = index_sites(*points.T)
    assert len(sites.vectors) == 2
    own = [
        np.bincount(sites.grain[rows] + 1, minlength=3)
        for rows in (np.arange(len(left)), np.arange(len(left), len(points)))
    ]
    assert own[0].max() > 0.97 * len(left) and own[1].max() > 0.97 * len(right)
    assert own[0].argmax() != own[1].argmax()
    for grain in range(2):
        check_sites(points, sites, grain)


def test_slowly_bent_crystal_is_one_grain():
    points, _, _ = crystal(half=30, noise=0.1)
    bent = points + np.column_stack([6e-5 * points[:, 1] ** 2, np.zeros(len(points))])  # 6 % of shear to each side
    sites = index_sites(*bent.T)
    assert (sites.grain == 0).mean() > 0.99 and len(sites.vectors) == 1


def test_a_dopant_takes_its_site_and_an_adatom_none():
    points, _, _ = crystal(missing=0, noise=0.05)
    kind = np.zeros(len(points), int)
    dopant = np.argmin(np.hypot(*(points - [3.0, 5.0]).T))
    kind[dopant] = 1
    adatom = points[dopant] + [0.5 * SPACING, 0.3 * SPACING]
    points, kind = np.vstack([points, adatom]), np.append(kind, 0)
    sites = index_sites(*points.T, kind)
    assert sites.grain[dopant] == 0 and sites.basis[dopant] == 0
    assert sites.grain[-1] == -1
    own = np.column_stack([sites.i, sites.j, sites.basis])[sites.grain == 0]
    assert len(np.unique(own, axis=0)) == len(own)  # one column per site


@pytest.mark.parametrize("n", [0, 1, 2, 9, 11, 500])
def test_no_lattice_in_few_or_random_positions(n):
    y, x = np.random.default_rng(n).uniform(0, 30 * np.sqrt(n + 1), (2, n))
    sites = index_sites(y, x)
    assert (sites.grain == -1).all() and (sites.basis == -1).all() and sites.vectors.shape == (0, 2, 2)


def test_columns_on_one_line_and_on_one_point():
    assert (index_sites(np.zeros(40), np.arange(40.0) * 7).grain == -1).all()
    assert (index_sites(np.zeros(40), np.zeros(40)).grain == -1).all()


def test_reduced_vectors():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cell = np.array([[0.3, 4.0], [5.0, -1.0]])
        whole = np.array([[1, rng.integers(-9, 9)], [0, 1]]) @ np.array([[1, 0], [rng.integers(-9, 9), 1]])
        found = reduced(*(whole @ cell))
        assert np.isclose(abs(np.linalg.det(found)), abs(np.linalg.det(cell)))
        np.testing.assert_allclose(sorted(np.hypot(*found.T)), sorted(np.hypot(*cell.T)))
        assert found[0, 1] > 0 and found[1, 0] > 0
