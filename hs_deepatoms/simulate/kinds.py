"""Tables of columns of several kinds, as a fit would hand them on: positions, strengths with errors, the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.simulate.background import region_mask, smooth_field
from hs_deepatoms.simulate.lattices import Crystal, lattice_points, random_crystal

ARRANGEMENTS = ("ordered", "alloy", "domains", "scattered")
SPACING = 10.0  # shortest distance, pixels; nothing depends on it
FEWEST = 30  # columns of a table
STRAY_KIND = -1


@dataclass(frozen=True)
class Recipe:
    """What a specimen is made of.

    Attributes
    ----------
    heights : tuple of float
        Of the kinds, strongest first.
    arrangement : {"ordered", "alloy", "domains", "scattered"}
        Every site of the cell has its kind; kinds at random on the sites, or in regions; atoms off any lattice.
    dopants : float
        Share of the sites that hold another kind than the arrangement says.
    thickness : float
        Factor by which the thickest part is stronger than the thinnest.
    occupancy : float
        Spread of the heights of one kind, relative.
    empty : float
        Share of empty sites.
    disorder : float
        Random displacement, in shortest distances.
    side : float
        Of the field, in shortest distances.
    crystal : Crystal, optional
        Drawn at random by default.
    share : tuple of float, optional
        Of the kinds, where they do not depend on the site; by default all are alike.
    """

    heights: tuple[float, ...]
    arrangement: str = "ordered"
    dopants: float = 0.0
    thickness: float = 1.0
    occupancy: float = 0.03
    empty: float = 0.03
    disorder: float = 0.03
    side: float = 20.0
    crystal: Crystal | None = None
    share: tuple[float, ...] | None = None
    grains: bool = False
    region: bool = False


@dataclass(frozen=True)
class KindTable:
    """Columns of several kinds, every array of shape (n,).

    Attributes
    ----------
    y, x : ndarray of float
        Pixels.
    height : ndarray of float
        As it is: kind, thickness and occupancy.
    kind : ndarray of int
        0 is the strongest; -1 is no column.
    level : ndarray of float
        Logarithm of what a column of this kind has at this thickness.
    shape : tuple of int
        Of the field, pixels.
    """

    y: np.ndarray
    x: np.ndarray
    height: np.ndarray
    kind: np.ndarray
    level: np.ndarray
    shape: tuple[int, int]

    def keep(self, mask: np.ndarray) -> KindTable:
        parts = (self.y, self.x, self.height, self.kind, self.level)
        return KindTable(*(part[mask] for part in parts), self.shape)


def random_recipe(rng: np.random.Generator) -> Recipe:
    """A specimen of one to four kinds: crystals, alloys, domains, scattered atoms."""
    number = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
    steps = np.exp(-rng.uniform(0.1, 1.1, number - 1) / np.sqrt(max(number - 1, 1)))
    arrangement = str(rng.choice(ARRANGEMENTS, p=[0.78, 0.08, 0.08, 0.06]))
    share = rng.dirichlet(np.full(number, rng.choice([0.7, 4.0])))
    return Recipe(
        tuple(np.cumprod([1.0, *steps]).tolist()),
        arrangement,
        dopants=float(rng.uniform(0.02, 0.15)) if rng.random() < 0.4 else 0.0,
        thickness=float(np.exp(rng.uniform(0, 1.2))) if rng.random() < 0.5 else 1.0,
        occupancy=float(rng.choice([0.0, rng.uniform(0, 0.08)])),
        empty=float(rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0.1, 0.4)], p=[0.2, 0.7, 0.1])),
        disorder=float(rng.choice([0.0, rng.uniform(0, 0.04), rng.uniform(0.04, 0.1)], p=[0.2, 0.5, 0.3])),
        side=float(np.exp(rng.uniform(np.log(8), np.log(34)))),
        share=tuple(share.tolist()),
        grains=bool(rng.random() < 0.2),
        region=bool(rng.random() < 0.25),
    )


def simulate_kinds(rng: np.random.Generator, recipe: Recipe) -> KindTable:
    """Columns of one specimen.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.simulate.kinds import Recipe, simulate_kinds
    >>> table = simulate_kinds(np.random.default_rng(0), Recipe((1.0, 0.5)))
    >>> sorted(set(table.kind.tolist()))
    [0, 1]
    """
    side = int(np.ceil(recipe.side * SPACING))
    shape = (side, side)
    y, x, site = _scattered(rng, side) if recipe.arrangement == "scattered" else _sites(rng, recipe, side)
    there = (y > -0.5) & (x > -0.5) & (y < side - 0.5) & (x < side - 0.5) & (rng.random(len(y)) >= recipe.empty)
    iy, ix = (np.clip(np.rint(w).astype(int), 0, side - 1) for w in (y, x))
    if recipe.region:
        softness = rng.uniform(0.3, 2) * SPACING
        mask = region_mask(rng, shape, str(rng.choice(["edge", "particle", "hole", "cloud"])), softness)
        there &= mask[iy, ix] > 0.5
    kind = _kinds(rng, recipe, site, iy, ix, shape)
    thick = np.log(recipe.thickness) * _thickness(rng, shape)[iy, ix]
    level = np.log(np.array(recipe.heights))[kind] + thick
    height = np.exp(level) * np.clip(1 + recipe.occupancy * rng.standard_normal(len(y)), 0.2, 2)
    return KindTable(y, x, height, kind, level, shape).keep(there)


def measured_kinds(rng: np.random.Generator, table: KindTable) -> tuple[KindTable, np.ndarray]:
    """What a detector and a fit would make of a table: its columns, and the logarithm of their strengths.

    Errors are larger where a column is fainter, and a few are far off; the faint ones are missed more often, and some
    of what is found is none.
    """
    relative = table.height / np.median(table.height)
    largest, power = np.exp(rng.uniform(np.log(0.01), np.log(0.4))), rng.uniform(0.5, 1.0)
    table = table.keep(rng.random(len(relative)) >= np.clip(0.3 * largest * relative**-power, 0, 0.3))
    table = _with_strays(rng, table, float(rng.choice([0.0, 0.01])))
    relative = table.height / np.median(table.height)
    error = np.clip(largest * relative**-power, 0, 0.6)
    far = rng.random(len(error)) < rng.choice([0.0, 0.02])
    strength = 1 + np.where(far, 4, 1) * error * rng.standard_normal(len(error))
    return table, np.log(table.height * np.maximum(strength, 0.05))


def _sites(rng, recipe: Recipe, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of one or two grains and the place of each in the cell."""
    crystal = recipe.crystal or random_crystal(rng, 4.0)
    y, x, site = _grain(rng, crystal, side)
    if recipe.grains:
        other = _grain(rng, crystal, side)
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25) * side
        normal = np.array([np.sin(angle), np.cos(angle)])
        here, there = (((w[0] - side / 2) * normal[0] + (w[1] - side / 2) * normal[1]) > offset
                       for w in ((y, x), other))  # fmt: skip
        y, x, site = (np.concatenate([a[here], b[~there]]) for a, b in zip((y, x, site), other, strict=True))
    moved = recipe.disorder * SPACING * rng.standard_normal((2, len(y)))
    return y + moved[0], x + moved[1], site


