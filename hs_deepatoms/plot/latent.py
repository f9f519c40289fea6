"""Pictures of what an autoencoder learned: manifold, latents, maps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.plot.mosaic import draw_mosaic
from hs_deepatoms.plot.style import color_bar, dense_marker

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

SIDE = 3.2  # inches of a panel
LABELS = 0.9  # inches of a title and the words of an axis
MANY = 20_000  # points of a scatter
KINDS = 4  # classes whose manifolds are drawn beside each other


def plot_latent(tree: xr.DataTree, *, frame: int = 0) -> matplotlib.figure.Figure:
    """The manifold (of each of up to four classes), where the patches lie in it, and up to three columns as maps.

    Parameters
    ----------
    tree : xarray.DataTree
        From `rvae` or `vae`.
    frame : int
        Flattened frame whose maps are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    from hs_deepatoms.tables.flatten import flat_table

    table = flat_table(tree["latent"].to_dataset())
    maps = [name for name in ("z_0", "z_1", "angle", "class") if name in table][:3] if "y" in table.variables else []
    images = tree["manifold/manifold"]
    kinds = min(images.sizes.get("class_index", 1), KINDS)
    rows = images.sizes.get("z_0", images.sizes.get("latent"))
    wide = 1.8 if "window_y" in images.dims and rows == 1 else 1.0  # one row of pictures
    ratios = [*[wide] * kinds, *[1.0] * (1 + len(maps))]
    figure, axes = plt.subplots(1, len(ratios), figsize=(SIDE * sum(ratios), SIDE), layout="constrained", squeeze=False,
                                width_ratios=ratios)  # fmt: skip
    for k in range(kinds):
        _draw_manifold(axes[0, k], tree, k)
    _draw_latents(axes[0, kinds], table)
    for ax, name in zip(axes[0, kinds + 1 :], maps, strict=True):
        _draw_map(ax, table, name, frame)
    return figure


def plot_manifold(tree: xr.DataTree, *, chosen: int = 0) -> matplotlib.figure.Figure:
    """Pictures over the latents, of one class where there are several.

    Raises
    ------
    InvalidArgumentError
        If there is no such class.
    """
    import matplotlib.pyplot as plt

    sizes = tree["manifold/manifold"].sizes
    tall = 1.0
    if "window_y" in sizes:  # rows and columns of pictures
        rows, columns = (sizes[dim] for dim in (("z_0", "z_1") if "z_0" in sizes else ("latent", "step")))
        tall = min(1.0, rows * sizes["window_y"] / (columns * sizes["window_x"]))
    figure, ax = plt.subplots(figsize=(2 * SIDE, 2 * SIDE * tall + LABELS), layout="constrained")
    _draw_manifold(ax, tree, chosen)
    return figure


