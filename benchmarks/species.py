"""Species from one labelled image: a segmenter is trained on it alone, and judged on other images of the kind.

    python benchmarks/species.py TRAIN.npz TEST.npz [TEST.npz ...] [--steps 400] [--seed 0] [--json FILE]

Files hold ``image``, ``y_px``, ``x_px``, ``species``, ``match_radius_px`` and ``margin_px`` (a frame where nothing is
labelled). Printed is the F1 score of every species, found by ``find_atoms(model=segmenter)``: an atom is right where a
true one of its species lies within the radius, one to one; and the mean of these (macro F1) per image.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

import hs_deepatoms


def read(file: Path) -> dict:
    """Everything in one file."""
    with np.load(file) as data:
        return {name: data[name] for name in data}


def labelled(data: dict, names: list[str], margin: int):
    """The label image of a file, -1 in its margin."""
    image = data["image"].astype(np.float32)
    table = hs_deepatoms.positions(data["y_px"], data["x_px"], signal=image,
                                   columns={"species": [str(s) for s in data["species"]]})  # fmt: skip
    labels = np.array(hs_deepatoms.label_images(table, image, classes=names).data)
    inside = np.zeros(labels.shape, bool)
    inside[margin:-margin, margin:-margin] = True
    return image, np.where(inside, labels, -1)


def scores(atoms, data: dict, names: list[str]) -> dict[str, float]:
    """F1 of every species away from the margin."""
    margin, radius = float(data["margin_px"]), float(data["match_radius_px"])
    found = np.column_stack([atoms.y_px.values, atoms.x_px.values])
    true = np.column_stack([data["y_px"], data["x_px"]])
    said, is_so = np.array(names)[atoms.species.values.astype(int)], data["species"].astype(str)
    core = [((p >= margin) & (p <= np.array(data["image"].shape) - 1 - margin)).all(1) for p in (found, true)]
    distance, nearest = cKDTree(true).query(found)
    back = cKDTree(found).query(true)[1]
    pair = (distance <= radius) & (back[nearest] == np.arange(len(found)))
    out = {}
    for name in names:
        right = pair & (said == name) & (is_so[nearest] == name) & (core[0] | core[1][nearest])
        wrong = (said == name) & ~right & core[0]
        missed = (is_so == name) & core[1]
        missed[nearest[right]] = False
        out[name] = float(2 * right.sum() / max(2 * right.sum() + wrong.sum() + missed.sum(), 1))
    return {**out, "macro": float(np.mean(list(out.values())))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("tests", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    data = read(options.train)
    names = sorted({str(s) for s in data["species"]})
    image, labels = labelled(data, names, int(data["margin_px"]))
    begun = time.monotonic()
    segmenter = hs_deepatoms.Segmenter(names, net="unet", net_options={"filters": 8}, seed=options.seed)
    segmenter.fit(image, labels, steps=options.steps, batch_size=4, window=96, learning_rate=8e-3,
                  class_weights="balanced", augmentation=hs_deepatoms.Augmentation(rotation=180.0),
                  show_progressbar=False)  # fmt: skip
    print(f"trained in {time.monotonic() - begun:.0f} s on {len(data['species'])} atoms", flush=True)
    results = {}
    for file in options.tests:
        other = read(file)
        atoms = segmenter.find_atoms(other["image"].astype(np.float32), show_progressbar=False)
        results[file.stem] = scores(atoms, other, names)
        print(file.stem, {name: round(value, 3) for name, value in results[file.stem].items()}, flush=True)
    if options.json:
        options.json.write_text(json.dumps({"steps": options.steps, "results": results}, indent=1))


if __name__ == "__main__":
    main()
