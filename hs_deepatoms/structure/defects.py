"""Defects of a ring network: clusters of neighbouring rings that are not the regular ones, and what they are called."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms.structure.graph import connected_parts
from hs_deepatoms.structure.rings import Rings, ring_neighbours

KINDS = (
    "single ring", "5-7 pair", "Stone-Wales", "5-8-5", "5-9", "555-777", "5-7 loop", "5-7 chain", "4-8", "other",
)  # fmt: skip
_BY_SIZES = {(5, 7): "5-7 pair", (5, 9): "5-9", (4, 8): "4-8"}


class Defects(NamedTuple):
    """``cluster`` (n_rings,), -1 for regular rings; the rest (n_clusters,), largest cluster first.

    ``kind`` is an index into `KINDS`, ``excess`` the sum of regular minus real sizes (0 for what closes on itself),
    ``angle`` of a 5-7 pair the direction from the five to the seven, and ``burgers`` (n_clusters, 2) its Burgers
    vector along y, x; NaN for others.
    """

    cluster: np.ndarray
    kind: np.ndarray
    rings: np.ndarray
    excess: np.ndarray
    y: np.ndarray
    x: np.ndarray
    angle: np.ndarray
    burgers: np.ndarray


def regular_size(rings: Rings) -> int:
    """The most frequent size, 6 where there are no rings."""
    return int(np.bincount(rings.size).argmax()) if rings.size.size else 6


def find_defects(rings: Rings, n_bonds: int, bond_length: float, *, regular: int = 6) -> Defects:
    """Clusters of rings of other sizes that share a bond with one another.

    Parameters
    ----------
    rings
        What `hs_deepatoms.structure.rings.find_rings` found.
    n_bonds
        Of the network they were found in.
    bond_length
        Its usual length, for Burgers vectors.
    regular
        Size of the regular rings.

    Returns
    -------
    Defects
        A five and a seven that share a bond are the core of a dislocation of a honeycomb; its Burgers vector is the
        shortest lattice vector, sqrt(3) bonds long, at a right angle to the line from five to seven [1]_, here turned
        by +90 degrees (from +x towards +y) from it.

    References
    ----------
    .. [1] O. V. Yazyev and S. G. Louie, "Topological defects in graphene: dislocations and grain boundaries",
       Physical Review B 81 (2010) 195420, https://doi.org/10.1103/PhysRevB.81.195420

    Examples
    --------
    >>> from hs_deepatoms.structure.rings import Rings
    >>> sides = np.array([[0, 1, 2, 3, 4, -1, -1], [4, 5, 6, 7, 8, 9, 10]])
    >>> pair = Rings(sides, sides, np.array([5, 7]), np.zeros(2), np.array([0.0, 2.2]), np.ones(2))
    >>> found = find_defects(pair, 11, 1.0)
    >>> KINDS[found.kind[0]], found.burgers.round(3).tolist()
    ('5-7 pair', [[1.732, 0.0]])
    """
    odd = np.flatnonzero(rings.size != regular)
    touching = odd[ring_neighbours(rings.at(odd), n_bonds)]
    near = np.stack(np.divmod(np.unique(touching[:, 0] * rings.size.size + touching[:, 1]), max(rings.size.size, 1)), 1)
    cluster = _clusters(rings.size.size, odd, near)
    order = np.argsort(cluster[odd], kind="stable")
    members = np.split(odd[order], np.flatnonzero(np.diff(cluster[odd][order])) + 1) if odd.size else []
    which = cluster[near[:, 0]] if len(near) else np.empty(0, np.int64)
    ordered = near[np.argsort(which, kind="stable")]
    ends = np.cumsum(np.bincount(which, minlength=len(members)))
    made = [_named(rings, rows, ordered[e - k : e], bond_length) for rows, e, k in
            zip(members, ends, np.bincount(which, minlength=len(members)), strict=True)]  # fmt: skip
    kind = np.array([KINDS.index(name) for name, *_ in made], np.int64)
    angle = np.array([way for _, way, _ in made], float)
    burgers = np.array([vector for *_, vector in made], float).reshape(-1, 2)
    excess = np.array([(regular - rings.size[rows]).sum() for rows in members], np.int64)
    y, x = (np.array([w[rows].mean() for rows in members]) for w in (rings.y, rings.x))
    return Defects(cluster, kind, np.array([rows.size for rows in members], np.int64), excess, y, x, angle, burgers)


def _clusters(n_rings: int, odd: np.ndarray, near: np.ndarray) -> np.ndarray:
    made = np.full(n_rings, -1, np.int64)
    if not odd.size:
        return made
    made[odd] = connected_parts(odd.size, *np.searchsorted(odd, near).T)
    return made


def _named(rings: Rings, rows: np.ndarray, near: np.ndarray, bond_length: float) -> tuple[str, float, tuple]:
    """Kind of a cluster from the sizes of its rings and which of them touch; for a 5-7 pair its directions."""
    size = {int(row): int(rings.size[row]) for row in rows}
    sizes = tuple(sorted(size.values()))
    touching = [tuple(sorted((size[int(a)], size[int(b)]))) for a, b in near]
    if sizes == (5, 7):
        five, seven = rows[np.argsort(rings.size[rows])]
        dy, dx = rings.y[seven] - rings.y[five], rings.x[seven] - rings.x[five]
        long = np.sqrt(3) * bond_length / np.hypot(dy, dx)
        return "5-7 pair", float(np.arctan2(dy, dx)), (dx * long, 0.0 - dy * long)
    return _kind(sizes, touching), np.nan, (np.nan, np.nan)


def _kind(sizes: tuple[int, ...], touching: list[tuple[int, int]]) -> str:
    fives, sevens = sizes.count(5), sizes.count(7)
    if len(sizes) == 1:
        return "single ring"
    if sizes in _BY_SIZES:
        return _BY_SIZES[sizes]
    if sizes == (5, 5, 7, 7) and sorted(touching) == [(5, 7)] * 4 + [(7, 7)]:
        return "Stone-Wales"
    if sizes == (5, 5, 8) and touching == [(5, 8)] * 2:
        return "5-8-5"
    if sizes == (5, 5, 5, 7, 7, 7) and touching.count((7, 7)) == 3:
        return "555-777"
    if fives + sevens < len(sizes) or abs(fives - sevens) > 1:
        return "other"
    closed = fives == sevens > 3 and touching.count((5, 7)) == len(sizes) == len(touching)
    return "5-7 loop" if closed else "5-7 chain"
