"""Which class a manifold is of, and which classes are left out, is said."""

from __future__ import annotations

import itertools
import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.plot.comparison import plot_comparison
from hs_deepatoms.plot.decomposition import plot_components
from hs_deepatoms.plot.latent import plot_latent, plot_manifold

matplotlib.use("Agg")
RNG = np.random.default_rng(0)
GAP = 30  # pixels between two titles


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def latent_tree(classes, names=()):
    dims = ("class_index", "z_0", "z_1", "window_y", "window_x")
    attrs = {"names": json.dumps(list(names))} if names else {}
    latent = {"z": (("atom", "latent"), RNG.random((12, 2))), "class": ("atom", np.arange(12) % classes, attrs)}
    manifold = {"manifold": (dims, RNG.random((classes, 3, 4, 5, 6)))}
    nodes = {"/latent": xr.Dataset(latent, {"atom": np.arange(12)}), "/manifold": xr.Dataset(manifold)}
    return xr.DataTree.from_dict(nodes)


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def test_every_class_has_its_manifold():
    tree = latent_tree(3, ["Sr", "Ti", "O"])
    figure = plot_latent(tree)
    assert titles(figure)[:4] == [*(f"manifold, class {k} ({name}) of 3" for k, name in enumerate(("Sr", "Ti", "O"))),
                                  "patches"]  # fmt: skip
    drawn = [figure.axes[k].images[0].get_array() for k in range(3)]
    expected = tree["manifold/manifold"].values.transpose(0, 1, 3, 2, 4).reshape(3, 15, 24)
    np.testing.assert_allclose(drawn, expected)
    assert titles(plot_latent(latent_tree(6)))[:5] == [*(f"manifold, class {k} of 6" for k in range(4)), "patches"]
    assert titles(plot_manifold(latent_tree(6), chosen=5)) == ["manifold, class 5 of 6"]


def components_tree(count):
    k = len(count)
    images = (("component", "window_y", "window_x"), RNG.random((k, 5, 6)))
    coords = {"window_y": np.arange(5.0), "window_x": np.arange(6.0)}
    nodes = {"/components": xr.Dataset({"components": images}, coords),
             "/classes": xr.Dataset({"count": ("component", np.array(count))}),
             "/scores": xr.Dataset({"scores": (("atom", "component"), RNG.random((12, k)))})}  # fmt: skip
    return xr.DataTree.from_dict(nodes)


@pytest.mark.parametrize(("count", "drawn", "said"), [
    ([3, 0, 4, 1, 0, 1, 1, 1, 1], [0, 2, 3, 5, 6, 7, 8], "7 of 9 classes; 2 without patches"),
    ([1] * 9, list(range(9)), ""), ([1] * 11 + [0], list(range(9)), "9 of 12 classes; 1 without patches")])  # fmt: skip
def test_classes_without_patches_are_not_drawn(count, drawn, said):
    figure = plot_components(components_tree(count))
    found = [title for title in titles(figure) if "patches" in title]
    assert [int(title.split()[1].rstrip(":")) for title in found] == drawn
    assert figure.get_suptitle() == said
    assert plot_components(components_tree(count), components=[1]).get_suptitle() == ""


def test_titles_of_a_comparison_keep_to_their_panels():
    methods = ["gmm", "autoencoder", "vae", "rvae"]
    scores = {name: (("window", "model"), np.full((1, 4), -0.93)) for name in ("explained", "ari", "orientation")}
    place = {name: ("atom", RNG.random(12)) for name in ("y", "x")}
    classes = xr.Dataset({"class": (("model", "atom"), np.zeros((4, 12), int)), **place}, {"model": methods})
    nodes = {"/scores": xr.Dataset(scores, {"window": ["1.25 nm"], "model": methods}), "/window_0/classes": classes}
    manifold = xr.Dataset({"manifold": (("z_0", "z_1", "window_y", "window_x"), RNG.random((3, 3, 5, 6)))})
    nodes |= {f"/window_0/{method}/manifold": manifold for method in methods}
    figure = plot_comparison(xr.DataTree.from_dict(nodes))
    figure.canvas.draw()
    spans = [[ax.title.get_window_extent() for ax in row] for row in np.reshape(figure.axes, (2, 4))]
    for row in spans:
        assert all(left.x1 + GAP < right.x0 for left, right in itertools.pairwise(row))
