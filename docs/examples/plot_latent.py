"""
Rotation-invariant latents
==========================

Columns with a satellite at any angle; the satellite's height varies.
"""

import hyperspy.api as hs
import numpy as np

import hs_deepatoms

rng = np.random.default_rng(0)
pitch, n = 20, 14
rows, columns = (pitch * (one.ravel() + 0.5) for one in np.mgrid[:n, :n])
angle, height = rng.uniform(-np.pi, np.pi, n * n), rng.uniform(0.2, 1.0, n * n)
image = 0.1 * rng.standard_normal((n * pitch, n * pitch))
y, x = np.ogrid[: n * pitch, : n * pitch]
for k in range(n * n):
    at = rows[k] + 5 * np.sin(angle[k]), columns[k] + 5 * np.cos(angle[k])
    for (row, column), peak in (((rows[k], columns[k]), 1.0), (at, height[k])):
        image += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2 / 1.6**2)
s = hs.signals.Signal2D(image)
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.scale, axis.units = name, 0.02, "nm"
atoms = hs_deepatoms.positions(rows * 0.02, columns * 0.02, units="nm", signal=s)

# %%
# One latent, and the angle of every atom.
tree = s.rvae(atoms, window="0.34 nm", edge="reflect", latent_dim=1, show_progressbar=False)
tree.deepatoms.plot()

# %%
# The latent is the height, and knows nothing of the angle.
z = tree["latent/z"].values[:, 0]
print(f"correlation with the height: {abs(np.corrcoef(z, height)[0, 1]):.3f}")

# %%
tree.deepatoms.plot_manifold()
