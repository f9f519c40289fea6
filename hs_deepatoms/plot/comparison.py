"""The same patches by several methods, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.plot.mosaic import draw_mosaic

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

SIDE = 2.6  # inches of a panel


def plot_comparison(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """Per window two rows, a column per method: what was learned (averages or manifold), and the classes in place.

    Parameters
    ----------
    tree : xarray.DataTree
        From `compare_latents`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    scores = tree["scores"].to_dataset()
    methods, windows = scores["model"].values, scores["window"].values
    shape = 2 * len(windows), len(methods)
    figure, axes = plt.subplots(*shape, figsize=(SIDE * shape[1], SIDE * shape[0]), layout="constrained", squeeze=False)
    for i, window in enumerate(windows):
        for j, method in enumerate(methods):
            above, below = axes[2 * i, j], axes[2 * i + 1, j]
            _draw_learned(above, tree[f"window_{i}/{method}"])
            _draw_classes(below, tree[f"window_{i}/classes"].to_dataset().sel(model=method))
            above.set_title(f"{method}, window {window}", fontsize=9)
            below.set_title(_figures(scores.isel(window=i, model=j)), fontsize=8)
    return figure


def _draw_learned(ax: matplotlib.axes.Axes, node: xr.DataTree) -> None:
    images = node["components/components"] if "components" in node.children else node["manifold/manifold"]
    values = images.values
    values = values[..., 0, :, :] if values.ndim == 5 else values  # the first of the channels
    if values.ndim == 3:  # averages: in one row
        values = values[None]
    draw_mosaic(ax, values)
    ax.set(xticks=[], yticks=[])


def _draw_classes(ax: matplotlib.axes.Axes, table: xr.Dataset) -> None:
    if "y" not in table:
        ax.axis("off")
        return
    size = float(np.clip(6000 / max(1, table.sizes["atom"]), 1, 40))
    ax.scatter(table["x"], table["y"], c=table["class"], s=size, cmap="tab10", vmin=0, vmax=9, linewidths=0)
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.invert_yaxis()


def _figures(scores: xr.Dataset) -> str:
    names = {"explained": "explained", "ari": "ARI", "orientation": "orientation"}
    known = [f"{text} {float(scores[name]):z.2f}" for name, text in names.items() if np.isfinite(scores[name])]
    return "\n".join(filter(None, (", ".join(known[:2]), ", ".join(known[2:]))))  # as wide as a panel
