"""What the crystal around a doubtful column says about it: the mean presence at sites a lattice vector away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, uniform_filter1d
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from scipy.special import expit, logit

# lengths in column sigmas
REGION = 360.0  # side of the parts of a frame that are looked at together
GRAIN = 160.0  # side of the squares whose lattice vectors are looked for together
PITCH = 16.0  # how often a lattice vector takes a column to another one is averaged over 3 x 3 squares of this side
FURTHEST, SPACINGS = 40.0, 4.3  # longest lattice vector, and the same in nearest distances
NEAREST = 2.5  # shortest one
BIN, BLUR = 0.25, 0.7  # of the density of differences
CELL = 0.5  # of the map of presence
TOLERANCE, CROWDED = 1.65, 0.38  # how far from its place a column may stand; and in shortest lattice vectors
LEAST = 10  # columns, to speak of a lattice
SHARE, OVER_CHANCE = 0.3, 2.0  # of the columns that a lattice vector takes to another one; and against disorder
MOST, MOST_GRAINS = 48, 120  # lattice vectors, of one square and of all
SAME = 0.8  # vectors of two squares that are one
RELIABLE, NEARLY = 0.4, 0.8  # share a lattice vector must reach at a place; and of what the best one reaches there
EQUIVALENTS = 3.0  # effective number of equivalent sites without which a column is left as it is
ROUNDS = 3
ROWS = 2048  # candidates that one thread looks at together
EDGE = 2e-3  # probabilities are kept this far from 0 and 1
# a lattice may not overrule the image: bounds of the change of the log odds. Adatoms and vacancies that are plain to
# see stay.
LOWER, RAISE = -3.0, 2.5
COLUMNS = 2.0  # mean log odds of equivalents from which they are columns, and speak against none
VACANT = 0.8  # mean and spread together below which hardly any of them is one, and they speak for none


@dataclass(frozen=True)
class Evidence:
    """What the equivalent sites of each column look like; every array has shape (n,).

    ``mean`` and ``spread`` are those of the log odds of a column there, ``number`` is the effective number of sites
    (0 where there is no lattice).
    """

    mean: np.ndarray
    spread: np.ndarray
    number: np.ndarray


def reconsidered(y, x, probability, sigma: float, shape: tuple[int, int], weights: tuple[float, ...]) -> np.ndarray:
    """Probabilities of the columns of one frame, in the light of their equivalents in the crystal.

    Where the columns around follow a lattice, a doubtful one is compared with the sites that lattice vectors take it
    to: where those hold columns it is more likely one, where they are empty less, as far as a regression on simulated
    crystals with vacancies, adatoms and grain boundaries found that to be true. Without order nothing changes.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Positions of all candidates of a frame, pixels.
    probability : ndarray, shape (n,)
        The detector's.
    sigma : float
        Column sigma, pixels.
    shape : tuple of int
        (ny, nx) of the frame.
    weights : tuple of float
        See :func:`features`; the last one is the constant.

    Returns
    -------
    ndarray, float64, shape (n,)

    Notes
    -----
    The idea is that of template averaging over a crystal: Mevenkamp et al., "Poisson noise removal from
    high-resolution STEM images based on periodic block matching", Adv. Struct. Chem. Imaging 1, 3 (2015),
    doi:10.1186/s40679-015-0004-8; here presences are averaged, not pixels.
    """
    out = np.array(probability, float)
    for part in ordered_parts(y, x, probability, sigma, shape, weights):
        out[part.around[part.inside]] = part.probability[part.inside]
    return out


@dataclass(frozen=True)
class OrderedPart:
    """A part of a frame that follows a lattice.

    Attributes
    ----------
    around : ndarray of int, shape (n,)
        The candidates in and around it.
    inside : ndarray of bool, shape (n,)
        Which of these belong to it.
    places : ndarray, shape (n, 2)
        Their positions in column sigmas.
    probability : ndarray, shape (n,)
        Theirs, once their equivalents have been seen.
    sites : Sites
    """

    around: np.ndarray
    inside: np.ndarray
    places: np.ndarray
    probability: np.ndarray
    sites: Sites


def ordered_parts(y, x, probability, sigma: float, shape: tuple[int, int], weights) -> Iterator[OrderedPart]:
    """The parts of a frame that follow a lattice, one at a time; arguments as of :func:`reconsidered`."""
    places = np.column_stack([y, x]) / sigma
    size = (shape[0] / sigma, shape[1] / sigma)
    first = np.clip(np.asarray(probability, float), EDGE, 1 - EDGE)
    for inside, around in regions(*places.T, size):
        sites = Sites.of(*places[around].T, first[around], size)
        if sites is not None:
            p = _rounds(sites, first[around], weights)
            yield OrderedPart(around, inside, places[around], p, sites)


def regions(u, v, size: tuple[float, float]):
    """Parts of a frame: (which of those around belong to it, indices of the columns in and around it)."""
    counts = [max(1, round(n / REGION)) for n in size]
    own = [np.clip((w / n * k).astype(int), 0, k - 1) for w, n, k in zip((u, v), size, counts, strict=True)]
    margin = FURTHEST + 2 * PITCH
    for i in range(counts[0]):
        rows = (u > size[0] * i / counts[0] - margin) & (u < size[0] * (i + 1) / counts[0] + margin)
        for j in range(counts[1]):
            columns = (v > size[1] * j / counts[1] - margin) & (v < size[1] * (j + 1) / counts[1] + margin)
            around = np.flatnonzero(rows & columns)
            yield (own[0][around] == i) & (own[1][around] == j), around


def _rounds(sites: Sites, first: np.ndarray, weights) -> np.ndarray:
    """Probabilities after a few rounds, each with the equivalents as the one before left them."""
    p = first
    for _ in range(ROUNDS):
        p = applied(first, sites.evidence(p), weights)
    return p


def applied(first: np.ndarray, evidence: Evidence, weights: tuple[float, ...]) -> np.ndarray:
    """The detector's probabilities changed by the evidence."""
    before = logit(first)
    after = features(before, evidence) @ np.asarray(weights[:-1]) + weights[-1]
    least = np.where(evidence.mean > COLUMNS, 0.0, LOWER)
    most = np.where(evidence.mean + evidence.spread < VACANT, 0.0, RAISE)
    change = np.clip(after - before, least, most)
    return np.clip(expit(before + np.where(evidence.number > EQUIVALENTS, change, 0.0)), EDGE, 1 - EDGE)


