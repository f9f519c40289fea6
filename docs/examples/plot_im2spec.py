"""
Spectra from an image
=====================

A simulated EELS map whose composition follows from the image by a non-linear law.
"""

import hyperspy.api as hs

import hs_deepatoms  # noqa: F401
from hs_deepatoms.simulate.spectrum_images import planted_cube

cube = planted_cube((96, 120), 200, endmembers=3, counts=(50, 200), link="pointwise", seed=1)
haadf, eels = hs.signals.Signal2D(cube.image), hs.signals.Signal1D(cube.counts)
for signal in (haadf, eels):
    for place, name in enumerate("yx"):
        axis = signal.axes_manager._axes[place]
        axis.name, axis.units, axis.scale = name, "nm", 0.2
energy = eels.axes_manager[-1]
energy.name, energy.units, energy.offset, energy.scale = "Energy loss", "eV", cube.energy[0], 3.0
eels.set_signal_type("EELS")

# %%
# Blocks that the network has not seen, with a gap of a window around them (one split: three, the default, take longer).
tree = haadf.im2spec(eels, window=7, folds=1, steps=300, show_progressbar=False)
print(tree["metrics"].attrs["verdict"])
tree.deepatoms.plot()

# %%
# The model beside what it has to beat.
tree.deepatoms.plot_scores()

# %%
# What the first latent means, in the spectrum and in the image.
tree.deepatoms.plot_along(0)

# %%
# A spectrum image of the image alone, with its variance.
predicted = tree.deepatoms.predict(haadf)
predicted
