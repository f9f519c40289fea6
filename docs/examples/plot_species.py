"""
Sublattices and vacancies
=========================

A simulated perovskite whose thickness varies by more than a factor of two, with empty sites.
"""

# %%
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms  # noqa: F401
from hs_deepatoms.simulate.demo import demo_image

image, truth = demo_image(seed=0)
s = hs.signals.Signal2D(image)
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", truth["pixel_size_nm"]

# %%
# Names are given strongest first; ``"auto"`` counts the species, too.
atoms = s.find_atoms(species=["A site", "B site"], show_progressbar=False)
{name: part.sizes["atom"] for name, part in atoms.deepatoms.sublattices().items()}

# %%
# Within one sublattice intensities differ by a factor of two with the thickness, nearly as much as between the two.
fig, ax = plt.subplots(layout="constrained")
for name, part in atoms.deepatoms.sublattices().items():
    ax.hist(part["intensity"], bins=40, alpha=0.6, label=name)
ax.set_xlabel("intensity (counts)")
ax.set_ylabel("columns")
ax.legend()

# %%
# Sites that the crystal around says are there, but hold no atom.
empty = atoms.deepatoms.vacancies()
fig, ax = plt.subplots(figsize=(8.5, 5), layout="constrained")
atoms.deepatoms.plot(s, ax=ax, color="species")
ax.plot(empty["x"], empty["y"], "s", mfc="none", mec="white", label="empty site")
ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), facecolor="0.3", labelcolor="white")

# %%
# How many of them are empty in truth.
distance = np.hypot(
    empty["y_px"].values[:, None] - truth["vacancy_y_px"], empty["x_px"].values[:, None] - truth["vacancy_x_px"]
)
print(f"{(distance.min(1) < 4).sum()} of {len(distance)} are; the sample has {len(truth['vacancy_y_px'])}")

# %%
# Low dose: the strengths of two sublattices, a quarter apart, overlap. What columns a lattice vector away say tells
# most of them apart all the same (``context=False`` leaves it out).
from hs_deepatoms.simulate.columns import draw_columns  # noqa: E402
from hs_deepatoms.simulate.kinds import Recipe, simulate_kinds  # noqa: E402
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal  # noqa: E402

cell, basis = PROTOTYPES["perovskite_001"]
crystal = Crystal(np.array(cell), np.array(basis, float), np.ones(2), "two").scaled()
rng = np.random.default_rng(1)
columns = simulate_kinds(rng, Recipe((1.0, 0.75), crystal=crystal))
rate = draw_columns(columns.shape, columns.y, columns.x, columns.height, 2.4) + 0.3
faint = hs.signals.Signal2D(rng.poisson(8 * rate).astype(np.float32))
atoms = faint.find_atoms(show_progressbar=False)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
true = np.column_stack([columns.y, columns.x])
for ax, context, title in zip(axes, (False, "auto"), ("each for itself", "with the columns around"), strict=True):
    told = atoms.deepatoms.classify(["strong", "weak"], context=context)
    told.deepatoms.plot(faint, ax=ax, color="species")
    distance = np.hypot(told["y_px"].values[:, None] - true[:, 0], told["x_px"].values[:, None] - true[:, 1])
    right = (told["species"].values == columns.kind[distance.argmin(1)])[distance.min(1) < 4].mean()
    ax.set_title(f"{title}: {right:.0%} right")
