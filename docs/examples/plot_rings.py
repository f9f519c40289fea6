"""
Rings and defects
=================

Graphene with a loop of pentagons and heptagons: from the image to the rings, and to a structure for ASE.
"""

# %%
# A simulated image, with a bond length of 1.42 Å.
import hyperspy.api as hs
import numpy as np

from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.sheets import honeycomb, ring_loop

sheet, bond, shape = ring_loop(honeycomb(10, 16)), 12.0, (240, 270)
y = bond * (sheet.y - sheet.y.mean()) + shape[0] / 2
x = bond * (sheet.x - sheet.x.mean()) + shape[1] / 2
image = np.random.default_rng(0).poisson(60 * draw_columns(shape, y, x, np.ones(y.size), 3.5) + 5)
s = hs.signals.Signal2D(image.astype(np.float32))
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", 0.142 / bond

# %%
# One missed atom would change three rings.
atoms = s.find_atoms(show_progressbar=False)
rings = atoms.deepatoms.rings()
atoms.deepatoms.plot_rings(s, rings=rings)

# %%
# How many rings of each size, and what the defect is.
rings["ring_count"].to_series()

# %%
rings[["cluster_kind", "cluster_rings", "cluster_excess"]]

# %%
# Bonds coloured by their length.
atoms.deepatoms.plot_rings(s, rings=rings, bonds="length")

# %%
# Local environments, averaged: rings of five and seven bend the angles.
motifs = atoms.deepatoms.motifs(rings=True)
atoms.deepatoms.plot_motifs(motifs, most=8)

# %%
# The same atoms as a structure: any format of ASE, any calculator.
atoms.deepatoms.to_ase(species="C")
