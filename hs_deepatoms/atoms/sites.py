"""Sites of the local lattice that hold no atom, or one of another class than their equivalents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.order import regions, vectors_of_grains

# lengths in nearest distances
SIGMAS = 5.0  # column sigmas per nearest distance, the unit of the search for lattice vectors
TOLERANCE = 1 / 3  # how far from a site an atom still sits on it
CLUSTER = 0.25  # how far apart predictions of one site may lie
AROUND = 40  # atoms over which it is averaged how often a lattice vector leads to another atom
ALIKE = 0.5  # hits in common, of one's own, of two atoms of one grain
RELIABLE, NEARLY = 0.4, 0.85  # that share at least; and that part of what the best vector reaches
FEW, MOST = 24, 96  # lattice vectors, beside which their sums are needed; and with these
LEAST = 10  # atoms, to speak of a lattice
# share of the equivalent sites that must hold atoms, share of opposite pairs of them (outside a surface there are
# none), and their least number
FILLED, PAIRED, PREDICTORS = 0.65, 0.55, 4
CERTAIN = 0.8  # share that must hold atoms where a single pair is to be seen
LIKE = 0.6  # share of equivalents of one class from which an atom of another one is off
VACUUM = 1.3  # of the widest nearest distances: further from any atom there is no crystal, and nothing is missing
WIDE = 0.95  # quantile
RIM = 0.5  # sites nearer to the rim are not asked for


@dataclass(frozen=True)
class EmptySites:
    """Sites without an atom; every array has shape (n,).

    ``confidence`` is the share of the equivalent sites around that hold atoms, ``label`` the class of most of these (-1
    without classes).
    """

    y: np.ndarray
    x: np.ndarray
    label: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Lattice:
    """Atoms of a region and where lattice vectors take them.

    Attributes
    ----------
    points : ndarray, shape (n, 2)
        y, x of the atoms.
    vectors : ndarray, shape (m, 2)
        Lattice vectors; the second half are the first ones reversed.
    target : ndarray of int, shape (n, m)
        Atom that stands where each vector takes each atom, -1 if none.
    inside : ndarray of bool, shape (n, m)
        Whether that place lies in the frame, and near an atom.
    valid : ndarray of bool, shape (n, m)
        Whether the vector is one of the lattice around the atom.
    near, own : ndarray, shape (n, k)
        Rows of the atoms nearest to each atom, and which of them are of its grain.
    spacing, vacuum : float
        Median nearest distance, and the distance from which on there is no crystal.
    """

    points: np.ndarray
    vectors: np.ndarray
    target: np.ndarray
    inside: np.ndarray
    valid: np.ndarray
    near: np.ndarray
    own: np.ndarray
    spacing: float
    vacuum: float


def empty_sites(y, x, shape: tuple[int, int], label=None) -> EmptySites:
    """Sites of the lattice around that hold no atom: candidates for vacancies.

    Every atom and every lattice vector of its surroundings predict a site. Where predictions meet and no atom is near,
    the site is empty if most of its equivalents hold atoms, on opposite sides of it: a place outside of a particle is
    predicted from one side only.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Positions of the atoms of one frame, pixels.
    shape : tuple of int
        (ny, nx) of the frame.
    label : ndarray of int, shape (n,), optional
        Classes; -1 is unknown.

    Returns
    -------
    EmptySites

    Examples
    --------
    >>> import numpy as np
    >>> y, x = (w.ravel() for w in np.mgrid[5:100:10, 5:120:10].astype(float))
    >>> kept = np.arange(y.size) != 50
    >>> found = empty_sites(y[kept], x[kept], (100, 120))
    >>> found.y.round().tolist() == [y[50]], found.x.round().tolist() == [x[50]]
    (True, True)
    """
    parts = []
    for lattice, own, around in _lattices(y, x, shape):
        labels = None if label is None else np.asarray(label)[around]
        q, confidence, kind = _empty(lattice, shape, labels)
        nearest = cKDTree(lattice.points).query(q)[1] if len(q) else np.empty(0, int)
        mine = own[nearest]  # a site belongs to the region of its nearest atom
        parts.append((q[mine], confidence[mine], kind[mine]))
    if not parts:
        return EmptySites(np.empty(0), np.empty(0), np.empty(0, int), np.empty(0))
    q, confidence, kind = (np.concatenate(values) for values in zip(*parts, strict=True))
    return EmptySites(q[:, 0], q[:, 1], kind, confidence)


def site_labels(y, x, label, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The class that the equivalents of every atom have, and the share of them that have it.

    Parameters
    ----------
    y, x, label : ndarray, shape (n,)
        Positions (pixels) and classes of the atoms of one frame; -1 is unknown.
    shape : tuple of int
        (ny, nx) of the frame.

    Returns
    -------
    label : ndarray of int, shape (n,)
        Class of most equivalents; the atom's own where there are too few or they do not agree.
    share : ndarray of float, shape (n,)
        NaN where there are too few.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = (w.ravel() for w in np.mgrid[5:100:10, 5:120:10].astype(float))
    >>> label = (np.arange(y.size) == 50).astype(int)
    >>> site_labels(y, x, label, (100, 120))[0].any()
    np.False_
    """
    label = np.asarray(label)
    expected, share = label.copy(), np.full(label.size, np.nan)
    for lattice, own, around in _lattices(y, x, shape):
        found, agreed = _majority(lattice, label[around])
        expected[around[own]], share[around[own]] = found[own], agreed[own]
    return expected, share


