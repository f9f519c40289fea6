"""Unmixing of spectrum images: accuracy against the Cramer-Rao bound, drifting energy axes, speed and memory.

    python benchmarks/unmixing.py --only planted shift speed memory --json unmixing.json
    python benchmarks/unmixing.py --only jasper --jasper-ridge FOLDER

``planted``: ``rms / bound`` of abundances, all components and pixels together, of cubes with 20, 100 and 500 counts per
channel and edges of 0.1, 0.3 and 1 of the background; the bound is that of known spectra. Spectra that were found are
matched to the planted ones by shape and brought to their sum. ``jasper``: the table of all methods on a labelled remote
sensing scene (``data.npz`` and ``ground-truth.npz``), medians over 20 seeds. Nothing is chosen by the truth.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

COUNTS, JUMPS = (20, 100, 500), (0.1, 0.3, 1.0)
CASES = ("planted", "jasper", "shift", "classes", "speed", "memory")


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which of the found spectra (k, channels) is which of the true ones, by what is not common to all."""
    from scipy.optimize import linear_sum_assignment

    common = truth.mean(0)
    shapes = [one / one.sum(1, keepdims=True) / common for one in (truth, found)]
    return linear_sum_assignment(-np.corrcoef(*shapes)[: len(truth), len(truth) :])[1]


def planted(args) -> list[dict]:
    """All cases and methods."""
    rows = []
    for random in (one == "random" for one in args.maps):
        for counts in args.counts:
            for jump in args.jumps:
                rows += planted_case(args, random, counts, jump)
    return rows


def planted_case(args, random: bool, counts: float, jump: float) -> list[dict]:
    """One cube by known spectra and by all methods that find them."""
    import hyperspy.api as hs

    from hs_deepatoms.simulate.edges import abundance_bound, count_image, edge_spectra, phase_maps

    k, rng = args.components, np.random.default_rng([args.seed, int(counts), int(10 * jump), int(random)])
    spectra = edge_spectra(k, jump, np.arange(200.0, 200.0 + args.channels))
    maps = phase_maps(tuple(args.shape), k, rng, random=random)
    bound = float(np.sqrt((abundance_bound(maps, spectra, counts) ** 2).mean()))
    s = hs.signals.Signal1D(count_image(maps, spectra, counts, rng))
    rows = []
    for method in ("known", *args.methods):
        start = time.process_time()
        known = {"endmembers": counts * spectra} if method == "known" else {"method": method}
        known |= {} if args.find_number or method == "known" else {"n_components": k}
        tree = s.decompose_local(**known, show_progressbar=False)
        found, scores = tree["components/components"].values, tree["abundances/abundances"].values
        row = {"maps": "random" if random else "phases", "counts": counts, "jump": jump, "method": method,
               "components": len(found), "seconds": time.process_time() - start}  # fmt: skip
        if len(found) == k:
            order = matched(found, spectra)
            scale = found[order].sum(1) / (counts * spectra.sum(1))
            error = scores[order] * scale[:, None, None] - maps
            row |= {"rms": float(np.sqrt((error**2).mean())), "bound": bound}
            row["rms / bound"] = row["rms"] / bound
        rows.append(row)
        print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in
                        row.items()), flush=True)  # fmt: skip
    return rows


def jasper(args) -> list[dict]:
    """Spectral angle and abundance error of all methods, with four components and with the number found."""
    import hyperspy.api as hs

    folder = Path(args.jasper_ridge)
    data, truth = np.load(folder / "data.npz"), np.load(folder / "ground-truth.npz")
    s = hs.signals.Signal1D(data[data.files[0]])
    spectra, maps = truth["endmembers"], truth["abundance_maps"]
    rows = []
    for number in (None, 4):
        for method in (None, "nfindr", "vca", "nmf", "bayes", "ica", "gmm", "kmeans"):
            for sum_to_one in (False, True):
                if sum_to_one and method in ("ica", "gmm", "kmeans"):
                    continue
                rows.append(jasper_row(s, spectra, maps, method, number, sum_to_one, args.seeds))
                print(rows[-1], flush=True)
    return rows


