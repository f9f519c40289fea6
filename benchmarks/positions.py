"""Position error and F1 of ``find_atoms`` over spacing, dose and rotation; vacancies; and images without atoms.

    python benchmarks/positions.py [--quick] [--json FILE]

Everything is simulated here, nothing is tuned: every image goes through ``find_atoms`` with no argument. Lattices have
two sublattices of heights 3 and 1, column sigma = spacing / 5. The dose is such that the weak column's height A over
the background b has A sigma sqrt(pi / b) = ``strength``.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.lattices import Crystal, lattice_points

SPACINGS = (5, 8, 12, 20, 35, 60)
STRENGTHS = (6, 12, 40)
KINDS = {
    "square": (np.eye(2), [(0, 0), (0.5, 0.5)]),
    "hexagonal": (np.array([[0.0, 1.0], [np.sqrt(3) / 2, 0.5]]), [(0, 0), (1 / 3, 1 / 3)]),
}


def lattice(rng, kind, spacing, strength, angle, empty=0.0, columns=14):
    """Image, positions of the columns, positions of the empty sites."""
    cell, basis = KINDS[kind]
    crystal = Crystal(cell, np.array(basis), np.array([3.0, 1.0]), kind).scaled()
    sigma = spacing / 5
    side = int(np.clip(columns * spacing, 96, 560))
    y, x, species = lattice_points(crystal, spacing, angle, (side / 2, side / 2 + 0.4), side)
    near = (np.abs(y - side / 2) < side / 2 + 3 * sigma) & (np.abs(x - side / 2) < side / 2 + 3 * sigma)
    y, x, species = y[near], x[near], species[near]
    gone = rng.random(len(y)) < empty
    background = 1.0
    counts = (strength / sigma) ** 2 * background / np.pi  # height 1 = weak column, A = b
    height = crystal.heights[species] / crystal.heights.min()
    expected = draw_columns((side, side), y[~gone], x[~gone], height[~gone], sigma) + background
    image = rng.poisson(expected * counts).astype(np.float32)
    return image, np.column_stack([y, x])[~gone], np.column_stack([y, x])[gone], sigma


def inside(points, side, margin):
    return np.all((points >= margin) & (points <= side - 1 - margin), axis=1)


def pairs(found, true, radius):
    if not len(found) or not len(true):
        return np.empty((0, 2), int)
    distance, nearest = cKDTree(true).query(found)
    back = cKDTree(found).query(true)[1]
    k = np.arange(len(found))
    good = (distance < radius) & (back[nearest] == k)
    return np.column_stack([k[good], nearest[good]])


def find(image):
    atoms = hs_deepatoms.find_atoms(image, show_progressbar=False)
    return np.column_stack([atoms["y_px"].values, atoms["x_px"].values])


def score(image, true, spacing):
    found, side = find(image), image.shape[0]
    margin = 0.5 * spacing
    match = pairs(found, true, 0.35 * spacing)
    # a pair counts if either end is inside, an unmatched point only if it is
    scored_found, scored_true = inside(found, side, margin), inside(true, side, margin)
    hit = (scored_found[match[:, 0]] | scored_true[match[:, 1]]).sum()
    error = found[match[:, 0]] - true[match[:, 1]]
    return {
        "tp": int(hit),
        "found": int(hit + np.delete(scored_found, match[:, 0]).sum()),
        "true": int(hit + np.delete(scored_true, match[:, 1]).sum()),
        "squared": float((error**2).sum() / 2),
        "pairs": len(match),
    }


def sweep(quick):
    rows = []
    for spacing in SPACINGS[:: 2 if quick else 1]:
        for strength in STRENGTHS[:: 2 if quick else 1]:
            for kind in KINDS:
                total = dict.fromkeys(("tp", "found", "true", "squared", "pairs"), 0)
                for seed, angle in enumerate(np.deg2rad([0, 7, 23, 38][:: 2 if quick else 1])):
                    rng = np.random.default_rng([spacing, strength, seed])
                    image, true, _, sigma = lattice(rng, kind, spacing, strength, angle)
                    for key, value in score(image, true, spacing).items():
                        total[key] += value
                f1 = 2 * total["tp"] / max(total["found"] + total["true"], 1)
                rms = (total["squared"] / max(total["pairs"], 1)) ** 0.5
                rows.append({"spacing_px": spacing, "strength": strength, "kind": kind, "f1": f1,
                             "rms_px": rms, "rms_over_sigma": rms / sigma})  # fmt: skip
                print(f"spacing {spacing:3d} px  strength {strength:3d}  {kind:10s} F1 {f1:.3f}  rms {rms:.3f} px")
    return rows


def vacancies(quick):
    """An empty site counts as found if no column is reported within a third of the spacing, as false otherwise."""
    rows = []
    for spacing in SPACINGS[:: 2 if quick else 1]:
        for strength in (6, 12, 40):
            hit = missed = false = 0
            for seed in range(2 if quick else 4):
                rng = np.random.default_rng([spacing, strength, seed, 9])
                image, true, gone, _ = lattice(rng, "square", spacing, strength, 0.2 + seed, empty=0.05)
                found, side = find(image), image.shape[0]
                near = cKDTree(found) if len(found) else None

                def empty(points, near=near, spacing=spacing):
                    return np.ones(len(points), bool) if near is None else near.query(points)[0] > spacing / 3

                gone, true = gone[inside(gone, side, spacing / 2)], true[inside(true, side, spacing / 2)]
                hit += int(empty(gone).sum())
                missed += int((~empty(gone)).sum())
                false += int(empty(true).sum())
            rows.append({"spacing_px": spacing, "strength": strength, "recall": hit / max(hit + missed, 1),
                         "precision": hit / max(hit + false, 1), "sites": hit + missed})  # fmt: skip
            print("vacancies spacing {spacing_px:3d} px  strength {strength:3d}  recall {recall:.3f}  precision "
                  "{precision:.3f}  ({sites})".format(**rows[-1]))  # fmt: skip
    return rows


def nothing(quick):
    def film(rng, length):
        rough = gaussian_filter(rng.normal(size=(256, 256)), length)
        return rng.poisson(np.clip(40 + 8 * rough / rough.std(), 0, None))

    kinds = {
        "noise": lambda rng: rng.normal(size=(256, 256)),
        "few counts": lambda rng: rng.poisson(0.3, (256, 256)),
        "vacuum edge": lambda rng: rng.poisson(np.where(np.arange(256) > 120, 30, 2) * np.ones((256, 1))),
        "film 1.5 px": lambda rng: film(rng, 1.5),
        "film 3 px": lambda rng: film(rng, 3),
        "film 6 px": lambda rng: film(rng, 6),
        "film 15 px": lambda rng: film(rng, 15),
        "blank, one count": lambda rng: (np.arange(256 * 256) == 777).reshape(256, 256).astype(float),
    }
    rows = []
    for name, make in kinds.items():
        n = 4 if quick else 10
        false = sum(len(find(make(np.random.default_rng(seed)))) for seed in range(n)) / n
        rows.append({"image": name, "false_atoms_per_image": false})
        print(f"nothing: {name:18s} {false:.2f} false atoms per 256 x 256")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    begun = time.time()
    result = {"sweep": sweep(options.quick), "vacancies": vacancies(options.quick), "nothing": nothing(options.quick)}
    result["seconds"] = round(time.time() - begun, 1)
    print(f"lowest F1 {min(r['f1'] for r in result['sweep']):.3f}, {result['seconds']} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
