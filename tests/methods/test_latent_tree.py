"""Pictures of a tree have the axes of the data."""

from __future__ import annotations

import hyperspy.api as hs
import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import hs_deepatoms
from hs_deepatoms.methods.latent_tree import axes_in

matplotlib.use("Agg")
QUICK = {"show_progressbar": False, "batch_size": 64}


def test_channels_keep_their_name_and_values(tmp_path):
    s = hs.signals.Signal2D(np.random.default_rng(0).random((3, 40, 45)).astype(np.float32))
    s.axes_manager[0].name, s.axes_manager[0].units = "detector", "mrad"
    s.axes_manager[0].scale, s.axes_manager[0].offset = 20.0, 35.0
    tree = s.rvae(grid=8, window=9, channels="detector", steps=2, **QUICK)
    back = hs_deepatoms.load(tree.deepatoms.save(tmp_path / "tree.zarr"))
    for images in (tree["manifold/manifold"], back.deepatoms.manifold(3), tree.deepatoms.traverse(0),
                   tree.deepatoms.reconstruct()):  # fmt: skip
        assert images.dims[-3:] == ("detector", "window_y", "window_x")
        assert images["detector"].values.tolist() == [35, 55, 75] and images["detector"].attrs["units"] == "mrad"
    tree.deepatoms.plot()
    plt.close("all")
    s.axes_manager[0].name = "step"  # a dim of the manifold's own
    assert s.rvae(grid=8, window=9, channels="step", latent_dim=1, steps=2, **QUICK)["manifold/manifold"].dims == (
        "latent", "step", "channel", "window_y", "window_x")  # fmt: skip
    node = tree["model"].to_dataset()
    assert axes_in(node.assign_attrs(channel='"detector"'))[1][0] == "channel"  # trees of before
