"""The library of averaged motifs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms.tables.categories import category_names

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

ACROSS = 4  # panels in a row
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown")


def plot_motifs(motifs: xr.Dataset, *, most: int = 12) -> matplotlib.figure.Figure:
    """A panel for each of the most frequent motifs: mean places of the neighbours, and circles of their rms scatter.

    Parameters
    ----------
    motifs : xarray.Dataset
        What ``atoms.deepatoms.motifs()`` found.
    most : int
        Panels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TableError
        If there are no motifs.
    InvalidArgumentError
        If ``most`` is no whole number of 1 or more.

    Examples
    --------
    >>> import hs_deepatoms
    >>> from hs_deepatoms.simulate.sheets import honeycomb
    >>> atoms = hs_deepatoms.positions(5 + 10 * honeycomb(3, 4).y, 5 + 10 * honeycomb(3, 4).x)
    >>> figure = atoms.deepatoms.plot_motifs()
    """
    import matplotlib.pyplot as plt

    check_whole("most", most, 1)
    number = min(int(motifs.sizes.get("motif", 0)), most)
    if not number:
        raise TableError(explain("no motifs", "what atoms.deepatoms.motifs() found", "Find some atoms first."))
    columns = min(number, ACROSS)
    rows = -(-number // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.9 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    names, units = category_names(motifs["motif_of_atom"].attrs), motifs["dx"].attrs.get("units", "px")
    reach = 1.25 * float(np.nanmax(np.hypot(motifs["dy"], motifs["dx"]), initial=0.0)) or 1.0
    for number_, ax in enumerate(axes.ravel()):
        if number_ >= number:
            ax.axis("off")
            continue
        _panel(ax, motifs.isel(motif=number_))
        ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
        name, *rest = names.get(number_, str(number_)).split(", ")
        ax.set_title("\n".join([f"{int(motifs['count'][number_])} x {name}", ", ".join(rest)]), fontsize=8)
        ax.tick_params(labelsize=7)
        ax.locator_params(nbins=5)
    for ax in axes.ravel()[max(0, number - columns) : number]:  # the lowest of every column
        ax.set_xlabel(f"from the atom ({units})", fontsize=8)
    return figure


def _panel(ax, one: xr.Dataset) -> None:
    from matplotlib.patches import Circle

    kinds = one["species_of_member"].values
    for dy, dx, spread, kind in zip(one["dy"].values, one["dx"].values, one["spread"].values, kinds, strict=True):
        if np.isfinite(dy):
            ax.plot([0, dx], [0, dy], color="0.6", zorder=1)
            ax.plot(dx, dy, "o", color=COLOURS[int(kind) % len(COLOURS)], zorder=3)
            ax.add_patch(Circle((dx, dy), spread, fill=False, color="black", zorder=4))
    ax.plot(0, 0, "o", color="black", markersize=7, zorder=3)
