"""Spectra from images and images from spectra, on cubes whose truth is known and on real ones.

Run it as ``python benchmarks/spectra.py [--only NAME] [--json FILE]``. The comparison with AtomAI needs the environment
variable ``ATOMAI_PYTHON``, an interpreter that has it; the real cubes need ``--data``, a folder with
``exspy-demos-eels``, ``eds-si-haadf`` and, for measured edges, ``ml4em-duscher``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

import hs_deepatoms  # noqa: F401
from hs_deepatoms.methods.pair_stored import stored_model
from hs_deepatoms.simulate.spectrum_images import LINKS, hysteresis_loops, planted_cube, tunnelling_spectra

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


def against_truth(tree, cube, mask: np.ndarray) -> dict:
    """R2 of normalised spectra, and coverage of the truth by the epistemic interval, of what was held out."""
    stored = stored_model(tree)
    maps = tree["held_out/outputs"].values  # of networks that have not seen the spectra
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
    found = against_truth(tree, cube, test)
    both = zip(metrics["predictor"].values, metrics["r2_noise_removed"].values, strict=True)
    r2 = {str(m): round(float(v), 4) for m, v in both}
    rounded = {key: round(value, 4) for key, value in found.items() if key != "error"}
    return {**rounded, "r2_noise_removed": r2, "removed_of_best_baseline": round(float(metrics["gain"]), 3),
            "coverage_measured": round(float(metrics["coverage"]), 4),
            "coverage_std": round(float(metrics["coverage_std"]), 4),
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


def reverse(args) -> dict:
    """Images from the spectra of the planted cubes, against the image without noise."""
    out = {}
    for link in args.link or LINKS[:1]:
        shape = (128, 128) if args.quick else (256, 256)
        cube = planted_cube(shape, 256 if args.quick else 1024, link=link, seed=args.seed)
        image, spectra = signals(cube)
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = spectra.spec2im(image, show_progressbar=False)
        test = tree["latent/part"].values == 2
        held = tree["held_out"].to_dataset()  # of networks that have not seen the place
        predicted, std = held["predicted"].values[test], held["std"].values[test]
        truth = cube.clean_image[test]
        table = tree["metrics"].to_dataset()
        r2 = {str(m): round(float(v), 4) for m, v in zip(table["predictor"].values, table["r2"].values, strict=True)}
        error = ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        out[link] = {"r2_truth": round(float(1 - error), 4), "r2_measured": r2,
                     "coverage_truth": round(float((np.abs(predicted - truth) < std).mean()), 4),
                     "coverage_measured": round(float(table["coverage"]), 4),
                     "coverage_std": round(float(table["coverage_std"]), 4),
                     "seconds": round(time.perf_counter() - begun, 1)}  # fmt: skip
        print(link, json.dumps(out[link]), flush=True)
    return out


def several(args) -> dict:
    """EELS and X-rays of the same places: by one network, and by one for each."""
    out: dict = {}
    for link in args.link or LINKS[:1]:
        shape = (128, 128) if args.quick else (256, 256)
        cube = planted_cube(shape, 256 if args.quick else 1024, link=link, seed=args.seed)
        cubes = [cube, x_rays(cube, np.random.default_rng([args.seed, 1]))]
        image, first = signals(cubes[0])
        _, second = signals(cubes[1], "Energy", "keV", "EDS_TEM")
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = image.im2spec([first, second], window=WINDOW, show_progressbar=False)
        found = {"together, seconds": round(time.perf_counter() - begun, 1)}
        test, metrics = tree["latent/part"].values == 2, tree["metrics"].to_dataset()
        for number, own in enumerate(cubes):
            truth = against_truth(tree.deepatoms.of(number), own, test)
            found[f"together, {('EELS', 'X-rays')[number]}"] = {
                **{key: round(value, 4) for key, value in truth.items() if key != "error"},
                "r2_noise_removed": [round(float(one), 4) for one in metrics["r2_noise_removed"][number]],
                "removed_of_best_baseline": round(float(metrics["gain"][number]), 3),
                "coverage_measured": round(float(metrics["coverage"][number]), 4)}  # fmt: skip
        kinds = {"spectral_name": "Energy", "units": "keV", "signal_type": "EDS_TEM"}
        out[link] = {**found, "alone, EELS": one_cube(cubes[0]), "alone, X-rays": one_cube(cubes[1], keep=kinds)}
        print(link, json.dumps(out[link]), flush=True)
    return out


def x_rays(cube, rng: np.random.Generator, channels: int = 200, dose: float = 0.002):
    """X-ray counts of the composition and thickness of a cube: two lines of each endmember above a background."""
    energy, k = np.linspace(0.1, 10.0, channels), len(cube.endmembers)
    places = np.stack([np.linspace(0.8, 4.5, k), np.linspace(5.2, 9.2, k)], 1)
    spectra = 0.02 * np.exp(-energy / 4) + sum(
        share * np.exp(-0.5 * ((energy - places[:, [line]]) / 0.07) ** 2) for line, share in ((0, 0.7), (1, 0.3))
    )
    spectra /= spectra.sum(1, keepdims=True)
    shapes = np.tensordot(cube.abundances, spectra.astype(np.float32), ((0,), (0,)))
    totals = cube.totals * dose
    counts = rng.poisson(shapes * totals[..., None]).astype(np.uint16)
    return replace(cube, counts=counts, shapes=shapes, totals=totals, endmembers=spectra, energy=energy)


def loops(args) -> dict:
    """Hysteresis loops from topography."""
    kinds = {"spectral_name": "bias step", "units": "1", "signal_type": ""}
    return one_cube(hysteresis_loops((128, 128), 64, seed=args.seed), window=9, keep=kinds)


def tunnelling(args) -> dict:
    """Tunnelling spectra from topography."""
    kinds = {"spectral_name": "bias", "units": "mV", "signal_type": ""}
    return one_cube(tunnelling_spectra((128, 128), 128, seed=args.seed), window=9, keep=kinds)


def _real(image, spectra, args, name: str, **options) -> dict:
    """Five folds of blocks on a measured cube, with a picture."""
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image.im2spec(spectra, folds=5, show_progressbar=False, **options)
    metrics = tree["metrics"].to_dataset()
    keys = ("r2", "r2_noise_removed", "spectral_angle", "peak_error")
    table = {str(m): {key: round(float(metrics[key].sel(predictor=m)), 4) for key in keys}
             for m in metrics["predictor"].values}  # fmt: skip
    if args.picture:
        import matplotlib

        matplotlib.use("Agg")
        args.picture.mkdir(parents=True, exist_ok=True)
        tree.deepatoms.plot().savefig(args.picture / f"{name}.png", dpi=80)
        tree.deepatoms.plot_scores().savefig(args.picture / f"{name}_scores.png", dpi=80)
        tree.deepatoms.plot_along(0).savefig(args.picture / f"{name}_along.png", dpi=80)
    edges = {str(edge): {str(m): round(float(v), 3) for m, v in zip(metrics["predictor"].values, row, strict=True)}
             for edge, row in zip(metrics["edge"].values, metrics["r2_edge"].values, strict=True)
             } if "r2_edge" in metrics else {}  # fmt: skip
    return {"table": table, "edges": edges, "verdict": metrics.attrs["verdict"],
            "coverage": round(float(metrics["coverage"]), 4), "coverage_std": round(float(metrics["coverage_std"]), 4),
            "seconds": round(time.perf_counter() - begun, 1)}  # fmt: skip


def cuzn(args) -> dict:
    """Cu and Zn on nanotubes: HAADF and core loss of 50 x 40 pixels."""
    import hyperspy.api as hs

    if args.data is None:
        return {"skipped": "needs --data"}
    folder = args.data / "exspy-demos-eels" / "EELS" / "datasets"
    spectra = hs.load(folder / "CuZn_EELS_mapping_tutorial.hspy")
    return _real(hs.load(folder / "CuZn_HAADF.hspy"), spectra, args, "cuzn", window=args.window,
                 edges={"Cu_L3": 931.0, "Zn_L3": 1020.0})  # fmt: skip


def eds(args) -> dict:
    """A core-shell particle: EDS of 64 x 64 pixels, four of them summed.

    No image was taken with it: every other channel is summed in place of one, and the spectra are the other channels.
    No count is in both, yet it is a thickness map of X-rays, kinder than a HAADF image.
    """
    import hyperspy.api as hs

    if args.data is None:
        return {"skipped": "needs --data"}
    counts = hs.load(args.data / "eds-si-haadf" / "core_shell.hspy").isig[0.2:]
    even = counts.isig[: counts.axes_manager[-1].size // 8 * 8]
    image = hs.signals.Signal2D(even.data[..., 1::2].sum(-1).astype(np.float32))
    spectra = even.rebin(scale=(1, 1, 2))
    spectra.data = even.data[..., ::2]
    for axis, own in zip(image.axes_manager._axes, even.axes_manager._axes[:2], strict=True):
        axis.name, axis.units, axis.scale, axis.offset = own.name, own.units, own.scale, own.offset
    return _real(image, spectra.rebin(scale=(1, 1, 4)), args, "core_shell", window=args.window)


def real_edges(args) -> dict:
    """As ``planted``, of measured spectra: SrTiO3, (La, Sr)MnO3, and the background below their edges."""
    if args.data is None:
        return {"skipped": "needs --data"}
    side, channels = (128, 256) if args.quick else (256, 1024)
    energy, spectra = measured_spectra(args.data, channels)
    cube = planted_cube((side, side), channels, endmembers=spectra, link=(args.link or LINKS)[0], seed=args.seed)
    return one_cube(replace(cube, energy=energy))


def measured_spectra(folder: Path, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Energies (channels,) from 400 to 850 eV and spectra (3, channels) of counts."""
    import hyperspy.api as hs

    energy = np.linspace(400.0, 850.0, channels)
    line = hs.load(folder / "exspy-demos-eels" / "EELS" / "datasets" / "LSMO_STO_linescan.hspy")
    manganese = line.isig[645.0:655.0].data.sum(-1) / line.isig[600.0:630.0].data.sum(-1)
    found = []
    for signal in (hs.load(folder / "ml4em-duscher" / "EELS_STO.dm3"), line.inav[int(manganese.argmax())]):
        found.append(np.interp(energy, signal.axes_manager[-1].axis, np.maximum(signal.data, 0)))
    before = energy < 450
    slope, level = np.polyfit(np.log(energy[before]), np.log(found[0][before]), 1)
    return energy, np.array([*found, np.exp(level) * energy**slope])


