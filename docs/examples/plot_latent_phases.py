"""
Phases in a map of latents
==========================

A lattice in two orientations, in nearly three times its contrast of noise: a map that is smooth where it can be.
"""

import hyperspy.api as hs
import numpy as np

import hs_deepatoms  # noqa: F401

y, x = np.mgrid[:150, :170]
lattices = []
for turn in (np.radians(20), 0.0):
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    lattices.append(0.25 * (2 + np.cos(2 * np.pi * u / 7) + np.cos(2 * np.pi * v / 7)))
image = np.where(x > 85, *lattices) + 0.7 * np.random.default_rng(0).standard_normal(x.shape)
s = hs.signals.Signal2D(image.astype(np.float32))
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.scale, axis.units = name, 0.02, "nm"

# %%
# Patches on a grid; the loss is the length of the edges in the map of the latent.
tree = s.vae(grid=6, window=24, latent_dim=1, invariances=["shift"], max_shift=4, steps=60, physics="edges",
             physics_weight=0.3, physics_block=12, physics_watch=4, show_progressbar=False)  # fmt: skip
tree.deepatoms.plot_watch()

# %%
# The boundary over the image.
tree.deepatoms.plot_phases(s)

# %%
# A table with the phase of every patch; also a labelled map: ``table.deepatoms.to_signal("phase")``.
table = tree.deepatoms.phases(0)
print(f"right: {max((table.phase == side).mean().item() for side in (table.x_px > 85, table.x_px <= 85)):.3f}")