def plot_history(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """The loss (nats per pixel) by step, and that of the maps where there is one."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(1.5 * SIDE, SIDE), layout="constrained")
    ax.plot(tree["history/step"], tree["history/loss"], lw=1)
    ax.set(xlabel="step", ylabel="negative evidence lower bound per pixel")
    if "physics" in tree["history"]:
        beside = ax.twinx()
        beside.plot(tree["history/step"], tree["history/physics"], lw=1, color="C1")
        beside.set_ylabel("loss of the maps", color="C1")
    return figure


def _draw_manifold(ax: matplotlib.axes.Axes, tree: xr.DataTree, chosen: int) -> None:
    images, title = tree["manifold/manifold"], "manifold"
    if "class_index" in images.dims:
        k = images.sizes["class_index"]
        if not 0 <= chosen < k:
            raise InvalidArgumentError(explain(f"chosen={chosen!r}", f"0 to {k - 1}", "Choose one of these."))
        images, title = images.isel(class_index=chosen), f"manifold, {_class_name(tree, chosen)} of {k}"
    values = images.values[..., 0, :, :] if images.ndim == 5 else images.values  # the first of the channels
    if values.ndim == 3:  # spectra: a line each
        lines = values.reshape(-1, values.shape[-1])
        along = images[images.dims[-1]]
        ax.plot(along, lines.T, lw=0.6)
        ax.set(xlabel=f"{along.name} ({along.attrs.get('units', 'px')})", title=title)
        return
    rows, columns, _, w = values.shape
    draw_mosaic(ax, values)
    named = images.dims[0] == "z_0"
    ax.set(xticks=[], yticks=[], ylabel="z 0" if named else "latent", xlabel="z 1" if named else "", title=title)
    if not named and rows == 1:
        few = slice(None, None, max(1, columns // 2))
        ax.set(xlabel="z 0", ylabel="")
        ax.set_xticks(((np.arange(columns) + 0.5) * w - 0.5)[few], [f"{z:.3g}" for z in images["z"].values[0, few]])


def _class_name(tree: xr.DataTree, k: int) -> str:
    names = json.loads(tree["latent/class"].attrs.get("names", "[]"))
    return f"class {k} ({names[k]})" if names else f"class {k}"


def _draw_latents(ax: matplotlib.axes.Axes, table: xr.Dataset) -> None:
    z = np.stack([table[f"z_{k}"].values for k in range(2) if f"z_{k}" in table], 1)
    some = np.unique(np.linspace(0, len(z) - 1, min(len(z), MANY)).astype(int))
    if z.shape[1] == 1:
        good = z[np.isfinite(z[:, 0]), 0]
        ax.hist(good, bins=int(np.clip(np.sqrt(good.size), 10, 50)))
        ax.set(xlabel="z 0", ylabel="number", title="patches")
        return
    color = table["class"].values[some] if "class" in table else "C0"
    ax.scatter(z[some, 1], z[some, 0], c=color, s=float(np.clip(3000 / max(1, len(some)), 3, 30)), linewidths=0,
               cmap="tab10" if "class" in table else None)  # fmt: skip
    ax.set(xlabel="z 1", ylabel="z 0", title="patches")


def _draw_map(ax: matplotlib.axes.Axes, table: xr.Dataset, name: str, frame: int) -> None:
    from hs_deepatoms.tables.frames import frame_grid, frame_of

    grid = frame_grid(table)
    if not 0 <= frame < max(1, grid.n_frames):
        raise InvalidArgumentError(explain(f"frame={frame!r}", f"0 to {grid.n_frames - 1}", "Choose one of these."))
    if grid.columns:
        table = table.isel(atom=np.flatnonzero(frame_of(table, grid) == frame))
    y, x = table["y"], table["x"]
    size = dense_marker(table.sizes["atom"])
    cmap = "twilight" if name == "angle" else "tab10" if name == "class" else "viridis"
    look = {"linewidths": 0}
    if name == "angle":  # both of its ends are one light grey
        half = _half_turn(table)
        look = {"linewidths": 0.5, "edgecolors": "0.6", "vmin": -half, "vmax": half}
    drawn = ax.scatter(x, y, c=table[name], s=size, cmap=cmap, **look)
    color_bar(ax, drawn, table[name].attrs.get("units", ""))
    same = same_units(x.attrs.get("units"), y.attrs.get("units"))
    labels = {f"{axis}label": f"{axis} ({place.attrs.get('units', 'px')})" for axis, place in (("y", y), ("x", x))}
    ax.set(title=name.replace("_", " "), **labels, aspect="equal" if same else "auto")
    ax.invert_yaxis()


def _half_turn(table: xr.Dataset) -> float:
    """Half of the period of the angles: a half turn, or the n-th part of it where all atoms say so."""
    known = table["symmetry"].values[table["symmetry"].values > 0] if "symmetry" in table else np.ones(1)
    half = np.pi / (np.bincount(known.astype(int)).argmax() if known.size else 1)
    largest = np.nanmax(np.abs(table["angle"].values), initial=0.0)
    return float(half if largest <= 1.001 * half else np.pi)
