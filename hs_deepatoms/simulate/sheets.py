"""Sheets of three-fold coordinated atoms with known rings: perfect, with point defects, with a grain boundary.

Lengths are in bonds. Bonds are changed by rule; springs along bonds and
between second neighbours put the atoms where these want them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SECOND = 0.3  # stiffness between second neighbours, of that of a bond


class Sheet(NamedTuple):
    """Positions (n_atoms,) in bonds, and the bonds (n_bonds, 2) as rows."""

    y: np.ndarray
    x: np.ndarray
    bonds: np.ndarray


def honeycomb(rows: int, columns: int) -> Sheet:
    """A perfect sheet of ``rows`` times ``columns`` rectangular cells, 3 by sqrt(3) bonds with four atoms each.

    Examples
    --------
    >>> sheet = honeycomb(2, 3)
    >>> sheet.y.size, len(sheet.bonds)
    (24, 29)
    """
    i, j = (k.ravel() for k in np.mgrid[:rows, :columns])
    y = (3.0 * i[:, None] + [0.0, 0.5, 1.5, 2.0]).ravel()
    x = (np.sqrt(3) * (j[:, None] + [0.0, 0.5, 0.5, 0.0])).ravel()
    return Sheet(y, x, _near(y, x))


def stone_wales(sheet: Sheet) -> Sheet:
    """The bond nearest to the middle turned by 90 degrees: two fives, two sevens."""
    a, b = _middle_bond(sheet)
    y, x = sheet.y.copy(), sheet.x.copy()
    outer = [n for one, other in ((a, b), (b, a)) for n in _neighbours(sheet, one) if n != other]
    middle = np.array([y[[a, b]].mean(), x[[a, b]].mean()])
    arm = np.array([y[a], x[a]]) - middle
    turned = np.array([arm[1], -arm[0]])
    for atom, sign in ((a, 1), (b, -1)):
        y[atom], x[atom] = middle + sign * turned
    keep = ~np.isin(sheet.bonds, (a, b)).any(axis=1)
    side = [np.sign((np.array([y[n], x[n]]) - middle) @ turned) for n in outer]
    new = [(a, b)] + [(a if one > 0 else b, n) for n, one in zip(outer, side, strict=True)]
    return relaxed(Sheet(y, x, np.concatenate([sheet.bonds[keep], new])))


def divacancy(sheet: Sheet) -> Sheet:
    """The two atoms nearest to the middle taken out, and their neighbours bound to one another: 5-8-5."""
    a, b = _middle_bond(sheet)
    new = [[n for n in _neighbours(sheet, one) if n != other] for one, other in ((a, b), (b, a))]
    keep = ~np.isin(sheet.bonds, (a, b)).any(axis=1)
    bonds = np.concatenate([sheet.bonds[keep], new])
    stay = np.delete(np.arange(sheet.y.size), (a, b))
    number = np.full(sheet.y.size, -1)
    number[stay] = np.arange(stay.size)
    return relaxed(Sheet(sheet.y[stay], sheet.x[stay], number[bonds]))


def ring_loop(sheet: Sheet) -> Sheet:
    """The 24 atoms around the hexagon in the middle turned by 30 degrees: a loop of six fives and six sevens [1]_.

    References
    ----------
    .. [1] E. Cockayne et al., "Grain boundary loops in graphene", Physical Review B 83 (2011) 195425,
       https://doi.org/10.1103/PhysRevB.83.195425
    """
    centre = _middle_hexagon(sheet)
    dy, dx = sheet.y - centre[0], sheet.x - centre[1]
    inner = np.hypot(dy, dx) < 3.0  # shells at 1, 2 and sqrt(7) bonds
    cut = inner[sheet.bonds].sum(axis=1) == 1
    crossing = sheet.bonds[cut]
    inside = np.where(inner[crossing[:, 0]], *crossing.T)
    outside = np.where(inner[crossing[:, 0]], *crossing[:, ::-1].T)
    turn = np.deg2rad(30)
    y = np.where(inner, centre[0] + np.cos(turn) * dy + np.sin(turn) * dx, sheet.y)
    x = np.where(inner, centre[1] - np.sin(turn) * dy + np.cos(turn) * dx, sheet.x)
    angle = [np.arctan2(y[rows] - centre[0], x[rows] - centre[1]) for rows in (inside, outside)]
    inside, outside = inside[np.argsort(angle[0])], outside[np.argsort(angle[1])]
    far = [np.hypot(y[np.roll(inside, k)] - y[outside], x[np.roll(inside, k)] - x[outside]).sum() for k in range(12)]
    new = np.stack([np.roll(inside, int(np.argmin(far))), outside], axis=1)
    return relaxed(Sheet(y, x, np.concatenate([sheet.bonds[~cut], new])))


def grain_boundary(height: float, width: float, tilt: float = 21.787) -> tuple[Sheet, np.ndarray, np.ndarray]:
    """Two grains that are tilted against one another by ``tilt`` degrees, and a boundary along y between them.

    It is made from its dual: rings are points, two triangular lattices that meet; atoms are their Delaunay triangles.

    Returns
    -------
    sheet, sizes, places
        Sizes (n_rings,) of all rings that are closed, counted as triangles around each point, and those points
        (n_rings, 2) as y, x.
    """
    from scipy.spatial import Delaunay, cKDTree

    a, halves = np.sqrt(3), []
    n = int(2 * (height + width))
    i, j = (k.ravel() for k in np.mgrid[-n : n + 1, -n : n + 1])
    for sign in (-1, 1):
        turn = sign * np.deg2rad(tilt / 2)
        y, x = a * (i + j / 2), a * np.sqrt(3) / 2 * j
        y, x = np.cos(turn) * y + np.sin(turn) * x, -np.sin(turn) * y + np.cos(turn) * x
        halves.append(np.stack([y, x], axis=1)[(np.abs(y) < height / 2) & (sign * x > 0) & (np.abs(x) < width / 2)])
    close = cKDTree(halves[0]).query(halves[1])[0] < 0.65 * a
    points = _evened(np.concatenate([halves[0], halves[1][~close]]), a)
    triangles = Delaunay(points).simplices
    rim = (np.abs(points) > np.array([height, width]) / 2 - 1.2 * a).any(axis=1)
    triangles = triangles[~rim[triangles].any(axis=1)]
    sides = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(triangles)), 3)
    order = np.lexsort(sides.T)
    same = np.flatnonzero((sides[order][1:] == sides[order][:-1]).all(axis=1))
    bonds = np.stack([owner[order[same]], owner[order[same + 1]]], axis=1)
    sheet = relaxed(Sheet(*points[triangles].mean(axis=1).T, bonds))
    touched = np.bincount(triangles.ravel(), minlength=len(points))
    inner = np.bincount(sides[order[same]].ravel(), minlength=len(points)) == touched
    whole = inner & (touched > 0)
    return sheet, touched[whole], points[whole]


def _evened(points: np.ndarray, a: float) -> np.ndarray:
    """The points near the boundary moved to the means of those around them, a few times over."""
    from scipy.spatial import Delaunay

    points = points.copy()
    for _ in range(20):
        begin, near = Delaunay(points).vertex_neighbor_vertices
        mean = np.add.reduceat(points[near], begin[:-1]) / np.diff(begin)[:, None]
        moving = (np.abs(points[:, 1]) < 3 * a) & (np.abs(points[:, 0]) < np.abs(points[:, 0]).max() - 1.5 * a)
        points[moving] = (points[moving] + mean[moving]) / 2
    return points


def relaxed(sheet: Sheet) -> Sheet:
    """The sheet with its atoms where springs along bonds (length 1) and between second neighbours (sqrt(3)) rest."""
    from scipy.optimize import minimize

    pairs = np.concatenate([sheet.bonds, _second(sheet)])
    rest = np.repeat([1.0, np.sqrt(3)], [len(sheet.bonds), len(pairs) - len(sheet.bonds)])
    stiff = np.where(rest == 1, 1.0, SECOND)
    n = sheet.y.size

    def energy(flat):
        points = flat.reshape(2, n)
        vector = points[:, pairs[:, 1]] - points[:, pairs[:, 0]]
        length = np.maximum(np.hypot(*vector), 1e-9)
        pull = stiff * (length - rest) / length * vector
        slope = np.stack([np.bincount(pairs[:, 1], one, n) - np.bincount(pairs[:, 0], one, n) for one in pull])
        return (stiff * (length - rest) ** 2).sum() / 2, slope.ravel()

    done = minimize(energy, np.concatenate([sheet.y, sheet.x]), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return Sheet(*done.x.reshape(2, n), sheet.bonds)


def _near(y, x) -> np.ndarray:
    from hs_deepatoms.tables.neighbours import pairs_within

    return pairs_within(y, x, 1.2)


def _second(sheet: Sheet) -> np.ndarray:
    from scipy.sparse import coo_matrix, triu

    n = sheet.y.size
    link = coo_matrix((np.ones(len(sheet.bonds)), tuple(sheet.bonds.T)), shape=(n, n))
    link = (link + link.T).tocsr()
    return np.stack(triu(link @ link, k=1).nonzero(), axis=1)


def _neighbours(sheet: Sheet, atom: int) -> list[int]:
    return [int(b if a == atom else a) for a, b in sheet.bonds[(sheet.bonds == atom).any(axis=1)]]


def _middle_bond(sheet: Sheet) -> tuple[int, int]:
    middle = [w[sheet.bonds].mean(axis=1) - (w.min() + w.max()) / 2 for w in (sheet.y, sheet.x)]
    return tuple(int(k) for k in sheet.bonds[np.hypot(*middle).argmin()])


def _middle_hexagon(sheet: Sheet) -> np.ndarray:
    """The point of the sheet's hexagons nearest to the middle: opposite a bond, one bond from an atom's far side."""
    middle = np.array([(w.min() + w.max()) / 2 for w in (sheet.y, sheet.x)])
    atom = int(np.hypot(sheet.y - middle[0], sheet.x - middle[1]).argmin())
    own = np.array([sheet.y[atom], sheet.x[atom]])
    around = [np.array([sheet.y[k], sheet.x[k]]) for k in _neighbours(sheet, atom)]
    return own - (around[0] - own)
