"""Scenes that the plain ones lack: grainy films among columns, dense crystals, tails, moire, thick carbon, low dose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from hs_deepatoms.simulate.background import smooth_field, texture
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal
from hs_deepatoms.simulate.scenes import Scene, recorded
from hs_deepatoms.simulate.sites import Sites, crystal_sites, displace, grain, occupy, single_atoms

MERGED = 1.6  # sigmas: two columns nearer than this have one maximum


@dataclass(frozen=True)
class Specimen:
    """What is imaged: columns, the shape of one (share of its height in a tail, that tail's sigmas), what lies under
    them (main column = 1), and the weakest and strongest matched-filter ratio of the main column."""

    sites: Sites
    ground: np.ndarray
    tail: tuple[float, float] = (0.0, 2.0)
    strength: tuple[float, float] = (2.2, 80.0)


def simulate_wide(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, *, kind: str | None = None, dark: bool = False
) -> Scene:
    """Simulate one image of a kind that :func:`~hs_deepatoms.simulate.scenes.simulate_scene` hardly ever draws.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (ny, nx), pixels.
    sigma : float
        Column sigma, pixels.
    kind : {"grainy", "dense", "tails", "moire", "thick", "graphene"}, optional
        A crystal in a film whose grain is as fine as columns, at any dose (its grains are no columns); columns 3.0 to
        4.5 sigmas apart, some with a halo; narrow columns on wide, weak tails; two turned sheets on each other; single
        atoms on thick rough carbon; graphene at low dose. Drawn at random by default.
    dark : bool
        Columns darker than their surroundings.

    Returns
    -------
    Scene

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.wide import simulate_wide
    >>> simulate_wide(np.random.default_rng(0), (64, 96), 2.0, kind="moire").image.shape
    (64, 96)
    """
    kind = kind or str(rng.choice(list(KINDS), p=[chance for chance, _ in KINDS.values()]))
    margin = int(np.ceil(4 * sigma)) + 4
    field = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    made = KINDS[kind][1](rng, field, sigma)
    widths = sigma * np.exp(rng.normal(0, 0.1, 10))[made.sites.species % 10]
    share, wide = made.tail
    columns = draw_columns(field, made.sites.y, made.sites.x, made.sites.height, widths, tail=share, tail_width=wide)
    strength = float(np.exp(rng.uniform(*np.log(made.strength))))
    level = float(max(made.ground.mean(), 0.02))
    return recorded(
        rng, made.sites, columns, np.maximum(made.ground, 0.02 * level), sigma, margin, kind=kind, dark=dark,
        level=level, strength=strength,
    )  # fmt: skip


def _even(rng, field, most: float = 4.0) -> np.ndarray:
    """An even ground of any level, thicker here than there."""
    level = np.exp(rng.uniform(np.log(0.03), np.log(most)))
    return level * (1 - rng.choice([0.0, rng.uniform(0, 0.6)]) * smooth_field(rng, field))


def _grain(rng, field, sigma) -> np.ndarray:
    return rng.uniform(0.04, 0.2) * texture(rng, field, sigma * rng.uniform(0.4, 1.2), rng.choice([0.0, 0.0, 1.0]))


def _spacing(rng, sigma, least, most) -> float:
    return sigma * np.exp(rng.uniform(np.log(least), np.log(most)))


def _grainy(rng, field, sigma) -> Specimen:
    sites = crystal_sites(rng, field, _spacing(rng, sigma, 3.0, 14.0), sigma, 3 * sigma)
    return Specimen(sites, _even(rng, field) + _grain(rng, field, sigma) + 0.4, strength=(4.0, 120.0))


def _dense(rng, field, sigma) -> Specimen:
    sites = crystal_sites(rng, field, _spacing(rng, sigma, 3.0, 4.5), sigma, 3 * sigma)
    halo = -rng.uniform(0.05, 0.4) if rng.random() < 0.5 else 0.0  # defocus: a ring of the other sign
    return Specimen(sites, _even(rng, field), (halo, rng.uniform(1.4, 2.2)))


def _tails(rng, field, sigma) -> Specimen:
    sites = crystal_sites(rng, field, _spacing(rng, sigma, 3.0, 12.0), sigma, 3 * sigma)
    return Specimen(sites, _even(rng, field, 1.0), (rng.uniform(0.1, 0.4), rng.uniform(2.0, 6.0)))


def _moire(rng, field, sigma) -> Specimen:
    cell, basis = PROTOTYPES[str(rng.choice(["honeycomb", "honeycomb", "hexagonal", "square"]))]
    heights = np.array([1.0, rng.choice([1.0, rng.uniform(0.2, 1.0)])])[: len(basis)]
    crystal = Crystal(np.array(cell), np.array(basis, float), heights, "sheet").scaled()
    spacing, other = _spacing(rng, sigma, 3.0, 8.0), np.exp(rng.normal(0, 0.04))
    first = grain(rng, crystal, field, spacing, 3 * sigma)
    second = grain(rng, crystal, field, spacing * other, 3 * sigma)
    second.height *= rng.uniform(0.4, 1.0)
    sites = merged(occupy(rng, first), occupy(rng, second), MERGED * sigma)
    return Specimen(sites, _even(rng, field), strength=(4.0, 80.0))


def _thick(rng, field, sigma) -> Specimen:
    carbon = texture(rng, field, sigma * np.exp(rng.uniform(np.log(0.8), np.log(6.0))), rng.uniform(0, 2))
    ground = np.exp(rng.uniform(np.log(2.0), np.log(20.0))) + rng.uniform(0.1, 0.45) * carbon
    return Specimen(single_atoms(rng, field, sigma, 3 * sigma), ground, strength=(3.0, 50.0))


def _graphene(rng, field, sigma) -> Specimen:
    cell, basis = PROTOTYPES["honeycomb"]
    crystal = Crystal(np.array(cell), np.array(basis, float), np.ones(2), "graphene").scaled()
    spacing = _spacing(rng, sigma, 2.6, 5.0)
    sites = displace(rng, occupy(rng, grain(rng, crystal, field, spacing, 3 * sigma)), field, spacing)
    dirt = rng.choice([0.0, rng.uniform(0.3, 3.0)]) * np.maximum(smooth_field(rng, field) - 0.5, 0)
    return Specimen(sites, _even(rng, field, 2.0) + dirt, strength=(2.0, 8.0))


def merged(first: Sites, second: Sites, distance: float) -> Sites:
    """Both sheets; a column of one nearer than ``distance`` to its nearest of the other is one column with it."""
    if not len(first.y) or not len(second.y):
        return first.join(second)
    one, two = (np.column_stack([s.y, s.x]) for s in (first, second))
    apart, partner = cKDTree(two).query(one)
    back = cKDTree(one).query(two)[1]
    pair = (apart < distance) & (back[partner] == np.arange(len(one)))
    lower = partner[pair]
    share = first.height[pair] / (first.height[pair] + second.height[lower])
    y, x, height = first.y.copy(), first.x.copy(), first.height.copy()
    y[pair] = share * first.y[pair] + (1 - share) * second.y[lower]
    x[pair] = share * first.x[pair] + (1 - share) * second.x[lower]
    height[pair] += second.height[lower] * np.exp(-0.125 * (2 * apart[pair] / distance) ** 2)
    alone = np.ones(len(two), bool)
    alone[lower] = False
    return Sites(y, x, height, first.species).join(second.keep(alone))


KINDS: dict[str, tuple[float, Callable[..., Specimen]]] = {  # how often, and what makes it
    "grainy": (0.32, _grainy),
    "dense": (0.22, _dense),
    "tails": (0.14, _tails),
    "moire": (0.10, _moire),
    "thick": (0.12, _thick),
    "graphene": (0.10, _graphene),
}
