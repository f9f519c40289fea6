"""Whether ``find_atoms`` finds the same atoms when an image is written, cut up or turned in another way.

    python benchmarks/invariance.py [--scenes square hexagonal single] [--strengths 8 40] [--seeds 5]
                                    [--changes plus-1000 uint8 ...] [--json FILE]

Images of 152 x 200 px with counting noise: lattices of two sublattices (heights 3 and 1), turned by any angle, and
single atoms on a film; column sigma 2.4 px, ``strength`` as in ``positions.py``. Every image is changed, atoms are
found in both without an argument, and those of the changed one are put back: ``lost`` and ``new`` have no partner
within a third of the spacing, ``moved`` are more than 0.05 px away from it (0.15 px where the type rounds the data),
``worst`` is the farthest, ``worst in errors`` the farthest in stated errors. Atoms within a spacing of an edge that was
cut are left out. ``of these near`` counts those whose own pixels the change took (within two column sigmas of a NaN row
or a hot pixel) or that lie within a spacing of the rim, where what is beyond the image decides.

Every one of them is of one kind: ``gone``, its centre is on no pixel that is left (on a lost row, or beyond the rim, by
what was found before or after); ``in doubt``, lost or new with a probability below 0.8, or moved by less than half its
stated error; ``plain``, the rest, which nothing excuses.

Every atom lost, new or moved is in the JSON file, with its image's scene, strength and seed.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from positions import KINDS, pairs
from scipy.ndimage import gaussian_filter

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.lattices import Crystal, lattice_points

SHAPE, SPACING, SIGMA = (152, 200), 12.0, 2.4
CLOSE, ROUNDED = 0.05, 0.15  # px
NAN_ROWS = (0, 71, 151)
DOUBT, SHARE = 0.8, 0.5  # probability, and share of the stated error, below which a difference is one of doubt


@dataclass
class Change:
    """How an image is changed, and how points of the changed one are put back."""

    apply: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray] = lambda points: points
    tolerance: float = CLOSE
    cut: tuple[float, float, float, float] = (0, SHAPE[0] - 1, 0, SHAPE[1] - 1)
    """What is left of the image: first and last row, first and last column."""
    touched: np.ndarray | None = None
    """Pixels (n, 2) that the change took; NaN is any."""
    stacked: bool = False


def full_range(image: np.ndarray, dtype: str) -> np.ndarray:
    """The image over all values of an integer type."""
    limits = np.iinfo(dtype)
    scaled = (image - image.min()) / np.ptp(image) * (limits.max - limits.min) + limits.min
    return np.round(scaled).astype(dtype)


def with_value(rows: np.ndarray, columns: np.ndarray, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Puts one value into some pixels."""

    def apply(image: np.ndarray) -> np.ndarray:
        changed = image.copy()
        changed[rows, columns] = value
        return changed

    return apply


def in_chunks(*chunks: int) -> Callable[[np.ndarray], np.ndarray]:
    """The image as a dask array."""

    def apply(image: np.ndarray):
        import dask.array as da

        return da.from_array(image, chunks=chunks)

    return apply


def values() -> dict[str, Change]:
    """Changes of the numbers."""
    return {
        "plus-1000": Change(lambda a: a + 1000),
        "times-1e-6": Change(lambda a: a * 1e-6),
        "times-1e6": Change(lambda a: a * 1e6),
        "float64": Change(lambda a: a.astype("f8")),
        "int16": Change(lambda a: full_range(a, "int16"), tolerance=ROUNDED),
        "uint8": Change(lambda a: full_range(a, "uint8"), tolerance=ROUNDED),
        "float16": Change(lambda a: a.astype("f2"), tolerance=ROUNDED),
        "dim-frame": Change(lambda a: np.stack([a, 0.1 * a]), stacked=True),
    }


def holes() -> dict[str, Change]:
    """A row without values, and ten hot pixels."""
    rng = np.random.default_rng(5)
    hot = np.stack([rng.integers(0, size, 10) for size in SHAPE], axis=1)
    made = {"hot-pixels": Change(with_value(*hot.T, 1e6), touched=hot.astype(float))}
    everywhere = np.arange(SHAPE[1])
    for row in NAN_ROWS:
        touched = np.array([[row, np.nan]])
        made[f"nan-row-{row}"] = Change(with_value(np.full_like(everywhere, row), everywhere, np.nan), touched=touched)
    return made


