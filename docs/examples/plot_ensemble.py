"""
An ensemble that meets images it was not trained on
===================================================

Three small networks are trained on sharp images of simulated crystals, and used on a blurred one at a low dose. They
say that it is unlike what they know, and are adapted to it without a label.
"""

# %%
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import Recording, record


def crystal(seed, sigma, counts, size=112, spacing=13.0):
    """Counts of a square lattice with empty sites, and its atoms."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[-8:9, -8:9].reshape(2, -1) * spacing
    angle = rng.uniform(0, np.pi)
    y = size / 2 + rows * np.cos(angle) + columns * np.sin(angle)
    x = size / 2 - rows * np.sin(angle) + columns * np.cos(angle)
    there = (np.abs(y - size / 2) < size / 2 - 1) & (np.abs(x - size / 2) < size / 2 - 1) & (rng.random(len(y)) > 0.06)
    y, x = y[there], x[there]
    height = np.where(rng.random(len(y)) < 0.5, 1.0, 0.6)
    expected = draw_columns((size, size), y, x, height, sigma) + 0.3
    image = record(rng, expected, Recording(counts=counts))
    return image.astype(np.uint16), hs_deepatoms.positions(y, x, signal=image)


images, tables = zip(*(crystal(seed, 2.0, 100.0) for seed in range(6)), strict=True)
ensemble = hs_deepatoms.Ensemble(members=3, net_options={"filters": 6, "depth": 2})
ensemble.fit(list(images), list(tables), steps=80, batch_size=4, window=64, learning_rate=5e-3, radius=3,
             augmentation=hs_deepatoms.Augmentation(), show_progressbar=False)  # fmt: skip

# %%
# The score is below 1 for images like those of the training. ``find_atoms`` warns where it is not.
pixels, truth = crystal(50, 4.0, 6.0)
s = hs.signals.Signal2D(pixels)
float(ensemble.ood_score(crystal(51, 2.0, 100.0)[0])), float(ensemble.ood_score(s))

# %%
before = s.find_atoms(model=ensemble, show_progressbar=False)
before.deepatoms.to_dataframe()[["y", "x", "probability", "agreement", "y_spread", "x_spread"]].round(2).head()

# %%
# One half of the counts is learned from; the other says whether that was right.
adapted, report = s.elit(model=ensemble, rounds=4, steps=40, show_progressbar=False)
report.to_dataframe().round(2)

# %%
# Circles are true atoms that were missed, crosses what is farther than 4 pixels from any true one.
after = s.find_atoms(model=adapted, show_progressbar=False)
fig, axes = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
for ax, found, title in zip(axes, (before, after), ("before", "adapted"), strict=True):
    near = np.hypot(found.y_px.values[:, None] - truth.y_px.values, found.x_px.values[:, None] - truth.x_px.values) < 4
    missed, wrong = truth.isel(atom=~near.any(0)), found.isel(atom=~near.any(1))
    ax.imshow(pixels, cmap="gray")
    ax.plot(found.x_px, found.y_px, "+", color="tab:orange", label="found")
    ax.plot(missed.x_px, missed.y_px, "o", mfc="none", color="tab:cyan", ms=12, label="missed")
    ax.plot(wrong.x_px, wrong.y_px, "x", color="tab:red", ms=10, label="false")
    ax.set_title(f"{title}: {found.sizes['atom']} atoms, {missed.sizes['atom']} of {truth.sizes['atom']} are missed")
    ax.set(xticks=[], yticks=[])
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
