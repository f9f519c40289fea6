"""What `rvae` finds of planted classes, angles and strains, and how fast, beside AtomAI and pyroVED.

    python benchmarks/latent.py [--seeds 5] [--patches 2000] [--strain 0.15] [--only planted speed ...] [--json FILE]

Patches of 28 x 28 pixels, three motifs without symmetry (a column and four neighbours, drawn anew for every seed), the
angle uniform over the full circle, shifts up to 2 pixels, one distance stretched by up to ``--strain``; white noise of
1/9 and 1/3 of the peak. Medians over the seeds of:

* ``angle``: median error in degrees, one offset per class removed (``angle bound``: what the Fisher information of pose
  and stretch together allows, as a median);
* ``knn``: accuracy of ten neighbours in the latents, cross-validated; ``ari``: of a Gaussian mixture of three;
* ``strain``: R2 of the stretch from the latents within a class, cross-validated (``strain bound``: as above);
* ``leak``: the largest R2 of cos, sin (m angle) from the latents within a class, m = 1 to 128.

``symmetric``: one motif of 2-, 3-, 4- and 6-fold symmetry each, angle modulo the symmetry. ``discrete``: three classes
of a discrete latent, accuracy after matching. ``labels``: ten labels per class at noise 1/3 beside nearest neighbours
on 24 turned copies. ``physics``: two phases (a lattice in two orientations, noise as high as its contrast), patches of
48 x 48 on a step-8 grid: share of right nodes, and distance of the found from the true boundary (nodes), by the latent
of a VAE, by that after a 7 x 7 median, and with the edge loss; and, as what patches of this size and noise can say at
all, by the Fourier coefficients of both lattices where these are known. ``speed``: images/s of training, one thread.
``peers``: the same patches, epochs (``--epochs``) and latents through ours, and through AtomAI's rVAE and pyroVED's
iVAE in the Pythons that the variables ATOMAI_PYTHON and PYROVED_PYTHON name, medians of ``--peer-seeds``; there also
``picture``, the share of the variance of the patches without their noise that is reproduced. ``memory``: resident
memory (MiB above the import) of ``rvae`` and of ``decompose_local`` (NMF) on ``--lazy`` patches of 32 x 32 that are
made when they are read, in processes of their own: the peak, and the largest in every quarter of the time, which shows
whether it grows.
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
from pathlib import Path

import numpy as np

SIDE, WIDTH, BATCH = 28, 1.6, 128
NOISES = {"noise 1/9": 1 / 9, "noise 1/3": 1 / 3}
HARMONICS = 128
PARTS = ("planted", "symmetric", "discrete", "labels", "physics", "speed", "peers", "memory")

PEER = """
import importlib.util, json, sys, time, types, warnings; warnings.simplefilter("ignore")
import numpy as np, torch
torch.set_num_threads(1)
if importlib.util.find_spec("torchvision") is None:  # a peer imports it to draw
    empty = types.ModuleType("torchvision.utils"); empty.make_grid = None
    sys.modules["torchvision"], sys.modules["torchvision.utils"] = types.ModuleType("torchvision"), empty
which, path, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.load(path)["x"]; bounds = x.min(), x.max(); x = (x - x.min()) / (x.max() - x.min())
if which == "atomai":
    import atomai
    model = atomai.models.rVAE(x.shape[1:], latent_dim=2)
    start = time.perf_counter()
    model.fit(x, training_cycles=epochs, batch_size=128, filename=path + ".model", rotation_prior=np.pi / 2)
    seconds = time.perf_counter() - start
    found = np.asarray(model.encode(x)[0])
    z = torch.from_numpy(found).float()
    coordinates = model.x_coord.expand(len(z), *model.x_coord.size())
    moved = (z[:, 1:3] * model.dx_prior).unsqueeze(1)
    with torch.no_grad():
        seen = model.decoder_net(atomai.utils.transform_coordinates(coordinates, z[:, 0], moved), z[:, 3:])
