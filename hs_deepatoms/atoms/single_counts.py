"""Single counts that were blurred, which look like narrow columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from hs_deepatoms.atoms.residue import Residue

NARROW = 1.05  # pixels: an image that is blurred more after counting is hardly ever met
ENOUGH = 12  # columns, to tell
# how far places agree with pixels, 0 to 1: at least, and with the sureness n R**2 of Rayleigh's test
LOCKED, SURELY = 0.4, 8.0
# share of the pixels, at least, that are darkest but for that share of a column's height: counts on noise stand on none
EMPTY, NOTHING = 0.05, 0.01
# mean distance to the nearest one, relative to that of points at random, below which columns keep none: those of a
# honeycomb have 1.75, of a square lattice 2; points at random up to 1.5 where those that touch are found as one
AT_RANDOM = 1.6


def are_single_counts(remains: Residue, sigma: float) -> bool:
    """Whether the columns of a first fit are single counts of an image that was blurred or resampled after counting.

    Each of these stands on a pixel's centre and on nothing, and they keep no distance. Columns stand anywhere on the
    pixels and on noise, or, where they were drawn on pixels, keep apart.

    Parameters
    ----------
    remains : Residue
        Of a first fit.
    sigma : float
        Width of the columns, pixels.

    Notes
    -----
    Distances as in Clark & Evans, Ecology 35, 445 (1954), doi:10.2307/1931034.
    """
    state = remains.state
    y, x = (p.cpu().numpy() for p in (state.columns.y, state.columns.x))
    if sigma > NARROW or len(y) < ENOUGH:
        return False
    pixels = state.image[state.valid]
    empty = float((pixels < pixels.min() + NOTHING * state.columns.height.median()).double().mean())
    locked = [np.mean(np.cos(2 * np.pi * p)) for p in (y, x)]
    nearest = cKDTree(np.column_stack([y, x])).query(np.column_stack([y, x]), 2)[0][:, 1]
    at_random = 0.5 * np.sqrt(state.image.numel() / len(y))
    centred = min(locked) > max(LOCKED, (SURELY / len(y)) ** 0.5)
    return bool(centred and empty > EMPTY and nearest.mean() < AT_RANDOM * at_random)
