"""Spectrum images of ionisation edges with known spectra and abundances, for tests, examples and benchmarks."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

STEEP = 3.0  # power of the background
LIGHTEST, HEAVIEST = 0.5, 2.0  # thickness


def edge_spectra(k: int, jump: float, energy: np.ndarray) -> np.ndarray:
    """Power-law backgrounds with one edge each.

    Parameters
    ----------
    k : int
    jump : float
        Height of an edge over the background below it.
    energy : numpy.ndarray, shape (channels,)
        eV, above 0.

    Returns
    -------
    numpy.ndarray, shape (k, channels)
        Mean 1.
    """
    span = energy[-1] - energy[0]
    background = (energy / energy[0]) ** -STEEP
    out = []
    for j in range(k):
        onset = energy[0] + span * (0.05 + 0.88 * j / k)
        white_line = 1 + 0.8 * np.exp(-(((energy - onset) / (0.007 * span)) ** 2))
        edge = jump * (onset / energy[0]) ** -STEEP * (np.maximum(energy, onset) / onset) ** -2.5 * white_line
        out.append(background + np.where(energy > onset, edge, 0))
    spectra = np.array(out)
    return spectra / spectra.mean(1, keepdims=True)


def phase_maps(shape: tuple[int, int], k: int, rng: np.random.Generator, *, random: bool = False) -> np.ndarray:
    """Abundances (k, ny, nx) with pure pixels, their sum the thickness, which varies from 0.5 to 2.

    Parameters
    ----------
    shape : (int, int)
    k : int
    rng : numpy.random.Generator
    random : bool
        False: phases with soft boundaries. True: every pixel its own mixture (uniform on the simplex), 20 of each
        kind pure.
    """
    if random:
        shares = rng.dirichlet(np.ones(k), shape[0] * shape[1])
        pure = rng.choice(len(shares), min(20 * k, len(shares)), replace=False)
        shares[pure] = np.eye(k)[np.arange(len(pure)) % k]
        shares = shares.T.reshape(k, *shape)
    else:
        waves = np.stack([_waves(shape, rng, 12) for _ in range(k)])
        shares = np.exp(6 * waves)
        shares = np.maximum(shares / shares.sum(0) - 0.02, 0)
        shares /= shares.sum(0)
    height = _waves(shape, rng, 6)
    height = (height - height.min()) / (height.max() - height.min())
    return shares * LIGHTEST * (HEAVIEST / LIGHTEST) ** height


def count_image(abundances: np.ndarray, spectra: np.ndarray, counts: float, rng: np.random.Generator) -> np.ndarray:
    """Counts (ny, nx, channels), float32, with ``counts`` per channel on average where the thickness is 1."""
    _, ny, nx = abundances.shape
    out = np.empty((ny, nx, spectra.shape[1]), np.float32)
    for y in range(ny):
        out[y] = rng.poisson(counts * (abundances[:, y].T @ spectra))
    return out


def abundance_bound(abundances: np.ndarray, spectra: np.ndarray, counts: float) -> np.ndarray:
    """Cramer-Rao bound (k,) of the root mean square error of abundances (k, ny, nx) of known spectra, from counts."""
    k = len(spectra)
    flat, scaled = abundances.reshape(k, -1).T, counts * spectra
    products = (scaled[:, None] * scaled).reshape(k * k, -1).T
    variance = []
    for start in range(0, len(flat), 4096):
        mean = np.maximum(flat[start : start + 4096] @ scaled, 1e-12)
        variance.append(np.einsum("mkk->mk", np.linalg.inv(((1 / mean) @ products).reshape(-1, k, k))))
    return np.sqrt(np.concatenate(variance).mean(0))


def _waves(shape: tuple[int, int], rng: np.random.Generator, per_side: int) -> np.ndarray:
    """Smooth random field of deviation 1."""
    field = gaussian_filter(rng.normal(size=shape), min(shape) / per_side, mode="wrap")
    return (field - field.mean()) / field.std()
