"""Rings of sheets whose rings are known, and networks that are none."""

import numpy as np
import pytest

from hs_deepatoms.errors import TableError
from hs_deepatoms.simulate import sheets
from hs_deepatoms.structure.defects import KINDS, find_defects
from hs_deepatoms.structure.graph import Bonds, bonds_by_shape, bonds_within
from hs_deepatoms.structure.rings import check_planar, find_rings, ring_counts, ring_neighbours

PERFECT = sheets.honeycomb(7, 9)
HEXAGONS = len(PERFECT.bonds) - PERFECT.y.size + 1


def _counted(rings):
    return {int(size): int(n) for size, n in zip(*np.unique(rings.size, return_counts=True), strict=True)}


def _bonds(y, x, pairs):
    a, b = np.asarray(pairs).T
    return Bonds(a, b, y[b] - y[a], x[b] - x[a])


@pytest.mark.parametrize(
    ("make", "counts", "kind"),
    [
        (lambda s: s, {6: HEXAGONS}, []),
        (sheets.stone_wales, {5: 2, 6: HEXAGONS - 4, 7: 2}, ["Stone-Wales"]),
        (sheets.divacancy, {5: 2, 6: HEXAGONS - 4, 8: 1}, ["5-8-5"]),
        (sheets.ring_loop, {5: 6, 6: HEXAGONS - 12, 7: 6}, ["5-7 loop"]),
    ],
)
@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_known_sheets(make, counts, kind, turn):
    sheet = make(PERFECT)
    y, x = np.cos(turn) * sheet.y + np.sin(turn) * sheet.x, np.cos(turn) * sheet.x - np.sin(turn) * sheet.y
    bonds = bonds_by_shape(y, x)
    rings = find_rings(y, x, bonds)
    defects = find_defects(rings, bonds.first.size, 1.0)
    assert _counted(rings) == counts and [KINDS[k] for k in defects.kind] == kind and not defects.excess.any()


def test_grain_boundary_has_the_sizes_of_its_dual():
    sheet, sizes, _ = sheets.grain_boundary(24, 20)
    rings = find_rings(sheet.y, sheet.x, bonds_by_shape(sheet.y, sheet.x))
    assert sorted(rings.size) == sorted(sizes) and (sizes != 6).any()


def _searched(n_atoms, bonds, most):
    """Shortest-path rings (King) as sets of atoms: around every two bonds of an atom, by a search without angles."""
    near = [set() for _ in range(n_atoms)]
    for a, b in zip(bonds.first.tolist(), bonds.second.tolist(), strict=True):
        near[a].add(b)
        near[b].add(a)
    found = set()
    for atom in range(n_atoms):
        for begin in near[atom]:
            paths = [[begin]]
            ends = {one: most for one in near[atom] if one > begin}  # the shortest ring to each
            for size in range(3, most + 1):
                paths = [[*path, step] for path in paths for step in near[path[-1]] - {atom, *path}]
                for path in paths:
                    if size <= ends.get(path[-1], 0):
                        ends[path[-1]] = size
                        found.add(frozenset([atom, *path]))
    return {ring for ring in found if all(len(near[one] & ring) == 2 for one in ring)}


@pytest.mark.parametrize("make", [sheets.stone_wales, sheets.divacancy, sheets.ring_loop])
def test_faces_are_the_rings_that_a_search_without_angles_finds(make):
    rng, sheet = np.random.default_rng(3), make(sheets.honeycomb(5, 7))
    y, x = (w + rng.normal(0, 0.05, w.size) for w in (sheet.y, sheet.x))
    bonds = bonds_within(y, x, 1.35)
    faces = find_rings(y, x, bonds, largest=8)
    assert {frozenset(row[row >= 0].tolist()) for row in faces.atoms} == _searched(y.size, bonds, 8)


def test_every_ring_is_a_cycle_with_its_own_bonds():
    sheet = sheets.stone_wales(PERFECT)
    bonds = bonds_by_shape(sheet.y, sheet.x)
    rings = find_rings(sheet.y, sheet.x, bonds)
    ends = np.sort(np.stack([bonds.first, bonds.second], axis=1), axis=1)
    for atoms, sides, size in zip(rings.atoms, rings.sides, rings.size, strict=True):
        own = atoms[:size]
        pairs = np.sort(np.stack([own, np.roll(own, -1)], axis=1), axis=1)
        np.testing.assert_array_equal(ends[sides[:size]], pairs)
        assert np.unique(own).size == size and (atoms[size:] == -1).all()
    # faces and bonds of a sheet in one piece: Euler
    assert sheet.y.size - bonds.first.size + rings.size.size == 1
    counts = ring_counts(rings, sheet.y.size, 12)
    assert counts.sum() == rings.size.sum() and counts[:, 5].sum() == 10
    shared = ring_neighbours(rings, bonds.first.size)
    assert len(shared) == rings.size.sum() - np.unique(rings.sides[rings.sides >= 0]).size


def test_area_and_centre():
    y, x = np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 3.0, 3.0, 0.0])
    rings = find_rings(y, x, _bonds(y, x, [(0, 1), (1, 2), (2, 3), (0, 3)]))
    assert (rings.area[0], rings.y[0], rings.x[0]) == (6.0, 1.0, 1.5)


