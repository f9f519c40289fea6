"""Bonds as arrays: by distance, radii and shape, across a cell's edges, and where there is next to nothing."""

import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.simulate.sheets import honeycomb
from hs_deepatoms.structure.graph import (
    bonds_by_shape,
    bonds_of_elements,
    bonds_within,
    components,
    coordination,
    crossing_bonds,
    local_distance,
    read_cell,
    to_networkx,
    without_crossings,
)


def _as_set(bonds):
    return set(zip(bonds.first.tolist(), bonds.second.tolist(), strict=True))


def test_all_ways_agree_on_a_noisy_sheet():
    sheet = honeycomb(6, 9)
    noise = np.random.default_rng(0).normal(0, 0.05, (2, sheet.y.size))
    y, x = 1.42 * (sheet.y + noise[0]), 1.42 * (sheet.x + noise[1])
    truth = {tuple(pair) for pair in sheet.bonds.tolist()}
    assert _as_set(bonds_within(y, x, 1.9)) == truth
    assert _as_set(bonds_of_elements(y, x, np.full(y.size, 6))) == truth
    found = bonds_by_shape(y, x)
    assert truth <= _as_set(found)
    np.testing.assert_allclose(found.length, np.hypot(found.dy, found.dx))
    np.testing.assert_allclose(found.dy, y[found.second] - y[found.first])


