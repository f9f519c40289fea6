"""Rings of a planar network: the faces of its drawing. Arrays, in time linear in the number of atoms.

Every bond is two half-edges, one per direction. Sorted by angle around each atom, the half-edge that follows another
along the border of a face is the next one around the atom where it ends; the borders are the cycles of that map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.structure.graph import Bonds

SMALLEST = 3
CROSSED = 0.05  # share of bonds that may cross others, as where a sheet is buckled, before it counts as no network
TRIANGLES = 0.5  # share of triangles beyond which a structure is close-packed,
CLOSED = 0.85  # if so many rings are triangles or squares; a kagome network has a hexagon for every two triangles


class Rings(NamedTuple):
    """``atoms`` and ``sides`` are (n_rings, largest), -1 beyond the ring's size; the rest (n_rings,).

    ``sides`` are rows of bonds, from the atom in the same place to the one after it. Centres lie at the mean of the
    atoms, next to the first one where a ring goes over the edge of a cell.
    """

    atoms: np.ndarray
    sides: np.ndarray
    size: np.ndarray
    y: np.ndarray
    x: np.ndarray
    area: np.ndarray

    def at(self, rows) -> Rings:
        """Some of the rings."""
        return Rings(*(column[rows] for column in self))


def find_rings(y, x, bonds: Bonds, *, largest: int = 12) -> Rings:
    """The faces of a planar network: no atom or bond lies inside a ring.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in one unit.
    bonds
        Without crossings, see `hs_deepatoms.structure.graph.without_crossings`.
    largest
        Atoms of the largest ring that is looked for; what is beyond is a hole.

    Returns
    -------
    Rings
        Sorted by centre, row-major; the area is in the square of the unit. Bonds that lie on no ring (chains, single
        atoms at a rim) are left out; a border that touches itself at an atom is split there.

    References
    ----------
    .. [1] D. E. Muller and F. P. Preparata, "Finding the intersection of two convex polyhedra", Theoretical Computer
       Science 7 (1978) 217-236, https://doi.org/10.1016/0304-3975(78)90051-8 (half-edges)

    Examples
    --------
    >>> from hs_deepatoms.structure.graph import bonds_within
    >>> angle = np.arange(6) * np.pi / 3
    >>> y, x = np.sin(angle), np.cos(angle)
    >>> rings = find_rings(y, x, bonds_within(y, x, 1.1))
    >>> rings.size.tolist(), rings.area.round(4).tolist()
    ([6], [2.5981])
    """
    y, x = np.asarray(y, float), np.asarray(x, float)
    kept = _without_ends(y.size, bonds)
    while True:
        part = bonds if kept.size == bonds.first.size else bonds.at(kept)
        after = following(y.size, part)
        face = _cycles(after)
        bridge = face[: kept.size] == face[kept.size :]  # both of its sides are the same face: on no ring
        if not bridge.any():
            break
        kept = kept[~bridge]
    return _traced(y, x, part, kept, after, face, largest)


def _without_ends(n_atoms: int, bonds: Bonds) -> np.ndarray:
    """Rows of the bonds without those of atoms that have no other one: their chains are on no ring."""
    kept, first, second = np.arange(bonds.first.size), bonds.first, bonds.second
    while kept.size:
        held = np.bincount(first, minlength=n_atoms) + np.bincount(second, minlength=n_atoms) > 1
        if held[first].all() and held[second].all():
            break
        inside = np.flatnonzero(held[first] & held[second])
        kept, first, second = kept[inside], first[inside], second[inside]
    return kept


def following(n_atoms: int, bonds: Bonds) -> np.ndarray:
    """The half-edge (2 n_bonds,) after each one along the border of the face on its side.

    Half-edge k runs along bond k, half-edge n_bonds + k back.
    """
    n = bonds.first.size
    origin = np.concatenate([bonds.first, bonds.second])
    angle = np.arctan2(bonds.dy, bonds.dx)
    back = np.where(angle > 0, angle - np.pi, angle + np.pi)
    # one key, sorted in a quarter of the time of two; of ten million atoms angles still differ by 1e-8
    order = np.argsort(8.0 * origin + np.concatenate([angle, back]), kind="stable")  # half of it is nearly in order
    rank = np.empty(2 * n, np.int64)
    rank[order] = np.arange(2 * n)
    count = np.bincount(origin, minlength=n_atoms)
    count = count[count > 0]
    end = np.cumsum(count)
    before = np.empty(2 * n, np.int64)
    before[1:] = order[:-1]
    before[end - count] = order[end - 1]  # the first one around an atom comes after its last
    return before[np.concatenate([rank[n:], rank[:n]])]


def _cycles(after: np.ndarray) -> np.ndarray:
    """Number of the cycle of a permutation that each of its elements is on."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if not after.size:
        return after
    steps = csr_array((np.ones(after.size), after, np.arange(after.size + 1)))
    return connected_components(steps, directed=True, connection="strong")[1]