def _lattices(y, x, shape):
    """Of every part of the frame that follows a lattice: that, which of its atoms belong to it, and their rows."""
    points = np.column_stack([y, x]).astype(float)
    if len(points) <= LEAST:
        return
    distance = cKDTree(points).query(points, 2)[0][:, 1]
    spacing = float(np.median(distance))
    if spacing <= 0:
        return
    unit = spacing / SIGMAS
    u, v = points.T / unit
    for own, around in regions(u, v, (shape[0] / unit, shape[1] / unit)):
        lattice = _lattice(points[around], spacing, shape) if own.any() and len(around) > LEAST else None
        if lattice is not None:
            yield lattice, own, around


def _lattice(points: np.ndarray, spacing: float, shape) -> Lattice | None:
    unit = spacing / SIGMAS
    vectors = vectors_of_grains(*points.T / unit, np.ones(len(points))) * unit
    if not len(vectors):
        return None
    if len(vectors) < FEW:
        vectors = _with_sums(vectors, spacing)
    half = vectors[(vectors[:, 0] > 0) | ((vectors[:, 0] == 0) & (vectors[:, 1] > 0))]
    tree = cKDTree(points)
    vacuum = VACUUM * float(np.quantile(tree.query(points, 2)[0][:, 1], WIDE))
    for _ in range(2):  # from the bins of the search to the mean of the differences
        half = _refined(points, tree, half, TOLERANCE * spacing)
    vectors = np.concatenate([half, -half])
    ends = points[:, None] + vectors
    nearest, target = tree.query(ends, distance_upper_bound=vacuum)
    target = np.where(nearest <= TOLERANCE * spacing, target, -1)
    margin = RIM * spacing
    low, high = margin - 0.5, np.asarray(shape) - 0.5 - margin
    inside = ((ends >= low) & (ends <= high)).all(-1) & (nearest < vacuum) | (target >= 0)
    near = tree.query(points, min(AROUND, len(points)))[1]
    own = _of_one_grain(near, target >= 0)
    share = _mean_over(near, own, target >= 0, inside)
    valid = (share > RELIABLE) & (share >= NEARLY * share.max(1, keepdims=True))
    return Lattice(points, vectors, target, inside, valid, near, own, spacing, vacuum)


def _with_sums(vectors: np.ndarray, spacing: float) -> np.ndarray:
    """Lattice vectors (m, 2) and their sums: a large cell has few that are short enough to be found."""
    sums = (vectors[:, None] + vectors).reshape(-1, 2)
    length = np.hypot(*sums.T)
    for one in sums[np.argsort(length, kind="stable")][np.count_nonzero(length <= spacing * TOLERANCE) :]:
        if len(vectors) >= MOST:
            break
        if np.hypot(*(vectors - one).T).min() > spacing * TOLERANCE:
            vectors = np.concatenate([vectors, one[None]])
    return vectors


def _refined(points, tree, vectors, reach) -> np.ndarray:
    ends = points[:, None] + vectors
    distance, target = tree.query(ends, distance_upper_bound=reach)
    hit = np.isfinite(distance)[..., None]
    off = np.where(hit, points[np.where(np.isfinite(distance), target, 0)] - ends, 0.0)
    return vectors + off.sum(0) / np.maximum(hit.sum(0), 1)


