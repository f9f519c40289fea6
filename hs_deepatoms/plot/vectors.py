"""Arrows of displacements and ellipses of uncertainties on a picture of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms._core.numbers import check_number
from hs_deepatoms.plot.style import legend_beside, typical_spacing
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr

ARROW, ELLIPSE = 0.7, 0.4  # of the distance between atoms: a long arrow, a typical sigma
LONG = 95.0  # percentile of the lengths that counts as a long arrow
ARROW_COLOR, ELLIPSE_COLOR = "#ffd000", "#b6ff00"  # as no species is drawn, at least not the first ones


def draw_arrows(ax: matplotlib.axes.Axes, atoms: xr.Dataset, y, x, name: str, factor=(1.0, 1.0), scale=None) -> float:
    """Arrows of the columns ``<name>_y``, ``<name>_x``, magnified, with a key.

    Parameters
    ----------
    ax
        Where the atoms are drawn.
    atoms
        Table of one frame.
    y, x
        Shape (n_atoms,): where its atoms are drawn.
    name
        ``"displacement"``, ``"off_centring"`` or any other pair of columns.
    factor
        Units of the picture per unit of the columns, along y and x.
    scale
        How many times longer arrows are drawn. None: so that a long one reaches most of the way to the next atom.

    Returns
    -------
    float
        The magnification.

    Raises
    ------
    TableError
        If the table has no such columns.
    """
    if not all(f"{name}_{axis}" in atoms.variables for axis in ("y", "x")):
        todo = "Make them with atoms.deepatoms.lattice() or .off_centring(of=..., among=...)."
        raise TableError(explain(f"arrows={name!r}", f"columns '{name}_y' and '{name}_x' in the table", todo))
    dy, dx = (np.asarray(atoms[f"{name}_{axis}"].values, float) * f for axis, f in zip("yx", factor, strict=True))
    good = np.isfinite(dy) & np.isfinite(dx)
    length = np.hypot(dy[good], dx[good])
    long = float(np.percentile(length, LONG)) if length.size else 0.0
    if long == 0:
        return 1.0 if scale is None else _positive(scale, "scale")
    spacing = typical_spacing(y[good], x[good])
    times = _positive(scale, "scale") if scale is not None else _round(ARROW * spacing / long, 1.0)
    arrows = ax.quiver(x[good], y[good], dx[good] * times, dy[good] * times, color=ARROW_COLOR, angles="xy",
                       scale_units="xy", scale=1, width=0.004, zorder=4)  # fmt: skip
    shown = _round(long, 1e-30)
    units = atoms[f"{name}_x"].attrs.get("units", "")
    label = f"{name.replace('_', '-')} {shown / factor[1]:.3g} {units} (drawn × {times:g})"
    if not ax.get_title():
        ax.set_title(" ")  # keeps room for the key
    ax.quiverkey(
        arrows,
        0.03,
        1.025,
        shown * times,
        label,
        labelpos="E",
        coordinates="axes",
        color="black",
        fontproperties={"size": "small"},
    )
    return times


def draw_ellipses(ax: matplotlib.axes.Axes, atoms: xr.Dataset, y, x, factor=(1.0, 1.0), scale=None) -> float:
    """One-sigma ellipses from ``y_std``, ``x_std`` and ``yx_corr``, magnified, with a legend that says so.

    Parameters as in :func:`draw_arrows`; ``scale`` None: a typical sigma is a quarter of the distance between atoms.

    Raises
    ------
    TableError
        If the table has no uncertainties.
    """
    from matplotlib.collections import EllipseCollection

    for name in ("y_std", "x_std"):
        schema.check_column(atoms, name)
    sy, sx = (np.asarray(atoms[f"{axis}_std"].values, float) * abs(f) for axis, f in zip("yx", factor, strict=True))
    corr = np.nan_to_num(atoms["yx_corr"].values) if "yx_corr" in atoms.variables else np.zeros(sy.size)
    corr = corr * np.sign(factor[0] * factor[1])
    good = np.isfinite(sy) & np.isfinite(sx)
    typical = float(np.median(np.hypot(sy, sx)[good])) / np.sqrt(2) if good.any() else 0.0
    if typical == 0:
        return 1.0
    spacing = typical_spacing(y[good], x[good])
    wanted = ELLIPSE * spacing / typical if np.isfinite(spacing) else 1.0
    times = _positive(scale, "scale") if scale is not None else _round(wanted, 1.0)
    long, short, angle = ellipse(sy[good], sx[good], corr[good])
    drawn = EllipseCollection(2 * times * long, 2 * times * short, np.degrees(angle), units="xy", facecolors="none",
                              offsets=np.column_stack([x[good], y[good]]), offset_transform=ax.transData,
                              edgecolors=ELLIPSE_COLOR, linewidths=0.9, zorder=3)  # fmt: skip
    ax.add_collection(drawn, autolim=False)
    ax.plot([], [], "o", mfc="none", mec=ELLIPSE_COLOR, label=f"one sigma, drawn × {times:g}")
    legend_beside(ax)
    return times


def ellipse(y_std, x_std, corr) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half axes (n,) of the one-sigma ellipses, long and short, and the angle of the long one from +x towards +y."""
    yy, xx, xy = y_std**2, x_std**2, corr * y_std * x_std
    middle, half = (yy + xx) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(middle + half), np.sqrt(np.maximum(middle - half, 0)), 0.5 * np.arctan2(2 * xy, xx - yy)


def _round(value: float, least: float) -> float:
    """1, 2 or 5 times a power of ten, at most ``value`` and at least ``least``."""
    if not np.isfinite(value) or value <= least:
        return least
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)))


def _positive(value, name: str) -> float:
    check_number(name, value)
    return float(value)
