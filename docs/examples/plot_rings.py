"""
Rings and defects
=================

Graphene with a loop of pentagons and heptagons: from the image to the rings, and to a structure for ASE.
"""

# %%
# A simulated image, with a bond length of 1.42 Å.
import hyperspy.api as hs
import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.sheets import honeycomb, ring_loop, stone_wales

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
# In a movie a bond turns by 90 degrees: two sixes become fives, two become sevens. Which, when and where, and for how
# many frames rings keep their size.
frames = [honeycomb(5, 6)] * 3 + [stone_wales(honeycomb(5, 6))] * 4
rng = np.random.default_rng(0)
y, x = (
    np.concatenate([20 + bond * (getattr(one, name) + rng.normal(0, 0.03, one.y.size)) for one in frames])
    for name in "yx"
)
movie = hs.signals.Signal2D(np.zeros((7, 230, 170), np.float32))
tracked = hs_deepatoms.positions(y, x, signal=movie, frame=np.repeat(np.arange(7), 120)).deepatoms.link()
events = tracked.deepatoms.ring_events()
events[["kind", "frame", "size_before", "size_after"]].to_dataframe()

# %%
events[["lifetime", "lifetime_std", "lives_ended"]].sel(ring_size=[5, 6, 7]).to_dataframe()

# %%
# The atoms of the image as a structure: any format of ASE, any calculator.
atoms.deepatoms.to_ase(species="C")
