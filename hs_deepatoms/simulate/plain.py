"""Undisturbed lattices with empty sites: what the detector's idea of order is fitted to, and measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal, lattice_points, random_crystal

TWO_KINDS = ("perovskite_001", "honeycomb")  # two columns per cell, one of them weak


@dataclass(frozen=True)
class PlainLattice:
    """An image of a lattice. Positions in pixels: of the columns (``y``, ``x``) and of the empty sites.

    ``sigma`` is the columns' width and ``spacing`` the shortest distance between sites, pixels.
    """

    image: np.ndarray
    y: np.ndarray
    x: np.ndarray
    empty_y: np.ndarray
    empty_x: np.ndarray
    sigma: float
    spacing: float


def simulate_lattice(rng: np.random.Generator, *, weakest: float, strongest: float) -> PlainLattice:
    """One perfect lattice, its weak columns between ``weakest`` and ``strongest`` in matched-filter ratio.

    Kinds, orientation, spacing (4.5-35 px, 4-11 sigmas), height ratio (1-6), background and share of empty sites
    (none, 5 or 10 %) and disorder (none, 3 or 8 % of the spacing per axis) are drawn at random.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.plain import simulate_lattice
    >>> lattice = simulate_lattice(np.random.default_rng(0), weakest=6, strongest=12)
    >>> lattice.image.ndim, len(lattice.y) > 20
    (2, True)
    """
    spacing, strength = (float(np.exp(rng.uniform(*np.log(r)))) for r in ((4.5, 35), (weakest, strongest)))
    ratio = rng.uniform(4, 11)
    sigma, side = max(spacing / ratio, 0.7), int(np.clip(rng.uniform(9, 22) * spacing, 80, 400))
    crystal = _crystal(rng, ratio)
    y, x, species = lattice_points(crystal, spacing, rng.uniform(0, 2 * np.pi), (side / 2, side / 2 + 0.4), side)
    disorder = spacing * rng.choice([0, 0.03, 0.08])
    y, x = (w + disorder * rng.standard_normal(len(w)) for w in (y, x))
    near = (np.abs(y - side / 2) < side / 2 + 3 * sigma) & (np.abs(x - side / 2) < side / 2 + 3 * sigma)
    y, x, species = y[near], x[near], species[near]
    gone = rng.random(len(y)) < rng.choice([0, 0.05, 0.1])
    ground = np.exp(rng.uniform(np.log(0.1), np.log(5)))
    height = (crystal.heights / crystal.heights.min())[species]
    expected = draw_columns((side, side), y[~gone], x[~gone], height[~gone], sigma) + ground
    image = rng.poisson(expected * (strength / sigma) ** 2 * ground / np.pi).astype(np.float32)
    inside = (y > -0.5) & (x > -0.5) & (y < side - 0.5) & (x < side - 0.5)
    here, empty = inside & ~gone, inside & gone
    return PlainLattice(image, y[here], x[here], y[empty], x[empty], sigma, spacing)


def _crystal(rng: np.random.Generator, ratio: float) -> Crystal:
    name = str(rng.choice([*TWO_KINDS, "any"]))
    if name == "any":
        return random_crystal(rng, 1 / ratio)
    cell, basis = PROTOTYPES[name]
    return Crystal(cell, np.array(basis), np.array([rng.uniform(1, 6), 1.0]), name).scaled()