def test_chains_and_bridges_are_on_no_ring():
    # two squares, a bridge between them, a chain inside one and one outside
    square = np.array([[0, 0], [0, 4], [4, 4], [4, 0]], float)
    points = np.concatenate([square, square + np.array([0, 8]), [[2, 2], [2, 3], [6, 14]]])
    pairs = [(0, 1), (1, 2), (2, 3), (0, 3), (4, 5), (5, 6), (6, 7), (4, 7), (2, 7), (0, 8), (8, 9), (6, 10)]
    y, x = points.T
    rings = find_rings(y, x, _bonds(y, x, pairs))
    assert _counted(rings) == {4: 2} and set(rings.atoms[:, :4].ravel()) == set(range(8))


def test_a_border_that_touches_itself_is_split():
    # a triangle hangs inside a square, on one of its atoms: the walk along the inside visits that atom twice
    points = np.array([[0, 0], [0, 9], [9, 9], [9, 0], [3, 2], [2, 3]], float)
    y, x = points.T
    pairs = [(0, 1), (1, 2), (2, 3), (0, 3), (0, 4), (4, 5), (0, 5)]
    assert _counted(find_rings(y, x, _bonds(y, x, pairs))) == {3: 1, 4: 1}


def test_periodic_sheet_has_no_rim():
    cell = (3.0 * 7, np.sqrt(3) * 9)
    rings = find_rings(PERFECT.y, PERFECT.x, bonds_within(PERFECT.y, PERFECT.x, 1.2, cell=cell))
    assert _counted(rings) == {6: 2 * 7 * 9}
    np.testing.assert_allclose(rings.area, 1.5 * np.sqrt(3))


def test_largest():
    angle = np.arange(13) * 2 * np.pi / 13
    y, x = 10 * np.sin(angle), 10 * np.cos(angle)
    bonds = bonds_within(y, x, 5.0)
    assert find_rings(y, x, bonds).size.size == 0 and _counted(find_rings(y, x, bonds, largest=13)) == {13: 1}


@pytest.mark.parametrize("n", [0, 1, 2])
def test_next_to_nothing(n):
    y, x = np.zeros(n), np.arange(n, dtype=float)
    bonds = bonds_within(y, x, 1.5)
    rings = find_rings(y, x, bonds)
    assert rings.size.size == 0 and find_defects(rings, bonds.first.size, 1.0).kind.size == 0
    check_planar(rings, 0, bonds.first.size)


def test_refusals_say_why():
    y, x = (k.ravel() for k in np.mgrid[:6, :7].astype(float))
    x = x + 0.5 * (y % 2)
    y = y * np.sqrt(3) / 2
    bonds = bonds_within(y, x, 1.1)
    with pytest.raises(TableError, match="close-packed"):
        check_planar(find_rings(y, x, bonds), 0, bonds.first.size)
    with pytest.raises(TableError, match="cross others"):
        check_planar(find_rings(y, x, bonds), 10, bonds.first.size)


@pytest.mark.parametrize("noise", [0.0, 0.06, 0.1])
def test_triangles_beside_hexagons_are_a_network_and_beside_squares_are_not(noise):
    rng = np.random.default_rng(0)
    i, j = (k.ravel()[:, None] for k in np.mgrid[-9:9, -9:9])
    kagome = np.sqrt(3) * (i + np.array([0, 0, 0.5])), 2 * j + i + np.array([0, 1, 0.5])
    close_packed = np.sqrt(3) / 2 * i, j + 0.5 * i
    centred = np.sqrt(2) * (i + np.array([0, 0.5])), j + np.array([0, 0.5])  # as fcc along <110>
    for name, (y, x) in {"kagome": kagome, "hexagonal": close_packed, "centred": centred}.items():
        points = np.unique(np.stack([y.ravel(), x.ravel()], axis=1), axis=0)
        points = points[(np.abs(points) < 8).all(axis=1)]
        y, x = (points + rng.normal(0, noise, points.shape)).T
        rings = find_rings(y, x, bonds_by_shape(y, x))
        if name == "kagome":
            check_planar(rings, 0, 1)
            assert _counted(rings)[3] > 1.8 * _counted(rings)[6]
        elif name == "hexagonal" or noise:
            with pytest.raises(TableError, match="close-packed"):
                check_planar(rings, 0, 1)


def test_burgers_vector_of_a_pair():
    sheet, _, _ = sheets.grain_boundary(40, 30)
    bonds = bonds_by_shape(sheet.y, sheet.x)
    rings = find_rings(sheet.y, sheet.x, bonds)
    found = find_defects(rings, bonds.first.size, 1.0)
    pair = [KINDS[k] for k in found.kind].index("5-7 pair")
    np.testing.assert_allclose(np.hypot(*found.burgers[pair]), np.sqrt(3))
    way = np.array([np.sin(found.angle[pair]), np.cos(found.angle[pair])])
    np.testing.assert_allclose(found.burgers[pair] @ way, 0, atol=1e-12)
