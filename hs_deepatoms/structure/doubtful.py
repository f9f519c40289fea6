"""Atoms that are perhaps none, and without which the rings around them are regular: noise on a bond, one atom twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hs_deepatoms.structure.rings import Rings

SAME_AREA = 0.97  # of the rings around, which removing an atom must not open
AROUND = 2  # rings to every side that are looked at
ROUNDS = 20  # neighbours are tried one after the other, and few atoms are in doubt


def doubtful_atoms(
    in_question: np.ndarray, probability: np.ndarray, rings: Rings, find: Callable[[np.ndarray], Rings], regular: int
) -> np.ndarray:
    """Those of the atoms in question that make the rings they are on irregular.

    An atom of a network that is taken out leaves one ring of all rings around it, which is farther from regular than
    they were: in doubt are only those that stand on a bond or beside another atom, where its ends find each other.

    Parameters
    ----------
    in_question
        Shape (n_atoms,), bool: the others are atoms whatever the rings say.
    probability
        Shape (n_atoms,): that there is an atom. Of neighbours the less probable one is tried first.
    rings
        Those of all atoms.
    find
        Atoms (n_atoms,), bool -> the rings of these alone, as rows of all atoms.
    regular
        Size of the rings that are no defects.

    Returns
    -------
    numpy.ndarray of bool, shape (n_atoms,)
        Without them the sizes of the rings around are nearer to ``regular``, and cover the same area.

    Examples
    --------
    >>> from hs_deepatoms.structure.graph import bonds_by_shape
    >>> from hs_deepatoms.structure.rings import find_rings
    >>> from hs_deepatoms.simulate.sheets import honeycomb
    >>> sheet = honeycomb(3, 4)
    >>> first, second = sheet.bonds[len(sheet.bonds) // 2]  # noise in the middle of a bond
    >>> y, x = (np.append(w, (w[first] + w[second]) / 2) for w in (sheet.y, sheet.x))
    >>> def find(stay):
    ...     rows = np.flatnonzero(stay)
    ...     found = find_rings(y[rows], x[rows], bonds_by_shape(y[rows], x[rows]))
    ...     return found._replace(atoms=np.where(found.atoms < 0, -1, rows[found.atoms]))
    >>> probability = np.append(np.ones(sheet.y.size), 0.6)
    >>> out = doubtful_atoms(probability < 0.8, probability, find(probability > 0), find, 6)
    >>> np.flatnonzero(out).tolist() == [sheet.y.size]
    True
    """
    stay = np.ones(probability.size, bool)
    on = _atoms_on_rings(rings, probability.size)
    alone = np.asarray(on.sum(axis=0)).ravel() == 0
    untried = in_question & (on.T @ (rings.size != regular).astype(np.int64) > 0)
    for _ in range(ROUNDS):
        tried = _far_apart(np.flatnonzero(untried), probability, on)
        if not tried.size:
            break
        untried[tried] = False
        owner = np.full(probability.size, -1)  # of the atoms that share a ring with one that is tried
        around = (on[:, tried].T @ on).tocoo()
        owner[around.col] = around.row
        near = stay & (alone | _reached(owner >= 0, on))
        off, area = _around(find(near), owner, tried.size, regular)
        near[tried] = False
        off_after, area_after = _around(find(near), owner, tried.size, regular)
        stay[tried[(off_after < off) & (area_after >= SAME_AREA * area)]] = False
    return ~stay


def _reached(atoms: np.ndarray, on) -> np.ndarray:
    """Atoms (n_atoms,), bool, from which these can be reached over few rings."""
    for _ in range(AROUND - 1):
        atoms = on.T @ (on @ atoms.astype(np.int64)) > 0
    return atoms


def _atoms_on_rings(rings: Rings, n_atoms: int):
    """Sparse matrix (n_rings, n_atoms) of 0 and 1."""
    from scipy.sparse import csr_array

    inside = rings.atoms >= 0
    begins = np.append(0, np.cumsum(inside.sum(1)))
    return csr_array((np.ones(begins[-1], np.int64), rings.atoms[inside], begins), shape=(len(rings.atoms), n_atoms))


def _far_apart(rows: np.ndarray, probability: np.ndarray, on) -> np.ndarray:
    """Those that are less probable than all others at most three rings away: they do not disturb each other."""
    if not rows.size:
        return rows
    one = on[:, rows]  # rings of each
    two = on.T @ one  # atoms that share a ring with it
    three = on @ two  # and the rings of these
    near = (three.T @ three).tocoo()
    rank = np.argsort(np.argsort(probability[rows], kind="stable"), kind="stable")
    least = np.full(rows.size, rows.size)
    np.minimum.at(least, near.row, rank[near.col])
    return rows[rank == least]


def _around(rings: Rings, owner: np.ndarray, n: int, regular: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the rings around each of ``n`` atoms: how far their sizes are from regular in all, and their area."""
    of = np.where(rings.atoms >= 0, owner[rings.atoms], -1).max(axis=1, initial=-1)
    mine = of >= 0
    weigh = lambda values: np.bincount(of[mine], values[mine], n)  # noqa: E731
    return weigh(np.abs(rings.size - regular)), weigh(np.abs(rings.area))
