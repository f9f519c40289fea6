"""The common shape of a frame's columns: what astigmatism or a tilt makes of all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hs_deepatoms.atoms.peaks import Window
from hs_deepatoms.atoms.residue import FEW_SHAPES, Residue
from hs_deepatoms.atoms.state import State


def common_shape(remains: Residue) -> tuple[float, float, float] | None:
    """Width (pixels), plus and cross of most columns that were fitted as ellipses; None of a few."""
    state = remains.state
    c = state.columns[state.free & ~state.beyond]
    if len(c) < FEW_SHAPES:
        return None
    return tuple(float(v) for v in (torch.exp(c.log_width.median()), c.plus.median(), c.cross.median()))


def as_ellipses(state: State, shape: tuple[float, float] | None) -> State:
    """The state of a fit that frees ellipses, which begins with, and is drawn towards, the common shape if known."""
    if shape is None:
        return replace(state, elliptical=True)
    plus, cross = (torch.full_like(state.columns.y, float(v)) for v in shape)
    columns, start = (replace(c, plus=plus, cross=cross) for c in (state.columns, state.start))
    window = Window.around(state.sigma * float(np.exp(np.hypot(*shape) / 2)), tuple(state.image.shape))
    typical = plus.new_tensor(shape[0]), plus.new_tensor(shape[1])
    return replace(state, elliptical=True, columns=columns, start=start, shape=typical, window=window)
