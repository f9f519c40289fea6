"""
Particles: train a network and measure what it finds
====================================================

Simulated particles on a rough support. A small network is trained on four images with label images, finds the particles
in a fifth, and those that touch are parted and measured.
"""

# %%
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms


def particles(seed, shape=(160, 200), n=14):
    """An image of bright discs in noise, and which pixels they cover."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    y, x, radius = rng.uniform(12, shape[0] - 12, n), rng.uniform(12, shape[1] - 12, n), rng.uniform(6, 13, n)
    covered = (np.hypot(rows[..., None] - y, columns[..., None] - x) < radius).any(-1)
    return 3 * covered + rng.standard_normal(shape), covered.astype(int)


images, labels = map(np.stack, zip(*(particles(seed) for seed in range(4)), strict=True))

# %%
segmenter = hs_deepatoms.Segmenter(["particle"], net="segresnet", net_options={"filters": 8})
segmenter.fit(images, labels, steps=60, batch_size=4, window=96, learning_rate=8e-3, show_progressbar=False)
segmenter.scores

# %%
s = hs.signals.Signal2D(particles(seed=9)[0])
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", 0.25
found, table = segmenter.instances(s, smallest=60, show_progressbar=False)
table.deepatoms.to_dataframe()[["y", "x", "area", "diameter", "eccentricity"]].round(2).head()

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, title in ((left, "image"), (right, f"{table.sizes['atom']} particles")):
    ax.imshow(s.data, cmap="gray")
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
right.imshow(np.ma.masked_equal(found.data, 0), cmap="tab20", interpolation="nearest")
