"""Pictures of what `im2spec` and `spec2im` learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.plot.components import is_steep, show_small_peaks
from hs_deepatoms.plot.style import color_bar

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

WIDTH, HEIGHT = 3.4, 2.8  # inches of a panel
NAMES = {"model": "model", "mean": "mean spectrum", "knn": "neighbours", "pca_ridge": "PCA + ridge",
         "nmf_ridge": "NMF + ridge"}  # fmt: skip
LABEL, PANEL = 15, 150  # points of a number on a map, and across the map
PARTS = {"gap": "white", "train": "#4477aa", "validation": "#ccbb44", "test": "#ee6677"}


def plot_spectra(tree: xr.DataTree, examples: xr.Dataset | None = None) -> matplotlib.figure.Figure:
    """Held-out spectra, measured and predicted; maps of the error and of the first latent.

    Parameters
    ----------
    tree : xarray.DataTree
        From `im2spec`.
    examples : xarray.Dataset, optional
        Spectra of places of one's choice, as in ``/examples``, which None takes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    examples = tree["examples"].to_dataset() if examples is None else examples
    n = examples.sizes["example"]
    columns = max(2, -(-n // 2)) + 2
    figure, axes = plt.subplots(2, columns, figsize=(WIDTH * columns, 2 * HEIGHT), layout="constrained")
    places = [axes[k // (columns - 2), k % (columns - 2)] for k in range(n)]
    steep = any(is_steep(one) for one in examples["predicted"].values)
    for k, ax in enumerate(places):
        _draw_example(ax, examples.isel(example=k), k, steep)
    for ax in axes[:, : columns - 2].ravel()[n:]:
        ax.set_visible(False)
    latent = tree["latent"].to_dataset()
    draw_map(axes[0, -2], latent["error"], "error / noise", "magma")
    _number(axes[0, -2], examples)
    _draw_part(axes[1, -2], latent)
    draw_map(axes[0, -1], latent["z"].isel(latent=0), "latent 0", "viridis")
    _draw_bars(axes[1, -1], tree["metrics"].to_dataset(), "r2_noise_removed", "R2, noise taken out")
    return figure


def plot_along(along: xr.Dataset, latent: int) -> matplotlib.figure.Figure:
    """Spectra, and mean windows of the image below each other, along a latent: what `decode_along` gives."""
    import matplotlib.pyplot as plt

    n = along.sizes["step"]
    figure = plt.figure(figsize=(2.2 * WIDTH, 1.4 * HEIGHT), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    ax = left.subplots()
    colors = plt.get_cmap("viridis")(np.linspace(0.05, 0.9, n))
    for k in range(n):
        ax.plot(along["energy"], along["spectrum"][k], color=colors[k], lw=1.2, label=f"{float(along['step'][k]):+.1f}")
    ax.set(xlabel=axis_label(along["energy"]), ylabel="predicted", title=f"along latent {latent}")
    if is_steep(along["spectrum"].values):
        show_small_peaks(ax, along["spectrum"].values)
    ax.legend(title="std.", fontsize=7, title_fontsize=7)
    windows = along["window"].isel(channel=0).values
    low, high = np.nanmin(windows), np.nanmax(windows)
    for k, place in enumerate(np.atleast_1d(right.subplots(n, 1))):
        place.imshow(windows[k], vmin=low, vmax=high, cmap="gray")
        place.set(xticks=[], yticks=[], facecolor="0.92")
        if not np.isfinite(windows[k]).any():
            place.text(0.5, 0.5, "none\nlike it", ha="center", va="center", fontsize=7, transform=place.transAxes)
        place.set_ylabel(f"{float(along['step'][k]):+.1f}", rotation=0, ha="right", va="center", color=colors[k])
    right.suptitle("mean windows", fontsize=9)
    return figure


def plot_scores(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """R2 of the model and its baselines, in all and by channel."""
    import matplotlib.pyplot as plt

    metrics = tree["metrics"].to_dataset()
    figure, (first, second) = plt.subplots(1, 2, figsize=(2.6 * WIDTH, HEIGHT), layout="constrained",
                                           width_ratios=(1, 1.6))  # fmt: skip
    _draw_bars(first, metrics, "r2_noise_removed", "R2, noise taken out")
    for k, name in enumerate(metrics["predictor"].values):
        if str(name) != "mean":
            second.plot(metrics["energy"], metrics["r2_energy"][k], lw=0.8, label=NAMES.get(str(name), str(name)))
    second.axhline(0, color="0.6", lw=0.6)
    second.set(xlabel=axis_label(metrics["energy"]), ylabel="R2 of the channel, with noise",
               ylim=(max(-1.0, float(np.nanmin(metrics["r2_energy"]))), 1))  # fmt: skip
    second.legend(fontsize=7)
    return figure


def plot_image_model(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """The image, measured and as predicted for what was held out; the error, a latent, the scores of `spec2im`."""
    import matplotlib.pyplot as plt

    latent, held = tree["latent"].to_dataset(), tree["held_out"].to_dataset()
    held = held.isel(channel=0) if "channel" in held.dims else held
    figure, axes = plt.subplots(1, 5, figsize=(5 * WIDTH, HEIGHT), layout="constrained")
    low, high = np.nanpercentile(held["measured"], [1, 99])
    for ax, name in zip(axes, ("measured", "predicted"), strict=False):
        draw_map(ax, held[name].clip(low, high), f"{name}, held out", "gray")
    draw_map(axes[2], latent["error"], "error / std. of the image", "magma")
    draw_map(axes[3], latent["z"].isel(latent=0), "latent 0", "viridis")
    _draw_bars(axes[-1], tree["metrics"].to_dataset(), "r2", "R2", {**NAMES, "mean": "mean image"})
    return figure


def draw_map(ax: matplotlib.axes.Axes, values: xr.DataArray, title: str, cmap: str) -> None:
    """A map with its calibration and a colour bar, robustly scaled."""
    data = values.values
    good = data[np.isfinite(data)]
    low, high = np.percentile(good, [1, 99]) if good.size else (0, 1)
    drawn = ax.imshow(data, cmap=cmap, vmin=low, vmax=high, extent=_extent(values))
    color_bar(ax, drawn)
    _label(ax, values, title)


def axis_label(coordinate: xr.DataArray) -> str:
    """Name and units of an axis."""
    return f"{coordinate.attrs.get('long_name', coordinate.name)} ({coordinate.attrs.get('units', 'px')})"


def _draw_example(ax: matplotlib.axes.Axes, one: xr.Dataset, k: int, steep: bool) -> None:
    energy, predicted, std = one["energy"].values, one["predicted"].values, one["std"].values
    ax.plot(energy, one["measured"], color="0.55", lw=0.7, label="measured")
    ax.fill_between(energy, predicted - std, predicted + std, color="C0", alpha=0.3, lw=0, label="68 %")
    ax.plot(energy, predicted, color="C0", lw=1.2, label="predicted")
    ax.set(title=f"{k + 1}: y {float(one['y']):.4g}, x {float(one['x']):.4g} {one['y'].attrs.get('units', '')}",
           xlabel=axis_label(one["energy"]))  # fmt: skip
    if steep:
        show_small_peaks(ax, np.stack([one["measured"].values, predicted]))
    if k == 0:
        ax.legend(fontsize=7)


def _number(ax: matplotlib.axes.Axes, examples: xr.Dataset) -> None:
    """Number the places of the examples on a map, beside the place where another number is in the way."""
    y, x = (examples[name].values.astype(float) for name in "yx")
    scale = [abs(np.diff(limit)[0]) / PANEL for limit in (ax.get_xlim(), ax.get_ylim())]
    placed: list[tuple[float, float]] = []
    for k in range(len(y)):
        at = x[k] / scale[0], y[k] / scale[1]
        shifts = [(0, 0), (1.5 * LABEL, 0), (-1.5 * LABEL, 0), (0, 1.5 * LABEL), (0, -1.5 * LABEL)]
        free = [(dx, dy) for dx, dy in shifts
                if all(np.hypot(at[0] + dx - a, at[1] + dy - b) > LABEL for a, b in placed)]  # fmt: skip
        dx, dy = free[0] if free else (0, 0)
        placed.append((at[0] + dx, at[1] + dy))
        box = {"boxstyle": "circle,pad=0.2", "fc": "black", "ec": "white", "lw": 0.5}
        ax.annotate(str(k + 1), (x[k], y[k]), (x[k] + dx * scale[0], y[k] + dy * scale[1]), color="white", ha="center",
                    va="center", fontsize=9, bbox=box,
                    arrowprops={"arrowstyle": "-", "color": "white", "lw": 0.8} if dx or dy else None)  # fmt: skip


def _draw_part(ax: matplotlib.axes.Axes, latent: xr.Dataset) -> None:
    """What each spectrum was used for; of several splits, in whose test it was."""
    part = latent["part"]
    if "fold" in latent:
        values = latent["fold"]
        n = int(values.max()) + 1
        shown = {-1: ("white", "left out"), **{k: (f"C{k % 10}", f"test {k + 1}") for k in range(n)}}
    else:
        values, names = part, part.attrs["flag_meanings"].split()
        shown = {int(value): (PARTS[name], name) for value, name in zip(part.attrs["flag_values"], names, strict=True)}
    _draw_classes(ax, values, shown)
    _label(ax, part, "split" if "fold" not in latent else f"{n} splits")


def _draw_classes(ax: matplotlib.axes.Axes, values: xr.DataArray, shown: dict[int, tuple[str, str]]) -> None:
    """A map of whole numbers in the colour of each, with a legend of those that there are."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    image, found = np.ones((*values.shape, 3)), []
    for value, (colour, name) in shown.items():
        here = values.values == value
        image[here] = to_rgb(colour)
        if here.any():
            found.append(Patch(fc=colour, ec="0.5", label=name))
    ax.imshow(image, extent=_extent(values))
    ax.legend(handles=found, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, handlelength=1.2)


def _draw_bars(ax: matplotlib.axes.Axes, metrics: xr.Dataset, name: str, title: str, known: dict = NAMES) -> None:
    names = [known.get(str(one), str(one)) for one in metrics["predictor"].values]
    values = metrics[name].values
    ax.barh(range(len(names)), np.maximum(values, -0.2), color=["C0", *["0.7"] * (len(names) - 1)])
    for k, value in enumerate(values):
        ax.annotate(f"{value:.2f}", (max(0.0, value), k), xytext=(3, 0), textcoords="offset points", va="center",
                    fontsize=8)  # fmt: skip
    ax.set(yticks=range(len(names)), yticklabels=names, title=title, xlim=(min(0.0, max(-0.2, values.min())), 1.18))
    ax.invert_yaxis()


def _extent(values: xr.DataArray) -> tuple[float, float, float, float]:
    y, x = values["y"].values, values["x"].values
    dy, dx = ((v[-1] - v[0]) / max(1, len(v) - 1) or 1.0 for v in (y, x))
    return x[0] - dx / 2, x[-1] + dx / 2, y[-1] + dy / 2, y[0] - dy / 2


def _label(ax: matplotlib.axes.Axes, values: xr.DataArray, title: str) -> None:
    same = same_units(values["y"].attrs.get("units"), values["x"].attrs.get("units"))
    ax.set(title=title, xlabel=str(values["x"].attrs.get("units", "px")), aspect="equal" if same else "auto")
