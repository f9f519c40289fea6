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
    rows, columns, grid = _on_grid(part, phase, layout)
    for k in np.unique(phase[phase > 0]):  # the boundary of all phases from k on
        if min(grid.shape) > 1:
            ax.contour(columns, rows, grid >= k, [0.5], colors=[f"C{int(k)}"], linewidths=1.5)
    return ax


def plot_watch(tree: xr.DataTree, *, frame: int = 0) -> matplotlib.figure.Figure:
    """The map of the latent at every look, and its phases below.

    Raises
    ------
    InvalidArgumentError
        If the training was not watched.
    """
    import matplotlib.pyplot as plt

    if "watch" not in tree.children:
        got = "a tree whose training was not watched"
        raise InvalidArgumentError(explain(got, "one with /watch", "Train with physics_watch=5."))
    from hs_deepatoms.methods.image_stack import layout_of
    from hs_deepatoms.tables.frames import frame_of

    seen, table = tree["watch"].to_dataset(), tree["latent"].to_dataset()
    here = np.flatnonzero(frame_of(table) == frame)
    part, n = table.isel(atom=here), seen.sizes["watch_step"]
    layout = layout_of(part)
    figure, axes = plt.subplots(2, n, figsize=(SIDE * n, 1.9 * SIDE), layout="constrained", squeeze=False, sharex=True,
                                sharey=True)  # fmt: skip
    for k, pair in enumerate(axes.T):
        for ax, name, colours in zip(
            pair, ("z", "phase"), (None, {"cmap": "tab10", "vmin": 0, "vmax": 9}), strict=True
        ):
            rows, columns, grid = _on_grid(part, seen[name][k].values[here], layout)
            grid = np.where(grid < 0, np.nan, grid) if name == "phase" else grid
            ax.pcolormesh(columns, rows, grid, shading="nearest", rasterized=True, **colours or {})
            ax.set_aspect("equal")
        pair[0].set_title(f"step {int(seen['watch_step'][k])}")
        pair[1].set_xlabel(f"x ({table['x'].attrs.get('units', 'px')})")
    for ax, name in zip(axes[:, 0], ("latent", "phase"), strict=True):
        ax.set_ylabel(f"{name}\ny ({table['y'].attrs.get('units', 'px')})")
    axes[0, 0].invert_yaxis()
    return figure


def _on_grid(part: xr.Dataset, values: np.ndarray, layout: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y of the rows and x of the columns of a grid, and values on it, NaN where there is no patch."""
    _, row, column = layout.T
    grid = np.full((row.max() + 1, column.max() + 1), np.nan)
    grid[row, column] = values
    rows, columns = (np.array([part[name].values[place == k].mean() for k in range(place.max() + 1)])
                     for name, place in (("y", row), ("x", column)))  # fmt: skip
    return rows, columns, grid
