"""What `decompose_local` finds of what was planted, and what millions of lazy patches cost.

    python benchmarks/decompose.py [--memory] [--patches 2000000] [--cdte FOLDER] [--json FILE]

Planted modes and classes: samples of 80 values with noise, medians over five seeds, in memory and batch by batch.
Rotation: correlation of the scores of an image with those of the same scene turned by 25 degrees.
``--memory``: minibatch NMF of 32 x 32 patches of a lazy stack that is made when a chunk is loaded, in a fresh process;
peak resident memory above that after ``import hyperspy.api, hs_deepatoms``. Linux and macOS (``resource``).
``--cdte``: a folder with the patches of github.com/RAW-Ayyubi/defect-classification-in-stem-images, class in the file
name (Bulk_12.tif): adjusted Rand index of every method against these classes. Nothing is trained with the classes. The
patches overlap: groups are those whose best normalised cross-correlation is above 0.9, and ``groups`` says of how many
each class consists. Where a class is one group, the index measures whether one scene is told from others.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

FRAME, ROWS, WINDOW = 2048, 256, 32


def peak() -> float:
    """Peak resident memory of this process so far, in MiB; of its own: ``ru_maxrss`` begins with that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 1024)


def planted() -> dict:
    """Cosine of components and correlation of scores with what was planted; ARI of classes."""
    from sklearn.metrics import adjusted_rand_score

    from hs_deepatoms.decompose.fit import fit_samples
    from hs_deepatoms.decompose.samples import survey_samples

    table = {}
    for method in ("pca", "ica", "nmf", "gmm"):
        for incremental in (False, True):
            figures = []
            for seed in range(5):
                rows, truth, scores = modes(method, seed)
                samples = survey_samples(lambda a, b, rows=rows: rows[a:b], *rows.shape, incremental=incremental)
                found = fit_samples(samples, method, None if method == "gmm" else 3, seed)
                if method == "gmm":
                    figures.append((adjusted_rand_score(scores, found.classes), found.scores.shape[1]))
                else:
                    figures.append((overlap(found.components, truth), overlap(*centred(found.scores, scores))))
            names = ("ARI", "classes") if method == "gmm" else ("cosine", "score correlation")
            table[f"{method}{' by batches' if incremental else ''}"] = dict(
                zip(names, np.round(np.median(figures, axis=0), 4).tolist(), strict=True)
            )
    return table


def modes(method: str, seed: int, n: int = 900, f: int = 80, k: int = 3):
    """Rows (n, f), the modes (k, f) in them, and their scores (n, k) or classes (n,)."""
    rng = np.random.default_rng([seed, n])
    truth = np.linalg.qr(rng.standard_normal((f, k)))[0].T
    if method == "pca":
        scores = rng.standard_normal((n, k)) * [3.0, 2.0, 1.0]
    elif method == "ica":
        scores = rng.choice([-1.0, 1.0], (n, k)) + 0.2 * rng.standard_normal((n, k))
    elif method == "nmf":
        truth = (
            np.abs(truth)
            * (np.arange(f) // 20 - np.arange(k)[:, None] >= 0)
            * (np.arange(f) // 20 - np.arange(k)[:, None] < 2)
        )
        scores = rng.gamma(1.0, 1.0, (n, k)) * (rng.random((n, k)) < 0.6)
    else:
        classes = rng.choice(k, n, p=[0.5, 0.3, 0.2])
        return 4 * truth[classes] + 0.3 * rng.standard_normal((n, f)), truth, classes
    return scores @ truth + 0.03 * rng.standard_normal((n, f)), truth, scores


def centred(*columns):
    """Columns as rows of mean 0."""
    return [(one - one.mean(axis=0)).T for one in columns]


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """The least |cosine| of the true rows with the found rows that are theirs."""
    from scipy.optimize import linear_sum_assignment

    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, truth)]
    table = np.abs(unit[0] @ unit[1].T)
    return float(table[linear_sum_assignment(-table)].min())


def turned(descriptor: str, angle: float = np.radians(25)) -> float:
    """Least correlation of the scores of a scene with those of the scene turned by an angle."""
    import hyperspy.api as hs

    import hs_deepatoms

    heights = np.random.default_rng(0).random((130, 2)) * 2
    rows, columns = (16.0 * one.ravel() for one in np.mgrid[-5:5, -6:7])
    found = []
    tree = None
    for by in (0.0, angle):
        y = 150 + rows * np.cos(by) + columns * np.sin(by)
        x = 155 + columns * np.cos(by) - rows * np.sin(by)
        image = np.zeros((300, 310))
        for k, direction in enumerate((0.3 - by, 2.0 - by)):
            at = y + 4 * np.sin(direction), x + 4 * np.cos(direction)
            across = np.exp(-((np.arange(300)[:, None] - at[0]) ** 2) / 3.4)
            image += (across * heights[:, k]) @ np.exp(-((np.arange(310)[:, None] - at[1]) ** 2) / 3.4).T
        s = hs.signals.Signal2D(image)
        atoms = hs_deepatoms.positions(y, x, signal=s)
        if tree is None:
            tree = s.decompose_local(atoms, method="pca", n_components=2, window=17, descriptor=descriptor)
        scores = tree.deepatoms.encode(s, atoms)["scores"].values
        found.append(scores[np.argsort(np.lexsort((x, y)))])
    return round(float(min(np.corrcoef(found[0][:, k], found[1][:, k])[0, 1] for k in range(2))), 4)


