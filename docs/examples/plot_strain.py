"""
Strain and polarisation
=======================

A simulated perovskite: the right half is stretched by 1 % along x, and its B columns are off-centre the other way.
"""

# %%
# The image, and the positions and species in it. Here the species come from the heights of the fitted peaks.
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns

spacing, sigma, side = 24.0, 3.5, 480
ij = np.stack([k.ravel() for k in np.mgrid[-1:22, -1:22]], axis=1)
right = ij[:, 1] >= 10
a = ij * spacing + 7.0
b = a + spacing / 2 + np.where(right, 1.0, -1.0)[:, None] * [1.2, 0.3]
points, heights = np.concatenate([a, b]), np.repeat([300.0, 150.0], len(a))
seam = 240.0
points[:, 1] = np.where(points[:, 1] > seam, seam + 1.01 * (points[:, 1] - seam), points[:, 1])
image = np.random.default_rng(0).poisson(draw_columns((side, side), *points.T, heights, sigma) + 20)

s = hs.signals.Signal2D(image.astype(np.float32))
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", 0.3905 / spacing
atoms = s.find_atoms(show_progressbar=False)
species = np.where(atoms["height"] > 225, "A", "B")
atoms = hs_deepatoms.positions(atoms, signal=s, columns={"species": species})

# %%
# The lattice of the A columns, measured against the left part.
reference = hs.roi.RectangularROI(left=0.2, right=3.5, top=0.2, bottom=7.5)
strained = atoms.deepatoms.lattice(reference=reference, species="A")
strained.deepatoms.plot_strain(s)

# %%
# The mean strain of the right part, from all of its columns at once.
film = hs.roi.RectangularROI(left=4.5, right=7.5, top=0.2, bottom=7.5)
strained.deepatoms.select(region=film).deepatoms.mean_strain()

# %%
# How far the B columns are from the middle of the four A columns around them.
polar = atoms.deepatoms.off_centring(of="B", among="A")
fig, ax = plt.subplots(figsize=(7, 7), layout="constrained")
polar.deepatoms.plot(s, ax=ax, arrows="off_centring", size=3)

# %%
# The uncertainties of the positions.
corner = hs.roi.RectangularROI(left=0, right=2.5, top=0, bottom=2.5)
atoms.deepatoms.select(region=corner).deepatoms.plot(s.isig[:2.5, :2.5], ellipses=True)
