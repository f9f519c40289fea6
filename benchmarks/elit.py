"""Adaptation to conditions a network has not seen (ELIT), and whether the ensemble notices them.

    python benchmarks/elit.py [--images 6] [--steps 150] [--members 3] [--seed 0] [--json FILE]

An ensemble is trained on simulated crystals with empty sites, at one dose and blur, and used on others at a lower dose
and a stronger blur. Printed are the F1 score of the atoms and that of the empty sites:

* ``known``: on new images of the training's conditions;
* ``unseen``: on images of the other conditions;
* ``adapted``: on these, after ``hs_deepatoms.elit`` was given them, without any label;
* ``others before``, ``others adapted``: on further images of the other conditions, which ``elit`` was not given;

the share of the lost F1 that is recovered, and how well the out-of-distribution score tells both conditions apart (area
under the ROC curve).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings

import numpy as np
from scipy.spatial import cKDTree

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import Recording, record
from hs_deepatoms.simulate.lattices import Crystal, lattice_points

SIZE, SPACING, EMPTY = 128, 13.0, 0.06
KNOWN = {"sigma": 2.0, "counts": 100.0}
UNSEEN = {"sigma": 4.0, "counts": 6.0}
RADIUS, MARGIN = 4.0, 8.0  # pixels: of a match, and at the rim, where nothing is counted


def crystal(seed: int, sigma: float, counts: float):
    """An image (SIZE, SIZE) in counts, its atoms (n, 2) and its empty sites (m, 2)."""
    rng = np.random.default_rng([seed, 11])
    made = Crystal(np.eye(2), np.array([(0, 0), (0.5, 0.5)]), np.array([1.0, 0.55]), "test").scaled()
    y, x, kind = lattice_points(made, SPACING, rng.uniform(0, np.pi), rng.uniform(60, 68, 2), SIZE)
    places = np.column_stack([y, x]) + 0.3 * rng.standard_normal((len(y), 2))
    near = ((places > -10) & (places < SIZE + 10)).all(1)
    places, kind = places[near], kind[near]
    gone = rng.random(len(places)) < EMPTY
    there = places[~gone]
    expected = draw_columns((SIZE, SIZE), *there.T, made.heights[kind[~gone]], sigma) + 0.3
    image = record(rng, expected, Recording(counts=counts)).astype(np.int32)
    return image, inside(there, -0.5), inside(places[gone], -0.5)


def inside(places: np.ndarray, margin: float) -> np.ndarray:
    """Those at least so far from the rim."""
    return places[((places >= margin) & (places <= SIZE - 1 - margin)).all(1)]


def f1(hits: int, found: int, true: int) -> float:
    return 2 * hits / max(found + true, 1)


def scores(atoms, truth) -> dict[str, float]:
    """F1 of the atoms and of the empty sites of a stack."""
    sums = np.zeros((2, 3), int)
    for frame, (_, there, empty) in enumerate(truth):
        here = atoms.nav_0_index.values == frame
        found = np.column_stack([atoms.y_px.values[here], atoms.x_px.values[here]])
        sums[0] += matched(found, there)
        filled = _near(np.concatenate([there, empty]), found)
        sites = np.concatenate([there, empty])
        core = ((sites >= MARGIN) & (sites <= SIZE - 1 - MARGIN)).all(1)
        said, true = ~filled & core, (np.arange(len(sites)) >= len(there)) & core
        sums[1] += [(said & true).sum(), said.sum(), true.sum()]
    return {"f1": f1(*sums[0]), "vacancy_f1": f1(*sums[1])}


def matched(found, true) -> tuple[int, int, int]:
    """Hits, detections and atoms, without those at the rim: a detection belongs to the rim if its atom does."""
    n_found, n_true = len(inside(found, MARGIN)), len(inside(true, MARGIN))
    if not len(found) or not len(true):
        return 0, n_found, n_true
    distance, nearest = cKDTree(true).query(found)
    back = cKDTree(found).query(true)[1]
    hit = (distance <= RADIUS) & (back[nearest] == np.arange(len(found)))
    hits = len(inside(true[nearest[hit]], MARGIN))
    return hits, hits + len(inside(found[~hit], MARGIN)), n_true


def _near(sites, found) -> np.ndarray:
    return np.zeros(len(sites), bool) if not len(found) else cKDTree(found).query(sites)[0] <= RADIUS


def area_under_curve(low: np.ndarray, high: np.ndarray) -> float:
    """Chance that one of ``high`` exceeds one of ``low``."""
    return float(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))


def trained(options):
    """An ensemble that knows one condition."""
    data = [crystal(1000 * options.seed + k, **KNOWN) for k in range(12)]
    tables = [hs_deepatoms.positions(*there.T, signal=image) for image, there, _ in data]
    ensemble = hs_deepatoms.Ensemble(["atom"], members=options.members, net_options={"filters": 8, "depth": 2},
                                     seed=options.seed)  # fmt: skip
    return ensemble.fit([image for image, _, _ in data], tables, steps=options.steps, batch_size=8, window=64,
                        learning_rate=5e-3, radius=3, augmentation=hs_deepatoms.Augmentation(),
                        show_progressbar=False)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    begun = time.monotonic()
    ensemble = trained(options)
    print(f"trained in {time.monotonic() - begun:.0f} s", flush=True)
    first = 1000 * options.seed + 500
    known, unseen, others = ([crystal(first + 100 * j + k, **how) for k in range(options.images)]
                             for j, how in enumerate((KNOWN, UNSEEN, UNSEEN)))  # fmt: skip
    results = {}

    def report(name, model, truth):
        stack = np.stack([image for image, _, _ in truth])
        results[name] = scores(model.find_atoms(stack, refine="none", show_progressbar=False), truth)
        print(f"{name:16s} F1 {results[name]['f1']:.3f}  empty sites {results[name]['vacancy_f1']:.3f}", flush=True)
        return stack

    seen = report("known", ensemble, known)
    stack = report("unseen", ensemble, unseen)
    rest = report("others before", ensemble, others)
    auc = area_under_curve(ensemble.ood_score(seen).values,
                           np.concatenate([ensemble.ood_score(part).values for part in (stack, rest)]))  # fmt: skip
    begun = time.monotonic()
    adapted, told = hs_deepatoms.elit(stack, model=ensemble, seed=options.seed, show_progressbar=False)
    print(f"adapted in {time.monotonic() - begun:.0f} s; kept round {told.attrs['kept_round']}", flush=True)
    print(told.to_dataframe().round(4).to_string())
    report("adapted", adapted, unseen)
    report("others adapted", adapted, others)
    for after, before in (("adapted", "unseen"), ("others adapted", "others before")):
        lost = results["known"]["f1"] - results[before]["f1"]
        share = (results[after]["f1"] - results[before]["f1"]) / lost if lost > 0 else float("nan")
        results[after]["recovered"] = share
        print(f"{after}: {100 * share:.0f} % of the lost F1 recovered")
    results["ood_auc"] = auc
    print(f"out-of-distribution AUC {auc:.3f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