ATOMAI = """
import contextlib, io, sys, time
import numpy as np, torch
size, channels, batch, steps, threads = map(int, sys.argv[1:6])
torch.set_num_threads(threads)
with contextlib.redirect_stdout(io.StringIO()):
    import atomai as aoi
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * batch, 1, size, size)).astype(np.float32)
    y = rng.random((2 * batch, 1, channels)).astype(np.float32)
    model = aoi.models.ImSpec((size, size), (channels,), latent_dim=8)
    options = dict(batch_size=batch, plot_training_history=False, print_loss=10**6, filename=sys.argv[6])
    model.fit(x, y, x[:batch], y[:batch], training_cycles=1, **options)
    begun, used = time.perf_counter(), time.process_time()
    model.fit(x, y, x[:batch], y[:batch], training_cycles=steps, **options)
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
print(steps * batch / wall, steps * batch / cpu)
"""


def speed(args) -> dict:
    """Samples per second of the training: 16 x 16 pixels to 1024 channels, AtomAI's ImSpec and ours in turn."""
    peer = os.environ.get("ATOMAI_PYTHON")
    if not peer:
        return {"skipped": "needs ATOMAI_PYTHON"}
    import torch

    out: dict = {"atomai": [], "spectrum": [], "scores": []}
    for _ in range(args.pairs):
        with tempfile.TemporaryDirectory() as scratch:
            numbers = [str(n) for n in (16, 1024, 64, 6, torch.get_num_threads())]
            done = subprocess.run([peer, "-c", ATOMAI, *numbers, f"{scratch}/m"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"AtomAI failed:\n{done.stderr[-2000:]}")
        out["atomai"].append([round(float(one), 1) for one in done.stdout.split()[-2:]])
        for target, steps in (("spectrum", 12), ("scores", 20)):
            out[target].append(_our_rate(target, steps))
    best = {name: float(np.median([pair[1] for pair in pairs])) for name, pairs in out.items()}
    return {**out, "note": "samples per second: by the wall clock, by CPU time",
            "spectrum_over_atomai": round(best["spectrum"] / best["atomai"], 2),
            "scores_over_atomai": round(best["scores"] / best["atomai"], 2)}  # fmt: skip


def _our_rate(target: str, steps: int) -> list[float]:
    """Training samples per second, by the wall clock and by CPU time."""
    import torch

    from hs_deepatoms.spectra.learn import PairedMaps, train_pairs
    from hs_deepatoms.spectra.network import PairLoss, PairNet
    from hs_deepatoms.training.recipe import Recipe

    rng, k, n = np.random.default_rng(0), 8, 1024
    image = rng.normal(size=(1, 79, 79)).astype(np.float32)
    targets = np.concatenate([rng.normal(size=(k, 64, 64)), np.ones((2, 64, 64))]).astype(np.float32)
    whole = rng.random((64, 64, n)).astype(np.float32)
    reader = (lambda y0, y1, x0, x1: whole[y0:y1, x0:x1]) if target == "spectrum" else None
    maps = PairedMaps(image, targets, 16, 1, reader)
    net = PairNet(1, 16, 1, k, 8, spectrum=n if target == "spectrum" else 0)
    loss = PairLoss(torch.full((k,), 1 / k), torch.ones(k), n if target == "spectrum" else 0)
    use, nothing = np.ones((64, 64), bool), np.zeros((64, 64), bool)
    train_pairs(net, maps, use, nothing, loss, Recipe(steps=2), show_progressbar=False)
    begun, used = time.perf_counter(), time.process_time()
    train_pairs(net, maps, use, nothing, loss, Recipe(steps=steps), show_progressbar=False)
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
    samples = steps * 6 * (6 if target == "spectrum" else 24) ** 2
    return [round(samples / wall, 1), round(samples / cpu, 1)]


CASES = {"planted": planted, "reverse": reverse, "several": several, "loops": loops, "tunnelling": tunnelling,
         "cuzn": cuzn, "eds": eds, "real_edges": real_edges, "speed": speed}  # fmt: skip


def main() -> None:
    """Run the cases and print them, also as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CASES), action="append", help="run these only")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--data", type=Path, help="folder with real data")
    parser.add_argument("--picture", type=Path, help="folder for pictures of the real cubes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--link", choices=LINKS, action="append", help="of the planted cubes, these only")
    parser.add_argument("--window", type=int, default=8, help="pixels, of the real cubes")
    parser.add_argument("--pairs", type=int, default=3, help="of speed measurements")
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
