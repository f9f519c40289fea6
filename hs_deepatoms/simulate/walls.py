"""Images with lines that matter: walls between domains, and atomic steps between terraces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from hs_deepatoms.simulate.background import fringes, smooth_field, texture
from hs_deepatoms.simulate.detector import Recording, record

HALF_WIDTH = 1.5  # pixels: of the band that is labelled along a line
LEAST_TERRACE = 6.0  # pixels: steps nearer to each other than this are one to any microscope


@dataclass(frozen=True)
class LineScene:
    """A simulated image and its truth.

    Attributes
    ----------
    image : ndarray, float32, shape (ny, nx)
    line : ndarray, bool, shape (ny, nx)
        Pixels right beside a wall or step, on its one side: a line of one pixel.
    """

    image: np.ndarray
    line: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Classes for training, int64: 1 in a band of some three pixels along the lines, 0 elsewhere."""
        if not self.line.any():
            return np.zeros(self.line.shape, np.int64)
        return (distance_transform_edt(~self.line) <= HALF_WIDTH).astype(np.int64)


def simulate_walls(rng: np.random.Generator, shape: tuple[int, int]) -> LineScene:
    """Domains of nearly the same brightness with walls between them.

    Walls are bright or dark lines of one to two pixels sigma on a ground that changes slowly, now and then with
    lattice fringes, at a dose at which a wall is plain to see but not its single pixels.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (ny, nx), pixels.

    Returns
    -------
    LineScene

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.walls import simulate_walls
    >>> scene = simulate_walls(np.random.default_rng(0), (96, 128))
    >>> scene.image.shape, scene.labels.shape
    ((96, 128), (96, 128))
    """
    field = texture(rng, shape, rng.uniform(0.1, 0.2) * min(shape))
    field = field - rng.uniform(-0.4, 0.4)
    width = rng.uniform(1.0, 2.0)
    wall = np.exp(-0.5 * (_distance(field) / width) ** 2)
    height = rng.choice([-1.0, 1.0])
    domain = rng.choice([0.0, rng.uniform(-0.3, 0.3)]) * np.tanh(field / np.maximum(_slope(field), 1e-6) / width)
    ground = rng.uniform(1.5, 4.0) * (1 - rng.uniform(0, 0.4) * smooth_field(rng, shape))
    ground = ground + rng.uniform(0, 0.15) * texture(rng, shape, rng.uniform(2, 8), 1.0)
    if rng.random() < 0.3:
        ground = ground + rng.uniform(0.1, 0.3) * fringes(rng, shape, rng.uniform(4, 9))
    expected = np.maximum(ground + domain + height * wall, 0.05)
    # matched-filter ratio of ten pixels of a wall
    strength = np.exp(rng.uniform(np.log(6.0), np.log(30.0)))
    counts = strength**2 * expected.mean() / (10 * np.sqrt(np.pi) * width)
    how = Recording(counts=float(counts), jitter=float(rng.choice([0.0, 0.4])))
    return LineScene(record(rng, expected, how).astype(np.float32), _between(field > 0))


def simulate_steps(rng: np.random.Generator, shape: tuple[int, int]) -> LineScene:
    """Terraces of a surface, each an atomic step higher than the one before, with islands and adsorbates.

    As a scanning probe sees them: rounded by the tip, on a ground that is tilted, with lines of different offset.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (ny, nx), pixels.

    Returns
    -------
    LineScene
        Heights in steps.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.walls import simulate_steps
    >>> scene = simulate_steps(np.random.default_rng(0), (96, 128))
    >>> bool(scene.line.any())
    True
    """
    rows, columns = (np.arange(n) - n / 2 for n in shape)
    angle, terrace = rng.uniform(0, 2 * np.pi), rng.uniform(22, 60)
    surface = (rows[:, None] * np.sin(angle) + columns * np.cos(angle)) / terrace + rng.uniform(0, 1)
    surface = surface + rng.uniform(0.2, 0.6) * texture(rng, shape, rng.uniform(0.15, 0.3) * min(shape))
    surface = _gentle(surface)
    level = np.floor(surface)
    height = gaussian_filter(level, rng.uniform(0.5, 1.3))
    tilt = rng.normal(0, 0.3 / max(shape), 2)
    height = height + tilt[0] * rows[:, None] + tilt[1] * columns
    height = height + _adsorbates(rng, shape)
    noise = np.exp(rng.uniform(np.log(0.05), np.log(0.3)))
    image = height + noise * rng.standard_normal(shape)
    image = image + rng.uniform(0, 0.1) * rng.standard_normal((shape[0], 1))
    return LineScene(image.astype(np.float32), _between(level))


def _gentle(surface: np.ndarray) -> np.ndarray:
    """The surface smoothed until its steps are apart."""
    for _ in range(30):
        if np.quantile(_slope(surface), 0.98) < 1 / LEAST_TERRACE:
            break
        surface = gaussian_filter(surface, 3.0, mode="nearest")
    return surface


def _adsorbates(rng, shape) -> np.ndarray:
    """Round bumps that are no steps."""
    height = np.zeros(shape)
    for _ in range(rng.poisson(6)):
        y, x, sigma = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(1, 2)
        squared = (np.arange(shape[0])[:, None] - y) ** 2 + (np.arange(shape[1]) - x) ** 2
        height += rng.uniform(0.3, 1.5) * np.exp(-0.5 * squared / sigma**2)
    return height


def _slope(field: np.ndarray) -> np.ndarray:
    return np.hypot(*np.gradient(field))


def _distance(field: np.ndarray) -> np.ndarray:
    """Distance from the line on which a field is zero, pixels: to first order near it."""
    near = np.abs(field) / np.maximum(_slope(field), 1e-9)
    line = _between(field > 0)
    if not line.any():
        return np.full(field.shape, np.inf)
    far = distance_transform_edt(~line)
    return np.where(far < 3, np.minimum(near, far + 1), far)


def _between(level: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour is on another level, shape of the levels."""
    out = np.zeros(level.shape, bool)
    out[:-1] |= level[1:] != level[:-1]
    out[:, :-1] |= level[:, 1:] != level[:, :-1]
    return out
