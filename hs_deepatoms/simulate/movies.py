"""Movies of moving atoms as positions with their true identities, for tests of linking. No images are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LATTICES = {
    "square": ((1.0, 0.0), (0.0, 1.0), ((0.0, 0.0),)),
    "hexagonal": ((1.0, 0.0), (0.5, np.sqrt(0.75)), ((0.0, 0.0),)),
    "honeycomb": ((np.sqrt(3.0), 0.0), (np.sqrt(0.75), 1.5), ((0.0, 0.0), (0.0, 1.0))),
    "rectangular": ((1.0, 0.0), (0.0, 1.4), ((0.0, 0.0),)),
    "centred": ((np.sqrt(2.0), 0.0), (0.0, np.sqrt(2.0)), ((0.0, 0.0), (np.sqrt(0.5), np.sqrt(0.5)))),
}
"""Two lattice vectors (x, y) and the basis, in units of the distance between nearest neighbours."""


@dataclass(frozen=True)
class Movie:
    """Detections of all frames, ordered by frame, and what is true of them."""

    frame: np.ndarray
    y: np.ndarray
    x: np.ndarray
    identity: np.ndarray
    drift_y: np.ndarray
    drift_x: np.ndarray
    n_frames: int
    size: float


def moving_lattice(
    lattice: str = "square",
    *,
    n_frames: int = 30,
    n_atoms: int = 400,
    drift: float = 0.35,
    wander: float = 0.0,
    hop: float = 0.1,
    walk: bool = False,
    exchange: float = 0.05,
    miss: float = 0.02,
    empty_for: int = 3,
    rotation: float = 0.3,
    seed: int = 0,
) -> Movie:
    """Positions of the atoms of a drifting lattice in a fixed square field of view.

    Parameters
    ----------
    lattice
        A name in `LATTICES`; the distance between nearest neighbours is 1.
    n_frames, n_atoms
        Number of frames, and of the lattice's sites in the field of view.
    drift
        Length of the drift from frame to frame.
    wander
        How much the direction of the drift changes from frame to frame, one sigma in radians; ``numpy.inf`` draws it
        anew for every frame.
    hop
        One sigma, per axis, of an atom's random hop.
    walk
        Hops add up (a random walk); else each is a hop about the atom's own site.
    exchange
        Share of the atoms that vanish for good in every frame, and as many appear on empty sites.
    miss
        Share of the atoms that are not detected, in each frame anew.
    empty_for
        Frames that a site stays empty before a new atom may appear there: no observer could tell it from the old one.
    rotation
        Angle of the lattice in radians.
    seed
        Of the random numbers.

    Examples
    --------
    >>> movie = moving_lattice("hexagonal", n_frames=3, n_atoms=100)
    >>> movie.drift_y.shape, bool(movie.y.size == movie.identity.size)
    ((3,), True)
    """
    rng = np.random.default_rng(seed)
    shift_y, shift_x = _drift(rng, n_frames, drift, wander)
    cell = np.array(LATTICES[lattice][:2])
    size = float(np.sqrt(n_atoms * abs(np.linalg.det(cell)) / len(LATTICES[lattice][2])))
    site_y, site_x = _sites(lattice, size + 2 * max(np.abs(shift_y).max(), np.abs(shift_x).max()) + 6, rotation)
    identities = _tenants(rng, site_y.size, n_frames, exchange, empty_for)
    hops = rng.normal(0, hop, (2, n_frames, site_y.size))
    hops = np.cumsum(hops, axis=1) if walk else hops
    y = site_y + hops[0] + shift_y[:, None] + size / 2
    x = site_x + hops[1] + shift_x[:, None] + size / 2
    seen = (identities >= 0) & (y >= 0) & (y < size) & (x >= 0) & (x < size) & (rng.random(y.shape) >= miss)
    frame, site = np.nonzero(seen)
    order = np.lexsort((x[frame, site], y[frame, site], frame))
    frame, site = frame[order], site[order]
    return Movie(frame, y[frame, site], x[frame, site], identities[frame, site], shift_y, shift_x, n_frames, size)


def link_scores(movie: Movie, track: np.ndarray, memory: int) -> tuple[float, float]:
    """Share of the true links that were made, and share of the links made that are true.

    A true link joins two detections of one atom that follow each other, with at most ``memory`` frames between.
    """
    true = _links(movie.frame, movie.identity, memory)
    made = _links(movie.frame, track, movie.n_frames)
    common = np.intersect1d(true, made).size
    return common / max(true.size, 1), common / max(made.size, 1)


def _links(frame: np.ndarray, label: np.ndarray, memory: int) -> np.ndarray:
    order = np.lexsort((frame, label))
    first, second = order[:-1], order[1:]
    joined = (label[first] == label[second]) & (frame[second] - frame[first] <= memory + 1)
    return first[joined] * np.int64(frame.size) + second[joined]


def _drift(rng: np.random.Generator, n_frames: int, length: float, wander: float) -> tuple[np.ndarray, np.ndarray]:
    turns = rng.uniform(0, 2 * np.pi, n_frames) if np.isinf(wander) else np.cumsum(rng.normal(0, wander, n_frames))
    angle = rng.uniform(0, 2 * np.pi) + turns
    steps = length * np.stack([np.sin(angle), np.cos(angle)])
    steps[:, 0] = 0
    return tuple(np.cumsum(steps, axis=1))


def _sites(lattice: str, size: float, rotation: float) -> tuple[np.ndarray, np.ndarray]:
    first, second, basis = LATTICES[lattice]
    reach = int(np.ceil(2 * size))
    i, j = (index.ravel() for index in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    x = np.concatenate([i * first[0] + j * second[0] + bx for bx, _ in basis])
    y = np.concatenate([i * first[1] + j * second[1] + by for _, by in basis])
    x, y = x * np.cos(rotation) - y * np.sin(rotation), x * np.sin(rotation) + y * np.cos(rotation)
    inside = (np.abs(x) < size / 2) & (np.abs(y) < size / 2)
    return y[inside], x[inside]


def _tenants(rng: np.random.Generator, n_sites: int, n_frames: int, exchange: float, empty_for: int) -> np.ndarray:
    """Identity of the atom on every site (n_frames, n_sites), -1 where it is empty."""
    rest = exchange * (empty_for + 1)  # empty sites per atom, so that those free again are enough for the newcomers
    free_since = np.full(n_sites, empty_for)
    identity = np.where(rng.random(n_sites) < 1 / (1 + rest), np.arange(n_sites), -1)
    following, history = n_sites, [identity.copy()]
    for _ in range(n_frames - 1):
        gone = (identity >= 0) & (rng.random(n_sites) < exchange)
        free = np.flatnonzero((identity < 0) & (free_since >= empty_for))
        new = rng.permutation(free)[: int(gone.sum())]
        free_since = np.where(identity < 0, free_since + 1, 0)
        free_since[gone] = 1
        identity[gone] = -1
        identity[new] = following + np.arange(new.size)
        following += new.size
        history.append(identity.copy())
    return np.array(history)
