"""
Find the atoms in an image
==========================

The image is simulated here, so that the true positions are known; ``hs.load`` brings your own.
"""

# %%
# A signal with a calibration, as it comes from a microscope's file.
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate.demo import demo_image

image, truth = demo_image(seed=0)
s = hs.signals.Signal2D(image)
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", truth["pixel_size_nm"]
s

# %%
# There is nothing to choose. The result is a Dataset with one row per atom, in the units of the image.
atoms = s.find_atoms(show_progressbar=False)
atoms

# %%
# The positions on the image.
fig, ax = plt.subplots(figsize=(7, 5.2), layout="constrained")
atoms.deepatoms.plot(s, ax=ax)

# %%
# How far they are from the true ones.
dy = atoms["y_px"].values[:, None] - truth["y_px"]
dx = atoms["x_px"].values[:, None] - truth["x_px"]
distance = np.hypot(dy, dx).min(axis=1)
print(f"{atoms.sizes['atom']} atoms found of {len(truth['y_px'])}, median error {np.median(distance):.2f} px")

# %%
# The record of what was done is part of the table.
print(hs_deepatoms.__version__, atoms.attrs["provenance"])
