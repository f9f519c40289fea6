"""
Local structure: what varies around the atoms
=============================================

A lattice whose columns have two kinds of neighbours of varying strength. ``decompose_local`` finds both, and where each
of them is strong; a Gaussian mixture sorts the columns into classes.
"""

# %%
import hyperspy.api as hs
import numpy as np

import hs_deepatoms

rng = np.random.default_rng(0)
rows, columns = (16.0 * one.ravel() + 12 for one in np.mgrid[:16, :20])
strength = np.stack([columns > 160, rows > 130], axis=1) * rng.uniform(0.6, 1.0, (rows.size, 2))
image = 0.1 * rng.standard_normal((264, 328))
y, x = np.arange(264)[:, None], np.arange(328)
for height, dy, dx, width in (
    (np.ones(rows.size), 0, 0, 2.5),
    (strength[:, 0], 1, 4.5, 1.5),
    (strength[:, 1], 4, -2, 1.5),
):
    across = height * np.exp(-((y - rows - dy) ** 2) / 2 / width**2)
    image += across @ np.exp(-((x - columns[:, None] - dx) ** 2) / 2 / width**2)
s = hs.signals.Signal2D(image)
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.scale, axis.units = name, 0.02, "nm"
atoms = hs_deepatoms.positions(rows * 0.02, columns * 0.02, units="nm", signal=s)

# %%
# Three parts: the column itself, and the two neighbours.
tree = s.decompose_local(atoms, method="nmf", n_components=3, window="0.26 nm", edge="reflect")
tree.deepatoms.plot()

# %%
# Classes, whose number is found.
classes = s.decompose_local(atoms, method="gmm", window="0.26 nm", edge="reflect")
classes.deepatoms.plot()

# %%
classes.deepatoms.plot_scree()
