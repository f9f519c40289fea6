"""Frames of stacks that are not like the others, beside what the same frames give alone.

    python benchmarks/stacks.py [--seeds 0 1 2] [--kinds film oblong ...] [--peaks 30 200] [--json FILE]

Stacks of three frames of 250 x 236 pixels: two crystals and one frame of another kind, such as a faint film, nothing
but noise, the same crystal at a tenth of the intensity, a constant, a few single atoms, columns that are long, narrow
or wide. Widths, spacings, directions, aspects of 1.4 to 2, grain and strength of films and the place of the odd frame
are drawn at random. Printed are F1 and false atoms of the odd frame and of the worst of the others, in the stack and
alone; a column is right within 2.5 px of one that is there, 6 px or more from the rim.
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from hs_deepatoms import find_atoms

SHAPE, GROUND, MARGIN, NEAR = (250, 236), 20.0, 6, 2.5  # the last two in pixels
NO_ATOMS = (np.empty(0), np.empty(0))


def crystal(rng, peak, sigma=2.4, spacing=13.0, turn=0.3, level=1.0, long=None):
    """Counts of a square lattice with a twentieth of the sites empty, and its columns (y, x)."""
    k = np.mgrid[-40:41, -40:41].reshape(2, -1)
    axes = spacing * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places = axes @ k + np.array(SHAPE)[:, None] / 2
    places = places + rng.normal(0, 0.25, places.shape)
    inside = (places > -9).all(0) & (places[0] < SHAPE[0] + 9) & (places[1] < SHAPE[1] + 9)
    y, x = places[:, inside & (rng.uniform(size=inside.shape) > 0.05)]
    heights = rng.choice([1.0, 0.7], len(y))
    expected = level * (GROUND + peak * drawn(y, x, heights, long or (sigma, sigma)))
    return rng.poisson(expected).astype(np.float32), (y, x)


def drawn(y, x, heights, sigmas, angle=0.6):
    """Gaussians of these widths (along, across)."""
    out, reach = np.zeros(SHAPE), int(5 * max(sigmas)) + 1
    for a, b, h in zip(y, x, heights, strict=True):
        spans = zip((a, b), SHAPE, strict=True)
        rows, columns = (np.arange(max(0, int(p) - reach), min(n, int(p) + reach + 1)) for p, n in spans)
        if len(rows) and len(columns):
            dy, dx = rows[:, None] - a, columns - b
            along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
            out[np.ix_(rows, columns)] += h * np.exp(-0.5 * ((along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2))
    return out


def film(rng, peak, grain=1.6, rough=0.12):
    """A film whose grain is about as fine as columns and a fraction as high."""
    texture = gaussian_filter(rng.standard_normal(SHAPE), grain)
    expected = GROUND + peak * rough * (1 + texture / texture.std())
    return rng.poisson(np.clip(expected, 0, None)).astype(np.float32), NO_ATOMS


def empty(rng, peak):
    return rng.poisson(GROUND, SHAPE).astype(np.float32), NO_ATOMS


def constant(rng, peak):
    return np.full(SHAPE, GROUND, np.float32), NO_ATOMS


def single_atoms(rng, peak):
    """Twenty or so atoms, far apart, on a faint film."""
    y, x = rng.uniform(15, np.array(SHAPE)[:, None] - 15, (2, 40))
    pairs = cKDTree(np.column_stack([y, x])).query_pairs(20)
    keep = np.setdiff1d(np.arange(40), [j for _, j in pairs])
    y, x = y[keep], x[keep]
    texture = gaussian_filter(rng.standard_normal(SHAPE), 4.0)
    expected = GROUND * (1 + 0.05 * texture / texture.std()) + peak * drawn(y, x, np.ones(len(y)), (2.4, 2.4))
    return rng.poisson(expected).astype(np.float32), (y, x)


def _settings(rng, kind: str) -> dict:
    """Width, density and direction of a crystal of one kind."""
    sigma = {"narrow": 1.5, "wide": 3.5}.get(kind, 2.4) * rng.uniform(0.9, 1.1)
    settings = {"sigma": sigma, "spacing": sigma * rng.uniform(4.0, 6.0), "turn": rng.uniform(0, 1.5)}
    if kind == "long":
        aspect = rng.uniform(1.4, 2.0)
        settings["long"] = (sigma * aspect**0.5, sigma / aspect**0.5)
    return settings


# what the odd frame is, and what the others are
ODD = {
    "film": ("film", "round"),
    "empty": ("empty", "round"),
    "constant": ("constant", "round"),
    "single": ("single", "round"),
    "weak": ("weak", "round"),
    "turned": ("round", "round"),
    "long": ("long", "round"),
    "narrow": ("narrow", "round"),
    "wide": ("wide", "round"),
    "round in long": ("round", "long"),
    "empty in long": ("empty", "long"),
    "film in long": ("film", "long"),
    "weak in long": ("weak", "long"),
    "narrow in wide": ("narrow", "wide"),
    "film in wide": ("film", "wide"),
    "empty in wide": ("empty", "wide"),
    "wide in narrow": ("wide", "narrow"),
    "film in narrow": ("film", "narrow"),
    "weak in narrow": ("weak", "narrow"),
}


def stack(kind: str, seed: int, peak: float):
    """Three frames, the truth of each, and which of them is odd."""
    rng = np.random.default_rng([seed, int(peak), list(ODD).index(kind)])
    what, others = ODD[kind]
    common, odd = _settings(rng, others), int(rng.integers(3))
    frames = [_odd_frame(rng, what, peak, common) if k == odd else crystal(rng, peak, **common) for k in range(3)]
    return np.stack([image for image, _ in frames]), [truth for _, truth in frames], odd


def _odd_frame(rng, what: str, peak: float, common: dict):
    if what == "weak":
        return crystal(rng, peak, level=0.1, **common)
    if what == "film":
        return film(rng, peak, grain=rng.uniform(0.4, 1.5) * common["sigma"], rough=rng.choice([0.05, 0.15, 0.4]))
    if what in ("empty", "constant", "single"):
        return {"empty": empty, "constant": constant, "single": single_atoms}[what](rng, peak)
    return crystal(rng, peak, **_settings(rng, what))


def scored(y, x, truth) -> dict:
    """F1 and false atoms away from the rim; F1 is 1 where nothing is there and nothing is found."""
    (found, inside), (true, counts) = (_placed(*places) for places in ((y, x), truth))
    pairs = _matched(found, true)
    false = int(inside.sum() - sum(inside[i] for i, _ in pairs))
    right = sum(counts[j] for _, j in pairs)
    missed = int(counts.sum() - right)
    return {"f1": float(2 * right / max(1, 2 * right + false + missed)) if counts.any() or false else 1.0,
            "false": false, "missed": missed}  # fmt: skip


def _placed(y, x):
    places = np.column_stack([y, x])
    inside = (places > MARGIN).all(1) & (places < np.array(SHAPE) - 1 - MARGIN).all(1)
    return places, inside


def _matched(found, true) -> list[tuple[int, int]]:
    if not len(found) or not len(true):
        return []
    apart, near = cKDTree(true).query(found)
    taken, pairs = set(), []
    for i in np.argsort(apart):
        if apart[i] < NEAR and near[i] not in taken:
            taken.add(near[i])
            pairs.append((i, near[i]))
    return pairs


def places_of(data) -> list[tuple[np.ndarray, np.ndarray]]:
    """What `find_atoms` finds in every frame of a stack."""
    try:
        table = find_atoms(data, show_progressbar=False)
    except ValueError:  # a constant frame alone is refused
        return [NO_ATOMS] * len(data)
    which = table["nav_0_index"].values if "nav_0_index" in table else np.zeros(table.sizes["atom"], int)
    return [(table["y_px"].values[which == k], table["x_px"].values[which == k]) for k in range(len(data))]


def compared(kind: str, seed: int, peak: float) -> dict:
    """Scores of all frames together and alone."""
    data, truths, odd = stack(kind, seed, peak)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        together = [scored(*places, truth) for places, truth in zip(places_of(data), truths, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = [scored(*places_of(frame[None])[0], truth) for frame, truth in zip(data, truths, strict=True)]
    others = [k for k in range(3) if k != odd]
    return {"kind": kind, "seed": seed, "peak": peak, "stack": together[odd], "alone": alone[odd],
            "others": min((together[k] for k in others), key=lambda s: s["f1"]),
            "others_alone": min((alone[k] for k in others), key=lambda s: s["f1"]),
            "warned": len({str(w.message) for w in caught})}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--kinds", nargs="+", default=list(ODD))
    parser.add_argument("--peaks", type=float, nargs="+", default=[30.0, 200.0])
    parser.add_argument("--json")
    options = parser.parse_args()
    results = []
    print("odd frame        seed peak   stack: F1 false missed   alone: F1 false missed   others: F1 (alone)  warnings")
    for kind in options.kinds:
        for peak in options.peaks:
            for seed in options.seeds:
                r = compared(kind, seed, peak)
                results.append(r)
                (s, a), o = (r["stack"], r["alone"]), r["others"]
                print(f"{kind:16s} {seed:4d} {peak:4.0f}   {s['f1']:9.3f} {s['false']:5d} {s['missed']:6d}   "
                      f"{a['f1']:9.3f} {a['false']:5d} {a['missed']:6d}   {o['f1']:6.3f} "
                      f"({r['others_alone']['f1']:.3f}) {r['warned']:4d}", flush=True)  # fmt: skip
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
