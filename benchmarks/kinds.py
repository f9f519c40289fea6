"""Kinds of columns told apart by ``classify``, with and without what the columns around say.

    python benchmarks/kinds.py [--images 12] [--seed 3] [--cases NAME ...] [--real FILE ...] [--json FILE]

Simulated images of several kinds of columns go through ``find_atoms`` and ``classify``. Printed per case are the mean
macro F1 over the kinds with the number of kinds given, and with ``n="auto"`` (classes assigned to the kinds that suits
them best; a class too many counts as wrong, a kind without a class has 0), and how often the number was right, for
``context=False`` (the strength of the column alone) and ``context="auto"``. Of columns that were found, in the image's
inside; what was missed is no matter of the classes. ``--real``: files as in ``benchmarks/species.py``.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.kinds import SPACING, Recipe, simulate_kinds
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal

SIGMA = 2.4  # pixels; columns are a little more than four of them apart


def crystal(name: str) -> Crystal:
    cell, basis = PROTOTYPES[name]
    return Crystal(np.array(cell), np.array(basis, float), np.ones(len(basis)), name).scaled()


TWO, THREE, ONE = (crystal(name) for name in ("perovskite_001", "perovskite_110", "hexagonal"))
# name: specimen, counts in the highest pixel of the strongest kind, even ground (in heights of that kind), dark
CASES = {
    "two 1:3": (Recipe((1.0, 1 / 3), crystal=TWO), 60, 0.3, False),
    "two 1:1.3": (Recipe((1.0, 1 / 1.3), crystal=TWO), 60, 0.3, False),
    "two 1:1.3, 20 counts": (Recipe((1.0, 1 / 1.3), crystal=TWO), 20, 0.3, False),
    "two 1:1.3, 8 counts": (Recipe((1.0, 1 / 1.3), crystal=TWO), 8, 0.3, False),
    "two 1:2, 5 counts": (Recipe((1.0, 0.5), crystal=TWO), 5, 0.3, False),
    "honeycomb 1:1.5, 8 counts": (Recipe((1.0, 0.67), crystal=crystal("honeycomb")), 8, 0.3, False),
    "three": (Recipe((1.0, 0.7, 0.45), crystal=THREE), 60, 0.3, False),
    "three, 12 counts": (Recipe((1.0, 0.7, 0.45), crystal=THREE), 12, 0.3, False),
    "dopants 3 %": (Recipe((1.0, 0.6), "alloy", share=(0.97, 0.03), crystal=ONE), 60, 0.3, False),
    "dopants 10 %, 15 counts": (Recipe((1.0, 0.6), "alloy", share=(0.9, 0.1), crystal=ONE), 15, 0.3, False),
    "dopants 8 % of two": (Recipe((1.0, 0.6), dopants=0.08, crystal=TWO), 30, 0.3, False),
    "alloy 1:1.5, 15 counts": (Recipe((1.0, 0.67), "alloy", crystal=ONE), 15, 0.3, False),
    "gradient x 3": (Recipe((1.0, 0.6), thickness=3.0, crystal=TWO), 60, 0.3, False),
    "gradient x 3, 15 counts": (Recipe((1.0, 0.65), thickness=3.0, crystal=TWO), 15, 0.3, False),
    "dark 1:1.5": (Recipe((1.0, 0.67), crystal=TWO), 12, 0.3, True),
    "disorder, rims": (Recipe((1.0, 0.7), crystal=TWO, disorder=0.08, empty=0.15, region=True), 15, 0.3, False),
    "grains 1:1.5": (Recipe((1.0, 0.67), crystal=TWO, grains=True), 12, 0.3, False),
    "single atoms": (Recipe((1.0, 0.45), "scattered", empty=0.3, share=(0.5, 0.5)), 40, 1.5, False),
    "one kind": (Recipe((1.0,), crystal=ONE, occupancy=0.06), 40, 0.3, False),
    "one kind, 6 counts": (Recipe((1.0,), crystal=TWO), 6, 0.3, False),
    "one kind, gradient": (Recipe((1.0,), crystal=ONE, thickness=3.0), 20, 0.3, False),
    "one kind, scattered": (Recipe((1.0,), "scattered", occupancy=0.15), 40, 1.0, False),
}


def image_of(rng: np.random.Generator, case: str):
    """The image of a case, and its table of kinds."""
    recipe, counts, ground, dark = CASES[case]
    table = simulate_kinds(rng, recipe)
    columns = draw_columns(table.shape, table.y, table.x, table.height, SIGMA)
    bright = columns + ground
    if dark:
        bright = np.maximum(2.5 - columns, 0.05)
    return rng.poisson(counts * bright).astype(np.float32), table


def matched(atoms, y, x, radius: float, shape, margin: float):
    """Rows of the atoms that are columns, inside the margin, and of the columns that they are."""
    found, true = np.column_stack([atoms["y_px"], atoms["x_px"]]), np.column_stack([y, x])
    distance, nearest = cKDTree(true).query(found)
    back = cKDTree(found).query(true)[1]
    inside = ((found > margin) & (found < np.array(shape) - 1 - margin)).all(1)
    rows = np.flatnonzero((distance <= radius) & (back[nearest] == np.arange(len(found))) & inside)
    return rows, nearest[rows]


def macro_f1(said: np.ndarray, truth: np.ndarray) -> float:
    """Mean F1 over the true kinds, classes assigned as suits them best."""
    kinds, classes = np.unique(truth), np.unique(said)
    both = np.array([[((said == c) & (truth == k)).sum() for c in classes] for k in kinds], float)
    f1 = 2 * both / (both.sum(1, keepdims=True) + both.sum(0, keepdims=True))
    return float(f1[linear_sum_assignment(-f1)].sum() / len(kinds))


def judged(atoms, rows, truth, number: int, context) -> tuple[float, float, int]:
    """Macro F1 with the number given and without, and the number found."""
    given = atoms.deepatoms.classify(number, context=context)["species"].values[rows]
    free = atoms.deepatoms.classify(context=context)["species"].values
    return macro_f1(given, truth), macro_f1(free[rows], truth), len(np.unique(free))


def tables(case: str, seed: int, images: int):
    """Atoms of the images of a case, which of them are columns, and the kinds of these."""
    for k in range(images):
        image, table = image_of(np.random.default_rng([seed, k]), case)
        atoms = hs_deepatoms.find_atoms(image, show_progressbar=False)
        if atoms.sizes["atom"] < 10:
            continue
        rows, of = matched(atoms, table.y, table.x, 0.35 * SPACING, table.shape, 0.0)
        yield atoms, rows, table.kind[of]


def real(files):
    for file in files:
        with np.load(file) as data:
            image, margin = data["image"].astype(np.float32), float(data["margin_px"])
            atoms = hs_deepatoms.find_atoms(image, show_progressbar=False)
            rows, of = matched(atoms, data["y_px"], data["x_px"], float(data["match_radius_px"]), image.shape, margin)
            yield atoms, rows, data["species"][of]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    o = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    made = {case: tables(case, o.seed, o.images) for case in o.cases}
    results = {}
    print(f"{'':28s}{'strength alone':>24s}{'and the columns around':>28s}\n{'':28s}"
          + 2 * f"{'given':>9s}{'auto':>8s}{'number':>8s} ", flush=True)  # fmt: skip
    for case, found in {**made, **({"real": real(o.real)} if o.real else {})}.items():
        lines = [[*judged(atoms, rows, truth, len(np.unique(truth)), False),
                  *judged(atoms, rows, truth, len(np.unique(truth)), "auto"), len(np.unique(truth))]
                 for atoms, rows, truth in found]  # fmt: skip
        lines = np.array(lines, float)
        lines[:, [2, 5]] = lines[:, [2, 5]] == lines[:, [6]]
        results[case] = {"images": len(lines), "alone": lines[:, :3].mean(0).tolist(),
                         "context": lines[:, 3:6].mean(0).tolist()}  # fmt: skip
        print(f"{case:28s}" + "".join(f"{v:9.3f}" if k % 3 == 0 else f"{v:8.3f}" + " " * (k % 3 == 2)
                                      for k, v in enumerate(lines[:, :6].mean(0))), flush=True)  # fmt: skip
    if o.json:
        o.json.write_text(json.dumps({"seed": o.seed, "results": results}, indent=1))


if __name__ == "__main__":
    main()
