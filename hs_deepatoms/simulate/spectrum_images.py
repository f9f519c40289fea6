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
    clean_image : numpy.ndarray, float32, shape (ny, nx)
        The image without noise.
    """

    image: np.ndarray
    counts: np.ndarray
    shapes: np.ndarray
    totals: np.ndarray
    endmembers: np.ndarray
    abundances: np.ndarray
    energy: np.ndarray
    clean_image: np.ndarray


def planted_cube(
    shape: tuple[int, int] = (256, 256),
    channels: int = 1024,
    *,
    endmembers: int | np.ndarray = 4,
    counts: tuple[float, float] = (20.0, 200.0),
    thickness: tuple[float, float] = (0.5, 2.0),
    link: str = "texture",
    linear: float = 2.0,
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
        What decides the composition: size and direction of the local contrast; the smoothed image through sines;
        products of smoothed images.
    linear : float
        How much of what decides the composition is a linear function of the image, next to the rest.
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
    clean, drivers, thick = _world(shape, len(spectra), link, linear, rng)
    shares = np.exp(steepness * drivers)
    shares = (shares / shares.sum(0)).astype(np.float32)
    low, high = thickness
    depth = low + (high - low) * thick
    image = clean + rng.normal(0, noise, shape)
    shapes = np.tensordot(shares, spectra.astype(np.float32), ((0,), (0,)))
    totals = channels * (counts[0] + (counts[1] - counts[0]) * (depth - low) / (high - low))
    drawn = rng.poisson(shapes * totals[..., None].astype(np.float32)).astype(np.uint16)
    return PlantedCube(image.astype(np.float32), drawn, shapes, totals.astype(np.float32), spectra, shares, energy,
                       clean.astype(np.float32))  # fmt: skip


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


def _world(shape, k: int, link: str, linear: float, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image without noise, what drives the composition (k, ny, nx), and the thickness from 0 to 1."""
    from scipy.ndimage import gaussian_filter

    slow, fine = smooth_field(shape, 12, rng), smooth_field(shape, 2, rng)
    contrast = 1 / (1 + np.exp(-2 * smooth_field(shape, 10, rng)))
    thick = 1 / (1 + np.exp(-1.2 * slow))
    image = 0.8 * slow + 1.5 * contrast * fine
    near, far = gaussian_filter(image, 1.0), gaussian_filter(image, 2.0)
    rise = [gaussian_filter(image, 1.0, order=order) for order in ((1, 0), (0, 1))]
    if link == "pointwise":
        parts = [np.sin((0.8 + 0.4 * i) * near + i) for i in range(k)]
    elif link == "quadratic":
        parts = [near**2 / 2, near * far / 2 - 0.5, far, np.tanh(near) ** 2 * far, near - far]
    else:
        slope = np.sqrt(gaussian_filter(rise[0] ** 2 + rise[1] ** 2, 1.5))
        parts = [3 * slope, np.cos(1.5 * near), np.sin(1.5 * near), 4 * np.abs(rise[0]), 1.5 - 4 * np.abs(rise[1])]
    straight = [near, rise[0], rise[1], near - far, far]
    drivers = [_standard(part) + linear * _standard(line) for part, line in zip(parts[:k], straight, strict=False)]
    return image, np.stack([_standard(one) for one in drivers]), thick


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def hysteresis_loops(
    shape: tuple[int, int] = (96, 96), channels: int = 64, *, noise: float = 0.05, seed: int = 0
) -> PlantedCube:
    """Ferroelectric switching loops whose coercive and imprint bias follow from the topography around a pixel.

    Parameters
    ----------
    shape : (int, int)
    channels : int
        Points of the bias, which goes up and comes down again.
    noise : float
        Standard deviation of the response's noise; its saturation is about 1.
    seed : int

    Returns
    -------
    PlantedCube
        ``counts`` is the response (float32, negative too), ``shapes`` the same without noise, ``totals`` 1; ``energy``
        is the number of the bias step. Endmembers and abundances are empty.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    height = 0.7 * smooth_field(shape, 6, rng) + 0.7 * smooth_field(shape, 2.5, rng)
    local = gaussian_filter(height, 1.0)
    slope = np.hypot(gaussian_filter(height, 1.0, order=(1, 0)), gaussian_filter(height, 1.0, order=(0, 1)))
    coercive = 1.0 + 0.5 * np.tanh(1.5 * local)
    imprint = 0.8 * np.sin(1.5 * local)
    size = np.exp(-2.0 * slope)
    bias = 3 * np.interp(np.arange(channels), [0, channels / 4, 3 * channels / 4, channels], [0, 1, -1, 0])
    rising = np.gradient(bias) > 0
    centre = np.where(rising, coercive[..., None], -coercive[..., None]) + imprint[..., None]
    clean = (size[..., None] * np.tanh((bias - centre) / 0.4)).astype(np.float32)
    return _bare(height, clean, noise, np.arange(channels, dtype=float), rng)


def tunnelling_spectra(
    shape: tuple[int, int] = (96, 96), channels: int = 128, *, noise: float = 0.03, seed: int = 0
) -> PlantedCube:
    """Differential conductance with a gap that follows from the topography around a pixel.

    Parameters and result as for `hysteresis_loops`; ``energy`` is the bias in mV.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    height = 0.6 * smooth_field(shape, 8, rng) + 0.8 * smooth_field(shape, 2.0, rng)
    local, wide = gaussian_filter(height, 1.0), gaussian_filter(height, 2.5)
    gap = 12 + 5 * np.tanh(1.5 * wide) + 2 * np.cos(2 * local)
    peak = 0.6 + 0.5 / (1 + np.exp(3 * local))
    resonance = 0.8 * np.exp(-0.5 * ((local - 0.8) / 0.4) ** 2)
    bias = np.linspace(-40, 40, channels)
    edge = np.abs(bias) - gap[..., None]
    clean = 1 / (1 + np.exp(-edge / 1.5)) + peak[..., None] * np.exp(-0.5 * (edge / 2.5) ** 2)
    clean = (clean + resonance[..., None] * np.exp(-0.5 * (bias / 3) ** 2)).astype(np.float32)
    return _bare(height, clean, noise, bias, rng)


def _bare(height, clean, noise: float, energy, rng) -> PlantedCube:
    """A cube that is not made of counts."""
    measured = (clean + rng.normal(0, noise, clean.shape)).astype(np.float32)
    nothing = np.zeros((0, len(energy)))
    image = height + rng.normal(0, 0.02, height.shape)
    return PlantedCube(image.astype(np.float32), measured, clean, np.ones(clean.shape[:2], np.float32), nothing,
                       np.zeros((0, *clean.shape[:2]), np.float32), energy, height.astype(np.float32))  # fmt: skip
