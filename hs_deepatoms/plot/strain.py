"""Maps of strain and rotation on the axes of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.plot.overlay import plot_positions
from hs_deepatoms.plot.style import typical_spacing
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.maps import rasterise

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr

COLUMNS = {
    "strain_xx": (100.0, r"$\epsilon_{xx}$ (%)"),
    "strain_yy": (100.0, r"$\epsilon_{yy}$ (%)"),
    "strain_xy": (100.0, r"$\epsilon_{xy}$ (%)"),
    "lattice_rotation": (180 / np.pi, "rotation (°)"),
}
MAP = "RdBu_r"
SHARE = 98.0  # percent of the atoms inside the range of colours
REACH = 1.0  # distances between atoms that a value is drawn away from its own
LARGEST = 1024  # pixels of a map


def plot_strain(
    ds: xr.Dataset,
    image: Any = None,
    ax: matplotlib.axes.Axes | None = None,
    *,
    column: str | None = None,
    frame: int = 0,
    limit: float | None = None,
) -> matplotlib.axes.Axes | np.ndarray:
    """Strain of one frame as a map: blue is negative, white 0, red positive.

    Parameters
    ----------
    ds
        What `lattice` returned.
    image
        HyperSpy signal, DataArray or array, drawn beneath. None: the map alone.
    ax
        Where to draw one column. None: a new figure.
    column
        ``"strain_xx"``, ``"strain_yy"``, ``"strain_xy"`` or ``"lattice_rotation"``. None: all four.
    frame
        Flattened frame.
    limit
        End of the colours, in percent (rotation: degrees). None: 98 % of the atoms are inside, zero in the middle.

    Returns
    -------
    matplotlib.axes.Axes
        For all four an array of them, shape (2, 2).

    Raises
    ------
    InvalidArgumentError
        If there is no such column to draw, or four are to be drawn in one ``ax``.
    TableError
        If the table has no strain, or does not know the axes of its image.
    """
    if column is None:
        if ax is not None:
            raise InvalidArgumentError(explain("ax without column", f"column one of {list(COLUMNS)}", "Name one."))
        import matplotlib.pyplot as plt

        axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained")[1]
        for one, name in zip(axes.ravel(), COLUMNS, strict=True):
            plot_strain(ds, image, one, column=name, frame=frame, limit=limit)
        return axes
    if column not in COLUMNS:
        raise InvalidArgumentError(explain(f"column={column!r}", f"one of {list(COLUMNS)}", "Choose one of these."))
    factor, label = COLUMNS[column]
    ds = schema.dropna(ds)
    values = np.asarray(schema.check_column(ds, column).values, float) * factor
    axes = schema.known_axes(ds, "plot_strain")[1][-2:]
    ax = plot_positions(ds, image, ax, frame=frame, size=0.01)
    if ax.get_legend() is not None:
        ax.get_legend().remove()  # of species, whose markers are not what is shown here
    one = frame_of(ds) == frame if frame_grid(ds).columns else np.ones(values.size, bool)
    finite = values[one][np.isfinite(values[one])]
    end = limit if limit is not None else float(np.percentile(np.abs(finite), SHARE)) if finite.size else 1.0
    if not 0 < (end or 1.0) < np.inf:
        raise InvalidArgumentError(explain(f"limit={limit!r}", "a number above 0, or None", "Leave it out."))
    data, extent = _map(ds, values, one, axes, ax)
    drawn = ax.imshow(data, extent=extent, origin="upper", cmap=MAP, vmin=-(end or 1), vmax=end or 1,
                      alpha=0.75 if image is not None else 1.0, interpolation="nearest", aspect=ax.get_aspect(),
                      zorder=2)  # fmt: skip
    ax.figure.colorbar(drawn, ax=ax, label=label, extend="both", shrink=0.9)
    ax.set_title(str(column).replace("_", " "), fontsize="medium")
    return ax


def _map(ds: xr.Dataset, values, one, axes, ax) -> tuple[np.ndarray, tuple]:
    """Pixels of the map, and where they lie in the units of the picture."""
    coarse = [max(1, int(np.ceil(axis.size / LARGEST))) for axis in axes]
    shape = tuple(int(np.ceil(axis.size / step)) for axis, step in zip(axes, coarse, strict=True))
    y, x = (np.asarray(axis.to_index(ds[name].values[one]), float) for name, axis in zip("yx", axes, strict=True))
    steps = (axes[0].step, axes[1].step) if same_units(axes[0].units, axes[1].units) else (1.0, 1.0)
    known = np.isfinite(values[one])
    reach = REACH * typical_spacing(y[known] * steps[0], x[known] * steps[1])
    # the middle of the first coarse pixel lies (step - 1) / 2 from that of the first fine one
    places = [(w - (step - 1) / 2) / step for w, step in zip((y, x), coarse, strict=True)]
    sizes = tuple(step * k for step, k in zip(steps, coarse, strict=True))
    data = rasterise(*places, values[one], shape, method="nearest", steps=sizes, max_distance=reach)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    over = [n * k / axis.size for n, k, axis in zip(shape, coarse, axes, strict=True)]  # the last pixel may stick out
    return data, (left, left + (right - left) * over[1], top + (bottom - top) * over[0], top)
