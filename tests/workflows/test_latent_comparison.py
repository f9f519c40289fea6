"""The same patches by four methods: figures that tell them apart, a table and a picture."""

from __future__ import annotations

import hyperspy.api as hs
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.workflows.latent_scores import agreement, match, orientation
from tests.latent.planted import motif_picture

matplotlib.use("Agg")


def image_of_motifs(n=10, pitch=24):
    """Two kinds of motifs at any angle."""
    rng = np.random.default_rng(1)
    rows, columns = (one.ravel() for one in np.mgrid[:n, :n])
    kinds, angle = rng.integers(0, 2, rows.size), rng.uniform(-np.pi, np.pi, rows.size)
    image = 0.05 * rng.standard_normal((n * pitch, n * pitch))
    for row, column, k, turn in zip(rows, columns, kinds, angle, strict=True):
        part = motif_picture(k, (turn, 0, 0, 0), (pitch, pitch))
        image[row * pitch : (row + 1) * pitch, column * pitch : (column + 1) * pitch] += part
    middle = (pitch - 1) / 2
    s = hs.signals.Signal2D(image.astype(np.float32))
    atoms = hs_deepatoms.positions(rows * pitch + middle, columns * pitch + middle, signal=s)
    return s, atoms.assign(kind=("atom", kinds))


@pytest.fixture(scope="module")
def compared():
    s, atoms = image_of_motifs()
    return s.compare_latents(atoms, windows=[9, 21], classes=2, labels="kind", steps=60, show_progressbar=False)


def test_scores(compared):
    scores = compared["scores"]
    assert dict(scores.sizes) == {"window": 2, "model": 4, "other": 4}
    large = scores.to_dataset().sel(window="21")
    assert float(large["ari"].sel(model="rvae")) > 0.9 > float(large["ari"].sel(model="gmm"))
    assert float(large["explained"].sel(model="rvae")) > float(large["explained"].sel(model="gmm"))
    np.testing.assert_allclose(np.diagonal(scores["agreement"].values, axis1=1, axis2=2), 1)
    assert (scores["seconds"] > 0).all() and (scores["orientation"] >= 0).all()
    assert compared["window_1/rvae/latent/z"].shape == (100, 2)
    assert set(np.unique(compared["window_0/classes/class"])) <= {0, 1}


def test_table_plot_and_file(compared, tmp_path):
    table = compared.deepatoms.table()
    assert len(table) == 8 and {"explained", "ari", "orientation", "seconds"} <= set(table.columns)
    figure = compared.deepatoms.plot()
    figure.canvas.draw()
    assert len(figure.axes) == 16
    plt.close("all")
    back = hs_deepatoms.load(compared.deepatoms.save(tmp_path / "compared.zarr"))
    np.testing.assert_array_equal(back["scores/explained"], compared["scores/explained"])
    assert back["window_1/vae"].deepatoms.manifold(3).shape == (3, 3, 21, 21)


def test_what_orientation_tells():
    rng = np.random.default_rng(0)
    angle, kinds = rng.uniform(-np.pi, np.pi, 300), np.zeros(300, int)

    def tree(z):
        import xarray as xr

        return xr.DataTree.from_dict({"/latent": xr.Dataset({"z": (("atom", "latent"), z)})})

    knows = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert orientation(tree(knows), angle, kinds) > 0.9
    assert orientation(tree(rng.standard_normal((300, 2))), angle, kinds) < 0.1
    one, other = np.array([0, 0, 1, 1, -1]), np.array([1, 1, 0, 0, 0])
    assert match(one, other) == 1 and agreement([one, other])[0][1] == 1


@pytest.mark.parametrize("options", [{"windows": []}, {"windows": "9"}, {"methods": ["pca"]}, {"classes": 1},
                                     {"labels": [0, 1]}, {"labels": "colour"}])  # fmt: skip
def test_what_is_refused(options):
    image = np.random.default_rng(0).random((50, 60))
    call = {"grid": 8, "windows": [9], "methods": ["gmm"], "steps": 2, "show_progressbar": False} | options
    with pytest.raises(InvalidArgumentError):
        hs_deepatoms.compare_latents(image, **call)
