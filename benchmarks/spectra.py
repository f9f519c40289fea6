"""Spectra from images and images from spectra, on cubes whose truth is known and on real ones.

Run it as ``python benchmarks/spectra.py [--only NAME] [--json FILE]``. The comparison with AtomAI needs the environment
variable ``ATOMAI_PYTHON``, an interpreter that has it; the real cubes need ``--data``, a folder with
``exspy-demos-eels`` and ``eds-si-haadf``.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

from hs_deepatoms.methods.pair_tree import stored_model
from hs_deepatoms.methods.pair_use import mapped_outputs
from hs_deepatoms.simulate.spectrum_images import LINKS, planted_cube

WINDOW = 12
ROWS = 16  # of the map whose spectra are compared with the truth together


def signals(cube, spectral_name: str = "Energy loss", units: str = "eV", signal_type: str = "EELS"):
    """Image and spectrum image of a simulated cube."""
    import hyperspy.api as hs

    image = hs.signals.Signal2D(cube.image)
    spectra = hs.signals.Signal1D(cube.counts)
    for signal, places in ((image, (0, 1)), (spectra, (0, 1))):
        for place, name in zip(places, ("y", "x"), strict=True):
            axis = signal.axes_manager._axes[place]
            axis.name, axis.units, axis.scale = name, "nm", 0.1
    axis = spectra.axes_manager[-1]
    axis.name, axis.units = spectral_name, units
    axis.offset, axis.scale = float(cube.energy[0]), float(cube.energy[1] - cube.energy[0])
    spectra.set_signal_type(signal_type)
    return image, spectra


def against_truth(tree, image, cube, mask: np.ndarray) -> dict:
    """R2 of normalised spectra, and coverage of the truth by the epistemic interval, on some pixels."""
    stored = stored_model(tree)
    maps = mapped_outputs(tree, image)
    output, mean = stored.output, stored.space.mean
    error = around = 0.0
    inside = inside_totals = count = 0
    for y in range(0, len(mask), ROWS):
        here = np.argwhere(mask[y : y + ROWS])
        if not len(here):
            continue
        truth = cube.shapes[y : y + ROWS][here[:, 0], here[:, 1]]
        out = maps[:, y : y + ROWS][:, here[:, 0], here[:, 1]]
        shapes = output.shapes(out)
        error += float(((shapes - truth) ** 2).sum(dtype=float))
        around += float(((truth - mean.astype(np.float32)) ** 2).sum(dtype=float))
        inside += int((np.abs(shapes - truth) < np.sqrt(output.shape_variance(out))).sum())
        totals = cube.totals[y : y + ROWS][here[:, 0], here[:, 1]][:, None]
        wide = np.sqrt(output.variance(out, noise=False))
        inside_totals += int((np.abs(output.spectra(out) - truth * totals) < wide).sum())
        count += truth.size
    return {"r2_truth": 1 - error / around, "coverage_truth_shape": inside / count,
            "coverage_truth_counts": inside_totals / count, "error": error}  # fmt: skip


def one_cube(cube, *, window: int = WINDOW, keep: dict | None = None, **options) -> dict:
    """Train on a simulated cube, and compare with what is true."""
    image, spectra = signals(cube, **(keep or {}))
    begun, used = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image.im2spec(spectra, window=window, show_progressbar=False, **options)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    test = tree["latent/part"].values == 2
    metrics = tree["metrics"].to_dataset()
    found = against_truth(tree, image, cube, test)
    r2 = {str(m): round(float(v), 4) for m, v in zip(metrics["method"].values, metrics["r2_noise_removed"].values)}
    return {**{k: round(v, 4) for k, v in found.items() if k != "error"}, "r2_noise_removed": r2,
            "removed_of_best_baseline": round(float(metrics["gain"]), 3), "coverage_measured": round(float(metrics["coverage"]), 4),
            "components": int(tree["metrics"].attrs["data_components"]), "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu, 1)}  # fmt: skip


def planted(args) -> dict:
    """Cubes of 256 x 256 x 1024 with three kinds of non-linear links."""
    out = {}
    for link in args.link or LINKS:
        shape = (128, 128) if args.quick else (256, 256)
        out[link] = one_cube(planted_cube(shape, 256 if args.quick else 1024, link=link, seed=args.seed))
        print(link, json.dumps(out[link]), flush=True)
    return out


CASES = {"planted": planted}


def main() -> None:
    """Run the cases and print them, also as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CASES), action="append", help="run these only")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--data", type=Path, help="folder with real data")
    parser.add_argument("--picture", type=Path, help="folder for pictures of the real cubes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--link", choices=LINKS, action="append", help="of the planted cubes, these only")
    parser.add_argument("--quick", action="store_true", help="small cubes")
    args = parser.parse_args()
    found = {}
    for name in args.only or CASES:
        found[name] = CASES[name](args)
        print(name, json.dumps(found[name], indent=1), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
