"""Components above, maps of their scores below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.plot.components import SIDE, check_frame, chosen_components, draw_scree, extent_of
from hs_deepatoms.plot.style import color_bar, dense_marker

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

CLASSES = 9  # that are drawn: as many as a self-organising map has by itself
NOISE = 0.2  # of the largest value: what is no further below zero is noise


def plot_components(
    tree: xr.DataTree, *, components: int | list[int] | None = None, frame: int = 0
) -> matplotlib.figure.Figure:
    """A column per component: its image (of spectra the mean over the window) and where its scores are high.

    Parameters
    ----------
    tree : xarray.DataTree
        From `decompose_local`.
    components : int or list of int, optional
        How many, or which. None: the first eight; of classes the first nine that have patches. What is left out then
        is said above.
    frame : int
        Flattened frame whose scores are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidArgumentError
        If there is no such component.
    """
    import matplotlib.pyplot as plt

    chosen = _chosen(tree, components)
    figure, axes = plt.subplots(2, len(chosen), figsize=(SIDE * len(chosen), 2 * SIDE), layout="constrained",
                                squeeze=False)  # fmt: skip
    values = tree["components/components"]
    signed = float(values.min()) < -NOISE * float(values.max())
    for column, k in enumerate(chosen):
        _draw_component(axes[0, column], tree["components/components"].isel(component=k), signed)
        axes[0, column].set_title(_title(tree, k), fontsize="medium")
        _draw_scores(axes[1, column], tree, k, frame)
    for ax in axes[:, 1:].ravel():
        if ax.images or ax.collections:  # they have the rows of the first
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    _name_left_out(figure, tree, chosen, components)
    return figure


def plot_scree(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """Share of the variance by principal component, and the BIC by number of classes where it was used.

    Raises
    ------
    InvalidArgumentError
        If the method has no principal components.
    """
    todo = 'Use method="pca".'
    return draw_scree(tree, "explained_variance_ratio", ("principal component", "share of the variance"),
                      allowed=("one with principal components", todo))  # fmt: skip


def _chosen(tree: xr.DataTree, components: int | list[int] | None) -> list[int]:
    """Which are drawn: of classes none without patches, if nobody asks for it."""
    if components is None and "classes" in tree.children:
        there = np.flatnonzero(tree["classes/count"].values > 0)
        if there.size:
            return there[:CLASSES].tolist()
    return chosen_components(components, tree["components"].sizes["component"])


def _name_left_out(figure, tree: xr.DataTree, chosen: list[int], components: int | list[int] | None) -> None:
    n = tree["components"].sizes["component"]
    if components is not None or len(chosen) == n:
        return
    classes = "classes" in tree.children
    empty = int((tree["classes/count"].values == 0).sum()) if classes else 0
    text = f"{len(chosen)} of {n} {'classes' if classes else 'components'}"
    figure.suptitle(f"{text}; {empty} without patches" if empty else text, fontsize="medium")


def _title(tree: xr.DataTree, k: int) -> str:
    components = tree["components"]
    title = f"{components['components'].attrs.get('meaning', 'component')} {k}"
    if "classes" in tree.children:
        return f"{title}: {int(tree['classes/count'][k])} patches"
    if "explained_variance_ratio" in components.data_vars:
        return f"{title}\n{100 * float(components['explained_variance_ratio'][k]):.1f} % of variance"
    return title


def _draw_component(ax: matplotlib.axes.Axes, image: xr.DataArray, signed: bool) -> None:
    window = [dim for dim in ("window_y", "window_x", "frequency_y", "frequency_x") if dim in image.dims]
    others = [dim for dim in image.dims if dim not in window]
    if others and image.dims[-1] == others[0]:  # spectra
        line = image.mean(window)
        ax.plot(line[others[0]], line, lw=1)
        ax.set_xlabel(f"{others[0]} ({line[others[0]].attrs.get('units', '')})")
        return
    values = image.isel({dim: 0 for dim in others}).values
    end = float(np.abs(values).max()) or 1.0
    limits = {"cmap": "RdBu_r", "vmin": -end, "vmax": end} if signed else {"cmap": "gray"}
    drawn = ax.imshow(values, extent=extent_of(image, *window), **limits)
    color_bar(ax, drawn)
    _name_axes(ax, image[window[0]], image[window[1]])


def _draw_scores(ax: matplotlib.axes.Axes, tree: xr.DataTree, k: int, frame: int) -> None:
    if "maps" in tree.children:
        scores = tree["maps/scores"].isel(component=k)
        values = scores.values.reshape(-1, *scores.shape[-2:])
        check_frame(frame, len(values))
        drawn = ax.imshow(values[frame], extent=extent_of(scores, "y", "x"), cmap="viridis", interpolation="nearest")
        _name_axes(ax, scores["y"], scores["x"])
    elif "y" in tree["scores"].coords:
        drawn = _scatter(ax, tree["scores"].to_dataset(), k, frame)
    else:
        values = tree["scores/scores"].values[:, k]
        ax.hist(values[np.isfinite(values)], bins=50)
        ax.set_xlabel("score")
        return
    color_bar(ax, drawn)


def _scatter(ax: matplotlib.axes.Axes, table: xr.Dataset, k: int, frame: int):
    from hs_deepatoms.tables.frames import frame_grid, frame_of

    grid = frame_grid(table)
    if grid.columns:
        check_frame(frame, grid.n_frames)
        table = table.isel(atom=np.flatnonzero(frame_of(table, grid) == frame))
    y, x = table["y"], table["x"]
    size = dense_marker(table.sizes["atom"])
    drawn = ax.scatter(x, y, c=table["scores"][:, k], s=size, cmap="viridis", linewidths=0)
    _name_axes(ax, y, x)
    ax.set_aspect("equal" if same_units(x.attrs.get("units"), y.attrs.get("units")) else "auto")
    ax.invert_yaxis()
    return drawn


def _name_axes(ax: matplotlib.axes.Axes, y: xr.DataArray, x: xr.DataArray) -> None:
    for name, coordinate in (("y", y), ("x", x)):
        axis = str(coordinate.name).removeprefix("window_").replace("_", " ")
        ax.set(**{f"{name}label": f"{axis} ({coordinate.attrs.get('units', 'px')})"})
    ax.locator_params(nbins=4)  # more numbers would run into each other
