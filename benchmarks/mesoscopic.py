"""Particles, domain walls and atomic steps: networks trained and judged on simulated images, each with its own truth.

    python benchmarks/mesoscopic.py [--only particles walls steps] [--steps N] [--seed 0] [--json FILE]
        [--pictures FOLDER] [--micrographs FILE ...]

Every network is trained on images of ``hs_deepatoms.simulated_set`` and judged on others of the same kinds (other
seeds):

* particles, ``Segmenter(["particle"]).fit(images, labels)`` and ``instances``, with their defaults: F1 of the objects
  whose intersection over union with a true one is above 0.5. Particles of which the rim of the image leaves fewer than
  30 pixels count neither way; those that the noise hides do.
* walls and steps, ``Segmenter(net="reshednet").lines``, a small network and 600 steps: F1 of the pixels of lines that
  lie within 2 pixels of the other ones, found and true.

``--pictures`` writes a figure per kind, and one per micrograph (files that HyperSpy reads; particles are looked for).
Asked for: 0.95, 0.9 and 0.9. On one core minutes for walls and steps, a quarter of an hour or more for particles.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

import hs_deepatoms
from hs_deepatoms.atoms.object_scores import line_hits, object_hits, total
from hs_deepatoms.simulate.particles import simulate_particles
from hs_deepatoms.simulate.walls import simulate_steps, simulate_walls

SIZE, TEST_SHAPE, CUT_OFF = 96, (160, 192), 30
LINES = {"net": "reshednet", "net_options": {"filters": 8, "layers": 1}}
LINES_FIT = {"steps": 600, "batch_size": 6, "learning_rate": 8e-3, "augmentation": hs_deepatoms.Augmentation()}
HOW = {"particles": ({}, {}), "walls": (LINES, LINES_FIT), "steps": (LINES, LINES_FIT)}
SIMULATORS = {"particles": simulate_particles, "walls": simulate_walls, "steps": simulate_steps}
ASKED = {"particles": 0.95, "walls": 0.9, "steps": 0.9}


def trained(kind: str, options) -> hs_deepatoms.Segmenter:
    """A segmenter of one kind."""
    net, how = HOW[kind]
    images, labels = hs_deepatoms.simulated_set(options.images, size=SIZE, kind=kind, seed=options.seed)
    segmenter = hs_deepatoms.Segmenter([kind[:-1]], **net, seed=options.seed)
    given = how if options.steps is None else {**how, "steps": options.steps}
    return segmenter.fit(images, labels, **given, show_progressbar=False)


def judged(kind: str, segmenter, options) -> tuple[dict, list]:
    """Scores on images that were not trained on, and these images with what was found."""
    hits, shown = [], []
    for k in range(options.tests):
        scene = SIMULATORS[kind](np.random.default_rng([options.seed, k, 99]), TEST_SHAPE)
        if kind == "particles":
            found = segmenter.instances(scene.image, smallest=CUT_OFF, show_progressbar=False)[0].data
            true = scene.objects
            hits.append(object_hits(found, true, smallest=CUT_OFF))
        else:
            found, true = segmenter.lines(scene.image, show_progressbar=False)[0].data, scene.line
            hits.append(line_hits(found > 0, true))
        shown.append((scene.image, true, found))
    sums = total(hits)
    scores = {"f1": sums.f1, "precision": sums.precision, "recall": sums.recall, "images": len(hits),
              "true": sums.true, "worst_image": min(h.f1 for h in hits)}  # fmt: skip
    return scores, shown


def draw(path: Path, rows: list, titles: tuple[str, ...]) -> None:
    """A figure of images, one row each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(titles), 2.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for k, (ax, array) in enumerate(zip(line, row, strict=True)):
            if k:
                ax.imshow(np.ma.masked_equal(array, 0) % 20, cmap="tab20", interpolation="nearest")
            else:
                ax.imshow(array, cmap="gray", vmin=np.percentile(array, 0.5), vmax=np.percentile(array, 99.5))
            ax.set_axis_off()
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    figure.savefig(path, dpi=80)


def on_micrographs(segmenter, files: list[str], folder: Path) -> None:
    """What the segmenter of particles finds in real images, as pictures."""
    import hyperspy.api as hs

    for file in files:
        signal = hs.load(file)
        for number, one in enumerate(signal if isinstance(signal, list) else [signal]):
            if one.axes_manager.signal_dimension != 2 or one.axes_manager.navigation_size > 1:
                continue
            found, table = segmenter.instances(one, show_progressbar=False)
            print(f"{Path(file).name} {number}: {table.sizes['atom']} objects")
            draw(folder / f"{Path(file).stem}_{number}.png", [(np.asarray(one.data, float), np.asarray(found.data))],
                 ("image", "found"))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(HOW), default=list(HOW))
    parser.add_argument("--images", type=int, default=64, help="training images per kind")
    parser.add_argument("--tests", type=int, default=20)
    parser.add_argument("--steps", type=int, help="of the training; by default 600, of particles what fit does")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--micrographs", nargs="*", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    results = {}
    for kind in options.only:
        begun = time.monotonic()
        segmenter = trained(kind, options)
        took = time.monotonic() - begun
        scores, shown = judged(kind, segmenter, options)
        results[kind] = {**scores, "asked": ASKED[kind], "seconds_of_training": round(took, 1)}
        print(f"{kind:10s} F1 {scores['f1']:.3f} (asked {ASKED[kind]}), precision {scores['precision']:.3f}, "
              f"recall {scores['recall']:.3f}, worst image {scores['worst_image']:.3f}; trained in {took:.0f} s",
              flush=True)  # fmt: skip
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            draw(options.pictures / f"{kind}.png", shown[:5], ("image", "truth", "found"))
            if kind == "particles":
                on_micrographs(segmenter, options.micrographs, options.pictures)
    if options.json:
        plain = {k: v if isinstance(v, int | list | str) or v is None else str(v) for k, v in vars(options).items()}
        Path(options.json).write_text(json.dumps({"options": plain, "results": results}, indent=1))


if __name__ == "__main__":
    main()
