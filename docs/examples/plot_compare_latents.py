"""
Four methods on the same patches
================================

Two kinds of columns with neighbours at any angle, cut with a small and a large window.
"""

import hyperspy.api as hs
import numpy as np

import hs_deepatoms

rng = np.random.default_rng(0)
pitch, n = 24, 16
rows, columns = (pitch * (one.ravel() + 0.5) for one in np.mgrid[:n, :n])
kind, angle = rng.integers(0, 2, n * n), rng.uniform(-np.pi, np.pi, n * n)
image = 0.1 * rng.standard_normal((n * pitch, n * pitch))
y, x = np.ogrid[: n * pitch, : n * pitch]
neighbours = {0: [(0.0, 6.0, 0.9), (2.0, 7.0, 0.6)], 1: [(0.0, 6.0, 0.9), (1.2, 6.5, 0.5), (3.6, 7.5, 0.9)]}
for k in range(n * n):
    around = [(0.0, 0.0, 1.0), *neighbours[kind[k]]]
    for turn, radius, peak in around:
        row, column = rows[k] + radius * np.sin(angle[k] + turn), columns[k] + radius * np.cos(angle[k] + turn)
        image += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2 / 1.6**2)
s = hs.signals.Signal2D(image)
atoms = hs_deepatoms.positions(rows, columns, signal=s).assign(kind=("atom", kind))

# %%
# In the small window the kinds hardly differ. In the large one only the rVAE sorts by kind: the latents of the two
# other autoencoders tell the orientation.
tree = s.compare_latents(atoms, windows=[9, 23], classes=2, labels="kind", steps=250, show_progressbar=False)
tree.deepatoms.plot()

# %%
print(tree.deepatoms.table().round(2))
