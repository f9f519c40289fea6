"""What lies under the columns: gradients, contamination, amorphous films, edges of the specimen."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import zoom


def texture(rng: np.random.Generator, shape: tuple[int, int], length: float, power: float = 0.0) -> np.ndarray:
    """Amorphous film: a Gaussian random field of unit variance.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    length : float
        Correlation length (Gaussian sigma of the smoothing), pixels.
    power : float
        Exponent of an additional 1/f**power spectrum (clouds of all sizes).

    Returns
    -------
    ndarray, float64, shape (ny, nx)
    """
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    radius2 = fy**2 + fx**2
    weight = np.exp(-2 * (np.pi * length) ** 2 * radius2)
    if power:
        weight = weight / np.maximum(radius2, 1 / max(shape) ** 2) ** (power / 2)
    weight[0, 0] = 0
    field = irfft2(rfft2(rng.standard_normal(shape)) * weight, s=shape)
    return field / max(field.std(), 1e-12)


def fringes(rng: np.random.Generator, shape: tuple[int, int], period: float) -> np.ndarray:
    """Lattice or interference fringes of unit amplitude, slightly bent: lines, where a crystal shows no columns."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle = rng.uniform(0, np.pi)
    bent = rng.uniform(0, 2) * period * smooth_field(rng, shape, 3)
    return np.cos(2 * np.pi * (y * np.sin(angle) + x * np.cos(angle) + bent) / period)


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], nodes: int = 4) -> np.ndarray:
    """A slowly varying field between 0 and 1 (thickness, contamination), from a coarse random grid."""
    coarse = rng.random((nodes, nodes))
    field = zoom(coarse, (shape[0] / nodes, shape[1] / nodes), order=3, mode="nearest", grid_mode=True)
    field = field[: shape[0], : shape[1]]
    return np.clip((field - field.min()) / max(np.ptp(field), 1e-12), 0, 1)


def region_mask(rng: np.random.Generator, shape: tuple[int, int], kind: str, softness: float) -> np.ndarray:
    """Where the specimen is: 1 inside, 0 in vacuum, with a soft rim.

    Parameters
    ----------
    kind : {"edge", "particle", "hole", "cloud"}
    softness : float
        Width of the rim, pixels.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    size = np.hypot(*shape)
    if kind == "edge":
        angle = rng.uniform(0, 2 * np.pi)
        signed = (
            (y - shape[0] / 2) * np.sin(angle) + (x - shape[1] / 2) * np.cos(angle) + rng.uniform(-0.25, 0.25) * size
        )
    elif kind == "cloud":
        signed = (smooth_field(rng, shape, rng.integers(3, 6)) - rng.uniform(0.3, 0.6)) * size / 3
    else:
        centre = rng.uniform(0.2, 0.8, 2) * shape
        radius, angle, flat = rng.uniform(0.15, 0.4) * size, rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
        u = (y - centre[0]) * np.cos(angle) + (x - centre[1]) * np.sin(angle)
        v = ((x - centre[1]) * np.cos(angle) - (y - centre[0]) * np.sin(angle)) / flat
        signed = radius - np.hypot(u, v)
        signed = -signed if kind == "hole" else signed
    return 1 / (1 + np.exp(-np.clip(signed / max(softness, 0.3), -30, 30)))