def _of_one_grain(near: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Which of the atoms ``near`` (n, k) each have most hits (n, m) in common with it: at a boundary its own grain."""
    least = ALIKE * hit.sum(1)
    return np.stack([(hit & hit[rows]).sum(1) >= least for rows in near.T], 1)


def _mean_over(near: np.ndarray, own: np.ndarray, hit: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Share (n, m) of the atoms ``near`` (n, k) each, and its ``own``, that are ``hit`` among those ``counted``."""
    hit = hit & counted
    hits, number = (np.zeros(hit.shape, np.float32) for _ in range(2))
    for rows, alike in zip(near.T, own.T, strict=True):
        hits += hit[rows] & alike[:, None]
        number += counted[rows] & alike[:, None]
    # a vector and its reverse are lattice vectors together: at a surface one of them leads into the vacuum
    half = hit.shape[1] // 2
    hits, number = (np.tile(w[:, :half] + w[:, half:], 2) for w in (hits, number))
    return hits / np.maximum(number, 3)  # of one or two atoms nothing is to be learned


def _empty(lattice: Lattice, shape, label) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (n, 2) of the empty sites, their confidence (n,) and the class expected there (n,)."""
    q = _predicted(lattice, shape)
    nothing = np.empty((0, 2)), np.empty(0), np.empty(0, int)
    if not len(q):
        return nothing
    tree, reach = cKDTree(lattice.points), TOLERANCE * lattice.spacing
    for _ in range(2):  # the site is where its equivalents say, then they are looked for from there
        valid = lattice.valid[tree.query(q)[1]]
        starts = q[:, None] - lattice.vectors
        distance, source = tree.query(starts, distance_upper_bound=lattice.vacuum)
        found = (distance <= reach) & valid
        source = np.where(found, source, 0)
        off = np.where(found[..., None], lattice.points[source] - starts, 0.0)
        q = q + off.sum(1) / np.maximum(found.sum(1), 1)[:, None]
    seen = valid & np.isfinite(distance) & ((starts > -0.5) & (starts < np.asarray(shape) - 0.5)).all(-1)
    number = found.sum(1)
    filled = number / np.maximum((seen | found).sum(1), 1)
    half = found.shape[1] // 2
    both = (seen | found)[:, :half] & (seen | found)[:, half:]
    paired = (found[:, :half] & found[:, half:]).sum(1) / np.maximum(both.sum(1), 1)
    keep = (filled >= FILLED) & (paired >= PAIRED) & (number >= PREDICTORS)
    keep &= (both.sum(1) >= 2) | (filled >= CERTAIN)  # at the rim of the frame few pairs are to be seen
    keep &= tree.query(q)[0] > reach
    keep[keep] = _first_of_each(q[keep], filled[keep], reach)
    kind = _majority_at(source, found & keep[:, None], lattice, label)
    return q[keep], filled[keep], kind[keep]


def _predicted(lattice: Lattice, shape) -> np.ndarray:
    """Places (n, 2) where the predictions of several atoms meet and there is none."""
    atom, vector = np.nonzero(lattice.valid & lattice.inside & (lattice.target < 0))
    q = lattice.points[atom] + lattice.vectors[vector]
    if not len(q):
        return q
    pairs = cKDTree(q).query_pairs(CLUSTER * lattice.spacing, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), bool), pairs.T), (len(q), len(q)))
    number, member = connected_components(graph, directed=False)
    size = np.bincount(member, minlength=number)
    middle = np.column_stack([np.bincount(member, w, number) for w in q.T]) / size[:, None]
    return middle[size >= PREDICTORS - 1]


def _first_of_each(q: np.ndarray, strength: np.ndarray, reach: float) -> np.ndarray:
    """Which of the places (n, 2) to keep, so that no two are one site: those that nothing near them outdoes."""
    pairs = cKDTree(q).query_pairs(reach, output_type="ndarray") if len(q) else np.empty((0, 2), int)
    keep = np.ones(len(q), bool)
    weaker = np.where(strength[pairs[:, 0]] < strength[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    keep[weaker] = False
    return keep


def _preserving(lattice: Lattice, label: np.ndarray) -> np.ndarray:
    """Which vectors lead to atoms of the same class around every atom (n, m): those of the crystal."""
    there = label[np.maximum(lattice.target, 0)]
    counted = lattice.valid & (lattice.target >= 0) & (there >= 0) & (label >= 0)[:, None]
    share = _mean_over(lattice.near, lattice.own, there == label[:, None], counted)
    return lattice.valid & (share > LIKE) & (share >= NEARLY * share.max(1, keepdims=True))


def _majority(lattice: Lattice, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counted = _preserving(lattice, label) & (lattice.target >= 0)
    votes = _votes(np.maximum(lattice.target, 0), counted, label)
    number = votes.sum(1)
    most = votes.argmax(1)
    share = np.where(number >= PREDICTORS, votes.max(1) / np.maximum(number, 1), np.nan)
    return np.where(share > LIKE, most, label), share


def _majority_at(source, found, lattice: Lattice, label) -> np.ndarray:
    if label is None:
        return np.full(len(found), -1)
    preserving = _preserving(lattice, label)
    # a vector takes the atom there to the site; whether it keeps the class, the atom's own surroundings know
    counted = found & preserving[source, np.arange(source.shape[1])]
    votes = _votes(source, counted, label)
    return np.where(votes.sum(1) > 0, votes.argmax(1), -1)


def _votes(atoms: np.ndarray, counted: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How many of the ``atoms`` (n, m) that are counted have each class: (n, classes)."""
    classes = np.arange(max(int(label.max(initial=0)) + 1, 1))
    return np.stack([((label[atoms] == one) & counted).sum(1) for one in classes], 1)
