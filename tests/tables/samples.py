"""Images and tables for these tests: non-square, with different scales and offsets along y and x."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np

import hs_deepatoms

SHAPE = (24, 40)
SIZES = {"time": 3, "tilt": 2}
SCALE = {"y": 0.03, "x": 0.02, "time": 0.5, "tilt": 2.0}
OFFSET = {"y": -3.0, "x": 5.0, "time": 1.0, "tilt": -2.0}
UNITS = {"y": "nm", "x": "nm", "time": "s", "tilt": "deg"}


def image_signal(*navigation: str):
    """A Signal2D with these navigation axes, slowest first."""
    names = (*navigation, "y", "x")
    signal = hs.signals.Signal2D(np.zeros([SIZES[name] for name in navigation] + list(SHAPE), np.float32))
    for axis, name in zip(signal.axes_manager._axes, names, strict=True):
        axis.name, axis.scale, axis.offset, axis.units = name, SCALE[name], OFFSET[name], UNITS[name]
    signal.metadata.General.title = "sample"
    return signal


def to_value(name, index):
    return OFFSET[name] + SCALE[name] * np.asarray(index, float)


def image_table(n=11, seed=0):
    """A table of one image with columns of every kind; returns also the true pixels in the order of the table."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, SHAPE[0] - 1, n), rng.uniform(0, SHAPE[1] - 1, n)
    columns = {
        "probability": rng.random(n).astype(np.float32),
        "species": np.where(np.arange(n) % 2, "Sr", "Ti"),
        "height": rng.random(n),
        "y_std_px": np.full(n, 0.1),
        "x_std_px": np.full(n, 0.2),
        "fitted": np.arange(n) % 3 == 0,
        "number": np.arange(n),
    }
    order = np.lexsort((x, y))
    return hs_deepatoms.positions(y, x, signal=image_signal(), columns=columns), y[order], x[order]


def stack_table(n=17, seed=1):
    """A table of a stack of 3 x 2 frames, of which frame 4 is empty."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, SHAPE[0] - 1, n), rng.uniform(0, SHAPE[1] - 1, n)
    frame = rng.choice([0, 1, 2, 3, 5], n)
    probability = rng.random(n)
    signal = image_signal("time", "tilt")
    return hs_deepatoms.positions(y, x, signal=signal, frame=frame, columns={"probability": probability}), frame
