"""Small pictures side by side, in one range of greys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import matplotlib.axes

ODD = 0.06  # share of the pictures whose extremes are not looked at


def draw_mosaic(ax: matplotlib.axes.Axes, pictures: np.ndarray) -> None:
    """Pictures (rows, columns, h, w) in grey, none of which decides alone what is black and white.

    Far from all data, at the corners of the latents, a decoder says anything.
    """
    rows, columns, h, w = pictures.shape
    known, ends = pictures[np.isfinite(pictures).any((2, 3))], {}
    if len(known):
        least, most = np.nanmin(known, (1, 2)), np.nanmax(known, (1, 2))
        ends = {"vmin": np.quantile(least, ODD, method="lower"), "vmax": np.quantile(most, 1 - ODD, method="higher")}
    ax.imshow(pictures.transpose(0, 2, 1, 3).reshape(rows * h, columns * w), cmap="gray", **ends)
