"""Rings of a planar network: the faces of its drawing. Arrays, in time linear in the number of atoms.

Every bond is two half-edges, one per direction. Sorted by angle around each atom, the half-edge that follows another
along the border of a face is the next one around the atom where it ends; the borders are the cycles of that map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
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
    from hs_deepatoms.structure.compiled import faces

    y, x = (np.ascontiguousarray(w, float) for w in (y, x))
    bonds = _checked(bonds, y.size)
    kept = _without_ends(y.size, bonds)
    while True:
        part = bonds if kept.size == bonds.first.size else bonds.at(kept)
        after = faces.following(y.size, *part)
        face, *borders = faces.cycles(after)
        bridge = face[: kept.size] == face[kept.size :]  # both of its sides are the same face: on no ring
        if not bridge.any():
            break
        kept = kept[~bridge]
    origin = np.concatenate([part.first, part.second])
    loops, size = faces.loops(*borders, after, origin, y.size, SMALLEST, largest)
    centre_y, centre_x, area = faces.measured(y, x, loops, size, origin, part.dy, part.dx)
    half = np.full((size.size, largest), -1)
    half[np.arange(largest) < size[:, None]] = loops
    rows = np.flatnonzero(area > 0)  # the outside goes around the other way
    rows = rows[np.argsort(centre_y[rows] + 1j * centre_x[rows], kind="stable")]  # by y, then x, in one sort
    half = half[rows]
    # beyond the size of a ring half is -1, and picks what is appended
    atoms, sides = (np.append(w, -1)[half] for w in (origin, np.concatenate([kept, kept])))
    return Rings(atoms, sides, *(w[rows] for w in (size, centre_y, centre_x, area)))


def _checked(bonds: Bonds, n_atoms: int) -> Bonds:
    """As the compiled loops take them, which look at no type and at no end of an array."""
    kinds = np.int64, np.int64, float, float
    bonds = Bonds(*(np.ascontiguousarray(w, kind) for w, kind in zip(bonds, kinds, strict=True)))
    rows = bonds.first, bonds.second
    if min(w.min(initial=0) for w in rows) < 0 or max(w.max(initial=-1) for w in rows) >= n_atoms:
        raise InvalidArgumentError(explain("bonds of rows that are not there", f"rows from 0 to {n_atoms - 1}",
                                           "Find the bonds of these atoms."))  # fmt: skip
    return bonds


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


def check_sparse(n_atoms: int, n_bonds: int) -> None:
    """Refuse more bonds than a plane has room for, before they are compared with each other.

    Raises
    ------
    TableError
        If more than `CROSSED` of them must cross others: without crossings there are at most three for each atom [1]_.

    References
    ----------
    .. [1] R. Diestel, "Graph Theory", Springer (2017), corollary 4.2.10, https://doi.org/10.1007/978-3-662-53622-3
    """
    if (1 - CROSSED) * n_bonds > 3 * n_atoms:
        got = f"{n_bonds} bonds between {n_atoms} atoms, {2 * n_bonds / n_atoms:.3g} for each"
        todo = "Shorten them: cutoff= as text has a unit of its own ('1.8 Å'), a number has that of the axes."
        raise TableError(explain(got, "a planar network, where an atom has at most six on average", todo))


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