def jasper_row(s, spectra, maps, method, number, sum_to_one: bool, seeds: int) -> dict:
    """Medians over seeds: angle (degrees), error of shares and of abundances as they are."""
    from scipy.optimize import linear_sum_assignment

    angles, shares, plain, count = [], [], [], 0
    for seed in range(seeds):
        tree = s.decompose_local(method=method, n_components=number, sum_to_one=sum_to_one, seed=seed,
                                 show_progressbar=False)  # fmt: skip
        found, scores = tree["components/components"].values, tree["abundances/abundances"].values
        count = len(found)
        cosine = spectra @ found.T / np.linalg.norm(spectra, axis=1)[:, None] / np.linalg.norm(found, axis=1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        i, j = linear_sum_assignment(angle)
        angles.append(angle[i, j].mean())
        share = np.maximum(scores, 0) / np.maximum(np.maximum(scores, 0).sum(0), 1e-12)
        shares.append(np.sqrt(np.nanmean((share[j] - maps[i]) ** 2)))
        plain.append(np.sqrt(np.nanmean((scores[j] - maps[i]) ** 2)))
    return {"method": method or "default", "asked": number, "components": count, "sum_to_one": sum_to_one,
            "angle": float(np.median(angles)), "rms of shares": float(np.median(shares)),
            "rms": float(np.median(plain))}  # fmt: skip


def drifting(counts: float, seed: int, shape=(24, 30), channels: int = 256, drift: float = 5.0, classes: int = 0):
    """Low-loss spectra of two phases whose zero loss wanders: counts, shifts, and the bound of their error.

    ``classes`` mixtures instead of any, if it is not 0; then the class of each spectrum comes last.
    """
    rng = np.random.default_rng(seed)
    ny, nx = shape
    share, thickness = rng.random((2, ny * nx))
    shift = np.cumsum(rng.normal(size=ny * nx))
    shift = (shift - shift.min()) / np.ptp(shift) * drift - drift / 2
    label = (share * classes).astype(int)
    share = label / (classes - 1) if classes else share
    share, thickness = share[:, None], 0.5 + thickness[:, None]

    def at(place):
        energy = np.arange(channels) - channels / 4 - place[:, None]
        loss = [np.exp(-0.5 * ((energy - centre) / width) ** 2) for centre, width in ((0, 2.5), (60, 10), (85, 12))]
        return counts * (loss[0] + 0.15 * thickness * (share * loss[1] + (1 - share) * loss[2]) + 0.01)

    mean, slope = at(shift), (at(shift + 1e-3) - at(shift - 1e-3)) / 2e-3
    bound = float(np.sqrt((1 / (slope**2 / mean).sum(1)).mean()))  # by each spectrum alone, all else known
    data = rng.poisson(mean).reshape(ny, nx, channels).astype(float)
    return (data, shift.reshape(shape), bound, label) if classes else (data, shift.reshape(shape), bound)


def classes(args) -> list[dict]:
    """Three classes of drifting spectra by a shift-invariant joint VAE: adjusted Rand index, and error of the shift."""
    import hyperspy.api as hs
    from sklearn.metrics import adjusted_rand_score

    rows = []
    for counts in args.shift_counts:
        data, truth, bound, label = drifting(counts, args.seed, classes=3)
        start = time.process_time()
        tree = hs.signals.Signal1D(data).vae(invariances=["shift"], discrete=3, show_progressbar=False)
        latent = tree["latent"].to_dataset()
        index = adjusted_rand_score(label.ravel(), latent["class_probability"].values.argmax(1))
        error = latent["shift_x"].values.reshape(truth.shape) - truth
        row = {"counts at the peak": counts, "adjusted Rand index": float(index), "shift": float(np.std(error)),
               "bound": bound, "seconds": time.process_time() - start}  # fmt: skip
        rows.append(row)
        print(row, flush=True)
    return rows


def shift(args) -> list[dict]:
    """Rms error of the shift, up to a constant, by vae and by cross-correlation (HyperSpy's estimate_shift1D)."""
    import hyperspy.api as hs

    rows = []
    for counts in args.shift_counts:
        data, truth, bound = drifting(counts, args.seed)
        s = hs.signals.Signal1D(data)
        start = time.process_time()
        tree = s.vae(invariances=["shift"], show_progressbar=False)
        seconds = time.process_time() - start
        found = tree["latent/shift_x"].values.reshape(truth.shape)
        known = -np.asarray(s.estimate_shift1D(max_shift=12, number_of_interpolation_points=20, show_progressbar=False))
        row = {"counts at the peak": counts, "vae": float(np.std(found - truth)), "cross-correlation":
               float(np.std(known.reshape(truth.shape) - truth)), "bound": bound, "seconds": seconds}  # fmt: skip
        rows.append(row)
        print(row, flush=True)
    return rows


def speed(args) -> list[dict]:
    """NMF of one cube in turns, ours and HyperSpy's: CPU and wall seconds, and the relative reconstruction error."""
    import hyperspy.api as hs

    from hs_deepatoms.simulate.edges import count_image, edge_spectra, phase_maps

    rng, k = np.random.default_rng(args.seed), args.components
    spectra = edge_spectra(k, 0.3, np.arange(200.0, 200.0 + 1024))
    cube = count_image(phase_maps((args.side, args.side), k, rng), spectra, 100, rng)
    norm = float(np.sqrt((cube.astype(float) ** 2).sum()))

    def error(scores, found) -> float:
        rows = cube.reshape(-1, cube.shape[-1])
        parts = (((rows[a : a + 4096] - scores[a : a + 4096] @ found) ** 2).sum(dtype=float)
                 for a in range(0, len(rows), 4096))  # fmt: skip
        return float(np.sqrt(sum(parts)) / norm)

    out = []
    for turn in range(args.turns):
        s = hs.signals.Signal1D(cube)
        wall, cpu = time.time(), time.process_time()
        tree = s.decompose_local(method="nmf", n_components=k, show_progressbar=False)
        row = {"turn": turn, "ours": [time.process_time() - cpu, time.time() - wall]}
        scores = tree["abundances/abundances"].values.reshape(k, -1).T
        row["error"] = error(scores, tree["components/components"].values)
        s = hs.signals.Signal1D(cube)
        wall, cpu = time.time(), time.process_time()
        s.decomposition(algorithm="NMF", output_dimension=k, print_info=False)
        row["HyperSpy"] = [time.process_time() - cpu, time.time() - wall]
        row["HyperSpy's error"] = error(s.learning_results.loadings, s.learning_results.factors.T)
        out.append(row)
        print(row, flush=True)
    return out


def memory(args) -> list[dict]:
    """Peak memory above the import of a lazy cube from a file, in a process of its own; the file is removed."""
    out = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "cube.hdf5"
        write_cube(path, args.gigabytes)
        for method in args.memory_methods:
            done = subprocess.run([sys.executable, __file__, "--child", str(path), "--methods", method],
                                  capture_output=True, text=True, check=True)  # fmt: skip
            out.append({"method": method, "gigabytes": path.stat().st_size / 1e9, **json.loads(done.stdout)})
            print(out[-1], flush=True)
    return out


def write_cube(path: Path, gigabytes: float, channels: int = 1536, side: int = 64) -> None:
    """float32 counts in chunks of 64 x 64 spectra."""
    import h5py

    from hs_deepatoms.simulate.edges import count_image, edge_spectra, phase_maps

    rng = np.random.default_rng(0)
    n = -(-int(np.sqrt(gigabytes * 1e9 / 4 / channels)) // side) * side  # at least as large as asked
    spectra = edge_spectra(4, 0.3, np.arange(200.0, 200.0 + channels))
    with h5py.File(path, "w") as file:
        data = file.create_dataset("cube", (n, n, channels), "f4", chunks=(side, side, channels))
        tile = count_image(phase_maps((side, n), 4, rng), spectra, 50, rng)
        for y in range(0, n, side):
            data[y : y + side] = np.roll(tile, y, axis=1)


def child(args) -> None:
    """Decompose the cube of a file lazily and print what it took."""
    import dask.array as da
    import h5py
    import hyperspy.api as hs

    import hs_deepatoms  # noqa: F401

    start = peak()
    with h5py.File(args.child) as file:
        data = da.from_array(file["cube"], chunks=file["cube"].chunks)
        s = hs.signals.Signal1D(data).as_lazy()
        wall, cpu = time.time(), time.process_time()
        tree = s.decompose_local(method=args.methods[0], show_progressbar=False)
    print(json.dumps({"MiB above the import": peak() - start, "seconds": time.time() - wall,
                      "cpu seconds": time.process_time() - cpu,
                      "components": tree["components"].sizes["component"]}))  # fmt: skip


def peak() -> float:
    """Peak resident memory of this process so far, in MiB; of its own: ``ru_maxrss`` begins with that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 1024)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=["planted", "shift", "speed"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--methods", nargs="+", default=["nfindr", "vca", "nmf"])
    parser.add_argument("--components", type=int, default=3)
    parser.add_argument("--counts", type=float, nargs="+", default=COUNTS)
    parser.add_argument("--jumps", type=float, nargs="+", default=JUMPS)
    parser.add_argument("--maps", nargs="+", choices=("phases", "random"), default=("phases", "random"))
    parser.add_argument("--find-number", action="store_true", help="of components, too")
    parser.add_argument("--shape", type=int, nargs=2, default=(128, 120))
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20, help="of jasper")
    parser.add_argument("--jasper-ridge", type=Path, help="folder with data.npz and ground-truth.npz")
    parser.add_argument("--shift-counts", type=float, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--side", type=int, default=256, help="of the cube for speed, pixels")
    parser.add_argument("--turns", type=int, default=2, help="of speed")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of memory")
    parser.add_argument("--memory-methods", nargs="+", default=["nfindr"])
    parser.add_argument("--folder", type=Path, help="for the file of memory")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    import hs_deepatoms  # noqa: F401

    args = parse()
    if args.child:
        child(args)
        return
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in args.only:
            results[case] = globals()[case](args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
