"""
Domain walls: thin lines from a network of edges
================================================

Images of domains with walls between them are simulated. A small ResHedNet learns where the walls are, finds them in
another image as lines one pixel wide, and says how long each is.
"""

# %%
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate.walls import simulate_walls

images, labels = hs_deepatoms.simulated_set(32, size=80, kind="walls")

# %%
# The labels are a band of some three pixels along every wall: a line of one pixel would hardly be anything to learn.
segmenter = hs_deepatoms.Segmenter(["wall"], net="reshednet", net_options={"filters": 8, "layers": 1})
segmenter.fit(images, labels, steps=200, batch_size=6, window=80, learning_rate=1e-2,
              augmentation=hs_deepatoms.Augmentation(), show_progressbar=False)  # fmt: skip
segmenter.scores

# %%
scene = simulate_walls(np.random.default_rng(50), (140, 180))
s = hs.signals.Signal2D(scene.image)
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", 0.5
lines, table = segmenter.lines(s, shortest=20, show_progressbar=False)
table.deepatoms.to_dataframe()[["y", "x", "length", "rotation", "ends"]].round(2)

# %%
# Beside the image: the probability of a wall, and the lines found (orange) over the true ones (blue).
probability = s.segment(model=segmenter, show_progressbar=False)
fig, axes = plt.subplots(1, 3, figsize=(13, 3.8))
axes[0].imshow(s.data, cmap="gray")
axes[1].imshow(probability.data, cmap="magma", vmin=0, vmax=1)
axes[2].imshow(s.data, cmap="gray")
for mask, colour, name in ((scene.line, "tab:blue", "true"), (lines.data > 0, "tab:orange", "found")):
    y, x = np.nonzero(mask)
    axes[2].scatter(x, y, s=7, color=colour, linewidths=0, label=name)
axes[2].legend(loc="upper left", bbox_to_anchor=(1.01, 1), markerscale=2)
for ax, title in zip(axes, ("image", "probability of a wall", "found and true walls"), strict=True):
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
fig.tight_layout()