else:
    import pyroved
    model = pyroved.models.iVAE(x.shape[1:], latent_dim=2, invariances=["r", "t"])
    trainer = pyroved.trainers.SVItrainer(model)
    loader = pyroved.utils.init_dataloader(torch.tensor(x).float(), batch_size=128)
    start = time.perf_counter()
    for _ in range(epochs):
        trainer.step(loader)
    seconds = time.perf_counter() - start
    found = model.encode(torch.tensor(x).float())[0].numpy()
    angle, moved, scale, z = model.split_latent(torch.tensor(found))
    grid = model.grid.expand(len(z), *model.grid.shape)
    with torch.no_grad():
        place = pyroved.utils.transform_coordinates(grid, angle, (moved * model.t_prior).unsqueeze(1), scale)
        seen = model.decoder(place, z)
low, high = bounds
seen = np.asarray(seen).reshape(x.shape) * (high - low) + low
np.savez(path + ".found", angle=found[:, 0], z=found[:, -2:], picture=seen)
print("RATE", json.dumps(epochs * len(x) / seconds))
"""


MEMORY = """
import json, sys, threading, time, warnings; warnings.simplefilter("ignore")
import dask, dask.array as da, numpy as np
import hyperspy.api as hs, hs_deepatoms
dask.config.set(scheduler="synchronous")
which, n = sys.argv[1], int(sys.argv[2])
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
before, seen, done = resident(), [], threading.Event()
def watch():
    while not done.wait(0.1):
        seen.append((time.perf_counter(), resident()))
y, x = np.mgrid[-15.5:16, -15.5:16]
def load(block_info=None):
    (start, stop), *_ = block_info[None]["array-location"]
    rng = np.random.default_rng(start)
    angle = rng.uniform(-np.pi, np.pi, (stop - start, 1, 1))
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.exp(-(y**2 + x**2) / 8) + 0.7 * np.exp(-((y - 8 * sin) ** 2 + (x - 8 * cos) ** 2) / 8)
    return (out + 0.1 * rng.standard_normal(out.shape)).astype(np.float32)