def places() -> dict[str, Change]:
    """Sizes, chunks, flips and transposes."""
    last_row, last_column = SHAPE[0] - 1, SHAPE[1] - 1
    return {
        "odd": Change(lambda a: a[:-1, :-1], cut=(0, last_row - 1, 0, last_column - 1)),
        "shifted": Change(lambda a: a[3:, 5:], lambda p: p + np.array([3, 5]), cut=(3, last_row, 5, last_column)),
        "narrow": Change(lambda a: a[:, :101], cut=(0, last_row, 0, 100)),
        "chunks-64": Change(in_chunks(64, 64)),
        "chunks-uneven": Change(in_chunks(152, 33)),
        "upside-down": Change(lambda a: a[::-1], lambda p: p * (-1, 1) + (last_row, 0)),
        "mirrored": Change(lambda a: a[:, ::-1], lambda p: p * (1, -1) + (0, last_column)),
        "transposed": Change(lambda a: np.ascontiguousarray(a.T), lambda p: p[:, ::-1]),
    }


def make_image(scene: str, strength: float, seed: int) -> np.ndarray:
    """Counts of a turned lattice, or of single atoms on a film."""
    rng = np.random.default_rng([seed, int(strength)])
    ground = np.ones(SHAPE)
    if scene == "single":
        y, x = (rng.uniform(4, size - 5, 60) for size in SHAPE)
        alone = [k for k in range(60) if np.hypot(y[:k] - y[k], x[:k] - x[k]).min(initial=99) > SPACING]
        y, x, height = y[alone], x[alone], rng.uniform(1, 3, len(alone))
        rough = gaussian_filter(rng.normal(size=SHAPE), 12)
        ground = ground + 0.2 * rough / rough.std()
    else:
        cell, basis = KINDS[scene]
        crystal = Crystal(cell, np.array(basis), np.array([3.0, 1.0]), scene).scaled()
        middle = (SHAPE[0] / 2 + rng.uniform(), SHAPE[1] / 2 + rng.uniform())
        y, x, species = lattice_points(crystal, SPACING, rng.uniform(0, np.pi / 2), middle, 2 * max(SHAPE))
        near = (y > -6) & (y < SHAPE[0] + 5) & (x > -6) & (x < SHAPE[1] + 5)
        y, x, height = y[near], x[near], (crystal.heights / crystal.heights.min())[species[near]]
    counts = (strength / SIGMA) ** 2 / np.pi
    return rng.poisson((draw_columns(SHAPE, y, x, height, SIGMA) + ground.clip(0.1)) * counts).astype(np.float32)


def find(image) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Points (n, 2), their errors and their probabilities of every frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = hs_deepatoms.find_atoms(image, show_progressbar=False)
    points = np.column_stack([table["y_px"].values, table["x_px"].values])
    errors = np.hypot(table["y_std"].values, table["x_std"].values)
    found = points, errors, table["probability"].values
    if np.ndim(image) == 2:
        return [found]
    frame = table["nav_0_index"].values
    return [tuple(values[frame == k] for values in found) for k in range(len(image))]


def near_change(points: np.ndarray, change: Change) -> np.ndarray:
    """Which points lost pixels of their own, or lie at the rim."""
    first_row, last_row, first_column, last_column = change.cut
    y, x = points.T
    near = np.minimum.reduce([y - first_row, last_row - y, x - first_column, last_column - x]) < SPACING
    if change.touched is not None:
        away = points[:, None] - change.touched[None]
        near |= (np.hypot(*np.nan_to_num(np.moveaxis(away, -1, 0))) < 2 * SIGMA).any(axis=1)
    return near


def gone(point: np.ndarray, change: Change) -> bool:
    """Whether the centre of an atom is on no pixel that is left."""
    first_row, last_row, first_column, last_column = change.cut
    y, x = point
    if change.touched is not None:
        away = np.abs(np.nan_to_num(point - change.touched))
        if (away <= 0.5).all(axis=1).any():
            return True
        lost = {row for row, column in change.touched if np.isnan(column)}  # whole rows: the rim is farther in
        first_row, last_row = first_row + (first_row in lost), last_row - (last_row in lost)
    return y < first_row - 0.5 or y > last_row + 0.5 or x < first_column - 0.5 or x > last_column + 0.5


