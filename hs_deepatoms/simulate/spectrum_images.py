"""Spectrum images with known spectra, and images from which these follow by a non-linear law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EDGES = {"C K": 284.0, "Ti L": 456.0, "O K": 532.0, "Mn L": 640.0, "Fe L": 708.0, "Co L": 779.0}
LINKS = ("texture", "pointwise", "quadratic")


@dataclass(frozen=True, eq=False)
class PlantedCube:
    """A spectrum image, the image that goes with it, and what is true.

    Attributes
    ----------
    image : numpy.ndarray, float32, shape (ny, nx)
    counts : numpy.ndarray, uint16, shape (ny, nx, n)
        Poisson counts.
    shapes : numpy.ndarray, float32, shape (ny, nx, n)
        The true spectra, each with the sum 1.
    totals : numpy.ndarray, float32, shape (ny, nx)
        True total counts.
    endmembers : numpy.ndarray, shape (k, n)
        Each with the sum 1.
    abundances : numpy.ndarray, float32, shape (k, ny, nx)
        Shares that add up to 1.
    energy : numpy.ndarray, shape (n,)
        eV.
    """

    image: np.ndarray
    counts: np.ndarray
    shapes: np.ndarray
    totals: np.ndarray
    endmembers: np.ndarray
    abundances: np.ndarray
    energy: np.ndarray


def planted_cube(
    shape: tuple[int, int] = (256, 256),
    channels: int = 1024,
    *,
    endmembers: int | np.ndarray = 4,
    counts: tuple[float, float] = (20.0, 200.0),
    thickness: tuple[float, float] = (0.5, 2.0),
    link: str = "texture",
    steepness: float = 2.0,
    noise: float = 0.02,
    seed: int = 0,
) -> PlantedCube:
    """A cube of EEL spectra whose composition follows from the neighbourhood of each pixel in an image.

    Parameters
    ----------
    shape : (int, int)
    channels : int
    endmembers : int or array of shape (k, channels)
        How many (3 to 5), of power-law backgrounds with edges, or spectra of your own.
    counts : (float, float)
        Mean counts per channel of the thinnest and of the thickest place.
    thickness : (float, float)
        Smallest and largest; the image grows with it, too.
    link : {"texture", "pointwise", "quadratic"}
        What decides the composition: size and direction of the local contrast; the local mean through sines; products
        of smoothed images.
    steepness : float
        How sharply the phases are separated.
    noise : float
        Standard deviation of the image's noise; its signal has about 1.
    seed : int

    Returns
    -------
    PlantedCube

    Examples
    --------
    >>> cube = planted_cube((20, 24), 64, seed=1)
    >>> cube.counts.shape, bool(abs(cube.shapes.sum(-1) - 1).max() < 1e-5)
    ((20, 24, 64), True)
    """
    rng = np.random.default_rng(seed)
    energy = np.linspace(250.0, 250.0 + 600.0 * (channels - 1) / channels, channels)
    if np.ndim(endmembers) == 2:
        spectra = np.asarray(endmembers, float)
        spectra = spectra / spectra.sum(1, keepdims=True)
    else:
        spectra = edge_spectra(energy, int(endmembers))
    clean, drivers, thick = _world(shape, len(spectra), link, rng)
    shares = np.exp(steepness * drivers)
    shares = (shares / shares.sum(0)).astype(np.float32)
    low, high = thickness
    depth = low + (high - low) * thick
    image = clean + rng.normal(0, noise, shape)
    shapes = np.tensordot(shares, spectra.astype(np.float32), ((0,), (0,)))
    totals = channels * (counts[0] + (counts[1] - counts[0]) * (depth - low) / (high - low))
    drawn = rng.poisson(shapes * totals[..., None].astype(np.float32)).astype(np.uint16)
    return PlantedCube(image.astype(np.float32), drawn, shapes, totals.astype(np.float32), spectra, shares, energy)


def edge_spectra(energy: np.ndarray, k: int) -> np.ndarray:
    """Power-law backgrounds with core-loss edges and white lines, (k, n), each with the sum 1."""
    names = list(EDGES)
    spectra = []
    for i in range(k):
        spectrum = (energy / energy[0]) ** -(2.6 + 0.25 * i)
        for j, strength in ((i, 0.5), ((i + 2) % len(names), 0.25)):
            spectrum = spectrum + strength * _edge(energy, EDGES[names[j]], energy[0], white=j % 2 == 1)
        spectra.append(spectrum / spectrum.sum())
    return np.array(spectra)


def smooth_field(shape: tuple[int, int], width: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian random field with mean 0 and standard deviation 1, smooth over ``width`` pixels."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=shape), width, mode="wrap")
    return (field - field.mean()) / field.std()


def _edge(energy: np.ndarray, onset: float, first: float, *, white: bool) -> np.ndarray:
    above = np.clip(energy - onset, 0, None)
    height = (onset / first) ** -2.0
    edge = (energy > onset) * height * np.exp(-above / 180.0) * (1 - np.exp(-above / 4.0))
    if white:
        for shift, part in ((4.0, 2.0), (14.0, 1.2)):
            edge = edge + part * height * np.exp(-0.5 * ((energy - onset - shift) / 2.0) ** 2)
    return edge


def _world(shape, k: int, link: str, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image without noise, what drives the composition (k, ny, nx), and the thickness from 0 to 1."""
    from scipy.ndimage import gaussian_filter

    slow, fine = smooth_field(shape, 12, rng), smooth_field(shape, 2, rng)
    contrast = 1 / (1 + np.exp(-2 * smooth_field(shape, 10, rng)))
    thick = 1 / (1 + np.exp(-1.2 * slow))
    image = 0.8 * slow + 1.5 * contrast * fine
    if link == "pointwise":
        local = gaussian_filter(image, 1.5)
        drivers = [np.sin((1.0 + 0.6 * i) * local + i) for i in range(k)]
    elif link == "quadratic":
        near, far = gaussian_filter(image, 1.0), gaussian_filter(image, 2.0)
        parts = [near**2 / 2, near * far / 2 - 0.5, far, np.tanh(near) ** 2 * far, near - far]
        drivers = parts[:k]
    else:
        near = gaussian_filter(image, 1.0)
        rise = [gaussian_filter(image, 1.0, order=order) for order in ((1, 0), (0, 1))]
        slope = np.sqrt(gaussian_filter(rise[0] ** 2 + rise[1] ** 2, 1.5))
        parts = [3 * slope, np.cos(1.5 * near), np.sin(1.5 * near), 4 * np.abs(rise[0]), 1.5 - 4 * np.abs(rise[1])]
        drivers = parts[:k]
    drivers = np.stack([(one - one.mean()) / one.std() for one in drivers])
    return image, drivers, thick
