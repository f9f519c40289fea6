"""Positions against the Cramer-Rao bound: error, slope, coverage, pairs, bias; and speed beside atomap and AtomAI.

    python benchmarks/refine.py [--quick] [--refine quick|full] [--only CASE] [--labelled FOLDER] [--json FILE]

Every case goes through ``find_atoms`` with no argument but ``refine``: misses and false columns included. The bound
is the joint one of the scored configuration, with positions, heights, widths and a smooth background free.
``--labelled`` names a folder of labelled multislice images (``*dose200.npz`` with ``image``, ``y_px``, ``x_px``,
``match_radius_px``, ``margin_px``). atomap and AtomAI are timed where ``ATOMAP_PYTHON`` and ``ATOMAI_PYTHON`` name a
Python that has them, from the same positions on the same part of an image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import kstest

import hs_deepatoms
from hs_deepatoms.atoms.block import columns_block, in_light_of_crystal
from hs_deepatoms.atoms.block import find as find_candidates
from hs_deepatoms.atoms.detect import measured
from hs_deepatoms.engine.mapping import map_blocks
from hs_deepatoms.methods.column_job import planned
from hs_deepatoms.methods.images import read_images
from hs_deepatoms.methods.look import look_at
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import line_shifts

SIGMA, SPACING, LOOSE = 2.5, 14.0, 1.5
DOSES = ((10, 5), (50, 5), (200, 20), (1000, 10))
FRAMES, RUNS = 8, 3  # of the stack that is timed; of each thing that is timed
KNOT = 8.0  # sigmas between the knots of the bound's background


def lattice(rng, peak, background, n=74):
    """Image, columns (y, x) displaced at random, their places on the lattice."""
    grid = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * SPACING
    y, x = grid + rng.uniform(-0.5, 0.5, 2)[:, None] + LOOSE * rng.standard_normal(grid.shape) / np.sqrt(2)
    shape = (int(n * SPACING), int(n * SPACING) + 3)
    return rng.poisson(draw_columns(shape, y, x, np.full(len(y), float(peak)), SIGMA) + background), y, x, grid


def pairs(rng, peak, ratio, n=52):
    """Pairs 3 sigma apart in any direction, the second member ``ratio`` times as high."""
    middle = np.mgrid[:n, :n].reshape(2, -1) * 30.0 + 15 + rng.standard_normal((2, n * n))
    angle = rng.uniform(0, np.pi, n * n)
    half = 1.5 * SIGMA * np.stack([np.sin(angle), np.cos(angle)])
    y, x = np.concatenate([middle - half, middle + half], axis=1)
    height = np.repeat([peak, peak * ratio], n * n)
    image = rng.poisson(draw_columns((n * 30, n * 30 + 3), y, x, height, SIGMA) + 0.1 * peak)
    return image, y, x, height


def find(image, refine):
    begun = time.perf_counter()
    atoms = hs_deepatoms.find_atoms(image, refine=refine, show_progressbar=False)
    return atoms, time.perf_counter() - begun


def matched(atoms, y, x, radius):
    """Indices (found, true) of mutual nearest neighbours."""
    found, true = np.column_stack([atoms["y_px"], atoms["x_px"]]), np.column_stack([y, x])
    distance, nearest = cKDTree(true).query(found)
    back = cKDTree(found).query(true)[1]
    k = np.arange(len(found))
    good = (distance < radius) & (back[nearest] == k)
    return k[good], nearest[good]


def errors(atoms, y, x, shape, radius, margin=20.0):
    """Errors and stated sigmas of both coordinates, shape (2, n), and the indices of the columns away from the rim."""
    i, j = matched(atoms, y, x, radius)
    inner = (y[j] > margin) & (x[j] > margin) & (y[j] < shape[0] - margin) & (x[j] < shape[1] - margin)
    i, j = i[inner], j[inner]
    error = np.stack([atoms["y_px"].values[i] - y[j], atoms["x_px"].values[i] - x[j]])
    std = np.stack([atoms["y_std"].values[i], atoms["x_std"].values[i]])
    return error, std, j


def bound(y, x, height, background, sigma, chosen):
    """Joint Cramer-Rao bound (one sigma, pixels) of y and x of some columns, shape (2, n).

    Each with its neighbours within 8 sigmas, all their parameters and a spline background free.
    """
    tree = cKDTree(np.column_stack([y, x]))
    out = np.empty((2, len(chosen)))
    for place, k in enumerate(chosen):
        near = np.array([k, *(i for i in tree.query_ball_point((y[k], x[k]), 8 * sigma) if i != k)])
        half = int(12 * sigma)
        rows = np.arange(int(y[k]) - half, int(y[k]) + half + 1)
        columns = np.arange(int(x[k]) - half, int(x[k]) + half + 1)
        dy, dx = rows[:, None, None] - y[near], columns[None, :, None] - x[near]
        bell = np.exp(-0.5 * (dy**2 + dx**2) / sigma**2)
        peak = height[near] * bell
        parts = [peak * dy / sigma**2, peak * dx / sigma**2, bell, peak * (dy**2 + dx**2) / sigma**2]
        knots = np.arange(-half, half + 1, KNOT * sigma)
        hats = [np.clip(1 - np.abs(np.arange(-half, half + 1)[:, None] - knots) / (KNOT * sigma), 0, None)] * 2
        smooth = np.einsum("ia,jb->ijab", *hats).reshape(len(rows), len(columns), -1)
        slopes = np.concatenate([*parts, smooth], axis=2).reshape(len(rows) * len(columns), -1)
        variance = (peak.sum(2) + background).ravel()
        information = (slopes / variance[:, None]).T @ slopes
        inverse = np.linalg.inv(information + 1e-12 * np.diag(np.diag(information)))
        out[:, place] = np.sqrt([inverse[0, 0], inverse[len(near), len(near)]])
    return out


def coverage(error, std):
    return [round(float((np.abs(error) < n * std).mean()), 3) for n in (1, 2)]


def lattices(refine, n, seeds):
    rows = []
    for peak, background in DOSES:
        error, std, limit, slope, fraction = [], [], [], [], []
        for seed in range(seeds):
            rng = np.random.default_rng([peak, seed])
            image, y, x, grid = lattice(rng, peak, background, n)
            atoms, _ = find(image, refine)
            e, s, j = errors(atoms, y, x, image.shape, 0.4 * SPACING)
            some = rng.choice(j, min(150, len(j)), replace=False)
            limit.append(bound(y, x, np.full(len(y), float(peak)), background, SIGMA, some))
            moved = np.stack([y[j] - grid[0][j], x[j] - grid[1][j]])
            slope.append([np.polyfit(m, m + d, 1)[0] for m, d in zip(moved, e, strict=True)])
            fraction.append(np.concatenate([(y[j] + e[0]) % 1, (x[j] + e[1]) % 1]))
            error.append(e)
            std.append(s)
        e, s = np.concatenate(error, axis=1), np.concatenate(std, axis=1)
        rms, least = np.sqrt((e**2).mean(1)), np.sqrt((np.concatenate(limit, axis=1) ** 2).mean(1))
        typical = 1.4826 * np.median(np.abs(e), axis=1)
        rows.append({
            "case": "lattice 5.6 sigma", "peak": peak, "background": background, "columns": e.shape[1],
            "rms_px": rms.tolist(), "rms_over_bound": (rms / least).tolist(),
            "typical_over_bound": (typical / least).tolist(), "slope": np.mean(slope, axis=0).tolist(),
            "fractions_uniform_p": float(kstest(np.concatenate(fraction), "uniform").pvalue),
            "coverage": coverage(e, s),
        })  # fmt: skip
        print(_line(rows[-1]), flush=True)
    return rows


def all_pairs(refine, n):
    rows = []
    for peak, ratio in ((50, 1.0), (200, 1.0), (200, 1 / 3)):
        rng = np.random.default_rng([peak, 7])
        image, y, x, height = pairs(rng, peak, ratio, n)
        atoms, _ = find(image, refine)
        e, s, j = errors(atoms, y, x, image.shape, SIGMA)
        found = np.zeros(len(y), bool)
        found[matched(atoms, y, x, SIGMA)[1]] = True
        first, second = found[: n * n], found[n * n :]
        some = rng.choice(j, min(200, len(j)), replace=False)
        least = np.sqrt((bound(y, x, height, 0.1 * peak, SIGMA, some) ** 2).mean())
        rms, typical = float(np.sqrt((e**2).mean())), float(1.4826 * np.median(np.abs(e)))
        rows.append({"case": "pairs 3 sigma", "peak": peak, "ratio": ratio, "columns": len(y),
                     "both_found": float((first & second).mean()), "rms_px": rms, "rms_over_bound": rms / least,
                     "typical_over_bound": typical / least, "coverage": coverage(e, s)})  # fmt: skip
        print(_line(rows[-1]), flush=True)
    return rows


def biases(refine, realisations):
    """Mean error of each column over noise realisations: ellipses, and a background that changes by its own size."""
    rows = []
    n, rng = 12, np.random.default_rng(3)
    y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * SPACING + LOOSE * rng.standard_normal((2, n * n)) / np.sqrt(2)
    shape = (int(n * SPACING), int(n * SPACING) + 5)
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    ramp = 20 * (1 + 0.5 * np.cos(2 * np.pi * (0.6 * yy + 0.8 * xx) / (20 * SPACING)))
    round_ = draw_columns(shape, y, x, np.full(len(y), 200.0), SIGMA)
    oval = sum(200 * np.exp(-0.5 * (((yy - b) * 0.8 + (xx - a) * 0.6) ** 2 / 2.8**2
                                    + ((xx - a) * 0.8 - (yy - b) * 0.6) ** 2 / 2.2**2))
               for b, a in zip(y, x, strict=True))  # fmt: skip
    for case, expected in (("background changes", round_ + ramp), ("elliptical columns", oval + 20)):
        total, count = np.zeros((2, len(y))), np.zeros(len(y))
        for seed in range(realisations):
            atoms, _ = find(np.random.default_rng([9, seed]).poisson(expected), refine)
            e, _, j = errors(atoms, y, x, shape, 0.3 * SPACING)
            total[:, j] += e
            count[j] += 1
        seen = count == realisations
        mean = total[:, seen] / realisations
        rows.append({"case": case, "columns": int(seen.sum()), "realisations": realisations,
                     "mean_bias_px": mean.mean(1).tolist(),
                     "rms_of_column_means_px": float(np.sqrt((mean**2).mean()))})  # fmt: skip
        print(_line(rows[-1]), flush=True)
    return rows


def multislice(refine, folder):
    rows = []
    for kind in ("ws2", "srtio3_001", "srtio3_110"):
        error, std = [], []
        for file in sorted(Path(folder).glob(f"{kind}*dose200.npz")):
            with np.load(file) as truth:
                atoms, _ = find(truth["image"], refine)
                e, s, _ = errors(atoms, truth["y_px"], truth["x_px"], truth["image"].shape,
                                 float(truth["match_radius_px"]), float(truth["margin_px"]))  # fmt: skip
            error.append(e)
            std.append(s)
        e, s = np.concatenate(error, axis=1), np.concatenate(std, axis=1)
        rows.append({"case": f"multislice {kind}", "columns": e.shape[1], "rms_px": float(np.sqrt((e**2).mean())),
                     "rms_over_stated": float(np.sqrt((e**2).mean() / (s**2).mean())),
                     "typical_over_stated": float(1.4826 * np.median(np.abs(e / s)))})  # fmt: skip
        print(_line(rows[-1]), flush=True)
    return rows


JITTERS = (  # of scan lines along y and x (px), with memory; drift in spacings; share of atoms that move
    {"line": (0.0, 0.0)},
    {"line": (0.0, 0.1)},
    {"line": (0.1, 0.1)},
    {"line": (0.05, 0.15), "drift": 0.35},
    {"line": (0.0, 0.1), "moving": 0.02},
    {"line": (0.0, 0.1), "memory": 0.8},
    {"line": (0.0, 0.1), "peak": 1000, "background": 100},
)


def scanned(rng, y, x, shape, peak, background, line, memory):
    """Expected counts of a scan whose lines each sit a little beside their place, by ``line`` pixels along y and x."""
    beside = [line_shifts(rng, shape[0], one, memory) for one in line]
    image = np.full(shape, float(background))
    for row, (dy, dx) in enumerate(zip(*beside, strict=True)):
        near = np.abs(y - row) < 8 * SIGMA
        bell = peak * np.exp(-0.5 * ((row + dy - y[near]) / SIGMA) ** 2)
        image[row] += bell @ np.exp(-0.5 * ((np.arange(shape[1]) + dx - x[near, None]) / SIGMA) ** 2)
    return image


def jittered(refine, n):
    """Coverage of both axes: jitter left out, of two frames, of the lines of each; thinned twins see none of it."""
    rows = []
    for case in JITTERS:
        case = {"peak": 200, "background": 20, "memory": 0.0, "drift": 0.0, "moving": 0.0, **case}
        rng = np.random.default_rng(12)
        sites = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * SPACING + LOOSE * rng.standard_normal((2, n * n)) / np.sqrt(2)
        shape = (int(n * SPACING), int(n * SPACING) + 3)
        truth = np.stack([sites, sites + case["drift"] * SPACING * np.array([[0.6], [0.8]])])
        moved = rng.random(n * n) < case["moving"]
        truth[1][:, moved] += 0.7 * rng.standard_normal((2, moved.sum()))
        how = [case[name] for name in ("peak", "background", "line", "memory")]
        frames = np.stack([rng.poisson(scanned(rng, *places, shape, *how)) for places in truth])
        atoms, _ = find(frames, refine)
        begun = time.perf_counter()
        jitter = atoms.deepatoms.scan_jitter()
        spent = time.perf_counter() - begun
        twin = rng.binomial(frames[0], 0.5)
        twins, _ = find(np.stack([twin, frames[0] - twin]), refine)
        thinned = twins.deepatoms.scan_jitter()
        lines = atoms.deepatoms.scan_jitter(frames)
        row = {"case": "jitter", **{name: list(v) if name == "line" else v for name, v in case.items()},
               "columns": int(jitter["n_pairs"]), "jitter_px": [float(jitter[name]) for name in "yx"],
               "jitter_std_px": [float(jitter[f"{name}_std"]) for name in "yx"],
               "lines_px": lines["x"].values.tolist(), "line_px": lines["line_x"].values.tolist(),
               "twins_px": [float(thinned[name]) for name in "yx"], "s": spent}  # fmt: skip
        tables = {"counts": atoms, "pairs": atoms.deepatoms.with_jitter(jitter),
                  "lines": atoms.deepatoms.with_jitter(lines)}  # fmt: skip
        for name, table in tables.items():
            parts = [errors(table.isel(atom=table["nav_0_index"].values == k), *truth[k], shape, 0.4 * SPACING)
                     for k in (0, 1)]  # fmt: skip
            error, std = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1))
            row |= {f"coverage_{name}_{axis}": coverage(error[k], std[k]) for k, axis in enumerate("yx")}
        rows.append(row)
        print(_line(rows[-1]), flush=True)
    return rows


ATOMAP = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, hyperspy.api as hs
import atomap.api as am
from atomap.sublattice import Sublattice
data = np.load(sys.argv[1])
sublattice = Sublattice(np.column_stack([data["x"], data["y"]]), image=data["image"].astype(float))
sublattice.find_nearest_neighbors()
begun = time.perf_counter()
sublattice.refine_atom_positions_using_2d_gaussian(percent_to_nn=0.4, show_progressbar=False)
spent = time.perf_counter() - begun
np.savez(sys.argv[2], y=sublattice.y_position, x=sublattice.x_position, seconds=spent)
"""
# what ``predict(..., refine=True)`` runs on the positions of its network, on an image scaled as that scales it
ATOMAI = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from atomai.utils.coords import peak_refinement
data = np.load(sys.argv[1])
image = data["image"].astype(float)
image = (image - image.min()) / np.ptp(image)
begun = time.perf_counter()
found = peak_refinement(image, np.column_stack([data["y"], data["x"], np.zeros(len(data["y"]))]))
spent = time.perf_counter() - begun
np.savez(sys.argv[2], y=found[:, 0], x=found[:, 1], seconds=spent)
"""
PEERS = {"atomap": ("ATOMAP_PYTHON", ATOMAP), "atomai": ("ATOMAI_PYTHON", ATOMAI)}


def speed(refine, n):
    """Columns per second of the fit, and of others' from the detector's positions on a part of the image.

    ``fit`` is timed as others are, from given positions on; ``more`` is what ``find_atoms`` takes longer with a fit
    than without one, where the detector also looks for what the fit is to judge. A ``stack`` keeps all cores busy, each
    with frames of its own; a ``frame`` less so. Each the shortest of ``RUNS`` runs, in turns: a difference is one of
    shortest times, or it would be the luckiest one.
    """
    image, y, x, _ = lattice(np.random.default_rng(1), 200, 20, n)
    frames = np.stack([lattice(np.random.default_rng(k), 200, 20, n)[0] for k in range(FRAMES)])
    fits = {"frame": (image, given_to_fit(image, refine)), "stack": (frames, given_to_fit(frames, refine))}
    runs = [one_run(fits, refine, y, x) for _ in range(RUNS)]
    least = {name: min(run[name] for run in runs) for name in runs[0]}
    best = {name: 1 / least[name] for name in PEERS if name in least}
    for name in fits:
        columns, whole = runs[0][f"{name}_columns"], least[f"{name}_whole"]
        best |= {f"{name}_fit": columns / least[f"{name}_fit"], f"{name}_all": columns / whole}
        best[f"{name}_more"] = columns / (whole - least[f"{name}_without"])
    row = {"case": "speed", "columns": len(y), **best}
    for name in PEERS:
        if name in best:
            row |= {f"{kind}_times_{name}": rate / best[name] for kind, rate in best.items() if "_" in kind}
    print(_line(row), flush=True)
    return [row]


def one_run(fits, refine, y, x):
    """Seconds of each kind, columns, and seconds per column of each other program that is there."""
    seconds = {}
    for name, (images, (source, blocks, arguments)) in fits.items():
        plain, seconds[f"{name}_without"] = find(images, "none")
        fitted, seconds[f"{name}_whole"] = find(images, refine)
        seconds[f"{name}_columns"] = fitted.sizes["atom"]
        begun = time.perf_counter()
        map_blocks(source.data, blocks, columns_block, show_progressbar=False, **arguments)
        seconds[f"{name}_fit"] = time.perf_counter() - begun
        if name == "frame":
            print(f"rms error of a coordinate {_rms(fitted['y_px'].values, fitted['x_px'].values, y, x):.4f} px")
            image, atoms = images, plain
    for name, (variable, script) in PEERS.items():
        if python := os.environ.get(variable):
            rate, error = peer(python, script, image, atoms, y, x)
            seconds[name] = 1 / rate
            print(f"  {name} {error:.4f} px", flush=True)
    return seconds


def given_to_fit(images, refine):
    """What the tasks of ``find_atoms`` are told, and the columns that its detector gives to the fit of each block."""
    source = read_images(images, operation="find_atoms")
    blocks, job = planned(source, look_at(source, refine=refine), None, None)
    found = map_blocks(source.data, blocks, candidates, arguments=(job,), show_progressbar=False)
    return source, blocks, {"arguments": (job, "network"), "each": [(points,) for points in found]}


def candidates(frames, block, job):
    job = measured(frames, block, job)
    return in_light_of_crystal(find_candidates(frames, block, job, "network"), job)


def peer(python, script, image, atoms, y, x, side=310):
    """Columns per second and rms error of another program's fit on a part of an image."""
    here = (atoms["y_px"].values < side - 12) & (atoms["x_px"].values < side - 12)
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, image=image[:side, :side], y=atoms["y_px"].values[here], x=atoms["x_px"].values[here])
        subprocess.run([python, "-c", script, str(given), str(got)], check=True, stdout=subprocess.DEVNULL)
        result = np.load(got)
    return len(result["y"]) / float(result["seconds"]), _rms(result["y"], result["x"], y, x)


