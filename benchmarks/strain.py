"""Strain of a lattice half of which is strained by 0.1 % along x: the difference of the halves, and its error bars.

    python benchmarks/strain.py [--quick] [--json FILE]

More than 5,000 columns of sigma 2.5 px, 5.5 sigma apart on a rotated square lattice, peak 200 on a background of 20,
Poisson noise. First from true positions with Gaussian errors, then from images through ``find_atoms`` and the
uncertainties it reports. ``difference`` is the mean strain_xx of the right half minus that of the left one, whose true
value is 0.001; ``scatter`` is the root mean square deviation per cell from its half's mean over the reported standard
error (1 is right), for each component. ``fitted`` is the mean strain of the right half (one lattice through it) with
the left half as the reference region, and its standard error.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings

import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns

SIGMA, SPACING, ANGLE, STRAIN = 2.5, 13.75, 0.13, 1e-3
PEAK, BACKGROUND = 200.0, 20.0
COMPONENTS = ("strain_xx", "strain_yy", "strain_xy", "lattice_rotation")
RIM = 1.5  # spacings from the seam and from the edges that belong to neither half


def strained_lattice(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns in a square of this side, whose right half is strained."""
    n = int(1.5 * side / SPACING)
    i, j = (k.ravel() for k in np.mgrid[-n : n + 1, -n : n + 1] * SPACING)
    middle = (side - 1) / 2
    y, x = middle + 0.3 + np.cos(ANGLE) * i - np.sin(ANGLE) * j, 0.6 + np.sin(ANGLE) * i + np.cos(ANGLE) * j
    x = middle + np.where(x > 0, (1 + STRAIN) * x, x)
    inside = np.all([(w > -3 * SIGMA) & (w < side - 1 + 3 * SIGMA) for w in (y, x)], axis=0)
    return y[inside], x[inside]


def with_errors(side: int, rng) -> object:
    """A table of true positions with Gaussian errors, correlated and of different size from column to column."""
    y, x = strained_lattice(side)
    keep = np.all([(w > 0) & (w < side - 1) for w in (y, x)], axis=0) & (rng.random(y.size) > 0.02)
    y, x = y[keep], x[keep]
    y_std, x_std, corr = (rng.uniform(*limits, y.size) for limits in ((0.02, 0.05), (0.02, 0.05), (-0.3, 0.3)))
    first, second = rng.normal(size=(2, y.size))
    columns = {"y_std_px": y_std, "x_std_px": x_std, "yx_corr": corr}
    moved = y + y_std * first, x + x_std * (corr * first + np.sqrt(1 - corr**2) * second)
    return hs_deepatoms.positions(*moved, signal=np.zeros((side, side), np.float32), columns=columns)


def from_image(side: int, rng, refine: str) -> object:
    """A table of ``find_atoms``."""
    y, x = strained_lattice(side)
    expected = PEAK * draw_columns((side, side), y, x, np.ones(y.size), SIGMA) + BACKGROUND
    image = rng.poisson(expected).astype(np.float32)
    return hs_deepatoms.find_atoms(image, refine=refine, show_progressbar=False)


def score(atoms, side: int) -> dict:
    """What the lattice says about the two halves."""
    begun = time.perf_counter()
    made = atoms.deepatoms.lattice()
    seconds = time.perf_counter() - begun
    y, x, edge = made["y_px"].values, made["x_px"].values, RIM * SPACING
    inner = (y > edge) & (y < side - 1 - edge) & (x > edge) & (x < side - 1 - edge)
    middle = (side - 1) / 2
    halves = [inner & known(made) & side_of for side_of in (x < middle - edge, x > middle + edge)]
    means = [{name: float(made[name].values[half].mean()) for name in COMPONENTS} for half in halves]
    scatter = {}
    for name in COMPONENTS:
        rest = np.concatenate([made[name].values[h] - m[name] for h, m in zip(halves, means, strict=True)])
        std = np.concatenate([made[f"{name}_std"].values[h] for h in halves])
        scatter[name] = float(np.sqrt((rest**2).mean() / (std**2).mean()))
    difference = {name: means[1][name] - means[0][name] for name in COMPONENTS}
    entry = json.loads(made.attrs["lattice"])
    fitted, fitted_std = fitted_difference(atoms, side)
    return {"columns": int(made.sizes["atom"]), "grains": len(entry), "difference": difference,
            "error_of_difference": difference["strain_xx"] / STRAIN - 1, "scatter": scatter,
            "fitted": fitted, "fitted_std": fitted_std, "error_of_fitted": fitted / STRAIN - 1,
            "std_strain_xx": float(np.median(made["strain_xx_std"].values[halves[0]])),
            "misfit": entry[0]["misfit"], "lattice_seconds": round(seconds, 3)}  # fmt: skip


def fitted_difference(atoms, side: int) -> tuple[float, float]:
    """Mean strain_xx of the right half against the left half, and its standard error."""
    import hyperspy.api as hs

    edge, middle = RIM * SPACING, (side - 1) / 2
    left, right = ((edge, middle - edge), (middle + edge, side - 1 - edge))
    regions = [hs.roi.RectangularROI(left=a, right=b, top=edge, bottom=side - 1 - edge) for a, b in (left, right)]
    made = atoms.deepatoms.lattice(reference=regions[0]).deepatoms.select(region=regions[1]).deepatoms.mean_strain()
    return float(made["strain_xx"][0]), float(made["strain_xx_std"][0])


def known(made) -> np.ndarray:
    return np.isfinite(made["strain_xx"].values) & (made["grain"].values == 0)


def run(quick: bool) -> list[dict]:
    side, rows = 1024, []
    cases = [("gaussian errors", lambda rng: with_errors(side, rng))]
    for refine in ("quick",) if quick else ("quick", "full"):
        cases.append((f"image, {refine}", lambda rng, refine=refine: from_image(side, rng, refine)))
    for name, make in cases:
        for seed in range(1 if quick else 3):
            rows.append({"case": name, "seed": seed, **score(make(np.random.default_rng(seed)), side)})
            scatter = " ".join(f"{value:.3f}" for value in rows[-1]["scatter"].values())
            print("{case:16s} seed {seed}  {columns} columns  difference {0:.6f} ({error_of_difference:+.1%})"
                  "  fitted {fitted:.6f} +- {fitted_std:.6f} ({error_of_fitted:+.1%})".format(
                rows[-1]["difference"]["strain_xx"], **rows[-1]), " scatter", scatter, flush=True)  # fmt: skip
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun = time.time()
    result = {"strain": STRAIN, "rows": run(options.quick)}
    result["seconds"] = round(time.time() - begun, 1)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