def memory_case(patches: int) -> dict:
    """Run in a fresh process: NMF of lazy patches."""
    import dask.array as da
    import hyperspy.api as hs

    import hs_deepatoms  # noqa: F401

    before = peak()
    per_frame = ((FRAME - WINDOW) // 8 + 1) ** 2
    frames = max(1, round(patches / per_frame))
    chunks = ((1,) * frames, (ROWS,) * (FRAME // ROWS), FRAME)
    stack = da.map_blocks(frame_of, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0)))
    s = hs.signals.Signal2D(stack).as_lazy()
    start = time.perf_counter()
    tree = s.decompose_local(grid=8, window=WINDOW, n_components=4)
    seconds = time.perf_counter() - start
    return {"patches": tree["scores"].sizes["atom"], "MiB above import": round(peak() - before),
            "seconds": round(seconds, 1), "scores": bool(tree["scores/scores"].notnull().all())}  # fmt: skip


def frame_of(block_info=None) -> np.ndarray:
    """Part of a frame of two lattices in noise."""
    number, strip, _ = block_info[None]["chunk-location"]
    rows, columns = np.arange(strip * ROWS, (strip + 1) * ROWS)[:, None], np.arange(FRAME)
    wave = np.cos(rows * 2 * np.pi / 8) + np.cos(columns * 2 * np.pi / 8)
    other = np.cos((rows + columns) * 2 * np.pi / 10) + np.cos((rows - columns) * 2 * np.pi / 10)
    noise = np.random.default_rng([number, strip]).standard_normal((ROWS, FRAME), dtype=np.float32)
    return (np.where(columns < FRAME // 2, wave, other) + 2 + 0.3 * noise).astype(np.float32)[None]


def cdte(folder: str) -> dict:
    """Adjusted Rand index of every method against the class names."""
    import hyperspy.api as hs
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    import hs_deepatoms  # noqa: F401

    patches, names = read_patches(Path(folder))
    groups = overlapping(patches)
    classes = np.unique(names, return_inverse=True)[1]
    stack = hs.signals.Signal2D(patches)
    stack.set_signal_type("atom_patches")
    k = int(classes.max()) + 1
    number = {str(name): len(np.unique(groups[names == name])) for name in np.unique(names)}
    table: dict = {"patches": len(patches), "classes": k, "groups": number}
    for descriptor in (None, "zernike", "polar_fourier", "fft"):
        for method in ("gmm", "kmeans", "hdbscan", "pca", "nmf"):
            n = None if method == "hdbscan" else k
            tree = stack.decompose_local(method=method, n_components=n, descriptor=descriptor, normalisation="zscore")
            found = tree["scores"]["class"].values if "class" in tree["scores"] else None
            if found is None:
                scores = tree["scores/scores"].values
                found = KMeans(k, n_init=10, random_state=0).fit_predict(scores / scores.std(axis=0))
            table[f"{descriptor or 'pixels'} {method}"] = round(adjusted_rand_score(classes, found), 3)
    return table


def read_patches(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Patches (n, h, w) and the class of each, from file names."""
    from skimage.io import imread

    files = sorted(folder.rglob("*_[0-9]*.tif"))
    if not files:
        sys.exit(f"no patches such as Bulk_12.tif in {folder}")
    images = [imread(file) for file in files]
    images = [one[..., :3].mean(-1) if one.ndim == 3 else one for one in images]
    return np.stack(images).astype(np.float32), np.array([file.stem.rsplit("_", 1)[0] for file in files])


def overlapping(patches: np.ndarray, least: float = 0.9) -> np.ndarray:
    """Group (n,) of every patch: those that another one, shifted, correlates with."""
    from scipy.sparse.csgraph import connected_components

    flat = patches - patches.mean((1, 2), keepdims=True)
    flat /= np.sqrt((flat**2).sum((1, 2), keepdims=True))
    spectra = np.fft.rfft2(flat)
    linked = np.zeros((len(flat),) * 2, bool)
    for k, one in enumerate(spectra):
        linked[k] = np.fft.irfft2(spectra * one.conj(), s=flat.shape[1:]).max((1, 2)) > least
    return connected_components(linked)[1]


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--memory-child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--patches", type=int, default=2_000_000)
    parser.add_argument("--cdte", metavar="FOLDER")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.memory_child:
        print(json.dumps(memory_case(options.patches)))
        return
    figures: dict = {"planted": planted()}
    figures["turned by 25 degrees"] = {one: turned(one) for one in ("zernike", "polar_fourier")}
    if options.memory:
        command = [sys.executable, __file__, "--memory-child", "--patches", str(options.patches)]
        figures["memory"] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if options.cdte:
        figures["cdte"] = cdte(options.cdte)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
