"""Rings filled by their size and bonds coloured by their length, over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms.plot.markers import positions_for
from hs_deepatoms.plot.overlay import plot_image
from hs_deepatoms.plot.style import legend_beside
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr

COLORS = {3: "#6a3d9a", 4: "#984ea3", 5: "#377eb8", 6: "#b2df8a", 7: "#e41a1c", 8: "#ff7f00", 9: "#ffd92f",
          10: "#a65628", 11: "#f781bf", 12: "#17becf"}  # fmt: skip
LARGER = "#01665e"
SIDES = {True: "#e0e0e0", False: "#808080"}  # over an image, and on white


def plot_rings(
    ds: xr.Dataset,
    image: Any = None,
    ax: matplotlib.axes.Axes | None = None,
    *,
    rings: xr.Dataset | None = None,
    frame: int = 0,
    regular: bool = False,
    bonds: bool | str = True,
) -> matplotlib.axes.Axes:
    """The rings of one frame, filled by size, with a legend that counts them.

    Parameters
    ----------
    ds
        Positions table.
    image
        HyperSpy signal, DataArray or array, drawn beneath. None: the network alone.
    ax
        Where to draw. None: a new figure.
    rings
        What `atoms.deepatoms.rings(...)` returned. None: found with its defaults.
    frame
        Flattened frame.
    regular
        Whether regular rings are filled too.
    bonds
        Whether the sides of the rings are drawn; ``"length"``: coloured by their length.

    Raises
    ------
    TableError
        If the rings are those of other atoms, or what `plot` raises.
    """
    from matplotlib.collections import PolyCollection

    if bonds not in (True, False, "length"):
        raise InvalidArgumentError(explain(f"bonds={bonds!r}", "True, False or 'length'", "Choose one of these."))
    ds = schema.dropna(ds)
    if rings is None:
        from hs_deepatoms.methods.rings import rings as find

        rings = find(ds)
    elif not all(name in getattr(rings, "variables", ()) for name in ("cluster_of_ring", "atoms", "frame")):
        got = f"rings={type(rings).__name__} without rings"
        raise TableError(explain(got, "what atoms.deepatoms.rings() returned", "Or leave rings= out."))
    ax = plot_image(ds, image, ax, frame=frame)
    here = rings.isel(ring=rings["frame"].values == frame)
    corners, sizes = _corners(ds, image, here), here["size"].values
    if bonds:
        color = None if bonds == "length" else SIDES[image is not None]
        _draw_sides(ax, corners, sizes, color, ds, here)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        filled = regular or size != rings.attrs.get("regular", 6)
        color = COLORS.get(int(size), LARGER)
        if filled:
            ax.add_collection(PolyCollection([corners[k, :size] for k in chosen], facecolors=color, alpha=0.55,
                                             edgecolors=color, linewidths=0.8, zorder=2))  # fmt: skip
        ax.plot([], [], "s", color=color if filled else "none", markeredgecolor="black",
                label=f"{size}-ring: {chosen.size}")  # fmt: skip
    if sizes.size:
        _draw_legend(ax, below=bonds == "length")
    if image is None and not schema.stored_axes(ds):
        ax.autoscale_view()
    return ax


def _draw_legend(ax: matplotlib.axes.Axes, *, below: bool) -> None:
    """Beside the rings, or below where colours of bonds stand there."""
    if below and ax.figure.get_layout_engine() is not None:
        ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    else:
        legend_beside(ax)


def _corners(ds: xr.Dataset, image: Any, rings: xr.Dataset) -> np.ndarray:
    """Where the atoms of the rings are drawn, (n_rings, member, 2) as (x, y); NaN beyond a ring's size."""
    ids, wanted = np.asarray(ds[schema.DIM].values), rings["atoms"].values
    order = np.argsort(ids)
    row = np.searchsorted(ids[order], wanted)
    row = order[np.minimum(row, ids.size - 1)] if ids.size else row
    if (wanted >= 0).any() and not (ids.size and (ids[row] == wanted)[wanted >= 0].all()):
        raise TableError(explain("rings of atoms that are not in the table", "rings of this table", "Find them again."))
    y, x = positions_for(ds, image)
    places = np.stack([x[row], y[row]], axis=-1) if ids.size else np.empty((*wanted.shape, 2))
    return np.where((wanted >= 0)[..., None], places, np.nan)


def _draw_sides(ax, corners: np.ndarray, sizes: np.ndarray, color: str | None, ds: xr.Dataset, rings: xr.Dataset):
    """In one colour, or for None by length."""
    from matplotlib.collections import LineCollection

    if not sizes.size:
        return
    atoms = rings["atoms"].values
    place = np.arange(corners.shape[1])
    follow = np.where(place[None] + 1 < sizes[:, None], place[None] + 1, 0)
    ends = np.take_along_axis(corners, follow[..., None], axis=1), np.take_along_axis(atoms, follow, axis=1)
    pairs = np.sort(np.stack([atoms, ends[1]], axis=-1)[atoms >= 0], axis=1)
    lines = np.stack([corners, ends[0]], axis=2)[atoms >= 0]
    first = np.unique(pairs, axis=0, return_index=True)[1]
    lines = lines[first]
    if color is not None:
        ax.add_collection(LineCollection(lines, colors=color, linewidths=0.9, zorder=1.5))
        return
    length = np.hypot(*np.moveaxis(lines[:, 1] - lines[:, 0], -1, 0))
    drawn = LineCollection(lines, array=length, cmap="viridis", linewidths=1.6, zorder=3)
    low, high = np.percentile(length, (2, 98))
    drawn.set_clim(low, high if high > low else low + 1e-9)
    ax.add_collection(drawn)
    ax.figure.colorbar(drawn, ax=ax, label=f"bond length ({schema.axis_units(ds)['x']})", extend="both", shrink=0.9)
