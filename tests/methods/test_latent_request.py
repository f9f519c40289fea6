"""What is asked of an autoencoder is read along each axis, and what makes no sense, or no difference, is said."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np

QUICK = {"show_progressbar": False, "steps": 2, "grid": 6, "window": 9}


def image():
    return hs.signals.Signal2D(np.random.default_rng(0).random((40, 47)).astype(np.float32))


def test_the_largest_shift_is_read_along_each_axis():
    from hs_deepatoms.methods.latent_use import model_in

    s = image()
    for axis, step in zip(s.axes_manager.signal_axes, (0.02, 0.04), strict=True):
        axis.scale, axis.units = step, "nm"
    options = QUICK | {"invariances": ["shift"]}
    reach = [model_in(s.vae(max_shift=one, **options)["model"].to_dataset()).config["max_shift"]
             for one in ("0.08 nm", 0.08, 2)]  # fmt: skip
    np.testing.assert_allclose(reach, [(2, 4), (2, 4), (2, 2)])
