"""Calibration per object: how often there is an atom where ``find_atoms`` says so with some probability.

    python benchmarks/calibration.py [--detections 2000] [--size 192] [--seed 0] [--most 30] [--json FILE]

The shipped detector on simulated images (their seeds are not those of the training), down to a threshold of 0.05.
Counted are detections with a probability of 0.05 to 0.95, until there are enough of them; of one image at most
``--most``, drawn at random, or a few crowded ones would decide. A detection is right if an atom that belongs to no more
probable one is within a column sigma: a wider circle would be filled by chance where atoms are dense. Printed are the
share that is right per bin of probability, and the expected calibration error in ten bins of equal width (Naeini et
al., AAAI 2015, doi:10.1609/aaai.v29i1.9602): the mean difference of both, weighted by the number of detections.
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np
from scipy.spatial import cKDTree

import hs_deepatoms
from hs_deepatoms.simulate.scenes import simulate_scene

LOW, HIGH, BINS = 0.05, 0.95, 10
ASKED = 0.0501  # find_atoms wants a threshold above 0.05
MARGIN = 6.0  # pixels at the rim, where nothing is counted


def right(y: np.ndarray, x: np.ndarray, probability: np.ndarray, scene) -> np.ndarray:
    """Whether each detection is an atom of its own, shape (n,); the more probable ones choose first."""
    out = np.zeros(len(y), bool)
    if not len(scene.y) or not len(y):
        return out
    tree, taken = cKDTree(np.column_stack([scene.y, scene.x])), set()
    near = tree.query_ball_point(np.column_stack([y, x]), scene.sigma)
    for k in np.argsort(-probability):
        free = [j for j in near[k] if j not in taken]
        if free:
            taken.add(min(free, key=lambda j: np.hypot(scene.y[j] - y[k], scene.x[j] - x[k])))
            out[k] = True
    return out


def judged(seed: int, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of every detection in one image, and whether it is right."""
    rng = np.random.default_rng([seed, number, 77])
    scene = simulate_scene(rng, (size, size), float(np.exp(rng.uniform(np.log(1.5), np.log(4)))))
    atoms = hs_deepatoms.find_atoms(scene.image.astype(np.float32), threshold=ASKED, show_progressbar=False)
    y, x, probability = (atoms[name].values for name in ("y_px", "x_px", "probability"))
    hit = right(y, x, probability, scene)
    inside = (np.minimum(y, x) > MARGIN) & (np.maximum(y, x) < size - 1 - MARGIN)
    return probability[inside], hit[inside]


def calibration(probability: np.ndarray, hit: np.ndarray) -> tuple[float, list[dict]]:
    """Expected calibration error, and what the bins hold."""
    place = np.clip(((probability - LOW) / (HIGH - LOW) * BINS).astype(int), 0, BINS - 1)
    bins = [{"n": int((place == k).sum()), "said": float(probability[place == k].mean()),
             "right": float(hit[place == k].mean())} for k in range(BINS) if (place == k).any()]  # fmt: skip
    error = sum(b["n"] * abs(b["said"] - b["right"]) for b in bins) / len(probability)
    return error, bins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=int, default=2000)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=2000, help="images at most")
    parser.add_argument("--most", type=int, default=30, help="doubtful detections per image that count")
    parser.add_argument("--json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    doubtful = number = 0
    while doubtful < options.detections and number < options.limit:
        probability, hit = judged(options.seed, number, options.size)
        chosen = np.flatnonzero((probability >= LOW) & (probability <= HIGH))
        chosen = np.random.default_rng([options.seed, number]).permutation(chosen)[: options.most]
        found.append((probability[chosen], hit[chosen]))
        doubtful, number = doubtful + len(chosen), number + 1
    probability, hit = (np.concatenate(column) for column in zip(*found, strict=True))
    error, bins = calibration(probability, hit)
    for entry in bins:
        print(f"said {entry['said']:.3f}  right {entry['right']:.3f}  ({entry['n']} detections)")
    print(f"expected calibration error {error:.4f} of {len(hit)} detections in {number} images")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), "error": error, "bins": bins, "images": number}, file, indent=1)


if __name__ == "__main__":
    main()
