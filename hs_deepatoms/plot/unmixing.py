"""Spectra of components above, maps of them on the scan below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.plot.components import (
    SIDE,
    check_frame,
    chosen_components,
    draw_scree,
    extent_of,
    is_steep,
    show_small_peaks,
)
from hs_deepatoms.plot.style import color_bar

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

TALL = 2.0  # inches of the spectra
SIGNED = 0.05  # of the largest value: what is no further below zero is drawn as abundance


def plot_components(
    tree: xr.DataTree, *, components: int | list[int] | None = None, frame: int = 0
) -> matplotlib.figure.Figure:
    """All spectra in one panel, in colours; below a map per component, its title in the colour of its spectrum.

    Parameters
    ----------
    tree : xarray.DataTree
        From `decompose_local` of spectra.
    components : int or list of int, optional
        How many, or which. None: the first eight.
    frame : int
        Flattened frame, where the scan has more than two axes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidArgumentError
        If there is no such component or frame.
    """
    import matplotlib.pyplot as plt

    chosen = chosen_components(components, tree["components"].sizes["component"])
    maps = tree["abundances/abundances"]
    n = len(chosen) if maps.ndim > 1 else 1
    figure = plt.figure(figsize=(SIDE * max(n, 2), SIDE + TALL), layout="constrained")
    grid = figure.add_gridspec(2, n, height_ratios=(TALL, SIDE))
    colours = [f"C{k % 10}" for k in range(len(chosen))]
    _draw_spectra(figure.add_subplot(grid[0, :]), tree, chosen, colours)
    if maps.ndim < 3:
        _draw_lines(figure.add_subplot(grid[1, :]), maps, chosen, colours)
        return figure
    for column, (k, colour) in enumerate(zip(chosen, colours, strict=True)):
        _draw_map(figure.add_subplot(grid[1, column]), maps.isel(component=k), frame)
        figure.axes[-1].set_title(f"{k}", color=colour, fontsize="medium", fontweight="bold")
        color_bar(figure.axes[-1], figure.axes[-1].images[0])
    return figure


def plot_scree(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """Second moments by rank, those of the components filled; and the BIC by number of classes where it was used.

    Raises
    ------
    InvalidArgumentError
        If the components were known.
    """
    k = tree["components"].sizes["component"] if tree.attrs["meaning"] in ("endmember", "component") else 0
    return draw_scree(tree, "explained_variance", ("rank", "second moment, noise made even"), filled=k,
                      allowed=("one that looked for components", "Leave endmembers out."))  # fmt: skip


def _draw_spectra(ax: matplotlib.axes.Axes, tree: xr.DataTree, chosen: list[int], colours: list[str]) -> None:
    spectra = tree["components/components"]
    energy = spectra.dims[-1]
    x = spectra[energy] if energy in spectra.coords else np.arange(spectra.sizes[energy])
    for k, colour in zip(chosen, colours, strict=True):
        ax.plot(x, spectra.isel(component=k), lw=1, color=colour, label=f"{k}")
    units = spectra.coords[energy].attrs.get("units", "") if energy in spectra.coords else "px"
    ax.set(xlabel=f"{energy} ({units})", ylabel=tree.attrs["meaning"])
    ax.margins(x=0.01)
    drawn = spectra.values[chosen]
    if is_steep(drawn):
        show_small_peaks(ax, drawn)
    ax.legend(fontsize="small", ncols=2)


def _draw_lines(ax: matplotlib.axes.Axes, maps: Any, chosen: list[int], colours: list[str]) -> None:
    """Of a line scan the scores along it, of one spectrum bars."""
    if maps.ndim == 1:
        ax.bar([str(k) for k in chosen], maps.values[chosen], color=colours)
        ax.set(xlabel="component", ylabel="abundance")
        return
    dim = maps.dims[1]
    for k, colour in zip(chosen, colours, strict=True):
        ax.plot(maps[dim], maps.isel(component=k), color=colour, lw=1)
    ax.set(xlabel=f"{dim} ({maps[dim].attrs.get('units', '')})", ylabel="abundance")


def _draw_map(ax: matplotlib.axes.Axes, image: Any, frame: int) -> None:
    values = image.values.reshape(-1, *image.shape[-2:])
    check_frame(frame, len(values))
    low, high = (float(f(values)) for f in (np.nanmin, np.nanmax))
    signed = low < -SIGNED * high
    end = max(abs(low), abs(high)) or 1.0
    limits = {"cmap": "RdBu_r", "vmin": -end, "vmax": end} if signed else {"cmap": "viridis", "vmin": min(low, 0.0)}
    y, x = image.dims[-2:]
    same = same_units(image[y].attrs.get("units"), image[x].attrs.get("units"))
    ax.imshow(values[frame], extent=extent_of(image, y, x), interpolation="nearest", aspect="equal" if same else "auto",
              **limits)  # fmt: skip
    ax.set_xlabel(str(image[x].attrs.get("units", "")))
