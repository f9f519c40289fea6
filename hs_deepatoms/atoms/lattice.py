"""Which site of which crystal every column sits on: grains, integer lattice indices and sites of the cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.order import lattice_vectors

LEAST = 10  # columns of a grain, and of a sublattice
SCALED = 5.5  # nearest distance that lattice_vectors is given: it counts in column sigmas
TILE = 12.0  # nearest distances: side of the squares in which grains are begun
SAME_SHARE, LEAST_SHARE = 0.75, 0.4  # of the best vector's matches, to be a lattice vector; of the columns
MATCH = 0.2  # nearest distances within which a vector takes one column to another
PARALLEL = 0.25  # sine of the smallest angle between two lattice vectors
# how far from a site one lattice vector away a neighbour may be, in shortest vectors: first, and once they are refined
FIRST, TIGHT, LOOSE, SCATTERS = 0.25, 0.08, 0.2, 6.0
SETTLED = 0.1  # of the tolerance: a change of the vectors that asks for no second look
SAME_SITE = 0.15  # of the cell: sublattices nearer than this are one
STEPS = np.array([(1, 0), (0, 1), (1, 1), (1, -1)])
INTERLEAVED = 0.6  # share of a sublattice that must lie among the columns of the grain


@dataclass(frozen=True)
class Sites:
    """Where n columns belong; -1 in ``grain`` and ``basis`` where they belong nowhere.

    Attributes
    ----------
    grain, i, j, basis : ndarray of int, shape (n,)
        Number of the grain, lattice indices along its two vectors, and which site of its cell.
    vectors : ndarray, shape (n_grains, 2, 2)
        Rows a and b of every grain, each (y, x).
    """

    grain: np.ndarray
    i: np.ndarray
    j: np.ndarray
    basis: np.ndarray
    vectors: np.ndarray


def index_sites(y: np.ndarray, x: np.ndarray, kind: np.ndarray | None = None) -> Sites:
    """Find the grains among the columns of one image, and number their sites.

    Two primitive vectors are found in a part of the image from the differences of positions, reduced, and followed
    from column to column: what hangs together is a grain, however far strain adds up over it. Columns of one kind that
    no lattice vector connects are different sites of the cell.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Positions, in one unit.
    kind : ndarray of int, shape (n,), optional
        Species: lattice vectors lead from a species to the same one.

    Returns
    -------
    Sites

    Notes
    -----
    Vectors are reduced after Lagrange and Gauss. A neighbour may be 8 to 20 % of the shortest vector away from its
    place, so parts that are strained or rotated by more than this against the rest are grains of their own.

    Examples
    --------
    >>> import numpy as np
    >>> i, j = (k.ravel() for k in np.mgrid[:8, :8])
    >>> sites = index_sites(3.0 * i, 4.0 * j)
    >>> sites.vectors.tolist(), sites.grain.max().item()
    ([[[0.0, 4.0], [3.0, 0.0]]], 0)
    """
    y, x = np.asarray(y, float), np.asarray(x, float)
    kind = np.zeros(y.size, np.int64) if kind is None else np.asarray(kind, np.int64)
    sites = Sites(*(np.full(y.size, v, np.int64) for v in (-1, 0, 0, -1)), np.empty((0, 2, 2)))
    if y.size < LEAST:
        return sites
    spacing = _spacing(y, x)
    vectors: list[np.ndarray] = []
    tile = _tiles(y, x, TILE * spacing)
    tried = np.zeros(tile.max() + 1, bool)
    while True:
        free = sites.grain < 0
        counts = np.where(tried, 0, np.bincount(tile[free], minlength=tried.size))
        if counts.max() < LEAST:
            break
        seed = counts.argmax()
        tried[seed] = True
        here = np.flatnonzero(free & (tile == seed))
        start = _seed_vectors(y, x, kind, here)
        fine = None if start is None else _refined(y[here], x[here], kind[here], start)
        grown = None if fine is None else _grow(y, x, kind, np.flatnonzero(free), *fine)
        if grown is None:
            continue
        rows, i, j, basis, cell = grown
        for column, values in zip((sites.grain, sites.i, sites.j, sites.basis), (len(vectors), i, j, basis),
                                  strict=True):  # fmt: skip
            column[rows] = values
        vectors.append(cell)
        tried[seed] = not (tile[rows] == seed).any()  # there may be another grain in it
    return Sites(sites.grain, sites.i, sites.j, sites.basis, np.array(vectors).reshape(-1, 2, 2))


def reduced(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shortest two vectors of the lattice of a and b, shape (2, 2): a nearer to +x, b towards +y.

    Examples
    --------
    >>> import numpy as np
    >>> reduced(np.array([0.0, 2.0]), np.array([3.0, 4.5])).tolist()
    [[0.0, 2.0], [3.0, 0.5]]
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    for _ in range(100):  # a handful suffices; rounding must not make it endless
        if a @ a > b @ b:
            a, b = b, a
        b, before = b - np.rint(a @ b / (a @ a)) * a, b
        if b @ b >= before @ before * (1 - 1e-12):
            b = before
            break
    if abs(a[1]) / np.hypot(*a) < abs(b[1]) / np.hypot(*b) - 1e-9:
        a, b = b, a
    a = a if a[1] > 0 or (a[1] == 0 and a[0] > 0) else -a
    return np.stack([a, b if a[1] * b[0] - a[0] * b[1] > 0 else -b]) + 0.0


def _spacing(y, x) -> float:
    points = np.column_stack([y, x])
    distance = cKDTree(points).query(points, 2)[0][:, 1]
    return float(np.median(distance[distance > 0])) if (distance > 0).any() else 1.0


def _tiles(y, x, side: float) -> np.ndarray:
    rows, columns = (((w - w.min()) / side).astype(np.int64) for w in (y, x))
    return rows * (columns.max() + 1) + columns


def _seed_vectors(y, x, kind, here) -> np.ndarray | None:
    """Two primitive vectors (2, 2) of the most frequent kind among the columns ``here``; None without order."""
    most = np.bincount(kind[here] - kind.min()).argmax() + kind.min()
    u, v = (w[here][kind[here] == most] for w in (y, x))
    if u.size < LEAST:
        return None
    spacing = _spacing(u, v)
    scale = SCALED / spacing
    found = lattice_vectors(u * scale, v * scale, np.ones(u.size)) / scale
    if not len(found):
        return None
    share = _shares(u, v, found, MATCH * spacing)
    found = found[(share > SAME_SHARE * share.max()) & (share > LEAST_SHARE)]
    if len(found) < 2:
        return None
    found = found[np.argsort((found**2).sum(1), kind="stable")]
    length = np.hypot(*found.T)
    sine = np.abs(found[0, 0] * found[:, 1] - found[0, 1] * found[:, 0]) / (length[0] * length)
    apart = np.flatnonzero(sine > PARALLEL)
    return reduced(found[0], found[apart[0]]) if apart.size else None


def _shares(u, v, vectors, tolerance: float) -> np.ndarray:
    """Share of the columns that each vector takes to another one, of those that it leaves inside the box."""
    points = np.column_stack([u, v])
    tree, low, high = cKDTree(points), points.min(0) - tolerance, points.max(0) + tolerance
    there = points[None] + vectors[:, None]
    inside = ((there >= low) & (there <= high)).all(-1)
    hit = tree.query(there.reshape(-1, 2), distance_upper_bound=tolerance)[0].reshape(inside.shape) < np.inf
    return (hit & inside).sum(1) / np.maximum(inside.sum(1), LEAST)


def _refined(y, x, kind, start) -> tuple[np.ndarray, float] | None:
    """Vectors that fit the largest connected part of the seed, and the tolerance that its scatter asks for."""
    tolerance, cell = FIRST, start
    for _ in range(2):
        step, first, second = _bonds(y, x, kind, cell, tolerance)
        label, sizes = _parts(y.size, first, second)
        if sizes.max(initial=0) < LEAST:
            return None
        bond = np.column_stack([w[second] - w[first] for w in (y, x)])
        inside = label[first] == sizes.argmax()
        cell = _mean_vectors(bond[inside], STEPS[step[inside]], cell)
        rest = (bond - STEPS[step] @ cell)[inside]
        scatter = 1.4826 * np.median(np.abs(rest)) / np.sqrt((cell**2).sum(1)).min()
        tolerance = float(np.clip(SCATTERS * scatter, TIGHT, LOOSE))
    return cell, tolerance


def _grow(y, x, kind, free, cell, tolerance: float):
    """The largest grain with lattice vectors near ``cell``: its rows, i, j, basis, and its mean vectors (2, 2)."""
    for _ in range(2):  # the second time around the mean of the grain, where the seed was at its bent end
        step, first, second = _bonds(y[free], x[free], kind[free], cell, tolerance)
        label, sizes = _parts(free.size, first, second)
        if sizes.max(initial=0) < LEAST:
            return None
        inside = label[first] == sizes.argmax()
        bond = np.column_stack([(w[free][second] - w[free][first])[inside] for w in (y, x)])
        before, cell = cell, _mean_vectors(bond, STEPS[step[inside]], cell)
        if np.abs(cell - before).max() < SETTLED * tolerance * np.sqrt((cell**2).sum(1)).min():
            break
    ij = _indices(free.size, first, second, STEPS[step], label)
    points = np.column_stack([y[free], x[free]])
    basis, ij = _sublattices(points, kind[free], label, sizes, ij, cell)
    basis, ij = _adopted(points, basis, ij, cell)
    rows = basis >= 0
    return free[rows], ij[rows, 0], ij[rows, 1], basis[rows], cell


def _bonds(y, x, kind, cell, tolerance: float):
    """Pairs of columns a step apart, each the nearest to where the other one leads: step, first, second."""
    shortest = np.sqrt((cell**2).sum(1)).min()
    # a third coordinate keeps the kinds apart
    points = np.column_stack([y, x, np.unique(kind, return_inverse=True)[1] * 4 * shortest])
    tree, reach = cKDTree(points), tolerance * shortest
    found = []
    for number, step in enumerate(STEPS):
        shift = np.append(step @ cell, 0.0)
        ahead = tree.query(points + shift, distance_upper_bound=reach)[1]
        back = np.append(tree.query(points - shift, distance_upper_bound=reach)[1], -1)
        first = np.flatnonzero((ahead < len(points)) & (back[ahead] == np.arange(len(points))))
        found.append(np.column_stack([np.full(first.size, number), first, ahead[first]]))
    return np.concatenate(found).T


def _parts(n: int, first, second) -> tuple[np.ndarray, np.ndarray]:
    """Number of the connected part of every column, and the sizes of the parts."""
    label = connected_components(_graph(n, first, second), directed=False)[1]
    return label, np.bincount(label, minlength=1)


def _graph(n: int, first, second):
    return coo_matrix((np.ones(len(first), np.int8), (first, second)), (n, n)).tocsr()


def _mean_vectors(bond, step, cell) -> np.ndarray:
    """Lattice vectors (2, 2) that fit the bonds best."""
    normal = step.T @ step
    return cell if np.linalg.matrix_rank(normal) < 2 else np.linalg.solve(normal, step.T @ bond)


def _indices(n: int, first, second, step, label) -> np.ndarray:
    """Lattice indices (n, 2) relative to the first column of every connected part.

    One further column is tied to a column of every part, so that one walk reaches all; every column then adds up the
    steps to the root, in rounds that double the distance.
    """
    heads = np.unique(label, return_index=True)[1]
    first, second = np.append(first, np.full(heads.size, n)), np.append(second, heads)
    step = np.concatenate([step, np.zeros((heads.size, 2), np.int64)])
    parent = breadth_first_order(_graph(n + 1, first, second), n, directed=False)[1]
    parent[n] = n
    ends = np.concatenate([first * (n + 1) + second, second * (n + 1) + first])
    order = np.argsort(ends, kind="stable")
    each = np.arange(n)
    at = order[np.searchsorted(ends[order], parent[:n].astype(np.int64) * (n + 1) + each)]
    ij = np.concatenate([np.concatenate([step, -step])[at], [[0, 0]]])
    while (parent != n).any():
        ij, parent = ij + ij[parent], parent[parent]
    return ij[:n]


def _sublattices(points, kind, label, sizes, ij, cell) -> tuple[np.ndarray, np.ndarray]:
    """Site of the cell (n,) of the largest part and of those among its columns, and their indices from one origin."""
    basis, ij = np.full(len(points), -1, np.int64), ij.copy()
    basis[label == sizes.argmax()] = 0
    main = np.flatnonzero(basis == 0)
    tree, inverse = cKDTree(points[main]), np.linalg.inv(cell)
    reach = np.sqrt((cell**2).sum(1)).max()
    known = [(int(kind[main[0]]), np.zeros(2))]
    for part in np.argsort(-sizes, kind="stable")[1:]:
        if sizes[part] < LEAST:
            break
        rows = np.flatnonzero(label == part)
        distance, nearest = tree.query(points[rows])
        near = distance < reach
        if near.mean() < INTERLEAVED:
            continue
        away = (points[rows] - points[main[nearest]]) @ inverse + ij[main[nearest]] - ij[rows]
        offset = np.median(away[near], axis=0)
        whole = np.floor(offset + 0.25).astype(np.int64)
        offset, of = offset - whole, int(kind[rows[0]])
        same = [k for k, (other, at) in enumerate(known) if other == of and _apart(offset, at) < SAME_SITE]
        if not same:
            known.append((of, offset))
        else:  # another island of a known sublattice
            whole = whole + np.rint(offset - known[same[0]][1]).astype(np.int64)
        basis[rows], ij[rows] = (same[0] if same else len(known) - 1), ij[rows] + whole
    return _once(points, basis, ij, cell)


def _apart(first, second) -> float:
    away = first - second
    return float(np.abs(away - np.rint(away)).max())


def _keys(basis, ij) -> np.ndarray:
    """One whole number (n,) per site."""
    i, j = (ij - ij.min(0, initial=0)).T
    return (basis * (i.max(initial=0) + 1) + i) * (j.max(initial=0) + 1) + j


def _once(points, basis, ij, cell) -> tuple[np.ndarray, np.ndarray]:
    """Of several columns on one site, those farther from it than the nearest one are on none."""
    rows = np.flatnonzero(basis >= 0)
    _, inverse, count = np.unique(_keys(basis[rows], ij[rows]), return_inverse=True, return_counts=True)
    if (count > 1).any():
        rest = points[rows] - ij[rows] @ cell
        middle = np.stack([np.bincount(basis[rows], r) / np.maximum(np.bincount(basis[rows]), 1) for r in rest.T], 1)
        order = np.argsort(((rest - middle[basis[rows]]) ** 2).sum(1), kind="stable")
        keep = np.zeros(rows.size, bool)
        keep[order[np.unique(inverse[order], return_index=True)[1]]] = True
        basis = basis.copy()
        basis[rows[~keep]] = -1
    return basis, ij


def _adopted(points, basis, ij, cell) -> tuple[np.ndarray, np.ndarray]:
    """Columns that nothing connects (a dopant, one beside vacancies) take the free site they stand on."""
    members, lone = np.flatnonzero(basis >= 0), np.flatnonzero(basis < 0)
    if not lone.size:
        return basis, ij
    inverse = np.linalg.inv(cell)
    offset = _offsets(points, basis, ij, inverse)
    distance, nearest = cKDTree(points[members]).query(points[lone])
    near = distance < 1.5 * np.sqrt((cell**2).sum(1)).max()
    lone, nearest = lone[near], members[nearest[near]]
    # relative to the origin of the cell of the nearest member, so that strain far away does not matter
    place = (points[lone] - points[nearest]) @ inverse + offset[basis[nearest]]
    away = place[:, None] - offset[None]
    whole = np.rint(away)
    error = np.abs(away - whole).max(-1)
    which = error.argmin(1)
    good = error.min(1) < SAME_SITE
    new_basis, new_ij = basis.copy(), ij.copy()
    new_ij[lone] = ij[nearest] + whole[np.arange(lone.size), which].astype(np.int64)
    new_basis[lone[good]] = which[good]
    order = np.concatenate([members, lone[good]])  # members come first and keep their sites
    keep = order[np.unique(_keys(new_basis[order], new_ij[order]), return_index=True)[1]]
    final = np.full(basis.size, -1, np.int64)
    final[keep] = new_basis[keep]
    return final, new_ij


def _offsets(points, basis, ij, inverse) -> np.ndarray:
    """Place of every sublattice in the cell of the first one, from its neighbours there; shape (n_basis, 2)."""
    first = np.flatnonzero(basis == 0)
    tree = cKDTree(points[first])
    offset = np.zeros((basis.max() + 1, 2))
    for number in range(1, len(offset)):
        rows = np.flatnonzero(basis == number)
        near = first[tree.query(points[rows])[1]]
        offset[number] = np.median((points[rows] - points[near]) @ inverse + ij[near] - ij[rows], axis=0)
    return offset
