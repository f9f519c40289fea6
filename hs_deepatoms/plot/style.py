"""How atoms look in every picture: sizes that follow the spacing on screen, one colour per species."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import is_number
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.neighbours import nearest

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.cm
    import xarray as xr

COLOR = "red"
MANY = 2**18  # atoms, of whose spacing a part is enough
SMALLEST, LARGEST = 1.5, 8.0
"""Diameter of a marker in points."""
SPECIES_COLORS = ("#e6194b", "#42d4f4", "#ffe119", "#3cb44b", "#f032e6", "#f58231", "#4363d8", "#fabed4")
"""Bright enough to be seen on grey images; used in the order of the class numbers."""


def typical_spacing(y: np.ndarray, x: np.ndarray, frame: np.ndarray | None = None) -> float:
    """Median distance to the nearest atom of the same frame, in the one unit of y and x; inf for fewer than two.

    Of millions of atoms in many frames some of the frames are looked at.
    """
    if frame is not None and np.size(y) > MANY:
        some = np.asarray(frame) % -(-np.size(y) // MANY) == 0
        y, x, frame = (np.asarray(values)[some] for values in (y, x, frame)) if some.any() else (y, x, frame)
    distance = nearest(y, x, frame)[0][:, 0] if np.size(y) > 1 else np.empty(0)
    distance = distance[np.isfinite(distance) & (distance > 0)]
    return float(np.median(distance)) if distance.size else np.inf


def marker_size(spacing: float, points_per_unit: float, size: float | None = None) -> float:
    """Diameter in points: a third of the spacing on screen, so that the atom inside stays visible."""
    if size is not None:
        if not is_number(size) or size <= 0:
            todo = "Leave it out for a size that follows the spacing."
            raise InvalidArgumentError(explain(f"size={size!r}", "a diameter in points above 0, or None", todo))
        return float(size)
    return float(np.clip(0.35 * spacing * points_per_unit, SMALLEST, LARGEST))


def dense_marker(n: int) -> float:
    """Area (points squared) of markers of which n fill most of a panel of some two inches: they are a map."""
    return float(np.clip(9000 / max(1, n), 1, 60))


def legend_beside(ax: matplotlib.axes.Axes) -> None:
    """Beside the picture, which it would hide, if the figure makes room; else in a corner, which shines through."""
    if ax.figure.get_layout_engine() is None:
        ax.legend(fontsize="small", framealpha=0.8, loc="upper right")
    else:
        ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)


def color_bar(ax: matplotlib.axes.Axes, drawn: matplotlib.cm.ScalarMappable, label: str = "") -> None:
    """A colour bar beside a picture, as high as the picture is, which may be less than the place for it.

    Its ticks do not depend on how high that is: room is made for their labels before that is known.
    """
    from matplotlib.ticker import MaxNLocator

    ax.figure.colorbar(drawn, cax=ax.inset_axes((1.04, 0.0, 0.06, 1.0)), label=label, ticks=MaxNLocator(5))


def check_color(color: str | None) -> None:
    """None or what matplotlib reads as a colour."""
    from matplotlib.colors import is_color_like

    if color is not None and not is_color_like(color):
        todo = "Leave it out to colour by species."
        raise InvalidArgumentError(explain(f"color={color!r}", "None or any matplotlib colour such as 'red'", todo))


def species_colors(ds: xr.Dataset) -> tuple[np.ndarray, dict[str, str]] | None:
    """Colour of every atom (n_atoms,) and a legend name -> colour; None without named or numbered species."""
    if "species" not in ds.variables:
        return None
    values = np.asarray(ds["species"].values, float)
    names = category_names(ds["species"].attrs)
    classes = sorted({*names, *np.unique(values[np.isfinite(values)]).astype(int).tolist()})
    if len(classes) < 2:
        return None
    colors = {value: SPECIES_COLORS[i % len(SPECIES_COLORS)] for i, value in enumerate(classes)}
    each = np.array([colors[int(value)] if np.isfinite(value) else "white" for value in values], dtype="U16")
    return each, {names.get(value, f"species {value}"): color for value, color in colors.items()}