def _rms(found_y, found_x, y, x):
    """Error per coordinate of the columns that stand within reach of a true one."""
    d, j = cKDTree(np.column_stack([y, x])).query(np.column_stack([found_y, found_x]))
    error = np.stack([found_y - y[j], found_x - x[j]])[:, d < 0.4 * SPACING]
    return float(np.sqrt((error**2).mean()))


def _line(row):
    def text(value):
        if isinstance(value, list):
            return "/".join(text(v) for v in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return "  ".join(f"{key} {text(value)}" for key, value in row.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the columns")
    parser.add_argument("--refine", default="quick", choices=("quick", "full"))
    parser.add_argument(
        "--only", help="one case", choices=("lattices", "pairs", "biases", "jitter", "multislice", "speed")
    )
    parser.add_argument("--labelled")
    parser.add_argument("--json")
    options = parser.parse_args()
    size = 37 if options.quick else 74
    cases = {
        "lattices": lambda: lattices(options.refine, size, 1),
        "pairs": lambda: all_pairs(options.refine, size * 7 // 10),
        "biases": lambda: biases(options.refine, 8 if options.quick else 25),
        "jitter": lambda: jittered(options.refine, size),
        "multislice": lambda: multislice(options.refine, options.labelled) if options.labelled else [],
        "speed": lambda: speed(options.refine, size),
    }
    rows = [row for name, run in cases.items() if options.only in (None, name) for row in run()]
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))
    sys.exit(0)