@pytest.mark.parametrize(("height", "width"), [(9, 40), (40, 9), (3, 900), (900, 3), (400, 700), (30, 31)])
def test_pairs_of_points_wherever_they_are(height, width):
    """On a line, in a wide field (a tree) and a full one (squares), around negative and at shared places."""
    rng = np.random.default_rng(height)
    y, x = rng.uniform(-height, 0, 150), rng.uniform(-7, width, 150)
    y[:20], x[:20] = y[20:40], x[20:40]
    for flat in (False, True):
        y = np.zeros_like(y) if flat else np.round(y)  # some are just as far as the limit
        apart = np.hypot(y[:, None] - y, x[:, None] - x)
        found = bonds_within(y, x, 2.0, least=-1.0)
        assert found.first.size == len(_as_set(found))
        assert _as_set(found) == set(zip(*np.nonzero(np.triu(apart <= 2.0, 1)), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_distance_is_that_of_brute_force_in_any_cell(seed):
    rng = np.random.default_rng(seed)
    cell = np.array([[7.0, 1.5], [-2.0, 5.0]])
    y, x = (rng.random((23, 2)) @ cell).T
    found = bonds_within(y, x, 2.2, cell=cell)
    expected = 0
    for i in range(-3, 4):
        for j in range(-3, 4):
            shift = np.array([i, j]) @ cell
            distance = np.hypot(y[:, None] - y - shift[0], x[:, None] - x - shift[1])
            expected += np.count_nonzero((distance <= 2.2) & (distance > 0))
    assert found.first.size == expected / 2
    assert (found.length <= 2.2).all() and (found.first <= found.second).all()


def test_radii_differ_between_elements():
    # C-C 1.52, C-Si 1.87, times 1.2
    y, x = np.zeros(3), np.array([0.0, 2.0, 4.0])
    assert _as_set(bonds_of_elements(y, x, [6, 14, 6])) == {(0, 1), (1, 2)}
    assert _as_set(bonds_of_elements(y, x, [6, 6, 6])) == set()
    assert _as_set(bonds_of_elements(y, x, [6, 6, 6], factor=1.4)) == {(0, 1), (1, 2)}


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("cell", [None, (50.0, 40.0)])
def test_next_to_nothing(n, cell):
    y, x = np.zeros(n), np.arange(n) * 3.0
    for bonds in (bonds_within(y, x, 4.0, cell=cell), bonds_by_shape(y, x, cell=cell)):
        assert bonds.first.size == max(n - 1, 0)
    assert coordination(n, bonds).sum() == 2 * max(n - 1, 0)
    assert local_distance(y, x).shape == (n,) and components(n, bonds).tolist() == [0] * n


def test_duplicates_get_no_bond():
    y, x = np.zeros(4), np.array([0.0, 0.0, 1.0, 2.0])
    assert (0, 1) not in _as_set(bonds_within(y, x, 1.1)) and (0, 1) not in _as_set(bonds_by_shape(y, x))


def test_crossings_lose_the_longer_bond():
    y, x = np.array([0.0, 0.0, 1.0, 1.2]), np.array([0.0, 1.0, 0.0, 1.2])
    bonds = bonds_within(y, x, 1.8)
    assert len(crossing_bonds(y, x, bonds)) == 1
    kept, number = without_crossings(y, x, bonds)
    assert number == 1 and _as_set(bonds) - _as_set(kept) == {(0, 3)}


def test_parts_are_numbered_by_size():
    bonds = bonds_within(np.zeros(6), np.array([0.0, 1.0, 10.0, 11.0, 12.0, 30.0]), 1.5)
    assert components(6, bonds).tolist() == [1, 1, 0, 0, 0, 2]


def test_networkx_has_lengths_and_angles():
    bonds = bonds_within([0.0, 1.0], [0.0, 1.0], 2.0)
    graph = to_networkx({"y": np.array([0.0, 1.0])}, np.array([7, 9]), bonds)
    assert graph.edges[7, 9] == pytest.approx({"length": np.sqrt(2), "angle": np.pi / 4}) and graph.nodes[9]["y"] == 1


@pytest.mark.parametrize("cell", ["auto", (1.0, 0.0), ((1, 1), (2, 2)), (1, 2, 3), np.nan])
def test_bad_cells_are_named(cell):
    with pytest.raises(InvalidArgumentError, match="cell"):
        read_cell(cell)


def test_a_hexagon_cut_by_a_corner_is_not_closed():
    """At a corner most atoms have two neighbours, and their third nearest atom is none."""
    from hs_deepatoms.structure.rings import find_rings

    sheet, wrong = honeycomb(12, 18), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        turn, low = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1, 2)
        y, x = sheet.y - sheet.y.mean(), sheet.x - sheet.x.mean()
        y, x = np.cos(turn) * y + np.sin(turn) * x, np.cos(turn) * x - np.sin(turn) * y
        y, x = (w[(np.abs(y - low[0]) < 7) & (np.abs(x - low[1]) < 8)] for w in (y, x))
        y, x = y + rng.normal(0, 0.03, y.size), x + rng.normal(0, 0.03, x.size)
        wrong += int((find_rings(y, x, bonds_by_shape(y, x)).size != 6).any())
    assert wrong <= 1


@pytest.mark.parametrize("seed", range(4))
def test_the_quick_look_for_crossings_misses_none(seed, monkeypatch):
    from hs_deepatoms.structure import graph

    rng = np.random.default_rng(seed)
    spread = (0.02, 0.1, 0.25, 0.4)[seed]
    sheet = honeycomb(5, 8)
    y, x = (w + rng.normal(0, spread, w.size) for w in (sheet.y, sheet.x))
    bonds = bonds_within(y, x, 1.4)
    quick = crossing_bonds(y, x, bonds)
    assert (len(quick) > 0) == (seed > 1)
    every = crossing_bonds(y, x, bonds, every=True)
    monkeypatch.setattr(graph, "_may_cross", lambda *_: np.arange(bonds.first.size))
    np.testing.assert_array_equal(quick, crossing_bonds(y, x, bonds))
    np.testing.assert_array_equal(every, quick)


@pytest.mark.parametrize("seed", range(3))
def test_bonds_by_shape_never_cross(seed):
    y, x = np.random.default_rng(seed).uniform(0, (20, 30), (400, 2)).T
    bonds = bonds_by_shape(y, x, reach=3.0)
    assert bonds.first.size > 400 and not len(crossing_bonds(y, x, bonds))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("spacing", [0.9, 1.5, 3.0, 3.5, 6.5, 7.0, 7.2, 6.6, 2.46])
def test_both_diagonals_of_every_square_cross(spacing, every):
    """The sides of a square are 1 / sqrt(2) of its diagonals, but for rounding."""
    y, x = spacing * np.mgrid[:12, :12].reshape(2, -1)
    assert len(crossing_bonds(y, x, bonds_within(y, x, 1.5 * spacing), every=every)) == 121


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (2.25, 3.75)])
def test_crossings_over_the_edge_of_a_cell_are_seen_wherever_that_is(shift, every):
    cell = (5.0, 6.0)
    y, x = np.mgrid[:5, :6].reshape(2, -1) + np.array(shift)[:, None]
    y, x = y % cell[0], x % cell[1]
    bonds = bonds_within(y, x, 1.5, cell=cell)
    assert bonds.first.size == 120
    crossings = crossing_bonds(y, x, bonds, every=every, cell=cell)
    assert len(crossings) == 30 and (crossings[:, 0] < crossings[:, 1]).all()
    assert without_crossings(y, x, bonds, every=every, cell=cell)[1] == 30