chunks = da.core.normalize_chunks((4096, 32, 32), (n, 32, 32), dtype=np.float32)
data = da.map_blocks(load, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
stack = hs.signals.Signal2D(data).as_lazy(); stack.set_signal_type("atom_patches")
thread = threading.Thread(target=watch); thread.start(); start = time.perf_counter()
if which == "rvae":
    stack.rvae(latent_dim=1, steps=60, show_progressbar=False)
else:
    stack.decompose_local(method="nmf", n_components=3)
done.set(); thread.join()
at, size = np.array(seen).T
part = np.minimum((4 * (at - at[0]) / (at[-1] - at[0])).astype(int), 3)
quarters = [round(float(size[part == k].max() - before)) for k in range(4)]
print("FOUND", json.dumps({"peak": max(quarters), "quarters": quarters, "seconds": round(time.perf_counter() - start)}))
"""


def motifs(rng, classes: int = 3, neighbours: int = 4) -> list:
    """Columns (y, x, height) of motifs without symmetry that are unlike each other in every orientation."""
    made: list = []
    turns = np.radians(np.arange(0, 360, 5))
    while len(made) < classes:
        angle, radius = rng.uniform(0, 2 * np.pi, neighbours), rng.uniform(4.5, 8.5, neighbours)
        y, x = np.append(radius * np.sin(angle), 0), np.append(radius * np.cos(angle), 0)
        height = np.append(rng.uniform(0.5, 1, neighbours), 1.0)
        distance = np.hypot(y[:, None] - y, x[:, None] - x) + 99 * np.eye(y.size)
        new = picture((y, x, height), 0)
        own = max(match(new, picture((y, x, height), t)) for t in turns[8:65])
        others = (match(new, picture(one, t)) for one in made for t in turns)
        if distance.min() > 3.6 and own < 0.8 and all(one < 0.8 for one in others):
            made.append((y, x, height))
    return made


def symmetric_motif(fold: int) -> tuple:
    """A column with ``fold`` equal neighbours at two distances."""
    at = np.arange(fold) * 2 * np.pi / fold
    angle, radius = np.append(at, at + 0.6), np.repeat([6.5, 9.5], fold)
    y, x = np.append(radius * np.sin(angle), 0), np.append(radius * np.cos(angle), 0)
    return y, x, np.append(np.repeat([0.9, 0.6], fold), 1.0)


def picture(motif, angle: float, shift=(0.0, 0.0), strain: float = 0.0) -> np.ndarray:
    """A motif, stretched along its own x, turned and shifted."""
    y, x, height = motif
    x = x * (1 + strain)
    cos, sin = np.cos(angle), np.sin(angle)
    rows, columns = y * cos + x * sin + shift[0], x * cos - y * sin + shift[1]
    grid = np.arange(SIDE) - (SIDE - 1) / 2
    down, across = (np.exp(-((grid - at[:, None]) ** 2) / 2 / WIDTH**2) for at in (rows, columns))
    return np.einsum("k,ky,kx->yx", height, down, across)


def match(one: np.ndarray, two: np.ndarray) -> float:
    """Normalised correlation."""
    one, two = one - one.mean(), two - two.mean()
    return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def planted(seed: int, n: int, noise: float, strain: float, kinds: list | None = None) -> dict:
    """Patches (n, 28, 28) and what is in them."""
    rng = np.random.default_rng([seed, 77])
    kinds = motifs(rng) if kinds is None else kinds
    which, angle = rng.integers(0, len(kinds), n), rng.uniform(-np.pi, np.pi, n)
    shift, stretch = rng.uniform(-2, 2, (n, 2)), rng.uniform(-strain, strain, n)
    clean = np.stack([picture(kinds[k], *rest) for k, *rest in zip(which, angle, shift, stretch, strict=True)])
    noisy = (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)
    return {"x": noisy, "clean": clean, "class": which, "angle": angle, "strain": stretch, "kinds": kinds}


def learn(data: dict, seed: int, **options):
    """The tree of `rvae`."""
    import hyperspy.api as hs

    import hs_deepatoms  # noqa: F401

    stack = hs.signals.Signal2D(data["x"])
    stack.set_signal_type("atom_patches")
    return stack.rvae(latent_dim=2, max_shift=2, seed=seed, show_progressbar=False, **options)


def measured(z: np.ndarray, angle: np.ndarray, data: dict) -> dict:
    """The figures of one run."""
    from sklearn.metrics import adjusted_rand_score
    from sklearn.mixture import GaussianMixture
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    which = data["class"]
    parts = [which == k for k in np.unique(which)]
    mixture = GaussianMixture(len(parts), n_init=10, random_state=0).fit(z)
    turns = np.arange(1, HARMONICS + 1) * data["angle"][:, None]
    waves = np.concatenate([np.cos(turns), np.sin(turns)], 1)
    leak = np.array([predicted(z[part], waves[part]) for part in parts])
    return {
        "angle": float(np.median(angle_errors(angle, data))),
        "angle off by 20": float((angle_errors(angle, data) > 20).mean()),
        "knn": float(cross_val_score(KNeighborsClassifier(10), z, which, cv=5).mean()),
        "ari": float(adjusted_rand_score(which, mixture.predict(z))),
        "strain": float(np.mean([predicted(z[part], data["strain"][part, None])[0] for part in parts])),
        "leak": float(max(leak.max(), 0.0)),
    }


def angle_errors(angle: np.ndarray, data: dict, fold: int = 1) -> np.ndarray:
    """Degrees, one offset per class removed, modulo the symmetry."""
    errors = []
    for k in np.unique(data["class"]):
        part = data["class"] == k
        turn = np.exp(1j * fold * (angle[part] - data["angle"][part]))
        errors.append(np.abs(np.angle(turn / turn.mean())) / fold)
    return np.degrees(np.concatenate(errors))


def predicted(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Cross-validated R2 of every column of the target from the latents: the better of neighbours and polynomials."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    folds = KFold(5, shuffle=True, random_state=0)
    models = (KNeighborsRegressor(25), make_pipeline(StandardScaler(), PolynomialFeatures(3), Ridge(1e-3)))
    total = ((target - target.mean(0)) ** 2).sum(0)
    guesses = [cross_val_predict(model, z, target, cv=folds).reshape(target.shape) for model in models]
    found = [1 - ((guess - target) ** 2).sum(0) / total for guess in guesses]
    return np.max(found, axis=0)


def bounds(data: dict, noise: float, strain: float) -> dict:
    """What the Fisher information of angle, shift and stretch allows, mean over the classes."""
    angles, shares = [], []
    for motif in data["kinds"]:
        h = 1e-3
        ends = [((motif, h), (motif, -h)), ((motif, 0, (h, 0)), (motif, 0, (-h, 0))),
                ((motif, 0, (0, h)), (motif, 0, (0, -h))),
                ((motif, 0, (0, 0), h), (motif, 0, (0, 0), -h))]  # fmt: skip
        slopes = np.array([(picture(*a) - picture(*b)).ravel() / 2 / h for a, b in ends])
        covariance = np.linalg.inv(slopes @ slopes.T / noise**2)
        angles.append(0.6745 * np.degrees(np.sqrt(covariance[0, 0])))
        shares.append(1 / (1 + covariance[3, 3] / (strain**2 / 3)))
    return {"angle bound": float(np.mean(angles)), "strain bound": float(np.mean(shares))}


def planted_part(options) -> dict:
    """Three motifs without symmetry."""
    table = {}
    for name, noise in NOISES.items():
        runs = []
        for seed in range(options.first, options.first + options.seeds):
            data = planted(seed, options.patches, noise, options.strain)
            start = time.perf_counter()
            tree = learn(data, seed, steps=options.steps)
            seconds = time.perf_counter() - start
            found = measured(tree["latent/z"].values, tree["latent/angle"].values, data)
            runs.append({**found, **bounds(data, noise, options.strain), "seconds": seconds})
            print(name, seed, {key: round(value, 3) for key, value in runs[-1].items()}, file=sys.stderr)
        table[name] = {key: round(float(np.median([run[key] for run in runs])), 4) for key in runs[0]}
    return table


def symmetric_part(options) -> dict:
    """Motifs with a rotation axis."""
    table = {}
    for fold in (2, 3, 4, 6):
        errors = []
        for seed in range(options.first, options.first + options.seeds):
            data = planted(seed, options.patches // 2, 1 / 9, 0.0, [symmetric_motif(fold)])
            angle = learn(data, seed, steps=options.steps)["latent/angle"].values
            errors.append(float(np.median(angle_errors(angle, data, fold))))
            print("symmetric", fold, seed, round(errors[-1], 3), file=sys.stderr)
        table[f"{fold}-fold"] = round(float(np.median(errors)), 3)
    return table


def discrete_part(options) -> dict:
    """A discrete latent of three classes."""
    from scipy.optimize import linear_sum_assignment

    shares = []
    for seed in range(options.first, options.first + options.seeds):
        data = planted(seed, options.patches, 1 / 9, options.strain)
        tree = learn(data, seed, discrete=3, restarts=options.restarts, steps=options.steps)
        table = np.zeros((3, 3))
        np.add.at(table, (data["class"], tree["latent/class"].values), 1)
        shares.append(round(float(table[linear_sum_assignment(-table)].sum() / table.sum()), 4))
        print("discrete", seed, shares[-1], file=sys.stderr)
    return {"accuracy": shares, "seeds at 0.95": int(np.sum(np.array(shares) >= 0.95))}


def labels_part(options) -> dict:
    """Ten labels per class, beside nearest neighbours on turned copies of the labelled patches."""
    from scipy.ndimage import rotate
    from sklearn.neighbors import KNeighborsClassifier

    rows = []
    for seed in range(options.first, options.first + options.seeds):
        data = planted(seed, options.patches, 1 / 3, options.strain)
        known = np.concatenate([np.flatnonzero(data["class"] == k)[:10] for k in range(3)])
        given = np.full(len(data["x"]), -1)
        given[known] = data["class"][known]
        rest = np.setdiff1d(np.arange(len(given)), known)
        tree = learn(data, seed, labels=given, steps=options.steps)
        ours = (tree["latent/class"].values == data["class"])[rest].mean()
        copies = [rotate(data["x"][known], turn, (1, 2), reshape=False, mode="nearest")
                  for turn in np.arange(24) * 15.0]  # fmt: skip
        flat = np.concatenate(copies).reshape(24 * known.size, -1)
        nearest = KNeighborsClassifier(1).fit(flat, np.tile(data["class"][known], 24))
        theirs = (nearest.predict(data["x"][rest].reshape(rest.size, -1)) == data["class"][rest]).mean()
        rows.append((float(ours), float(theirs)))
        print("labels", seed, rows[-1], file=sys.stderr)
    ours, theirs = np.median(rows, axis=0)
    return {"semi-supervised": round(ours, 4), "neighbours": round(theirs, 4)}


def physics_part(options) -> dict:
    """Two phases, with and without a loss of the latent's map."""
    from scipy.ndimage import median_filter

    rows = []
    for seed in range(options.first, options.first + options.seeds):
        image, truth = two_phases(seed)
        plain, smooth = (phase_tree(image, seed, loss) for loss in (None, "edges"))
        maps = [tree["latent/z"].values[:, 0].reshape(truth.shape) for tree in (plain, smooth)]
        maps.insert(1, median_filter(maps[0], 7, mode="nearest"))
        maps.append(informed_map(image))
        row = {}
        for name, one in zip(("without", "median", "with", "informed"), maps, strict=True):
            share, distance = phase_errors(one, truth)
            row |= {f"{name}: right": share, f"{name}: boundary": distance}
        rows.append({**row, "std of z": float(maps[2].std())})
        print("physics", seed, {key: round(value, 3) for key, value in rows[-1].items()}, file=sys.stderr)
    return {key: round(float(np.median([row[key] for row in rows])), 3) for key in rows[0]}


def two_phases(seed: int, size: int = 340, period: float = 9.3) -> tuple[np.ndarray, np.ndarray]:
    """An image, and the phase of every node of a step-8 grid of 48 x 48 patches."""
    rng = np.random.default_rng([seed, 78])
    y, x = np.mgrid[:size, :size]
    edge = size / 2 + 40 * np.sin(2 * np.pi * (y / size + rng.random()))
    phase = (x > edge).astype(int)
    waves = []
    for turn in (0.0, np.radians(20)):
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        waves.append(0.25 * (2 + np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period)))
    image = np.where(phase, *waves[::-1]) + rng.standard_normal(phase.shape)
    nodes = np.arange(24, size - 23, 8)
    return image.astype(np.float32), phase[np.ix_(nodes, nodes)]


