"""Calibrated tables of crystals for the tests of the local lattice."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np

import hs_deepatoms

SCALE, OFFSET = {"y": 0.016, "x": 0.02}, {"y": 2.0, "x": -1.0}
SHAPE = (300, 400)


def signal(units=("nm", "nm"), scale=SCALE, frames=0):
    """An empty image (or a stack of them) with pixels that are not squares."""
    made = hs.signals.Signal2D(np.zeros(((frames,) if frames else ()) + SHAPE, np.float32))
    for axis, name, unit in zip(made.axes_manager.signal_axes, "xy", units[::-1], strict=True):
        axis.name, axis.scale, axis.offset, axis.units = name, scale[name], OFFSET[name], unit
    return made


def perovskite(strain=0.01, polar=(0.02, 0.01), noise=0.04, seed=0, **settings):
    """SrTiO3 of 0.39 nm on ``signal()``, the right half strained along x, Ti off-centre by ``polar`` (y, x) nm."""
    rng = np.random.default_rng(seed)
    ij = np.stack([k.ravel() for k in np.mgrid[-1:30, -1:30]], axis=1)
    places = np.concatenate([ij * 0.39, (ij + 0.5) * 0.39 + polar]) + np.array([2.1, -0.9])
    species = np.repeat(["Sr", "Ti"], len(ij))
    places[:, 1] = np.where(places[:, 1] > 3, 3 + (1 + strain) * (places[:, 1] - 3), places[:, 1])
    y, x = ((places[:, k] - OFFSET[n]) / SCALE[n] for k, n in enumerate("yx"))
    keep = (y > 0) & (y < SHAPE[0] - 1) & (x > 0) & (x < SHAPE[1] - 1)
    y, x, species = y[keep], x[keep], species[keep]
    std = rng.uniform(0.5 * noise, 1.5 * noise, (2, y.size))
    y, x = (w + s * rng.normal(size=y.size) for w, s in zip((y, x), std, strict=True))
    columns = {"species": species} | ({"y_std_px": std[0], "x_std_px": std[1]} if noise else {})
    return hs_deepatoms.positions(y, x, signal=signal(**settings), columns=columns)


def left_region():
    return hs.roi.RectangularROI(left=-0.95, right=2.6, top=2.0, bottom=6.8)


def right_region():
    return hs.roi.RectangularROI(left=3.5, right=6.9, top=2.0, bottom=6.8)
