"""Bonds between atoms, as arrays: by radii, by distance, or from pruned Delaunay triangles, also across a cell's edges.

All functions take the atoms of one frame, y and x in one unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.tables.neighbours import nearest

if TYPE_CHECKING:
    import networkx

REACH = 1.45  # distances to a neighbour: between a stretched bond and the shorter diagonal of a hexagon (1.73)
LONGEST = 1.15  # times the next side of its triangle: a diagonal of a square has 1.41, a noisy bond less
SOME = 3  # neighbours that every atom of a network has
SAME = 1e-9  # of the longest bond: places and lengths that differ by no more are the same
AROUND = 8  # atoms whose typical distance is compared, so that a single odd one does not matter


class Bonds(NamedTuple):
    """Pairs of atoms (n_bonds,), each once, and the vector from the first to the second."""

    first: np.ndarray
    second: np.ndarray
    dy: np.ndarray
    dx: np.ndarray

    @property
    def length(self) -> np.ndarray:
        return np.sqrt(self.dy * self.dy + self.dx * self.dx)  # hypot takes ten times as long

    @property
    def angle(self) -> np.ndarray:
        """From +x towards +y, in radians."""
        return np.arctan2(self.dy, self.dx)

    def at(self, rows) -> Bonds:
        """Some of the bonds."""
        return Bonds(*(column[rows] for column in self))


def bonds_within(y, x, reach, *, least: float = 0.0, cell=None) -> Bonds:
    """Bonds of all pairs that are near enough.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in one unit.
    reach
        Longest bond: a number, or (n_atoms,) one radius per atom, two of which are added.
    least
        Nearer pairs are two detections of one atom, and get no bond.
    cell
        Two vectors ((y, x), (y, x)) over which the atoms repeat. None: they do not.

    Returns
    -------
    Bonds

    Examples
    --------
    >>> bonds = bonds_within([0.0, 0.0], [0.5, 9.5], 1.5, cell=((10, 0), (0, 10)))
    >>> bonds.dx.tolist()
    [-1.0]
    """
    y, x = _positions(y, x)
    each = np.asarray(reach, float)
    farthest = 2 * each.max(initial=0) if each.ndim else float(each)
    spread = _with_images(y, x, cell, farthest)
    bonds = _canonical(spread, *_pairs(spread.y, spread.x, farthest, y.size))
    limit = each[bonds.first] + each[bonds.second] if each.ndim else farthest
    length = bonds.length
    wanted = (length <= limit) & (length > least)
    return bonds if wanted.all() else bonds.at(wanted)


def bonds_of_elements(y, x, numbers, *, factor: float = 1.2, least: float = 0.0, cell=None) -> Bonds:
    """Bonds of pairs nearer than ``factor`` times the sum of their covalent radii [1]_, as ASE lists them.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in Å.
    numbers
        Shape (n_atoms,): atomic numbers.
    factor
        How much longer than the sum of the radii a bond may be.
    least, cell
        As in `bonds_within`.

    References
    ----------
    .. [1] B. Cordero et al., "Covalent radii revisited", Dalton Transactions (2008) 2832-2838,
       https://doi.org/10.1039/b801115j

    Examples
    --------
    >>> bonds_of_elements([0.0, 0.0, 0.0], [0.0, 1.42, 3.4], [6, 6, 6]).length.tolist()
    [1.42]
    """
    from ase.data import covalent_radii

    radii = factor * covalent_radii[np.asarray(numbers, int)]
    alike = radii.size > 0 and (radii == radii[0]).all()  # then all atoms reach as far
    return bonds_within(y, x, 2 * float(radii[0]) if alike else radii, least=least, cell=cell)


def bonds_by_shape(y, x, *, reach: float = REACH, cell=None) -> Bonds:
    """Bonds of a network whose bond length is not known: edges of the Delaunay triangles without the diagonals.

    An edge goes where it is clearly the longest of one of its triangles (a relative neighbour is nearer to both ends
    [1]_), or longer than ``reach`` times the usual distance between neighbours around it.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in one unit.
    reach
        In distances to the nearest three atoms, the median over the atoms around.
    cell
        As in `bonds_within`.

    References
    ----------
    .. [1] G. T. Toussaint, "The relative neighbourhood graph of a finite planar set", Pattern Recognition 12 (1980)
       261-268, https://doi.org/10.1016/0031-3203(80)90066-7

    Examples
    --------
    >>> bonds_by_shape([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]).first.size
    4
    """
    y, x = _positions(y, x)
    usual = local_distance(y, x, cell)
    if not np.isfinite(usual).any():
        return _no_bonds()
    spread = _with_images(y, x, cell, 4 * float(np.nanmax(usual[np.isfinite(usual)], initial=0)))
    pairs, ratio = _delaunay_edges(spread.y, spread.x)
    length = np.hypot(*(np.diff(w[pairs], axis=1)[:, 0] for w in (spread.y, spread.x)))
    limit = reach * usual[spread.source[pairs]].mean(axis=1)
    pairs = pairs[(length > 0) & (length <= limit) & (ratio < LONGEST)]
    pairs = np.concatenate([pairs, pairs[:, ::-1]]) if cell is not None else pairs
    return _canonical(spread, *pairs[pairs[:, 0] < y.size].T)


def local_distance(y, x, cell=None) -> np.ndarray:
    """The usual distance (n_atoms,) to a neighbour around every atom: the median over it and the eight nearest."""
    y, x = _positions(y, x)
    if y.size < 2:
        return np.full(y.size, np.nan)
    spread = _with_images(y, x, cell, 0.25 * max(np.ptp(y), np.ptp(x)) if cell is not None else 0.0)
    distance, row = nearest(spread.y, spread.x, k=AROUND)
    distance[distance == 0] = np.nan  # a duplicate is no neighbour
    near = np.sort(distance[:, : 2 * SOME], axis=1)[:, :SOME]
    near[~(near <= REACH * near[:, :1])] = np.nan  # at a rim the third nearest is no neighbour
    known = np.isfinite(near).sum(1)
    own = np.divide(np.nansum(near, axis=1), known, out=np.full(known.size, np.nan), where=known > 0)
    own = own[spread.source]
    around = np.column_stack([own, np.where(row >= 0, own[row], np.nan)])[: y.size]
    some = np.isfinite(around).any(axis=1)
    made = np.full(y.size, np.nan)
    made[some] = np.nanmedian(around[some], axis=1)
    return made


def crossing_bonds(y, x, bonds: Bonds, *, every: bool = False, cell=None) -> np.ndarray:
    """Pairs (n_crossings, 2) of bonds that cross between their ends: there the picture is not that of a flat network.

    ``every``: all atoms as near to each other as the longest bond are bonded, which need not be looked up then. With a
    ``cell`` bonds are compared over its edges, too.

    Examples
    --------
    >>> bonds = bonds_within([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], 1.5)
    >>> crossing_bonds([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], bonds).tolist()
    [[2, 3]]
    """
    y, x = _positions(y, x)
    rows = _may_cross(y, x, bonds, every)
    if rows.size < 2:
        return np.empty((0, 2), np.int64)
    bonds = bonds.at(rows)
    start = np.stack([y[bonds.first], x[bonds.first]], axis=1)
    vector = np.stack([bonds.dy, bonds.dx], axis=1)
    longest = float(bonds.length.max())
    spread = _with_images(*(start + vector / 2).T, cell, longest)
    a, b = np.sort(_pairs(spread.y, spread.x, longest, len(start)), axis=0)
    source, middle = spread.source, np.stack([spread.y, spread.x], axis=1)
    length, vector = bonds.length[source], vector[source]
    near = np.hypot(*(middle[a] - middle[b]).T) <= (length[a] + length[b]) / 2
    a, b = a[near], b[near]
    start = middle - vector / 2
    apart = ~_share_an_end(start, vector, a, b, SAME * longest)
    a, b = a[apart], b[apart]
    cross = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]  # noqa: E731
    between, turn = start[b] - start[a], cross(vector[a], vector[b])
    with np.errstate(divide="ignore", invalid="ignore"):
        along = cross(between, vector[b]) / turn, cross(between, vector[a]) / turn
    hit = np.logical_and(*((w > 0) & (w < 1) for w in along))
    found = rows[np.sort(source[np.stack([a[hit], b[hit]], axis=1)], axis=1)]
    return np.unique(found, axis=0)  # over an edge they are seen from both sides


def _share_an_end(start, vector, a, b, distance: float) -> np.ndarray:
    """Whether two bonds (rows ``a`` and ``b``) meet at an atom, or at the same image of one."""
    ends = start, start + vector
    away = [np.abs(one[a] - other[b]).max(axis=1) for one in ends for other in ends]
    return np.min(away, axis=0) <= distance


def _may_cross(y, x, bonds: Bonds, every: bool) -> np.ndarray:
    """Rows of the bonds that may cross another one.

    Of two bonds that cross, two ends are nearer to each other than 1 / sqrt(2) of the longer one: where every two
    atoms as near as that are bonded, this is a short bond that touches both.
    """
    length = bonds.length
    near = float(length.max(initial=0)) / np.sqrt(2) * (1 + SAME)  # of a square it is the side itself
    if every:
        short = bonds.at(length <= near)
        ends = short.first, short.second
    else:
        over = y[bonds.second] - y[bonds.first] - bonds.dy, x[bonds.second] - x[bonds.first] - bonds.dx
        if max(np.abs(w).max(initial=0) for w in over) > 1e-3 * near:
            return np.arange(length.size)  # some go over the edge of a cell
        here = np.zeros(y.size, bool)
        here[bonds.first] = here[bonds.second] = True
        own = np.flatnonzero(here)  # in a stack the atoms of other frames lie between them
        ends = [own[one] for one in _pairs(y[own], x[own], near, own.size)]
    if not ends[0].size:
        return np.empty(0, np.int64)
    touched = np.zeros(y.size, bool)
    for one in ends:
        touched[one] = True
    return np.flatnonzero(touched[bonds.first] | touched[bonds.second])


def without_crossings(y, x, bonds: Bonds, *, every: bool = False, cell=None) -> tuple[Bonds, int]:
    """The bonds without the longer of every two that cross, and how many were taken out."""
    crossings = crossing_bonds(y, x, bonds, every=every, cell=cell)
    if not len(crossings):
        return bonds, 0
    longer = np.where(bonds.length[crossings[:, 0]] >= bonds.length[crossings[:, 1]], *crossings.T)
    keep = np.ones(bonds.first.size, bool)
    keep[longer] = False
    return bonds.at(keep), int((~keep).sum())


def coordination(n_atoms: int, bonds: Bonds) -> np.ndarray:
    """How many bonds every atom has, (n_atoms,)."""
    return np.bincount(np.concatenate([bonds.first, bonds.second]), minlength=n_atoms)


def angle_spread(n_atoms: int, bonds: Bonds) -> np.ndarray:
    """How far the angles between the successive bonds of every atom are from equal ones, rms (n_atoms,), radians.

    NaN for atoms with fewer than two bonds.

    Examples
    --------
    >>> bonds = bonds_within([0.0, 0.0, 0.0], [-1.0, 0.0, 1.0], 1.1)
    >>> angle_spread(3, bonds).round(6).tolist()
    [nan, 0.0, nan]
    """
    origin = np.concatenate([bonds.first, bonds.second])
    angle = np.concatenate([bonds.angle, np.arctan2(-bonds.dy, -bonds.dx)])
    order = np.lexsort((angle, origin))
    origin, angle = origin[order], angle[order]
    number = np.bincount(origin, minlength=n_atoms)
    last = np.cumsum(number)[origin] - 1  # of the same atom; after it comes its first, one turn on
    place = np.arange(origin.size)
    after = np.where(place == last, angle[last - number[origin] + 1] + 2 * np.pi, np.roll(angle, -1))
    off = (after - angle) - 2 * np.pi / number[origin]
    total = np.bincount(origin, off**2, n_atoms)
    return np.sqrt(np.divide(total, number, out=np.full(n_atoms, np.nan), where=number > 1))


def components(n_atoms: int, bonds: Bonds) -> np.ndarray:
    """Which connected part every atom belongs to, (n_atoms,): 0 is the largest, then in order of size."""
    return connected_parts(n_atoms, bonds.first, bonds.second)


def connected_parts(n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which connected part each of ``n`` things belongs to, (n,), given linked pairs: 0 is the largest, then in order.

    Examples
    --------
    >>> connected_parts(4, np.array([1, 3]), np.array([2, 2])).tolist()
    [1, 0, 0, 0]
    """
    from hs_deepatoms.structure.compiled.bonds import linked

    if not n:
        return np.empty(0, np.int64)
    label = linked(n, first, second)
    order = np.argsort(-np.bincount(label), kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    return rank[label]


def to_networkx(nodes: dict[str, np.ndarray], ids: np.ndarray, bonds: Bonds) -> networkx.Graph:
    """A ``networkx.Graph``: nodes are atom ids with these columns, edges have ``length`` and ``angle`` (radians).

    Examples
    --------
    >>> bonds = bonds_within([0.0, 3.0], [0.0, 4.0], 6.0)
    >>> to_networkx({"y": np.array([0.0, 3.0])}, np.array([10, 11]), bonds).edges[10, 11]["length"]
    5.0
    """
    import networkx

    graph = networkx.Graph()
    names = list(nodes)
    rows = zip(*(np.asarray(values).tolist() for values in nodes.values()), strict=True)
    values = [dict(zip(names, row, strict=True)) for row in rows] if names else [{} for _ in range(len(ids))]
    graph.add_nodes_from(zip(np.asarray(ids).tolist(), values, strict=True))
    ends = (np.asarray(ids)[w].tolist() for w in (bonds.first, bonds.second))
    about = (
        {"length": one, "angle": way} for one, way in zip(bonds.length.tolist(), bonds.angle.tolist(), strict=True)
    )
    graph.add_edges_from(zip(*ends, about, strict=True))
    return graph


class _Spread(NamedTuple):
    """The atoms first, then their images over the edges of the cell, if there is one: of which atom, how shifted."""

    y: np.ndarray
    x: np.ndarray
    source: np.ndarray
    shift: np.ndarray | None


def _with_images(y, x, cell, margin: float) -> _Spread:
    own = np.arange(y.size)
    if cell is None or not y.size:
        return _Spread(y, x, own, None)
    cell = read_cell(cell)
    inverse = np.linalg.inv(cell)
    share = np.stack([y, x], axis=1) @ inverse
    heights = 1 / np.linalg.norm(inverse, axis=0)  # of the cell over each of its two sides
    wide = margin / heights + 1e-9
    least, most = share.min(axis=0) - wide, share.max(axis=0) + wide
    turns = [
        np.arange(-int(np.ceil(w + p)), int(np.ceil(w + p)) + 1) for w, p in zip(wide, np.ptp(share, 0), strict=True)
    ]
    made = [(own, np.zeros((y.size, 2), np.int64))]
    for shift in np.array(np.meshgrid(*turns)).reshape(2, -1).T:
        rows = np.flatnonzero(np.all((share + shift >= least) & (share + shift <= most), axis=1))
        if shift.any() and rows.size:
            made.append((rows, np.tile(shift, (rows.size, 1))))
    source, shift = (np.concatenate(column) for column in zip(*made, strict=True))
    moved = np.stack([y[source], x[source]], axis=1) + shift @ cell
    return _Spread(*moved.T, source, shift)


def read_cell(cell) -> np.ndarray:
    """Two vectors (2, 2), rows (y, x), from vectors or from two sides along y and x.

    Raises
    ------
    InvalidArgumentError
        If they enclose no area.
    """
    try:
        read = np.asarray(cell, float)
    except (TypeError, ValueError):
        read = np.empty(0)
    read = np.diag(read) if read.shape == (2,) else read
    if read.shape != (2, 2) or not np.isfinite(read).all() or abs(np.linalg.det(read)) < 1e-12:
        allowed = "two sides (y, x), or two vectors ((y, x), (y, x)) that enclose an area"
        raise InvalidArgumentError(explain(f"a cell {cell!r}", allowed, "Give the cell in the units of y and x."))
    return read


def _pairs(y, x, radius: float, n_own: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, first and second (n,), of points at most ``radius`` apart, the first of them one of the first ``n_own``.

    Without images the lower row comes first.
    """
    from hs_deepatoms.structure.compiled.bonds import near_pairs

    if y.size < 2 or radius <= 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    span = float(np.ptp(y)) / radius, float(np.ptp(x)) / radius
    if (span[0] + 3) * (span[1] + 3) <= 16 * y.size + 1000:
        first, second = near_pairs(y, x, float(radius))
    else:  # few atoms in a wide field: most squares of a grid would be empty
        from scipy.spatial import cKDTree

        tree = cKDTree(np.stack([y, x], axis=1), balanced_tree=False, compact_nodes=False)  # built in half the time
        first, second = tree.query_pairs(radius, output_type="ndarray").astype(np.int64).T
    if n_own < y.size:  # with images every bond is seen from both ends, and _canonical keeps one
        first, second = np.concatenate([first, second]), np.concatenate([second, first])
        own = first < n_own
        first, second = first[own], second[own]
    return first, second


def _canonical(spread: _Spread, a: np.ndarray, b: np.ndarray) -> Bonds:
    """Every bond once, from the lower to the higher row, sorted."""
    if not a.size:
        return _no_bonds()
    if spread.shift is None:
        bits = int(spread.y.size).bit_length()  # shifts are a quarter of the time of a division
        key = np.minimum(a, b) << bits | np.maximum(a, b)
        if not (key[1:] > key[:-1]).all():
            key = np.sort(key)  # numpy's unique is slower, more so for many
            key = key[np.append(True, key[1:] != key[:-1])]
        a, b = key >> bits, key & ((1 << bits) - 1)
        return Bonds(a, b, spread.y[b] - spread.y[a], spread.x[b] - spread.x[a])
    first, second, shift = spread.source[a], spread.source[b], spread.shift[b] - spread.shift[a]
    dy, dx = spread.y[b] - spread.y[a], spread.x[b] - spread.x[a]
    back = (first > second) | ((first == second) & ((shift[:, 0] < 0) | ((shift[:, 0] == 0) & (shift[:, 1] < 0))))
    sign = np.where(back, -1, 1)
    first, second = np.where(back, second, first), np.where(back, first, second)
    table = np.column_stack([first, second, shift * sign[:, None]])
    keep = np.lexsort(table.T[::-1])
    table = table[keep]
    new = np.append(True, (table[1:] != table[:-1]).any(axis=1))  # over a cell's edge it is seen from both ends
    keep, table = keep[new], table[new]
    return Bonds(*np.ascontiguousarray(table.T[:2]), (dy * sign)[keep], (dx * sign)[keep])


def _delaunay_edges(y, x) -> tuple[np.ndarray, np.ndarray]:
    """Edges (n, 2) of the Delaunay triangles, and how much longer each is than the next side of a triangle of its own.

    The ratio is 1 where it is not the longest; of its two triangles the larger one counts.
    """
    from scipy.spatial import Delaunay, QhullError

    try:
        corners = Delaunay(np.stack([y, x], axis=1)).simplices.astype(np.int64)
    except (QhullError, ValueError):  # fewer than three atoms, or all on one line
        order = np.lexsort((x, y))
        pairs = np.sort(np.stack([order[:-1], order[1:]], axis=1), axis=1)
        return pairs, np.ones(len(pairs))
    sides = np.stack([corners[:, [1, 2]], corners[:, [2, 0]], corners[:, [0, 1]]], axis=1)
    length = np.hypot(y[sides[..., 0]] - y[sides[..., 1]], x[sides[..., 0]] - x[sides[..., 1]])
    others = np.stack([length[:, [1, 2]], length[:, [2, 0]], length[:, [0, 1]]], axis=1).max(axis=2)
    ratio = np.maximum(length / np.maximum(others, 1e-300), 1.0).ravel()
    pairs, which = np.unique(_key(np.sort(sides.reshape(-1, 2), axis=1), y.size), return_inverse=True)
    longest = np.ones(pairs.size)
    np.maximum.at(longest, which, ratio)
    return np.stack([pairs // y.size, pairs % y.size], axis=1), longest


def _key(pairs: np.ndarray, n: int) -> np.ndarray:
    return pairs[:, 0] * n + pairs[:, 1]


def _no_bonds() -> Bonds:
    return Bonds(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))


def _positions(y, x) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(y, float), np.asarray(x, float)
