"""
Unmixing: what a spectrum image is made of
==========================================

Three phases with an edge each, the sample of varying thickness, counting noise and a few cosmic rays. How many
components there are is found; their spectra and abundances are compared with what was planted.
"""

# %%
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms  # noqa: F401
from hs_deepatoms.simulate.edges import count_image, edge_spectra, phase_maps

rng = np.random.default_rng(2)
energy = np.arange(250.0, 950.0, 2.0)
spectra = edge_spectra(3, 0.5, energy)
maps = phase_maps((64, 80), 3, rng)
data = count_image(maps, spectra, 60, rng)
data[rng.integers(0, 64, 20), rng.integers(0, 80, 20), rng.integers(0, energy.size, 20)] += 4000
s = hs.signals.Signal1D(data)
for axis, values in zip(s.axes_manager._axes, (("y", 0.4, 0, "nm"), ("x", 0.4, 0, "nm"), ("Energy loss", 2, 250, "eV")),
                        strict=True):  # fmt: skip
    axis.name, axis.scale, axis.offset, axis.units = values

# %%
# One call: number, spectra and abundances of the components.
tree = s.decompose_local()
tree.deepatoms.plot()
tree.attrs["n_components_reason"]

# %%
tree.deepatoms.plot_scree()

# %%
# Classes of the same spectra, brought to the same sum: thickness is no class.
classes = s.decompose_local(method="kmeans")
classes.deepatoms.plot()

# %%
# A pixel before and after: the model has the noise of the components only.
model = tree.deepatoms.reconstruct()
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(energy, s.inav[40, 30].data, lw=0.6, label="measured")
ax.plot(energy, model.inav[40, 30].data.compute(), label="model")
ax.plot(energy, 60 * maps[:, 30, 40] @ spectra, "--", lw=1, label="planted")
ax.set(xlabel="Energy loss (eV)", ylabel="counts")
ax.legend()

# %%
# Abundances against the planted ones, component by component (found components are matched by their spectra).
found = tree["components/components"].values
order = [int(np.argmax([np.corrcoef(one / spectra.mean(0), own / spectra.mean(0))[0, 1] for one in found]))
         for own in spectra]  # fmt: skip
scale = found.sum(1) / (60 * spectra.sum(1))[np.argsort(order)]
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", sharex=True, sharey=True)
for ax, (k, own) in zip(axes, sorted(zip(order, maps, strict=True), key=lambda pair: pair[0]), strict=True):
    ax.plot(own.ravel(), tree["abundances/abundances"].values[k].ravel() * scale[k], ".", ms=1, color=f"C{k}")
    ax.axline((0, 0), slope=1, color="k", lw=0.8)
    ax.set(xlabel="planted", title=f"component {k}")
axes[0].set_ylabel("found")
