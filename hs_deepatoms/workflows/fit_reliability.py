"""What the probabilities of ``find_atoms`` are worth: knots of ``atoms/reliability.py``, fitted on simulated images.

    python -m hs_deepatoms.workflows.fit_reliability MODEL [--seed 1 0] [--images 360 120] [--dark] [--write FILE]

prints the knots for ``pack``; with ``--write`` they go into a copy of the model file. ``--dark`` is for a model that
`find_atoms` takes for dark columns alone: only images of these count, and their contrast is given.

The whole of ``find_atoms`` runs on images of several kinds (crystals, bright and dark; single atoms; plain lattices
with empty sites at low dose; films and noise), and what it says is compared with the truth. Which columns are kept by
default does not change: the map rises, and the threshold goes through it too.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from hs_deepatoms.atoms.reliability import fitted_knots
from hs_deepatoms.methods.find_atoms import find_atoms
from hs_deepatoms.simulate.plain import simulate_lattice
from hs_deepatoms.simulate.scenes import simulate_scene

KINDS = ("any", "crystal", "dark", "single_atoms", "lattice", "nothing")
NOTHING = ("nothing", "film", "noisy_film", "few_counts", "fringes")
STRENGTHS = ((1.5, 3.5), (3.5, 5.5), (5.5, 8.0), (5.5, 13.0))  # of the weak columns of plain lattices
SIGMAS, SIDES = (1.0, 5.0), (128, 288)  # pixels
NEAR = 0.3  # of the distance of neighbours: a column this near to an atom is that atom
ALONE = 3.0  # column sigmas, where there are no neighbours
MARGIN = 6.0  # pixels at the rim, where nothing is counted
LEAST = 0.0501  # find_atoms wants a threshold above 0.05
TRUST = 0.8  # how far it is believed: on plain lattices, which may come more often, probabilities hold as they are
AT = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96, 0.99, 0.998)  # where the map has its knots


@dataclass(frozen=True)
class Judged:
    """Detections of one image away from its rim: probability (n,), and whether each is an atom of its own (n,)."""

    kind: str
    probability: np.ndarray
    right: np.ndarray


def judged(seed: int, number: int, *, model=None, threshold: float = LEAST, contrast: str = "auto") -> Judged | None:
    """What `find_atoms` says of one simulated image; None where it refuses to look at it."""
    from hs_deepatoms._core.errors import InvalidImageError

    kind = KINDS[number % len(KINDS)]
    image, y, x, sigma = simulated(np.random.default_rng([seed, number, 77]), kind, number // len(KINDS))
    try:
        atoms = find_atoms(image, model=model, threshold=threshold, contrast=contrast, show_progressbar=False)
    except InvalidImageError:  # not a single count
        return None
    found_y, found_x, p = (atoms[name].values.astype(float) for name in ("y_px", "x_px", "probability"))
    hit = right(found_y, found_x, p, y, x, radius_of(y, x, sigma))
    height, width = image.shape
    inside = (np.minimum(found_y, found_x) > MARGIN) & (found_y < height - 1 - MARGIN) & (found_x < width - 1 - MARGIN)
    return Judged(kind, p[inside], hit[inside])


def simulated(rng: np.random.Generator, kind: str, number: int):
    """An image of one kind, the positions of its atoms, and their sigma."""
    if kind == "lattice":
        weakest, strongest = STRENGTHS[number % len(STRENGTHS)]
        one = simulate_lattice(rng, weakest=weakest, strongest=strongest)
        return one.image, one.y, one.x, one.sigma
    side, sigma = int(rng.integers(*SIDES)), float(np.exp(rng.uniform(*np.log(SIGMAS))))
    named = {"any": None, "dark": "crystal", "nothing": NOTHING[number % len(NOTHING)]}.get(kind, kind)
    scene = simulate_scene(rng, (side, side + 16), sigma, kind=named, dark=kind == "dark")
    return scene.image.astype(np.float32), scene.y, scene.x, sigma


def radius_of(y: np.ndarray, x: np.ndarray, sigma: float) -> float:
    """How near a detection must be to an atom: a wider circle would be filled by chance where atoms are dense."""
    if len(y) < 2:
        return ALONE * sigma
    places = np.column_stack([y, x])
    return min(NEAR * float(np.median(cKDTree(places).query(places, 2)[0][:, 1])), ALONE * sigma)


def right(y, x, probability, true_y, true_x, radius: float) -> np.ndarray:
    """Whether each detection is an atom of its own, shape (n,); the more probable ones choose first."""
    out = np.zeros(len(y), bool)
    if not len(true_y) or not len(y):
        return out
    true, places = np.column_stack([true_y, true_x]), np.column_stack([y, x])
    near, taken = cKDTree(true).query_ball_point(places, radius), set()
    for k in np.argsort(-probability, kind="stable"):
        free = [j for j in near[k] if j not in taken]
        if free:
            taken.add(min(free, key=lambda j: float(np.hypot(*(true[j] - places[k])))))
            out[k] = True
    return out


def fit(parts: list[Judged]) -> tuple[list[float], list[float]]:
    """Knots of the map from said to true probabilities; every detection counts alike, as it does for whoever has it."""
    probability, hit = (np.concatenate([getattr(part, name) for part in parts]) for name in ("probability", "right"))
    said, true = fitted_knots(probability, hit, np.ones(len(hit)), AT)
    true = expit((1 - TRUST) * logit(said) + TRUST * logit(true))
    return said, [round(float(p), 4) for p in true]


def with_knots(model: Path, target: Path, knots) -> str:
    """A copy of a model file with other knots (none: probabilities as the detector and the crystal say them)."""
    from hs_deepatoms.modelfile.files import read_modules, save_modules

    modules, info = read_modules(model)
    parts = {name: (part["architecture"], part["config"], modules[name]) for name, part in info["modules"].items()}
    preprocessing = {k: v for k, v in info["preprocessing"].items() if k != "reliability"}
    if knots is not None:
        preprocessing["reliability"] = [list(k) for k in knots]
    return save_modules(target, parts, preprocessing=preprocessing, card=info["card"])


def all_judged(seed: int, images: int, *, model=None, threshold: float = LEAST, dark: bool = False) -> Iterator[Judged]:
    """Of so many images; with ``dark`` of those among them that have dark columns, which is then known."""
    contrast = "dark" if dark else "auto"
    for number in range(images):
        if dark and KINDS[number % len(KINDS)] != "dark":
            continue
        one = judged(seed, number, model=model, threshold=threshold, contrast=contrast)
        if one is not None:
            yield one


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 0])
    parser.add_argument("--images", type=int, nargs="+", default=[360, 120], help="so many of every seed")
    parser.add_argument("--dark", action="store_true", help="of images with dark columns alone")
    parser.add_argument("--write", type=Path, help="copy of the model with the knots")
    o = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        bare = Path(folder) / "bare.safetensors"
        with_knots(o.model, bare, None)
        sets = zip(o.seed, o.images, strict=True)
        knots = fit([part for seed, images in sets for part in all_judged(seed, images, model=bare, dark=o.dark)])
    for name, values in zip(("said", "true"), knots, strict=True):
        print(name, ", ".join(f"{value:.4f}" for value in values))
    if o.write is not None:
        print(with_knots(o.model, o.write, knots))


if __name__ == "__main__":
    main()
