"""
Follow atoms through a movie
============================

A drifting crystal whose atoms hop, vanish and appear. It is simulated here; ``hs.load`` brings your own.
"""

# %%
# Twelve frames, half a second apart, 0.2 Å per pixel.
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms  # noqa: F401
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.movies import moving_lattice

truth = moving_lattice("hexagonal", n_frames=12, n_atoms=100, wander=0.3, hop=0.03, walk=True, miss=0.0, seed=2)
spacing, size = 14, 154
rng = np.random.default_rng(0)
frames = []
for t in range(truth.n_frames):
    now = truth.frame == t
    y, x = truth.y[now] * spacing, truth.x[now] * spacing
    frames.append(rng.poisson(10 + draw_columns((size, size), y, x, np.full(y.size, 60.0), 2.5)))
s = hs.signals.Signal2D(np.array(frames, np.float32))
for axis, (name, scale, units) in zip(
    s.axes_manager._axes, [("time", 0.5, "s"), ("y", 0.02, "nm"), ("x", 0.02, "nm")], strict=True
):
    axis.name, axis.scale, axis.units = name, scale, units
s

# %%
# Find the atoms, then link them over the frames.
atoms = s.find_atoms(show_progressbar=False).deepatoms.link()
atoms

# %%
# The drift of the whole picture, beside the true one.
drift = atoms.deepatoms.drift()
fig, ax = plt.subplots(layout="constrained")
ax.errorbar(drift["time"], drift["y"], drift["y_std"], fmt="o", label="y")
ax.errorbar(drift["time"], drift["x"], drift["x_std"], fmt="s", label="x")
ax.plot(drift["time"], truth.drift_y * spacing * 0.02, "k-", lw=0.8, label="true")
ax.plot(drift["time"], truth.drift_x * spacing * 0.02, "k-", lw=0.8)
ax.set(xlabel="time (s)", ylabel="drift (nm)")
ax.legend()

# %%
# The paths on one of the frames, without and with the drift.
fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
atoms.deepatoms.plot_tracks(s, frame=6, ax=axes[0])
atoms.deepatoms.plot_tracks(s, frame=6, drift=True, ax=axes[1])
axes[0].set_title("drift taken out")
axes[1].set_title("as recorded")

# %%
# Random walks spread in proportion to time: each hop is 0.03 of the spacing along y and along x.
msd = atoms.deepatoms.msd()
fig, ax = plt.subplots(layout="constrained")
ax.errorbar(msd["time_lag"], msd["msd"], msd["msd_std"], fmt="o", label="measured")
ax.plot(msd["time_lag"], 2 * (0.03 * spacing * 0.02) ** 2 * msd["lag"], "k-", label="true")
ax.set(xlabel="time lag (s)", ylabel="mean squared displacement (nm²)")
ax.legend(loc="upper left")

# %%
# One row per track; the longest ones first.
atoms.deepatoms.tracks().sortby("count", ascending=False).to_dataframe().head()
