"""Whole scenes: a random specimen, recorded, with the exact positions of its columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.simulate.background import fringes, region_mask, smooth_field, texture
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import Recording, record
from hs_deepatoms.simulate.sites import EMPTY, Sites, crystal_sites, single_atoms

KINDS = ("crystal", "single_atoms", "nothing")
CHANCES = (0.60, 0.25, 0.15)
# per kind: how often the ground is rough, at most how rough (main column = 1), longest correlation length (sigmas)
TEXTURES = {
    "crystal": (0.35, 0.15, 8),
    "single_atoms": (0.85, 0.35, 8),
    "nothing": (0.75, 1.5, 5),
    "film": (1.0, 2.0, 3),
    "noisy_film": (1.0, 1.0, 2),
    "few_counts": (0.0, 0.0, 1),
    "fringes": (0.5, 0.3, 3),
}
EMPTY_KINDS = ("nothing", "film", "noisy_film", "few_counts", "fringes")


@dataclass(frozen=True)
class Scene:
    """A simulated image and its truth.

    Attributes
    ----------
    image : ndarray, float64, shape (ny, nx)
    y, x : ndarray, float64, shape (n,)
        Columns inside the field, pixels.
    height : ndarray, float64, shape (n,)
        Peak heights, main column = 1, negative where columns are dark.
    strength : ndarray, float64, shape (n,)
        Matched-filter signal-to-noise ratio of each column on its local background (6 is plain to see).
    sigma : float
        Column sigma, pixels.
    kind : str
    """

    image: np.ndarray
    y: np.ndarray
    x: np.ndarray
    height: np.ndarray
    strength: np.ndarray
    sigma: float
    kind: str


def simulate_scene(
    rng: np.random.Generator,
    shape: tuple[int, int],
    sigma: float,
    *,
    kind: str | None = None,
    dark: bool = False,
    strongest: float | None = None,
) -> Scene:
    """Simulate one image with known columns.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (ny, nx), pixels.
    sigma : float
        Column sigma, pixels.
    kind : {"crystal", "single_atoms", "nothing", "film", "noisy_film", "few_counts", "fringes"}, optional
        Drawn at random from the first three by default. "film" is nothing but a rough film whose grain is as fine as
        columns, "noisy_film" the same at low dose, "few_counts" an even field of a few counts, "fringes" parallel
        lines.
    dark : bool
        Columns darker than their surroundings, as in bright-field images.
    strongest : float, optional
        Upper limit of the main column's matched-filter signal-to-noise ratio; by default one of the kind.

    Returns
    -------
    Scene

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.scenes import simulate_scene
    >>> scene = simulate_scene(np.random.default_rng(0), (64, 96), 2.0, kind="crystal")
    >>> scene.image.shape
    (64, 96)
    """
    kind = kind or str(rng.choice(KINDS, p=CHANCES))
    # drawn on a wider field, so that what lies outside shows at the rim and lines can be shifted without wrapping
    margin = int(np.ceil(4 * sigma)) + 4
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    sites, columns, mask = _specimen(rng, wide, sigma, kind)
    ground, level = _ground(rng, wide, sigma, kind, mask)
    return recorded(
        rng, sites, columns, ground, sigma, margin, kind=kind, dark=dark, level=level, strongest=strongest
    )  # fmt: skip


def recorded(
    rng: np.random.Generator,
    sites: Sites,
    columns: np.ndarray,
    ground: np.ndarray,
    sigma: float,
    margin: int,
    *,
    kind: str,
    dark: bool,
    level: float,
    strength: float | None = None,
    strongest: float | None = None,
) -> Scene:
    """Record a specimen drawn on a field that is wider by ``margin`` pixels on every side.

    ``columns`` and ``ground`` are relative to the main column's height, ``level`` is the ground's typical one;
    ``strength`` is the main column's matched-filter ratio, drawn up to ``strongest`` (or the kind's limit) by default.
    """
    wide = columns.shape
    expected, level = _contrast(rng, columns, ground, level, dark)
    how = _recording(rng, sigma, level, kind, strongest, strength)
    image = record(rng, expected, how)[margin:-margin, margin:-margin]
    y, x = sites.y - margin, sites.x - margin
    inside = (y > -0.5) & (x > -0.5) & (y < image.shape[0] - 0.5) & (x < image.shape[1] - 0.5)
    local = expected[
        np.clip(np.rint(sites.y).astype(int), 0, wide[0] - 1), np.clip(np.rint(sites.x).astype(int), 0, wide[1] - 1)
    ]
    under = np.maximum(local if dark else local - 0.7 * sites.height, 1e-3) + how.readout**2 / how.counts
    seen = sites.height * sigma * np.sqrt(np.pi * how.counts / under)
    height = -sites.height if dark else sites.height
    return Scene(image, y[inside], x[inside], height[inside], seen[inside], sigma, kind)


def _specimen(rng, shape, sigma, kind) -> tuple[Sites, np.ndarray, np.ndarray]:
    margin = 3 * sigma
    mask = np.ones(shape)
    if rng.random() < (0.3 if kind == "crystal" else 0.45):
        mask = region_mask(
            rng, shape, str(rng.choice(["edge", "particle", "hole", "cloud"])), rng.uniform(0.3, 6) * sigma
        )
    if kind in EMPTY_KINDS:
        return EMPTY, np.zeros(shape), mask
    if kind == "single_atoms":
        sites = single_atoms(rng, shape, sigma, margin)
        stray = rng.choice([0.0, 0.1])  # now and then an atom in the vacuum
    else:
        spacing = sigma * np.exp(rng.uniform(np.log(2.6), np.log(12.0)))
        sites, stray = crystal_sites(rng, shape, spacing, sigma, margin), 0.0
    thick = (
        1 - rng.choice([0.0, rng.uniform(0, 0.8)]) * smooth_field(rng, shape) if kind == "crystal" else np.ones(shape)
    )
    iy = np.clip(np.rint(sites.y).astype(int), 0, shape[0] - 1)
    ix = np.clip(np.rint(sites.x).astype(int), 0, shape[1] - 1)
    there = rng.random(len(iy)) < np.maximum(mask[iy, ix] > 0.5, stray)
    height = sites.height * thick[iy, ix] * (np.clip(mask[iy, ix] * 1.2, 0.2, 1) if kind == "crystal" else 1)
    sites = Sites(sites.y, sites.x, height, sites.species).keep(there)
    widths = sigma * np.exp(rng.normal(0, 0.1, 10))[sites.species % 10]
    tail, width = rng.choice([0.0, rng.uniform(0.02, 0.2)]), rng.uniform(1.8, 3.5)
    return sites, draw_columns(shape, sites.y, sites.x, sites.height, widths, tail=tail, tail_width=width), mask


def _ground(rng, shape, sigma, kind, mask) -> tuple[np.ndarray, float]:
    """Everything but the columns, relative to the main column's height, and its typical level."""
    crystal = kind == "crystal"
    lowest = 1.0 if kind == "noisy_film" else 0.03
    level = np.exp(rng.uniform(np.log(lowest), np.log(4.0 if crystal else 12.0)))
    ground = level * (1 - rng.choice([0.0, rng.uniform(0, 0.6)]) * smooth_field(rng, shape))
    # the support's texture is weaker than the atoms, or nobody could tell them apart; a bare film may be as strong
    chance, most, longest = TEXTURES[kind]
    if rng.random() < chance:
        rough = rng.uniform(0.2 if kind.endswith("film") else 0.01, most)
        length = sigma * np.exp(rng.uniform(np.log(0.5), np.log(longest)))
        ground += rough * texture(rng, shape, length, rng.choice([0.0, 1.0, 2.0]))
    if kind == "fringes":
        ground += rng.uniform(0.2, 1.0) * fringes(rng, shape, sigma * np.exp(rng.uniform(np.log(3.0), np.log(20.0))))
    if not crystal and rng.random() < 0.6:  # clouds of support much stronger than the atoms
        ground += rng.uniform(0.3, 4) * texture(rng, shape, rng.uniform(6, 20) * sigma, rng.uniform(0, 2))
    if rng.random() < 0.12:  # contamination
        ground += rng.uniform(0.3, 3) * smooth_field(rng, shape) ** 3
    ground = np.maximum(ground, 0.02 * level)
    vacuum = rng.uniform(0.02, 0.5) * level
    return ground * mask + vacuum * (1 - mask), level


