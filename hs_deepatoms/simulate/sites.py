"""Where the columns are: crystals with grains, defects and edges, or single atoms. Positions in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from hs_deepatoms.simulate.lattices import Crystal, lattice_points, random_crystal


@dataclass
class Sites:
    """Columns of a scene: positions (pixels), heights (main column = 1) and species index, all of shape (n,)."""

    y: np.ndarray
    x: np.ndarray
    height: np.ndarray
    species: np.ndarray

    def keep(self, mask: np.ndarray) -> Sites:
        return Sites(self.y[mask], self.x[mask], self.height[mask], self.species[mask])

    def join(self, other: Sites) -> Sites:
        pairs = zip(
            (self.y, self.x, self.height, self.species),
            (other.y, other.x, other.height, other.species),
            strict=True,
        )
        return Sites(*(np.concatenate(pair) for pair in pairs))


EMPTY = Sites(np.empty(0), np.empty(0), np.empty(0), np.empty(0, int))


def grain(rng: np.random.Generator, crystal: Crystal, shape, spacing: float, margin: float) -> Sites:
    """One rotated grain that covers the whole field plus a margin."""
    reach = 0.5 * np.hypot(*shape) + margin
    centre = np.array(shape) / 2
    origin = centre + rng.uniform(-1, 1, 2) * spacing
    y, x, kind = lattice_points(crystal, spacing, rng.uniform(0, 2 * np.pi), origin, reach + 2 * spacing)
    return Sites(y, x, crystal.heights[kind], kind)


def crystal_sites(rng: np.random.Generator, shape, spacing: float, sigma: float, margin: float) -> Sites:
    """A crystal with the imperfections of a real one: grains, vacancies, substitutions, strain and disorder."""
    crystal = random_crystal(rng, spacing / sigma)
    sites = grain(rng, crystal, shape, spacing, margin)
    if rng.random() < 0.25:
        sites = _grain_boundary(rng, sites, grain(rng, crystal, shape, spacing, margin), shape, spacing)
    sites = occupy(rng, sites)
    if rng.random() < 0.1:
        sites = _adatoms(rng, sites, shape, spacing)
    return displace(rng, sites, shape, spacing)


def _grain_boundary(rng, first: Sites, second: Sites, shape, spacing: float) -> Sites:
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25) * min(shape)

    def side(s: Sites) -> np.ndarray:
        return (s.y - shape[0] / 2) * np.sin(angle) + (s.x - shape[1] / 2) * np.cos(angle) + offset

    both = first.keep(side(first) > 0).join(second.keep(side(second) <= 0))
    return without_overlaps(both, 0.65 * spacing)


def without_overlaps(sites: Sites, distance: float) -> Sites:
    """Of two columns nearer than ``distance`` keep the first."""
    if len(sites.y) < 2:
        return sites
    pairs = cKDTree(np.column_stack([sites.y, sites.x])).query_pairs(distance, output_type="ndarray")
    keep = np.ones(len(sites.y), bool)
    keep[pairs.max(axis=1)] = False
    return sites.keep(keep)


def occupy(rng: np.random.Generator, sites: Sites) -> Sites:
    """Vacancies, random occupancy of columns and substitutions."""
    n, height = len(sites.y), sites.height.copy()
    height *= np.clip(1 + rng.uniform(0, 0.18) * rng.standard_normal(n), 0.3, 2.0)
    if rng.random() < 0.3 and len(np.unique(sites.species)) > 1:
        swap = rng.random(n) < rng.uniform(0, 0.1)
        height[swap] = rng.permutation(height)[swap]
    if rng.random() < 0.3:  # dopants: some sites of one species much weaker or stronger than their kind
        doped = (sites.species == rng.choice(sites.species)) & (rng.random(n) < rng.uniform(0, 0.12)) if n else False
        height = np.where(doped, height * np.exp(rng.uniform(np.log(0.1), np.log(2.0))), height)
    # mostly up to a tenth of the sites, now and then half of them: an empty site must be told from the image alone
    share = rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0.1, 0.5)], p=[0.1, 0.75, 0.15])
    lost = rng.random(n) < share
    if rng.random() < 0.2:  # a column that lost part of its atoms
        height[lost] *= rng.uniform(0.2, 0.7)
        lost &= rng.random(n) < 0.6
    return Sites(sites.y, sites.x, height, sites.species).keep(~lost)


def _adatoms(rng, sites: Sites, shape, spacing: float) -> Sites:
    n = rng.integers(1, 8)
    y, x = rng.uniform(0, shape[0], n), rng.uniform(0, shape[1], n)
    extra = Sites(y, x, rng.uniform(0.3, 1.2, n), np.full(n, 9))
    return without_overlaps(sites.join(extra), 0.5 * spacing)


def displace(rng: np.random.Generator, sites: Sites, shape, spacing: float) -> Sites:
    """Static disorder, a homogeneous distortion and a smooth displacement wave."""
    amount = rng.choice([0.0, rng.uniform(0, 0.03), rng.uniform(0.03, 0.1)], p=[0.2, 0.5, 0.3]) * spacing
    strain = np.eye(2) + rng.normal(0, 0.03, (2, 2))
    points = np.column_stack([sites.y, sites.x]) - np.array(shape) / 2
    points = points @ strain + amount * rng.standard_normal(points.shape)
    if rng.random() < 0.3:
        wave = rng.normal(0, 1, 2) / max(shape)
        points += rng.uniform(0, 0.5) * spacing * np.sin(2 * np.pi * points @ wave)[:, None] * rng.normal(0, 0.5, 2)
    points += np.array(shape) / 2
    return Sites(points[:, 0], points[:, 1], sites.height, sites.species)


def single_atoms(rng: np.random.Generator, shape, sigma: float, margin: float) -> Sites:
    """Atoms on a support: from none to crowded, scattered or in clusters, never nearer than 2.5 sigma."""
    area = (shape[0] + 2 * margin) * (shape[1] + 2 * margin)
    density = np.exp(rng.uniform(np.log(0.2), np.log(25))) / (1000 * sigma**2)
    n = rng.poisson(min(density * area, 2000))
    y, x = rng.uniform(-margin, shape[0] + margin, n), rng.uniform(-margin, shape[1] + margin, n)
    if rng.random() < 0.4 and n > 3:  # clusters
        parents = rng.integers(0, n, n)
        spread = rng.uniform(3, 9) * sigma
        member = rng.random(n) < rng.uniform(0.3, 0.9)
        y = np.where(member, y[parents] + spread * rng.standard_normal(n), y)
        x = np.where(member, x[parents] + spread * rng.standard_normal(n), x)
    height = np.exp(rng.uniform(0.05, 0.45) * rng.standard_normal(n))
    return without_overlaps(Sites(y, x, height, np.zeros(n, int)), rng.uniform(2.5, 4) * sigma)