def _traced(y, x, bonds: Bonds, names, after, face, largest: int) -> Rings:
    """Walk along all borders at once; borders lie along the last axis until they are rings."""
    length = np.bincount(face)
    first = np.empty(length.size, np.int64)
    first[face[::-1]] = np.arange(face.size)[::-1]
    # a border that touches itself may be longer than the rings it is split into
    chosen = (length >= SMALLEST) & (length <= 2 * largest)
    edge, size = first[chosen], length[chosen]
    half = np.empty((int(size.max(initial=largest)), edge.size), np.int64)
    for step in range(len(half)):
        half[step] = edge
        edge = after[edge]
    half[np.arange(len(half))[:, None] >= size] = -1
    origin = np.concatenate([bonds.first, bonds.second])
    half, size = _split(half, size, origin)
    wanted = (size >= SMALLEST) & (size <= largest)
    if not wanted.all():
        half, size = half[:, wanted], size[wanted]
    half = half[:largest]
    if not half.size:
        none = np.full(half.T.shape, -1, np.int64)
        return Rings(none, none, size, *(np.zeros(len(none)) for _ in range(3)))
    centre_y, centre_x, area = _measured(y, x, half, size, origin, bonds)
    rows = np.flatnonzero(area > 0)  # the outside goes around the other way
    rows = rows[np.argsort(centre_y[rows] + 1j * centre_x[rows], kind="stable")]  # by y, then x, in one sort
    half = half[:, rows]
    # beyond the size of a ring half is -1, and picks what is appended
    atoms, sides = (np.append(w, -1)[half] for w in (origin, np.concatenate([names, names])))
    return Rings(atoms.T, sides.T, *(w[rows] for w in (size, centre_y, centre_x, area)))


def _measured(y, x, half, size, origin, bonds: Bonds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and areas (n_rings,), 0 for what goes around a periodic cell and does not close."""
    (dy, dx), ends, middle, to = (np.concatenate([w, -w, [0.0]])[half] for w in (bonds.dy, bonds.dx)), [], [], []
    for step in (dy, dx):
        there = _summed(step)
        ends.append(there[-1])
        middle.append((there.sum(axis=0) - (len(half) - size + 1) * there[-1]) / size)
        to.append(there)
    closes = ends[0] ** 2 + ends[1] ** 2 < 1e-12 * (dy * dy + dx * dx).max(axis=0)
    twice = np.einsum("ij,ij->j", to[1], dy) - np.einsum("ij,ij->j", to[0], dx)
    near = origin[half[0]]
    return y[near] + middle[0], x[near] + middle[1], np.where(closes, twice / 2, 0.0)


def _summed(step: np.ndarray) -> np.ndarray:
    """Sums along the first axis, row by row: numpy's cumsum takes ten times as long."""
    made = step.copy()
    for row in range(1, len(made)):
        made[row] += made[row - 1]
    return made


def _split(half: np.ndarray, size: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Borders that visit an atom twice become several that do not; the few there are, one by one."""
    # four bonds and more: without bridges every visit has two bonds of its own
    many = np.bincount(origin) > 3
    if not half.size or not many.any():
        return half, size
    crowded = np.flatnonzero(many[origin[half]].any(axis=0))
    atoms = np.sort(np.where(half[:, crowded] >= 0, origin[half[:, crowded]], -1), axis=0)
    twice = crowded[((atoms[1:] == atoms[:-1]) & (atoms[1:] >= 0)).any(axis=0)]
    if not twice.size:
        return half, size
    parts = [np.delete(half, twice, axis=1)]
    for row in half[:, twice].T:
        for loop in _simple_loops(row[row >= 0], origin):
            made = np.full((len(half), 1), -1, np.int64)
            made[: len(loop), 0] = loop
            parts.append(made)
    half = np.concatenate(parts, axis=1)
    return half, (half >= 0).sum(axis=0)


def _simple_loops(row: np.ndarray, origin: np.ndarray) -> list[list[int]]:
    made, stack, seen = [], [], {}
    for edge in row.tolist():
        atom = int(origin[edge])
        if atom in seen:
            start = seen[atom]
            loop, stack = stack[start:], stack[:start]
            for one in loop:
                seen.pop(int(origin[one]), None)
            made.append(loop)
        seen[atom] = len(stack)
        stack.append(edge)
    return [*made, stack]


def check_planar(rings: Rings, crossed: int, n_bonds: int) -> None:
    """Refuse what is no network of rings in a plane.

    Parameters
    ----------
    rings
        What `find_rings` found.
    crossed, n_bonds
        Bonds that crossed others, and all bonds.

    Raises
    ------
    TableError
        If too many bonds cross, or most faces are triangles and there are no open ones.
    """
    if crossed > CROSSED * n_bonds:
        raise TableError(explain(
            f"{crossed} of {n_bonds} bonds that cross others", "a planar network, whose bonds cross next to nowhere",
            "Shorten the bonds (factor= or cutoff=), select one sublattice with species=, or use "
            "coordination(), which needs no plane."))  # fmt: skip
    triangles = np.count_nonzero(rings.size == SMALLEST)
    closed = np.count_nonzero(rings.size <= SMALLEST + 1) > CLOSED * rings.size.size
    if rings.size.size > 4 and triangles > TRIANGLES * rings.size.size and closed:
        raise TableError(explain(
            f"{triangles} triangles among {rings.size.size} rings", "networks with open rings, as graphene or MoS2",
            "Of a close-packed structure every ring is a triangle and says nothing: use coordination() or lattice(). "
            "If it is none, shorten the bonds (factor= or cutoff=)."))  # fmt: skip


def ring_counts(rings: Rings, n_atoms: int, largest: int) -> np.ndarray:
    """How many rings of each size every atom is on, (n_atoms, largest + 1)."""
    place = rings.atoms * (largest + 1) + rings.size[:, None]
    flat = np.bincount(place[rings.atoms >= 0], minlength=n_atoms * (largest + 1))
    return flat.reshape(n_atoms, largest + 1)


def ring_neighbours(rings: Rings, n_bonds: int) -> np.ndarray:
    """Pairs (n, 2) of rings that share a bond, first < second; as many times as they share bonds."""
    inside = rings.sides >= 0
    ring = np.broadcast_to(np.arange(rings.size.size)[:, None], inside.shape)[inside]
    side = rings.sides[inside]
    order = np.argsort(side)
    side, ring = side[order], ring[order]
    same = np.flatnonzero(side[1:] == side[:-1])
    return np.sort(np.stack([ring[same], ring[same + 1]], axis=1), axis=1)