def informed_map(image: np.ndarray, period: float = 9.3) -> np.ndarray:
    """By how much each patch has more of the one lattice than of the other; both are known."""
    from scipy.ndimage import uniform_filter

    size, there = len(image), []
    y, x = np.mgrid[:size, :size]
    for turn in (0.0, np.radians(20)):
        for along_y, along_x in ((np.sin(turn), np.cos(turn)), (np.cos(turn), -np.sin(turn))):
            wave = (image - image.mean()) * np.exp(-2j * np.pi * (along_y * y + along_x * x) / period)
            there.append(np.hypot(uniform_filter(wave.real, 48), uniform_filter(wave.imag, 48)))
    nodes = np.arange(24, size - 23, 8)
    return (there[2] + there[3] - there[0] - there[1])[np.ix_(nodes, nodes)]


def phase_tree(image: np.ndarray, seed: int, loss):
    """The tree of a VAE of one latent."""
    import hs_deepatoms

    return hs_deepatoms.vae(image, grid=8, window=48, latent_dim=1, invariances=["shift"], max_shift=6, steps=300,
                            physics=loss, physics_weight=0.3, seed=seed, batch_size=256,
                            show_progressbar=False)  # fmt: skip


def phase_errors(values: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Share of right nodes, and mean distance of the found boundary from the true one and back, nodes."""
    from scipy.ndimage import distance_transform_edt

    from hs_deepatoms.latent.segmentation import phases

    found = phases(values.astype(float), denoise=None, least=0.0)
    found = found if (found == truth).mean() >= 0.5 else 1 - found
    edges = [_boundary(one) for one in (found, truth)]
    if not edges[0].any():
        return float((found == truth).mean()), float("inf")
    there, back = (distance_transform_edt(~b)[a].mean() for a, b in (edges, edges[::-1]))
    return float((found == truth).mean()), float(there + back) / 2


def _boundary(labels: np.ndarray) -> np.ndarray:
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    return edge


def training_rate(data: dict, steps: int = 300) -> float:
    """Images/s of training alone, without what is done once."""
    times = []
    for n in (20, 20 + steps):
        start = time.perf_counter()
        learn(data, 0, steps=n, batch_size=BATCH)
        times.append(time.perf_counter() - start)
    return steps * BATCH / (times[1] - times[0])


def speed_part(options) -> dict:
    """Images/s, the peers' where there are any."""
    data = planted(0, 1000, 1 / 9, options.strain)
    table = {"ours, training": training_rate(data)}
    start = time.perf_counter()
    tree = learn(data, 0, steps=400, batch_size=BATCH)
    table["ours, with averages before and encoding after"] = 400 * BATCH / (time.perf_counter() - start)
    tree.deepatoms.encode(_stack(data))  # imports
    start = time.perf_counter()
    tree.deepatoms.encode(_stack(data))
    table["ours, encoding"] = len(data["x"]) / (time.perf_counter() - start)
    for which in ("atomai", "pyroved"):
        found = peer(which, data, 2)
        if found is not None:
            table[which] = found[1]
            for ours in list(table)[:2]:
                table[f"{ours} / {which}"] = table[ours] / found[1]
    return {key: round(value, 1) for key, value in table.items()}


def _stack(data: dict):
    import hyperspy.api as hs

    stack = hs.signals.Signal2D(data["x"])
    stack.set_signal_type("atom_patches")
    return stack


def memory_part(options) -> dict:
    """Peak resident memory above the import, MiB (Linux)."""
    table = {}
    for which in ("nmf", "rvae"):
        command = [sys.executable, "-c", MEMORY, which, str(options.lazy)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        found = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
        table[f"{which}, {options.lazy} patches"] = (
            json.loads(found[0].removeprefix("FOUND ")) if found else done.stderr.strip().splitlines()[-1:]
        )
    return table


def peers_part(options) -> dict:
    """The same patches, epochs and latents."""
    runs: dict[str, list] = {}
    for seed in range(options.first, options.first + options.peer_seeds):
        for name, noise in NOISES.items():
            for who, found in peer_runs(planted(seed, options.patches, noise, options.strain), seed, options).items():
                runs.setdefault(f"{name}, {who}", []).append(found)
                print(name, seed, who, {key: round(value, 3) for key, value in found.items()}, file=sys.stderr)
    return {key: {k: round(float(np.median([one[k] for one in some])), 3) for k in some[0]}
            for key, some in runs.items()}  # fmt: skip


def peer_runs(data: dict, seed: int, options) -> dict[str, dict]:
    """The figures of ours and of every peer that is there."""
    tree = learn(data, seed, steps=options.epochs * options.patches // BATCH, batch_size=BATCH)
    table = {"ours": measured(tree["latent/z"].values, tree["latent/angle"].values, data)}
    table["ours"]["picture"] = reproduced(tree.deepatoms.reconstruct().values, data)
    for which in ("atomai", "pyroved"):
        found = peer(which, data, options.epochs)
        if found is not None:
            angle, z = found[0]["angle"], found[0]["z"]
            both = [measured(z, sign * angle, data) for sign in (1, -1)]  # the sign of the angle is a convention
            table[which] = min(both, key=lambda one: one["angle"])
            table[which]["picture"] = reproduced(found[0]["picture"], data)
    return table


def reproduced(pictures: np.ndarray, data: dict) -> float:
    """Share of the variance of the patches without their noise."""
    return float(1 - ((pictures - data["clean"]) ** 2).mean() / data["clean"].var())


def peer(which: str, data: dict, epochs: int):
    """Angle and latents of a peer and its images/s; None where it is not there."""
    python = os.environ.get(f"{which.upper()}_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "patches.npz")
        np.savez(path, x=data["x"])
        command = [python, "-c", PEER, which, path, str(epochs)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
        rate = [line for line in done.stdout.splitlines() if line.startswith("RATE")]
        if done.returncode or not rate:
            print(f"{which}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        with np.load(f"{path}.found.npz") as found:
            return dict(found), json.loads(rate[0].removeprefix("RATE "))


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--patches", type=int, default=2000)
    parser.add_argument("--strain", type=float, default=0.15)
    parser.add_argument("--lazy", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--steps", type=int, help="batches of each training with planted motifs; as rvae by default")
    parser.add_argument("--peer-seeds", type=int, default=1)
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=["planted", "speed"])
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    figures = {part: globals()[f"{part}_part"](options) for part in options.only}
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
