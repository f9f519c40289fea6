"""
How sure are the positions? Scan jitter
=======================================

Counting statistics give every position an error. In a scanned image the lines sit beside their places, too; two scans
of the same area, or the lines of one, say by how much.
"""

# %%
# Two scans of one crystal that drifted in between, every line of them 0.15 pixels (rms) beside its place.
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial import cKDTree

import hs_deepatoms  # noqa: F401
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import shift_lines

rng = np.random.default_rng(0)
n, spacing, scale = 40, 14, 0.02
y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * spacing + 0.5 * rng.standard_normal((2, n * n))
drift = np.array([[0.0, 0.0], [2.5, 3.5]])
scans = []
for dy, dx in drift:
    expected = 20 + draw_columns((n * spacing, n * spacing), y + dy, x + dx, np.full(y.size, 200.0), 2.5)
    scans.append(rng.poisson(np.clip(shift_lines(expected, 0.15 * rng.standard_normal(len(expected))), 0, None)))
s = hs.signals.Signal2D(np.array(scans, np.float32))
for axis, (name, size, units) in zip(
    s.axes_manager._axes, [("time", 1.0, "s"), ("y", scale, "nm"), ("x", scale, "nm")], strict=True
):
    axis.name, axis.scale, axis.units = name, size, units
atoms = s.find_atoms(show_progressbar=False)

# %%
# The two scans compared: along y counting explains what they disagree by, along x it does not.
jitter = atoms.deepatoms.scan_jitter()
jitter

# %%
# The lines of each scan alone say the same about x, more precisely, and how far the lines are beside their places.
atoms.deepatoms.scan_jitter(s)

# %%
# Errors of the first scan, which are known here, in units of those stated. They should follow the bell.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
for ax, (title, table) in zip(
    axes, [("counts alone", atoms), ("with jitter", atoms.deepatoms.with_jitter(jitter))], strict=True
):
    first = table.isel(atom=table["time_index"].values == 0)
    k = cKDTree(np.stack([y, x], axis=1)).query(np.stack([first["y_px"], first["x_px"]], axis=1))[1]
    errors = (first["x"].values - x[k] * scale) / first["x_std"].values
    ax.hist(errors, np.linspace(-4, 4, 41), density=True, color="0.7")
    bell = np.linspace(-4, 4, 200)
    ax.plot(bell, np.exp(-(bell**2) / 2) / np.sqrt(2 * np.pi), "k")
    inside = np.mean(np.abs(errors) < 1)
    ax.set(title=f"{title}: {inside:.0%} within one sigma", xlabel="error of x / x_std")
