"""
Spectra from an image
=====================

A simulated EELS map whose composition follows from the image by a non-linear law.
"""

import hyperspy.api as hs
import numpy as np

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

# %%
# X-rays of the same scan: one network predicts both spectra, each with an axis, metadata and scores of its own.
channel, lines = np.arange(80), np.array([[15, 52], [28, 60], [40, 71]])
shapes = np.exp(-0.5 * ((channel - lines[..., None]) / 1.5) ** 2).sum(1) + 0.01
counts = np.einsum("kyx,kn,yx->yxn", cube.abundances, shapes / shapes.sum(1, keepdims=True), 0.02 * cube.totals)
eds = hs.signals.Signal1D(np.random.default_rng(0).poisson(counts))
for axis, own in zip(eds.axes_manager._axes, eels.axes_manager._axes[:2], strict=False):
    axis.name, axis.units, axis.scale = own.name, own.units, own.scale
energy = eds.axes_manager[-1]
energy.name, energy.units, energy.scale = "Energy", "keV", 0.1
eds.set_signal_type("EDS_TEM")
both = haadf.im2spec([eels, eds], window=7, folds=1, steps=300, show_progressbar=False)
print(both["metrics"].attrs["verdict"])
both.deepatoms.of(1).deepatoms.plot()
both.deepatoms.predict(haadf)
