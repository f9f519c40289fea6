"""Phases of a latent map: their boundaries over the image, and how they came about while the model learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.plot.overlay import plot_image

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

SIDE = 2.6  # inches of a panel


def plot_phases(
    table: xr.Dataset, signal: Any = None, *, frame: int = 0, ax: matplotlib.axes.Axes | None = None
) -> matplotlib.axes.Axes:
    """Boundaries between phases, drawn over the image; patches that are not on a grid are coloured by their phase.

    Parameters
    ----------
    table : xarray.Dataset
        With ``phase``, as :meth:`phases` of a tree gives it.
    signal : hyperspy Signal2D, xarray.DataArray or array, optional
        The image that the patches are of. None: boundaries alone.
    frame : int
        Flattened frame that is drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TableError
        If there is no such frame, or the image is not that of the patches.
    """
    from hs_deepatoms.methods.image_stack import layout_of
    from hs_deepatoms.tables.frames import frame_of

    ax = plot_image(table, signal, ax, frame=frame)
    part = table.isel(atom=np.flatnonzero(frame_of(table) == frame))
    layout = layout_of(part)
    x, y, phase = part["x"].values, part["y"].values, part["phase"].values
    if layout is None:
        ax.scatter(x, y, c=phase, s=8, cmap="tab10", vmin=0, vmax=9, linewidths=0)
        return ax
    _, row, column = layout.T
    grid = np.full((row.max() + 1, column.max() + 1), np.nan)
    grid[row, column] = phase
    rows, columns = (np.array([values[place == k].mean() for k in range(place.max() + 1)])
                     for values, place in ((y, row), (x, column)))  # fmt: skip
    for k in np.unique(phase[phase > 0]):  # the boundary of all phases from k on
        if min(grid.shape) > 1:
            ax.contour(columns, rows, grid >= k, [0.5], colors=[f"C{int(k)}"], linewidths=1.5)
    return ax


def plot_watch(tree: xr.DataTree) -> matplotlib.figure.Figure:
    """The phases of the training nodes at every look, in one row.

    Raises
    ------
    InvalidArgumentError
        If the training was not watched.
    """
    import matplotlib.pyplot as plt

    if "watch" not in tree.children:
        got = "a tree whose training was not watched"
        raise InvalidArgumentError(explain(got, "one with /watch", "Train with physics_watch=5."))
    seen = tree["watch"].to_dataset()
    table = tree["latent"].to_dataset()
    n = seen.sizes["watch_step"]
    figure, axes = plt.subplots(1, n, figsize=(SIDE * n, SIDE), layout="constrained", squeeze=False)
    size = float(np.clip(3000 / max(1, table.sizes["atom"]), 1, 60))
    for k, ax in enumerate(axes[0]):
        ax.scatter(table["x"], table["y"], c=seen["phase"][k], s=size, cmap="tab10", vmin=0, vmax=9, marker="s",
                   linewidths=0)  # fmt: skip
        ax.set(title=f"step {int(seen['watch_step'][k])}", aspect="equal", xticks=[], yticks=[])
        ax.invert_yaxis()
    return figure
