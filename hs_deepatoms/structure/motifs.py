"""Local environments: atoms with the same neighbours in the same arrangement, and what each arrangement looks like."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms.structure.graph import Bonds

HARMONICS = 6  # angular orders |sum exp(i m angle)| that tell arrangements apart: 3 a trigon, 4 a square, 6 a hexagon
MOST_SHAPES = 4
APART = 5.0  # standard deviations between two shapes of the same neighbours
FEWEST = 6  # atoms of a shape of its own
ROUNDS = 6
ALIKE = 1.5  # scatter of the atoms: a motif that a turn changes by less is symmetric
SAMPLE = 5000


class Environments(NamedTuple):
    """``centre`` (n_atoms,): kind of each atom. ``vectors`` (n_atoms, most) complex: x + i y to its neighbours, by
    angle, NaN beyond; ``kind`` alike: their kinds (-1 beyond); ``number`` (n_atoms,): how many there are."""

    centre: np.ndarray
    vectors: np.ndarray
    kind: np.ndarray
    number: np.ndarray


class Motifs(NamedTuple):
    """``label`` (n_atoms,): motif of each atom, the most frequent one first; ``deviation`` (n_atoms,): rms distance of
    its neighbours from the motif's. Per motif: ``count``; ``vectors`` and ``spread`` (n, most), mean places of the
    neighbours, x + i y, NaN beyond, and the rms scatter about them; ``kind`` (n, most) of the neighbours, ``centre``
    (n,); ``group`` (n,): motifs of the same neighbours, differently arranged, have the same number."""

    label: np.ndarray
    deviation: np.ndarray
    count: np.ndarray
    vectors: np.ndarray
    spread: np.ndarray
    kind: np.ndarray
    centre: np.ndarray
    group: np.ndarray


def environments(n_atoms: int, bonds: Bonds, kind) -> Environments:
    """Neighbours of every atom, ordered by angle from +x towards +y.

    Parameters
    ----------
    n_atoms
    bonds
    kind
        Shape (n_atoms,): classes of the atoms.
    """
    kind = np.asarray(kind, np.int64)
    origin = np.concatenate([bonds.first, bonds.second])
    other = np.concatenate([bonds.second, bonds.first])
    vector = np.concatenate([bonds.dx, -bonds.dx]) + 1j * np.concatenate([bonds.dy, -bonds.dy])
    order = np.lexsort((np.angle(vector), origin))
    number = np.bincount(origin, minlength=n_atoms)
    most = int(number.max(initial=0))
    begin = np.cumsum(number) - number
    place = np.arange(origin.size) - begin[origin[order]]
    vectors, kinds = np.full((n_atoms, most), np.nan + 0j), np.full((n_atoms, most), -1)
    vectors[origin[order], place], kinds[origin[order], place] = vector[order], kind[other[order]]
    return Environments(kind, vectors, kinds, number)


def find_motifs(found: Environments, extra=None, *, seed: int = 0) -> Motifs:
    """Atoms sorted by their neighbours, and these by how they are arranged.

    Atoms of one group have the same kind, as many neighbours of each kind, and the same ``extra``. A group is split
    where its bond angles and lengths come in clearly separate shapes: a mixture of Gaussians, as many as the BIC [1]_
    asks for, in numbers that do not change when an environment is turned or mirrored. The mean of a motif is that of
    its atoms, each turned (and mirrored) onto it [2]_.

    Parameters
    ----------
    found
    extra
        Shape (n_atoms,) or (n_atoms, k): further classes that keep atoms apart, as the sizes of the rings around.
    seed
        Of the mixtures.

    References
    ----------
    .. [1] G. Schwarz, Ann. Stat. 6 (1978) 461, https://doi.org/10.1214/aos/1176344136
    .. [2] J. C. Gower, Psychometrika 40 (1975) 33, https://doi.org/10.1007/BF02291478 (generalised Procrustes)

    Examples
    --------
    >>> from hs_deepatoms.simulate.sheets import honeycomb
    >>> from hs_deepatoms.structure.graph import bonds_within
    >>> sheet = honeycomb(4, 5)
    >>> bonds = bonds_within(sheet.y, sheet.x, 1.1)
    >>> find_motifs(environments(80, bonds, np.zeros(80))).count.tolist()
    [56, 22, 2]
    """
    n = found.number.size
    parts = [found.centre[:, None], found.number[:, None], np.sort(found.kind, axis=1)]
    if extra is not None:
        parts.append(np.asarray(extra).reshape(n, -1).astype(np.int64))
    group = np.unique(np.concatenate(parts, axis=1), axis=0, return_inverse=True)[1].ravel() if n else np.empty(0, int)
    label, number = np.full(n, -1), 0
    for rows in _rows_by(group):
        shape = _shapes(found.vectors[rows, : found.number[rows[0]]], seed)
        label[rows] = number + shape
        number += int(shape.max()) + 1
    order = np.argsort(-np.bincount(label, minlength=number), kind="stable")
    rank = np.empty(number, np.int64)
    rank[order] = np.arange(number)
    return _averaged(found, rank[label] if n else label, group)


def _rows_by(label: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if label.size else []


def invariants(vectors: np.ndarray) -> np.ndarray:
    """Numbers (n, HARMONICS + 1) that say how neighbours (n, k) are arranged, whichever way they are turned.

    The angular orders of their directions, and the spread of their distances.

    Examples
    --------
    >>> invariants(np.exp(2j * np.pi * np.arange(3) / 3)[None]).round(6).tolist()
    [[0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]]
    """
    if vectors.shape[1] < 2:
        return np.zeros((len(vectors), HARMONICS + 1))
    length = np.abs(vectors)
    way = vectors / np.maximum(length, 1e-300)
    order = [np.abs((way**m).mean(axis=1)) for m in range(1, HARMONICS + 1)]
    return np.column_stack([*order, length.std(axis=1) / length.mean(axis=1)])


def _shapes(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Shape (n,) of every environment (n, k) of one group, 0 the first."""
    n, k = vectors.shape
    if k < 2 or n < 2 * FEWEST:
        return np.zeros(n, np.int64)
    from sklearn.mixture import GaussianMixture

    features = invariants(vectors)
    rng = np.random.default_rng(seed)
    sample = features if n <= SAMPLE else features[rng.choice(n, SAMPLE, replace=False)]
    best, least = None, np.inf
    for shapes in range(1, min(MOST_SHAPES, n // FEWEST) + 1):
        model = GaussianMixture(shapes, covariance_type="diag", reg_covar=1e-4, n_init=2, random_state=seed).fit(sample)
        if model.bic(sample) < least and _separate(model, sample):
            best, least = model, model.bic(sample)
    return best.predict(features) if best is not None else np.zeros(n, np.int64)


def _separate(model, features: np.ndarray) -> bool:
    """Whether every two shapes lie apart in some number, and each has enough atoms."""
    if model.n_components == 1:
        return True
    number = np.bincount(model.predict(features), minlength=model.n_components)
    mean, width = model.means_, np.sqrt(model.covariances_)
    apart = np.abs(mean[:, None] - mean) / (0.5 * (width[:, None] + width))
    apart = apart.max(axis=2) + np.where(np.eye(len(mean)), np.inf, 0)
    return bool(number.min() >= FEWEST and apart.min() > APART)


def _averaged(found: Environments, label: np.ndarray, group: np.ndarray) -> Motifs:
    number, most = int(label.max(initial=-1)) + 1, found.vectors.shape[1]
    vectors, spread = np.full((number, most), np.nan + 0j), np.full((number, most), np.nan)
    kind, deviation, first = np.full((number, most), -1), np.zeros(label.size), np.zeros(number, np.int64)
    for one, rows in enumerate(_rows_by(label)):
        k = int(found.number[rows[0]])
        first[one] = rows[0]
        if not k:
            continue
        mean, kinds, placed = _aligned(found.vectors[rows, :k], found.kind[rows, :k])
        off, up = np.abs(placed - mean), -1j * np.conj(mean[0]) / max(abs(mean[0]), 1e-300)
        mean = up * mean  # the first neighbour above, y downwards
        vectors[one, :k], kind[one, :k], spread[one, :k] = mean, kinds, np.sqrt((off**2).mean(axis=0))
        deviation[rows] = np.sqrt((off**2).mean(axis=1))
    count = np.bincount(label, minlength=number)
    centre, of = (w[first] if number else np.empty(0, np.int64) for w in (found.centre, group))
    return Motifs(label, deviation, count, vectors, spread, kind, centre, of)


def _aligned(vectors: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (k,) of environments (n, k), the kinds of its neighbours, and the environments turned onto it."""
    features = invariants(vectors)
    start = int(np.argmin(np.abs(features - np.median(features, axis=0)).sum(axis=1)))
    mean, own = vectors[start], kinds[start]
    for _ in range(ROUNDS):
        placed = _onto(mean, own, vectors, kinds)
        before, mean = mean, placed.mean(axis=0)
        if np.abs(mean - before).max() < 1e-9 * np.abs(mean).max():
            break
    mean = _symmetric(mean, own, float(np.sqrt((np.abs(placed - mean) ** 2).mean())))
    return mean, own, _onto(mean, own, vectors, kinds)


def _symmetric(mean: np.ndarray, own: np.ndarray, scatter: float) -> np.ndarray:
    """The mean (k,) averaged over the turns and mirrors that change it by less than the scatter of its atoms.

    Among neighbours that noise alone tells apart, the nearest turn sorts the noise, and the mean would keep that.
    """
    for _ in range(2):
        images = _onto_each(mean, own)
        same = np.sqrt((np.abs(images - mean) ** 2).mean(axis=1)) <= max(ALIKE * scatter, 1e-9 * np.abs(mean).max())
        mean = images[same].mean(axis=0)
    return mean


def _onto_each(mean: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The mean in every order of its neighbours that keeps their kinds, turned back onto itself."""
    made = []
    for mirrored in (False, True):
        here, of = (np.conj(mean)[::-1], own[::-1]) if mirrored else (mean, own)
        for shift in range(mean.size):
            if (np.roll(of, shift) == own).all():
                turned = np.roll(here, shift)
                overlap = (turned * np.conj(mean)).sum()
                made.append(turned * np.conj(overlap) / max(abs(overlap), 1e-300))
    return np.array(made)


def _onto(mean: np.ndarray, own: np.ndarray, vectors: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Environments (n, k) turned, and mirrored where that is nearer, onto one, neighbour by neighbour."""
    best, worth = np.empty_like(vectors), np.full(len(vectors), -np.inf)
    for mirrored in (False, True):
        here, of = (np.conj(vectors)[:, ::-1], kinds[:, ::-1]) if mirrored else (vectors, kinds)
        for shift in range(vectors.shape[1]):
            turned, alike = np.roll(here, shift, axis=1), (np.roll(of, shift, axis=1) == own).all(axis=1)
            overlap = (turned * np.conj(mean)).sum(axis=1)
            better = alike & (np.abs(overlap) > worth)
            angle = overlap[better] / np.maximum(np.abs(overlap[better]), 1e-300)
            best[better], worth[better] = turned[better] * np.conj(angle)[:, None], np.abs(overlap[better])
    lost = ~np.isfinite(worth)  # the same neighbours in another order around: nearest turn, whatever their kinds
    return best if not lost.any() else _put(best, lost, _onto(mean, np.zeros_like(own), vectors[lost], 0 * kinds[lost]))


def _put(into: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    into[rows] = values
    return into
