"""Compiled loops over atoms, bonds and half-edges, beside libraries and plain Python."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hs_deepatoms.structure.compiled import bonds, faces


@pytest.mark.parametrize("n", [2, 3, 50, 700])
def test_near_pairs_are_those_of_a_tree_in_order(n):
    rng = np.random.default_rng(n)
    y, x = rng.uniform(-3, 40, n), rng.uniform(100, 117, n)
    known = np.sort(cKDTree(np.column_stack([y, x])).query_pairs(1.9, output_type="ndarray"), axis=1)
    known = known[np.lexsort(known.T[::-1])].reshape(-1, 2)
    np.testing.assert_array_equal(np.column_stack(bonds.near_pairs(y, x, 1.9)), known)


@pytest.mark.parametrize("links", [0, 40, 90, 400])
def test_linked_parts_are_those_of_scipy(links):
    n, rng = 100, np.random.default_rng(links)
    first, second = rng.integers(0, n, (2, links))
    known = connected_components(coo_array((np.ones(links), (first, second)), shape=(n, n)), directed=False)[1]
    np.testing.assert_array_equal(bonds.linked(n, first, second), known)


def test_directions_are_in_the_order_of_angles():
    angle = np.sort(np.random.default_rng(0).uniform(-np.pi, np.pi, 3000))
    angle = np.concatenate([[-np.pi + 1e-12, -np.pi / 2, 0, np.pi / 2], angle])
    way = np.array([faces.direction(np.sin(one), np.cos(one)) for one in angle])
    np.testing.assert_array_equal(np.argsort(way, kind="stable"), np.argsort(angle, kind="stable"))


def test_borders_are_cut_where_they_touch_themselves():
    """A border of eight half-edges that visits atom 0 twice: a triangle and a five; too long ones are left out."""
    origin = np.array([0, 1, 2, 0, 3, 4, 5, 6])
    after = np.roll(np.arange(8), -1)
    for largest, sizes, edges in ((8, [3, 5], [0, 1, 2, 3, 4, 5, 6, 7]), (4, [3], [0, 1, 2])):
        half, size = faces.loops(np.array([0]), np.array([8]), after, origin, 7, 3, largest)
        assert size.tolist() == sizes and half.tolist() == edges


@pytest.mark.parametrize("n", [0, 1, 2, 7, 300])
def test_elements_have_the_same_number_where_they_are_on_one_cycle(n):
    after = np.random.default_rng(n).permutation(n)
    known = np.full(n, -1)
    for start in range(n):
        here = start
        while known[here] < 0:
            known[here], here = start, after[here]
    cycle, start, length = faces.cycles(after)
    assert len(start) == len(length) == np.unique(known).size
    np.testing.assert_array_equal(start[cycle], known)
    np.testing.assert_array_equal(length, np.bincount(cycle, minlength=len(start)))
