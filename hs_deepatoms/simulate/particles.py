"""Images of particles on a support, and which particle every pixel belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from hs_deepatoms.simulate.background import smooth_field, texture
from hs_deepatoms.simulate.detector import Recording, record
from hs_deepatoms.simulate.masks import parted

TRIES = 60  # places that are tried for a particle before the field counts as full
OVERLAP = 0.06  # share of a new particle that may lie on others
CORNERS = 512  # directions in which an outline is known
CONTRAST = 0.8, 5.0  # noise sigmas by which one pixel of the mean particle stands out of the support


@dataclass(frozen=True)
class ParticleScene:
    """A simulated image and its truth.

    Attributes
    ----------
    image : ndarray, float32, shape (ny, nx)
        Counts.
    objects : ndarray, int32, shape (ny, nx)
        Number of the particle at every pixel, 1, 2, ...; 0 is the support.
    """

    image: np.ndarray
    objects: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Classes for training, int64: 1 in particles, 0 elsewhere and where two of them touch."""
        return parted(self.objects).astype(np.int64)


def simulate_particles(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    radius: tuple[float, float] = (5.0, 14.0),
    covered: float | None = None,
    touching: float = 0.4,
    dark: bool = False,
) -> ParticleScene:
    """Particles of different size, shape and contrast on a rough support; some of them touch.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (ny, nx), pixels.
    radius : (float, float)
        Smallest and largest mean radius, pixels.
    covered : float, optional
        Share of the image that particles cover; by default drawn between 0.1 and 0.35.
    touching : float
        Share of the particles that lean against another one.
    dark : bool
        Particles darker than the support, as in bright-field images.

    Returns
    -------
    ParticleScene

    Notes
    -----
    Outlines are polygons with rounded corners and ellipses; the intensity follows the thickness of a body between a
    sphere and a plate. A single pixel of the mean particle stands out by 0.8 to 5 sigma of the noise, of thin ones by
    less. Summed over its pixels a particle of 30 of them or more then has a signal-to-noise ratio (matched filter:
    shape and place known) of 21 in the median; 2 % have less than 5, and the faintest of these nobody could find.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.particles import simulate_particles
    >>> scene = simulate_particles(np.random.default_rng(0), (96, 128))
    >>> scene.image.shape, bool(scene.objects.max() > 1)
    ((96, 128), True)
    """
    objects, thickness = _placed(rng, shape, radius, covered or rng.uniform(0.1, 0.35), touching)
    body = gaussian_filter(thickness, rng.uniform(0.5, 1.2))
    ground = rng.uniform(0.3, 2.0) * (1 - rng.choice([0.0, rng.uniform(0, 0.4)]) * smooth_field(rng, shape))
    ground = ground + rng.uniform(0.02, 0.12) * texture(rng, shape, rng.uniform(1, 4), rng.choice([0.0, 1.0]))
    expected = np.maximum(ground, 0.05) + body
    if dark:
        expected = rng.uniform(1.3, 2.0) * ground.max() * np.exp(-rng.uniform(0.5, 1.2) * expected)
    contrast = np.exp(rng.uniform(*np.log(CONTRAST)))
    step = np.abs(expected[objects > 0].mean() - expected[objects == 0].mean()) if objects.any() else 1.0
    counts = contrast**2 * expected.mean() / max(step, 1e-3) ** 2
    how = Recording(counts=float(counts), jitter=float(rng.choice([0.0, 0.3])))
    return ParticleScene(record(rng, expected, how).astype(np.float32), objects)


def _placed(rng, shape, radius, covered: float, touching: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the particles, and the thickness of what is there (1 for the middle of a typical one)."""
    objects, thickness, depth = np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape)
    placed: list[tuple[float, float, float]] = []
    while np.count_nonzero(objects) < covered * objects.size:
        size = float(np.exp(rng.uniform(*np.log(radius))))
        outline, body = _outline(rng, size), rng.uniform(0.2, 0.5)
        for _ in range(TRIES):
            y, x = _place(rng, shape, size, placed, touching)
            box, inside = _depth(shape, y, x, outline)
            mine = inside > 0
            if mine.any() and (mine & (objects[box] > 0)).sum() <= OVERLAP * mine.sum():
                break
        else:
            break
        placed.append((y, x, size))
        objects[box][mine & (inside > depth[box])] = len(placed)
        depth[box] = np.maximum(depth[box], inside)
        height = rng.uniform(0.6, 1.4) * (size / np.sqrt(radius[0] * radius[1])) ** 0.5
        thickness[box] += height * np.where(mine, 1 - (1 - inside.clip(0)) ** 2, 0) ** body
    return _numbered(objects), thickness


def _place(rng, shape, size: float, placed: list, touching: float) -> tuple[float, float]:
    """Anywhere, or right beside a particle that is there."""
    if placed and rng.random() < touching:
        y, x, other = placed[rng.integers(len(placed))]
        angle, distance = rng.uniform(0, 2 * np.pi), size + other + rng.uniform(-1.5, 1.5)
        return y + distance * np.sin(angle), x + distance * np.cos(angle)
    return rng.uniform(-2, shape[0] + 1), rng.uniform(-2, shape[1] + 1)


def _outline(rng, size: float) -> np.ndarray:
    """Distance from the middle to the rim in ``CORNERS`` directions."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    turned = angle - rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        aspect = rng.uniform(0.7, 1.0)
        return size * np.sqrt(aspect) / np.sqrt((aspect * np.cos(turned)) ** 2 + np.sin(turned) ** 2)
    sides = rng.integers(5, 9)
    towards = (np.arange(sides) + rng.uniform(-0.15, 0.15, sides)) * 2 * np.pi / sides
    far = rng.uniform(0.9, 1.1, sides)
    nearest = np.max(np.cos(turned[:, None] - towards) / far, axis=1)  # of the facets, from a middle at 0
    rim = gaussian_filter(1 / np.maximum(nearest, 0.5), 0.02 * CORNERS, mode="wrap")
    return size * rim / rim.mean()


def _depth(shape, y: float, x: float, outline: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The rectangle around a particle, and how deep inside its pixels lie: 1 in the middle, 0 at the rim, then less."""
    reach = float(outline.max()) + 1
    spans = [(max(0, int(w - reach)), max(0, min(n, int(w + reach) + 2))) for w, n in zip((y, x), shape, strict=True)]
    dy, dx = (np.arange(*span) - w for span, w in zip(spans, (y, x), strict=True))
    place = (np.arctan2(dy[:, None], dx) % (2 * np.pi)) * CORNERS / (2 * np.pi)
    rim = np.interp(place, np.arange(CORNERS + 1), np.append(outline, outline[0]))
    return tuple(slice(*span) for span in spans), 1 - np.hypot(dy[:, None], dx) / rim


def _numbered(objects: np.ndarray) -> np.ndarray:
    """Numbers without gaps; those that lie wholly outside of the field are gone."""
    there, out = np.unique(objects, return_inverse=True)
    out = out.reshape(objects.shape) + (0 if there[0] == 0 else 1)
    return out.astype(np.int32)