def _contrast(rng, columns, ground, level, dark):
    if not dark:
        return columns + ground, level
    # absorbing columns: dips in a bright field, at most nine tenths deep
    bright = max(columns.max(initial=0), 1.0) / rng.uniform(0.1, 0.9)
    shade = ground / max(ground.max(), 1e-9) * rng.uniform(0, 0.3) * bright
    return np.maximum(bright - columns - shade, 0.01 * bright), bright


def _recording(rng, sigma, level, kind, strongest=None, strength=None) -> Recording:
    """Counts such that the main column has a matched-filter signal-to-noise ratio between 2.2 and 80."""
    best = strongest or {"single_atoms": 40, "noisy_film": 20}.get(kind, 80)
    strength = strength or np.exp(rng.uniform(np.log(2.2), np.log(best)))
    counts = float(np.clip((strength / sigma) ** 2 * (level + 0.3) / np.pi, 0.05, 1e4))
    if kind == "few_counts":
        counts = float(np.exp(rng.uniform(np.log(0.02), np.log(4.0))) / level)
    readout = rng.choice([0.0, rng.uniform(0, 1.5)], p=[0.6, 0.4]) * np.sqrt(counts * level + 0.1)
    rare = rng.random(6)
    return Recording(
        counts=counts,
        readout=float(readout),
        jitter=float(rng.uniform(0, 0.2) * sigma) if rare[0] < 0.5 else 0.0,
        jitter_memory=float(rng.choice([0.0, 0.9])),
        blur=float(rng.uniform(0.3, 0.5 * sigma + 0.3)) if rare[1] < 0.2 else 0.0,
        lag=float(rng.uniform(0.3, 0.8)) if rare[2] < 0.1 else 0.0,
        gamma=float(np.exp(rng.uniform(-0.4, 0.4))) if rare[3] < 0.12 else 1.0,
        bits=8 if rare[4] < 0.3 else 0,
        hot_pixels=int(rng.integers(1, 6)) if rare[5] < 0.08 else 0,
    )
