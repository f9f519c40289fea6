"""Two-dimensional crystals as they are seen down a zone axis: cell vectors, basis and column heights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Crystal:
    """A projected crystal. Lengths are in units of the shortest distance between two columns.

    Attributes
    ----------
    cell : ndarray, shape (2, 2)
        Rows are the cell vectors (y, x).
    basis : ndarray, shape (n, 2)
        Fractional positions of the columns in the cell.
    heights : ndarray, shape (n,)
        Peak heights relative to the main column (the highest is 1).
    name : str
    """

    cell: np.ndarray
    basis: np.ndarray
    heights: np.ndarray
    name: str

    def scaled(self) -> Crystal:
        """The same crystal with its shortest column-to-column distance equal to 1."""
        return Crystal(self.cell / shortest_distance(self.cell, self.basis), self.basis, self.heights, self.name)


def shortest_distance(cell: np.ndarray, basis: np.ndarray) -> float:
    """Shortest distance between two columns of a periodic projected crystal."""
    shifts = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    difference = basis[:, None, None] - basis[None, :, None] + shifts
    distance = np.linalg.norm(difference @ cell, axis=-1)
    return float(distance[distance > 1e-9].min())


_HEX = np.array([[0.0, 1.0], [np.sqrt(3) / 2, 0.5]])
_SQUARE = np.eye(2)

# name: (cell, basis); the heights are drawn per image
PROTOTYPES = {
    "square": (_SQUARE, [(0, 0)]),
    "hexagonal": (_HEX, [(0, 0)]),
    "honeycomb": (_HEX, [(0, 0), (1 / 3, 1 / 3)]),
    "rectangular": (np.diag([1.0, 1.41]), [(0, 0)]),
    "centred": (np.diag([1.0, 1.41]), [(0, 0), (0.5, 0.5)]),
    "perovskite_001": (_SQUARE, [(0, 0), (0.5, 0.5)]),
    "perovskite_001_oxygen": (_SQUARE, [(0, 0), (0.5, 0.5), (0.5, 0), (0, 0.5)]),
    "perovskite_110": (np.diag([1.0, 1.414]), [(0, 0), (0.5, 0.5), (0.0, 0.5)]),
    "perovskite_110_split": (np.diag([1.0, 1.414]), [(0, 0), (0, 0.5), (0.5, 0.25), (0.5, 0.75)]),
    "rutile": (np.diag([1.0, 1.55]), [(0, 0), (0.5, 0.5), (0.3, 0.0), (0.7, 0.0)]),
    "kagome": (_HEX, [(0.5, 0), (0, 0.5), (0.5, 0.5)]),
    "wurtzite_side": (np.diag([1.63, 1.0]), [(0, 0), (0.375, 0), (0.5, 0.5), (0.875, 0.5)]),
}
_EQUAL = {"square", "hexagonal", "rectangular"}
_COMMON = {"square": 2.0, "hexagonal": 2.0, "honeycomb": 3.0}  # drawn more often than the others


def random_crystal(rng: np.random.Generator, sigma_ratio: float) -> Crystal:
    """A crystal of a random kind; ``sigma_ratio`` = shortest distance / column sigma (for dumbbells: of the pair)."""
    kind = rng.choice(["prototype", "dumbbell", "random"], p=[0.72, 0.1, 0.18])
    if kind == "dumbbell":
        return _dumbbell(rng, sigma_ratio)
    if kind == "random":
        return _random_basis(rng)
    chance = np.array([_COMMON.get(name, 1.0) for name in PROTOTYPES])
    name = rng.choice(list(PROTOTYPES), p=chance / chance.sum())
    cell, basis = PROTOTYPES[name]
    basis = np.array(basis, float)
    heights = np.ones(len(basis)) if name in _EQUAL or rng.random() < 0.25 else _heights(rng, len(basis))
    return Crystal(np.array(cell), basis, heights, str(name)).scaled()


def _heights(rng: np.random.Generator, n: int) -> np.ndarray:
    heights = np.exp(rng.uniform(np.log(0.08), 0.0, n))
    heights[rng.integers(n)] = 1.0
    return heights / heights.max()


def _dumbbell(rng: np.random.Generator, sigma_ratio: float) -> Crystal:
    # the pair is `sigma_ratio` sigmas apart, the cell at least twice as wide as the pair
    width, height = rng.uniform(2.2, 4.0, 2)
    pair = np.array([(0, 0), (0, 1 / width)])
    basis = np.vstack([pair, pair + 0.5]) if rng.random() < 0.7 else pair
    heights = np.tile([1.0, rng.uniform(0.25, 1.0)], len(basis) // 2)
    cell = np.diag([max(height, 1.6), width])
    return Crystal(cell, basis, heights, "dumbbell").scaled()


def _random_basis(rng: np.random.Generator) -> Crystal:
    angle = np.deg2rad(rng.uniform(60, 120))
    cell = np.array([[0, 1.0], [rng.uniform(0.6, 1.7) * np.sin(angle), rng.uniform(0.6, 1.7) * np.cos(angle)]])
    for _ in range(20):
        basis = rng.random((rng.integers(1, 6), 2))
        # columns of a real crystal keep their distance: no pair much closer than the mean spacing
        if shortest_distance(cell, basis) > 0.45 * np.sqrt(abs(np.linalg.det(cell)) / len(basis)):
            break
    else:
        basis = basis[:1]
    return Crystal(cell, basis, _heights(rng, len(basis)), "random").scaled()


def lattice_points(
    crystal: Crystal, spacing: float, angle: float, centre: tuple[float, float], reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of a rotated crystal within ``reach`` of ``centre``.

    Parameters
    ----------
    crystal : Crystal
    spacing : float
        Shortest column-to-column distance, pixels.
    angle : float
        Rotation, radians.
    centre : tuple of float
        (y, x) of the lattice origin, pixels.
    reach : float
        Radius that is filled, pixels.

    Returns
    -------
    y, x : ndarray, float64, shape (n,)
        Positions, pixels.
    kind : ndarray, int64, shape (n,)
        Index into the crystal's basis.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cell = crystal.cell @ turn * spacing
    inverse = np.linalg.inv(cell)
    n = np.ceil(reach * np.abs(inverse).sum(axis=0) + 1).astype(int)
    i, j = np.meshgrid(np.arange(-n[0], n[0] + 1), np.arange(-n[1], n[1] + 1), indexing="ij")
    nodes = np.stack([i.ravel(), j.ravel()], 1).astype(float)
    fractional = (nodes[:, None] + crystal.basis[None]).reshape(-1, 2)
    kind = np.tile(np.arange(len(crystal.basis)), len(nodes))
    points = fractional @ cell
    keep = (points**2).sum(1) <= reach**2
    return points[keep, 0] + centre[0], points[keep, 1] + centre[1], kind[keep]