def _grain(rng, crystal: Crystal, side: int):
    centre = tuple(side / 2 + rng.uniform(-1, 1, 2) * SPACING)
    return lattice_points(crystal, SPACING, rng.uniform(0, 2 * np.pi), centre, 0.75 * side)


def _scattered(rng, side: int):
    """Atoms off any lattice, nowhere nearer than half a spacing."""
    from scipy.spatial import cKDTree

    points = rng.uniform(0, side, (int(rng.uniform(0.3, 0.9) * (side / SPACING) ** 2) + FEWEST, 2))
    pairs = cKDTree(points).query_pairs(0.5 * SPACING, output_type="ndarray")
    apart = np.ones(len(points), bool)
    apart[pairs.max(1, initial=0)] = False
    y, x = points[apart].T
    return y, x, np.zeros(len(y), int)


def _kinds(rng, recipe: Recipe, site: np.ndarray, iy, ix, shape) -> np.ndarray:
    """Which kind every site holds."""
    number, n = len(recipe.heights), len(site)
    share = np.array(recipe.share or np.full(number, 1 / number))
    if recipe.arrangement == "ordered":
        sites = int(site.max(initial=0)) + 1
        given = rng.permutation(np.arange(max(sites, number)) % number)[:sites] if recipe.crystal is None \
            else np.arange(sites) % number  # fmt: skip
        kind = given[site]
    elif recipe.arrangement == "domains":
        kind = np.searchsorted(np.cumsum(share)[:-1], smooth_field(rng, shape, int(rng.integers(3, 6)))[iy, ix])
    else:
        kind = rng.choice(number, n, p=share)
    doped = rng.random(n) < recipe.dopants
    odd = rng.integers(number) if number > 1 else 0
    return np.where(doped & (kind != odd), odd, kind)


def _thickness(rng, shape) -> np.ndarray:
    """Between 0 and 1 over the field: a wedge, a smooth field, or a step."""
    form = rng.choice(3, p=[0.4, 0.45, 0.15])
    if form == 1:
        return smooth_field(rng, shape)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.arange(shape[0])[:, None] / shape[0] - 0.5, np.arange(shape[1]) / shape[1] - 0.5
    along = rows * np.sin(angle) + columns * np.cos(angle)
    if form == 2:
        return (along > rng.uniform(-0.3, 0.3)).astype(float)
    return (along - along.min()) / np.ptp(along)


def _with_strays(rng, table: KindTable, share: float) -> KindTable:
    n = rng.poisson(share * len(table.y))
    if not n:
        return table
    extra = np.median(table.height) * rng.uniform(0.2, 0.8, n)
    parts = (rng.uniform(0, table.shape[0] - 1, n), rng.uniform(0, table.shape[1] - 1, n), extra,
             np.full(n, STRAY_KIND), np.log(extra))  # fmt: skip
    own = (table.y, table.x, table.height, table.kind, table.level)
    return KindTable(*(np.concatenate(pair) for pair in zip(own, parts, strict=True)), table.shape)