def away_from_cut(points: np.ndarray, change: Change) -> np.ndarray:
    """Which points are a spacing away from what was cut off."""
    whole, keep = (0, SHAPE[0] - 1, 0, SHAPE[1] - 1), np.ones(len(points), bool)
    for k, (edge, uncut) in enumerate(zip(change.cut, whole, strict=True)):
        if edge != uncut:
            keep &= (points[:, k // 2] - edge) * (-1 if k % 2 else 1) >= SPACING
    return keep


def differences(base: tuple, changed: tuple, change: Change) -> list[dict]:
    """Atoms lost, new and moved; the farthest one first."""
    (before, *known), (after, *now) = base, changed
    after = change.back(after) if len(after) else after
    match = pairs(before, after, SPACING / 3)
    by = np.hypot(*(before[match[:, 0]] - after[match[:, 1]]).T)
    found = [_case("lost", before[k], None, k, known) for k in np.setdiff1d(np.arange(len(before)), match[:, 0])]
    found += [_case("new", after[k], None, k, now) for k in np.setdiff1d(np.arange(len(after)), match[:, 1])]
    for (i, j), distance in zip(match[by > change.tolerance], by[by > change.tolerance], strict=True):
        one = _case("moved", before[i], distance, i, known)
        found.append(one | {"gone": gone(before[i], change) or gone(after[j], change)})
    for one in found:
        place = np.array([one["y"], one["x"]])
        one["kind"] = "gone" if one.pop("gone", gone(place, change)) else "in doubt" if _doubted(one) else "plain"
        one["near"] = bool(near_change(place[None], change)[0])
    return [one for one in found if away_from_cut(np.array([[one["y"], one["x"]]]), change)[0]]


def _case(what: str, place: np.ndarray, by: float | None, k: int, told: list[np.ndarray]) -> dict:
    y, x, error, probability = (round(float(v), 4) for v in (*place, *(values[k] for values in told)))
    by = None if by is None else round(float(by), 4)
    return {"what": what, "y": y, "x": x, "by": by, "error": error, "probability": probability}


def _doubted(one: dict) -> bool:
    if one["by"] is None:
        return one["probability"] < DOUBT
    return one["by"] < SHARE * one["error"]


def compare(name: str, change: Change, images: dict) -> tuple[dict, list[dict]]:
    """One change over all images: totals, and the atoms that differ."""
    cases, atoms = [], 0
    for (scene, strength, seed), (image, base) in images.items():
        frames = find(change.apply(image))
        atoms += len(frames) * len(base[0])
        for frame, changed in enumerate(frames):
            where = {"change": name, "scene": scene, "strength": strength, "seed": seed, "frame": frame}
            cases += [where | one for one in differences(base, changed, change)]
    total = {what: sum(case["what"] == what for case in cases) for what in ("lost", "new", "moved")}
    total["of these near"] = sum(case["near"] for case in cases)
    total |= {kind: sum(case["kind"] == kind for case in cases) for kind in ("gone", "in doubt", "plain")}
    moved = [case for case in cases if case["what"] == "moved"]
    total["worst"] = max((case["by"] for case in moved), default=0.0)
    total["worst in errors"] = round(max((case["by"] / case["error"] for case in moved), default=0.0), 2)
    return {"atoms": atoms, **total}, cases


def main() -> None:
    changes = values() | holes() | places()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=[*KINDS, "single"], choices=[*KINDS, "single"])
    parser.add_argument("--strengths", nargs="+", type=float, default=[8.0, 40.0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--changes", nargs="+", default=list(changes), choices=list(changes))
    parser.add_argument("--json")
    options = parser.parse_args()
    begun, images = time.time(), {}
    for key in ((a, b, c) for a in options.scenes for b in options.strengths for c in range(options.seeds)):
        image = make_image(*key)
        images[key] = image, find(image)[0]
    results, cases = {}, []
    for name in options.changes:
        results[name], found = compare(name, changes[name], images)
        cases += found
        print(f"{name:14s} {results[name]}", flush=True)
    print(f"{sum(len(base[0]) for _, base in images.values())} atoms in {len(images)} images, "
          f"{time.time() - begun:.0f} s")  # fmt: skip
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"settings": vars(options), "changes": results, "cases": cases}, file, indent=1)


if __name__ == "__main__":
    main()
