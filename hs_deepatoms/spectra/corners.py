"""The spectra at the corners of what a cube holds: vertex component analysis and N-FINDR, in a reduced space."""

from __future__ import annotations

import numpy as np

SWEEPS = 10
TRIES = 3


def find_corners(points: np.ndarray, k: int, method: str, rng: np.random.Generator) -> np.ndarray:
    """Which points lie at the corners of the simplex.

    Parameters
    ----------
    points : numpy.ndarray, shape (m, k - 1)
        Affine coordinates.
    k : int
    method : {"vca", "nfindr"}
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray, int, shape (k,)
    """
    if k == 1:
        return np.zeros(1, int)
    return (vertex_components if method == "vca" else largest_simplex)(points, k, rng)


def vertex_components(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Extremes along random directions orthogonal to the corners already found.

    Nascimento & Dias, IEEE Trans. Geosci. Remote Sens. 43, 898 (2005), doi:10.1109/TGRS.2005.844293.
    """
    lifted = np.column_stack([points, np.full(len(points), np.abs(points).max() + 1e-300)])
    chosen: list[int] = []
    corners = np.zeros((lifted.shape[1], 0))
    for _ in range(k):
        direction = rng.normal(size=lifted.shape[1])
        if not chosen:
            direction[-1] = 0  # the last coordinate is the same for all
        else:
            basis = np.linalg.qr(corners)[0]
            direction -= basis @ (basis.T @ direction)
        chosen.append(int(np.abs(lifted @ direction).argmax()))
        corners = lifted[chosen].T
    return np.array(chosen)


def largest_simplex(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """The k points whose simplex has the largest volume: corners are exchanged while it grows, from several starts.

    N-FINDR: Winter, Proc. SPIE 3753, 266 (1999), doi:10.1117/12.366289.
    """
    lifted = np.column_stack([np.ones(len(points)), points])
    best, volume = None, -1.0
    for _ in range(TRIES):
        chosen = vertex_components(points, k, rng)
        found = _exchanged(lifted, chosen)
        size = abs(np.linalg.det(lifted[found]))
        if size > volume:
            best, volume = found, size
    return best


def _exchanged(lifted: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    chosen = chosen.copy()
    for _ in range(SWEEPS):
        before = chosen.copy()
        for j in range(len(chosen)):
            others = np.delete(lifted[chosen], j, 0)
            # the volume is linear in one corner: the normal of the plane through the others
            normal = np.linalg.svd(others)[2][-1]
            heights = np.abs(lifted @ normal)
            if heights.max() > heights[chosen[j]] * (1 + 1e-9):
                chosen[j] = int(heights.argmax())
        if (chosen == before).all():
            break
    return chosen
