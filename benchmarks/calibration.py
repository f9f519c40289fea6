"""Calibration per object: how often there is an atom where ``find_atoms`` says so with some probability.

    python benchmarks/calibration.py [--images 240] [--seed 5] [--threshold 0.0501] [--model FILE] [--json FILE]

The shipped detector on simulated images of several kinds (their seeds are those of no training and no fit):
crystals, bright and dark; single atoms; plain lattices with empty sites at low dose; films and noise. Counted are all
detections with a probability of 0.05 to 0.95. A detection is right if an atom that belongs to no more probable one
lies within 0.3 times the distance of neighbours (at most 3 column sigmas): a wider circle would be filled by chance
where atoms are dense, a narrower one would count errors of position as errors of presence.

Printed are the share that is right per bin of probability, and the expected calibration error in ten bins of equal
width (Naeini et al., AAAI 2015, doi:10.1609/aaai.v29i1.9602): the mean difference of both, weighted by the number of
detections. Detections of one image come true together or not at all (as those of a faint sublattice do), so the
error over all of them is decided by a few crowded images, and falls with their number: the bootstrap, which draws
whole images, says how far it may lie from what more images would give. With ``most 30`` at most 30 of each count,
drawn at random.
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np

from hs_deepatoms.workflows.fit_reliability import KINDS, LEAST, Judged, all_judged

LOW, HIGH, BINS, DRAWS, FEW = 0.05, 0.95, 10, 200, 30


def doubtful(parts: list[Judged], most: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probability and truth of the detections that count, per image."""
    out = []
    for number, part in enumerate(parts):
        chosen = np.flatnonzero((part.probability >= LOW) & (part.probability <= HIGH))
        if most is not None:
            chosen = np.random.default_rng([7, number]).permutation(chosen)[:most]
        out.append((part.probability[chosen], part.right[chosen]))
    return out


def calibration(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[dict]]:
    """Expected calibration error, and what the bins hold."""
    probability, hit = (np.concatenate(column) for column in zip(*pairs, strict=True))
    place = np.clip(((probability - LOW) / (HIGH - LOW) * BINS).astype(int), 0, BINS - 1)
    bins = [{"n": int((place == k).sum()), "said": float(probability[place == k].mean()),
             "right": float(hit[place == k].mean())} for k in range(BINS) if (place == k).any()]  # fmt: skip
    error = sum(b["n"] * abs(b["said"] - b["right"]) for b in bins) / max(1, len(probability))
    return error, bins


def spread(pairs: list) -> list[float]:
    """10 and 90 % quantiles of the error when whole images are drawn anew."""
    rng = np.random.default_rng(0)
    errors = [calibration([pairs[k] for k in rng.integers(len(pairs), size=len(pairs))])[0] for _ in range(DRAWS)]
    return [float(q) for q in np.quantile(errors, [0.1, 0.9])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threshold", type=float, default=LEAST)
    parser.add_argument("--model")
    parser.add_argument("--json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    parts = list(all_judged(options.seed, options.images, model=options.model, threshold=options.threshold))
    results = {}
    for name, most in (("all", None), (f"most {FEW}", FEW)):
        pairs = doubtful(parts, most)
        error, bins = calibration(pairs)
        low, high = spread(pairs)
        results[name] = {"error": error, "bootstrap": [low, high], "bins": bins, "n": sum(b["n"] for b in bins)}
        for entry in bins:
            print(f"said {entry['said']:.3f}  right {entry['right']:.3f}  ({entry['n']} detections)")
        print(f"{name}: expected calibration error {error:.4f} ({low:.3f} to {high:.3f}) of {results[name]['n']} "
              f"detections in {len(parts)} images")  # fmt: skip
    for kind in KINDS:
        pairs = doubtful([part for part in parts if part.kind == kind])
        error, bins = calibration(pairs)
        results[kind] = {"error": error, "n": sum(b["n"] for b in bins)}
        print(f"{kind:14s} {error:.3f} of {results[kind]['n']}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), "results": results, "images": len(parts)}, file, indent=1)


if __name__ == "__main__":
    main()