def features(z: np.ndarray, evidence: Evidence) -> np.ndarray:
    """What the regression sees: log odds z, mean m and spread s of the equivalents, their products; shape (n, 8)."""
    m, s = evidence.mean, evidence.spread
    return np.column_stack([z, m, s, z * m, z * s, m * m, s * s, z * z])


@dataclass(frozen=True)
class Sites:
    """The sites that lattice vectors take n candidates to, and how their presence is looked up.

    Attributes
    ----------
    shape : tuple of int
        Cells of the map of presence.
    alone : ndarray of int
        Which candidate each cell of the map is near, where it is near one only; n for none.
    shared : tuple of ndarray of int, each of shape (c,)
        Cells that are near several candidates, and these, in their order.
    there : ndarray of int, shape (n, m)
        Flat index of the cell that each of the m vectors takes a candidate to.
    inside : ndarray of bool, shape (n, m)
        Whether that lies in the frame.
    square : ndarray of int, shape (2, n)
        The square of side ``PITCH`` each candidate lies in.
    vectors : ndarray, shape (m, 2)
        The lattice vectors, sigmas.
    """

    shape: tuple[int, int]
    alone: np.ndarray
    shared: tuple[np.ndarray, np.ndarray]
    there: np.ndarray
    inside: np.ndarray
    square: np.ndarray
    vectors: np.ndarray

    @property
    def shortest(self) -> float:
        """Length of the shortest vector, sigmas."""
        return float(np.hypot(*self.vectors.T).min())

    @staticmethod
    def of(u, v, p, size: tuple[float, float]) -> Sites | None:
        """From positions and probabilities; lengths in sigmas. None where there is no lattice."""
        vectors = vectors_of_grains(u, v, p) if len(p) > LEAST else np.empty((0, 2))
        if not len(vectors):
            return None
        shortest = float(np.hypot(*vectors.T).min())
        tolerance = min(TOLERANCE, CROWDED * shortest)
        reach = np.abs(vectors).max() + 2 * tolerance
        low = [np.floor(w.min() / CELL) * CELL - reach for w in (u, v)]  # cells of all parts are those of one grid
        cells = [int(np.ceil((w.max() + reach - a) / CELL)) + 1 for w, a in zip((u, v), low, strict=True)]
        ends = [w[:, None] + t for w, t in zip((u, v), vectors.T, strict=True)]
        inside = (ends[0] >= 0) & (ends[0] <= size[0]) & (ends[1] >= 0) & (ends[1] <= size[1])
        i, j = (np.rint((end - a) / CELL).astype(np.int32) for end, a in zip(ends, low, strict=True))
        squares = np.stack([(np.clip(w, 0, None) // PITCH).astype(int) for w in (u, v)])
        squares -= squares.min(1, keepdims=True)
        claimed = _by_cell((u - low[0]) / CELL, (v - low[1]) / CELL, cells, tolerance / CELL)
        return Sites(tuple(cells), *claimed, i * cells[1] + j, inside, squares, vectors)

    def evidence(self, p: np.ndarray) -> Evidence:
        """What stands at the equivalents, given the probabilities of all candidates."""
        who, there = self.ends(p)
        return self.evidence_of(p, who, self.weights(p, there))

    def evidence_of(self, p: np.ndarray, who: np.ndarray, weight: np.ndarray) -> Evidence:
        """The same from who stands at the equivalents, and how much each counts, both (n, m)."""
        from hs_deepatoms._core.compiled import loops
        from hs_deepatoms.atoms.compiled import sites

        odds = logit(np.clip(np.append(p.astype(np.float32), np.float32(0)), 0.01, 1 - EDGE))
        mean, spread, number = (np.empty(len(p)) for _ in range(3))
        loops.in_parts(sites.evidence, len(p), weight, who, odds, mean, spread, number, part=ROWS)
        return Evidence(mean, spread, number)

    def ends(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which candidate stands where each vector leads, (n, m), n for nobody; and its probability, 0 for nobody."""
        from hs_deepatoms._core.compiled import loops
        from hs_deepatoms.atoms.compiled import sites

        p, (cells, candidates) = p.astype(np.float32), self.shared
        occupant, order = self.alone.copy(), np.argsort(p[candidates], kind="stable")
        occupant[cells[order]] = candidates[order]  # the likeliest is written last
        who, found = np.empty(self.there.shape, np.int32), np.empty(self.there.shape, np.float32)
        known = self.there, occupant, np.append(p, np.float32(0))
        loops.in_parts(sites.looked_up, len(p), *known, who, found, part=ROWS)
        return who, found

    def weights(self, p: np.ndarray, there: np.ndarray) -> np.ndarray:
        """How much each vector counts for each candidate, (n, m).

        As far as it takes the columns around there to other columns nearly as often as the best vector does, so that
        grains and patches of different order are told apart.
        """
        from hs_deepatoms._core.compiled import loops
        from hs_deepatoms.atoms.compiled import sites

        sums = np.zeros((2, int(np.prod(self.square.max(1) + 1)), there.shape[1]))
        sites.summed(self.place, self.inside, p.astype(np.float32).astype(float), there, *sums)
        total, hits = (self._spread(one) for one in sums)
        share, known = (hits / np.maximum(total, 1e-9)).astype(np.float32), total > 3  # not with too few to tell
        weight = np.empty(there.shape, np.float32)
        loops.in_parts(sites.weighed, len(p), self.place, self.inside, share, known, np.float32(RELIABLE),
                       np.float32(NEARLY), weight, part=ROWS)  # fmt: skip
        return weight

    @cached_property
    def place(self) -> np.ndarray:
        """Flat index (n,) of the square of each candidate."""
        return self.square[0] * (self.square[1].max() + 1) + self.square[1]

    @cached_property
    def _add_up(self) -> csr_array:
        n, (rows, columns) = len(self.place), self.square.max(1) + 1
        return csr_array((np.ones(n), (self.place, np.arange(n))), shape=(rows * columns, n))

    def around(self, values: np.ndarray) -> np.ndarray:
        """Sums of values (n, m) over the candidates in each square and those around it, (squares, m)."""
        return self._spread(self._add_up @ values)

    def _spread(self, sums: np.ndarray) -> np.ndarray:
        """Sums (squares, m), each with those of the squares around."""
        sums = sums.reshape(*(self.square.max(1) + 1), -1)
        for axis in (0, 1):
            sums = uniform_filter1d(sums, 3, axis=axis, mode="constant") * 3
        return sums.reshape(-1, sums.shape[-1])


def _by_cell(a, b, cells, distance: float) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """``Sites.alone`` and ``Sites.shared``: candidates claim the cells of the map within a distance of them."""
    from hs_deepatoms.atoms.compiled import sites

    total = cells[0] * cells[1]
    alone, number = np.full(total + 1, len(a), np.int32), np.zeros(total, np.int32)
    several = sites.claimed(a, b, cells[1], distance, number, alone)
    cell, candidate = np.empty(several, np.int64), np.empty(several, np.int32)
    sites.shared(a, b, cells[1], distance, number, cell, candidate)
    return alone, (cell, candidate)


def vectors_of_grains(u, v, p) -> np.ndarray:
    """Lattice vectors of all squares of side ``GRAIN``, each once, shape (n, 2)."""
    counts = [max(1, round(float(np.ptp(w)) / GRAIN)) for w in (u, v)]
    own = [np.clip(((w - w.min()) / max(float(np.ptp(w)), 1e-9) * k).astype(int), 0, k - 1)
           for w, k in zip((u, v), counts, strict=True)]  # fmt: skip
    found = np.empty((0, 2))
    for k in range(counts[0] * counts[1]):
        here = own[0] * counts[1] + own[1] == k
        new = lattice_vectors(u[here], v[here], p[here])
        if len(found) and len(new):
            new = new[cKDTree(found).query(new)[0] > SAME]
        found = np.concatenate([found, new])[:MOST_GRAINS]
    return found


def lattice_vectors(u, v, p) -> np.ndarray:
    """Vectors that take many columns to other columns, shape (n, 2): maxima of the density of their differences."""
    likely = p > 0.1
    u, v, p = u[likely], v[likely], p[likely]
    reach = _reach(u[p > 0.5], v[p > 0.5])
    if reach == 0:
        return np.empty((0, 2))
    pairs = cKDTree(np.column_stack([u, v])).query_pairs(reach, output_type="ndarray")
    bins = 2 * int(np.ceil(reach / BIN)) + 1
    places = np.rint(np.column_stack([w[pairs[:, 1]] - w[pairs[:, 0]] for w in (u, v)]) / BIN).astype(int) + bins // 2
    half = np.bincount(places[:, 0] * bins + places[:, 1], p[pairs].prod(1), minlength=bins * bins)
    area = 2 * np.pi * BLUR**2
    density = gaussian_filter((half + half[::-1]).reshape(bins, bins), BLUR / BIN, mode="constant") * area / BIN**2
    c = (np.arange(bins) - bins // 2) * BIN
    spans = [max(np.ptp(w), 1.2 * reach) for w in (u, v)]
    overlap = np.multiply.outer(*(np.clip(1 - np.abs(c) / span, 0.2, 1) for span in spans))
    share = density / ((p**2).sum() * overlap)
    chance = p.sum() ** 2 / (p**2).sum() / (spans[0] * spans[1]) * area
    i, j = np.nonzero((share == maximum_filter(share, 9)) & (share > max(SHARE, OVER_CHANCE * chance)))
    length = np.hypot(c[i], c[j])
    order = np.argsort(length, kind="stable")
    order = order[(length[order] > NEAREST) & (length[order] < reach)][:MOST]
    return np.column_stack([c[i[order]], c[j[order]]])


def _reach(u, v) -> float:
    """Longest lattice vector worth looking at; 0 for a few single columns."""
    if len(u) < LEAST:
        return 0.0
    points = np.column_stack([u, v])
    return float(min(SPACINGS * np.median(cKDTree(points).query(points, 2)[0][:, 1]), FURTHEST))
