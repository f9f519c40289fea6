"""Planted structure in images comes back with labels, lazy or not, from files and for other images."""

from __future__ import annotations

import json

import hyperspy.api as hs
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import adjusted_rand_score

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, ModelFileError, TableError
from tests.decompose.planted import cosines, matched

matplotlib.use("Agg")
SCALE = 0.02  # nm
PITCH = 16  # pixels


def gaussian(shape, y, x, height, sigma=2.5):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / sigma**2)


def motif_image(scores, seed=0, noise=0.02):
    """A lattice of columns, each with satellites whose heights are the scores (n, 2); positions, and what to expect."""
    rng = np.random.default_rng(seed)
    ny, nx = 10, 13
    y, x = (one.ravel() + 0.0 for one in np.mgrid[:ny, :nx] * PITCH + PITCH // 2)
    y, x = y + rng.uniform(-0.5, 0.5, y.size), x + rng.uniform(-0.5, 0.5, x.size)
    image = noise * rng.standard_normal((ny * PITCH, nx * PITCH))
    for one, (row, column) in enumerate(zip(y, x, strict=True)):
        for k, direction in enumerate((0.3, 2.0)):
            at = row + 4 * np.sin(direction), column + 4 * np.cos(direction)
            image += gaussian(image.shape, *at, scores[one, k], sigma=1.3)
    return image, y, x


def signal_of(image, lazy=False):
    s = hs.signals.Signal2D(image)
    for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
        axis.name, axis.scale, axis.units = name, SCALE, "nm"
    return s.as_lazy(chunks=(50, 60)) if lazy else s


def planted(lazy=False, **options):
    scores = np.random.default_rng(3).gamma(1.0, 1.0, (130, 2)) * (np.random.default_rng(4).random((130, 2)) < 0.7)
    image, y, x = motif_image(scores, **options)
    s = signal_of(image, lazy)
    return s, hs_deepatoms.positions(y * SCALE, x * SCALE, units="nm", signal=s), scores[np.lexsort((x, y))]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("method", ["pca", "nmf", "ica"])
def test_planted_modes(method, lazy):
    s, atoms, scores = planted(lazy)
    tree = s.decompose_local(atoms, method=method, n_components=2, window="0.26 nm", edge="reflect")
    found = tree["scores/scores"]
    assert found.dims == ("atom", "component") and found.sizes["atom"] == 130
    np.testing.assert_array_equal(found.atom, atoms.atom)
    images = tree["components/components"]
    assert images.dims == ("component", "window_y", "window_x") and images.window_x.attrs["units"] == "nm"
    np.testing.assert_allclose(images.window_y[[0, -1]], [-6 * SCALE, 6 * SCALE])
    if method != "pca":  # the two modes are as strong as each other: PCA may turn them
        assert matched(found.values, scores).min() >= 0.98
        truth = [gaussian((13, 13), 6 + 4 * np.sin(a), 6 + 4 * np.cos(a), 1, 1.3).ravel() for a in (0.3, 2.0)]
        assert cosines(images.values.reshape(2, -1), np.array(truth)).min() >= 0.98
    assert tree["components/explained_variance_ratio"].sum() > 0.9


def test_lazy_and_eager_are_the_same():
    one, two = (planted(lazy)[0].decompose_local(planted()[1], n_components=2, window=13) for lazy in (False, True))
    np.testing.assert_array_equal(one["scores/scores"], two["scores/scores"])
    np.testing.assert_array_equal(one["components/components"], two["components/components"])


def test_patches_as_they_are():
    s, atoms, _ = planted()
    direct = s.decompose_local(atoms, method="pca", n_components=2, window=13, normalisation="mean")
    cut = s.extract_patches(atoms, window=13).decompose_local(method="pca", n_components=2, normalisation="mean")
    np.testing.assert_allclose(cut["scores/scores"], direct["scores/scores"], atol=1e-6)
    np.testing.assert_array_equal(cut["scores"].y, direct["scores"].y)
    stack = hs.signals.Signal2D(np.random.default_rng(0).random((30, 8, 9)))
    stack.set_signal_type("atom_patches")
    tree = stack.decompose_local(method="kmeans", n_components=2)
    assert tree["scores/class"].sizes == {"atom": 30}
    with pytest.raises(TableError, match="no 'y'"):
        tree.deepatoms.to_signal(0)
    tree.deepatoms.plot()
    plt.close("all")
    array = hs_deepatoms.to_xarray(s).deepatoms.extract_patches(atoms, window=13)
    from_array = array.deepatoms.decompose_local(method="pca", n_components=2, normalisation="mean")
    np.testing.assert_allclose(from_array["scores/scores"], direct["scores/scores"], atol=1e-6)


def test_classes_of_motifs():
    truth = np.random.default_rng(0).integers(0, 3, 130)
    scores = np.array([[2.0, 0.0], [0.0, 2.0], [1.5, 1.5]])[truth]
    image, y, x = motif_image(scores, noise=0.2)
    s = signal_of(image)
    tree = s.decompose_local(hs_deepatoms.positions(y * SCALE, x * SCALE, units="nm", signal=s), method="gmm",
                             window=13, edge="reflect")  # fmt: skip
    truth = truth[np.lexsort((x, y))]
    assert adjusted_rand_score(truth, tree["scores/class"]) >= 0.95
    assert tree["classes/count"].values.tolist() == sorted(np.bincount(truth), reverse=True)
    assert tree["classes/components"].dims == ("class", "inner", "window_y", "window_x")
    averages = tree["components/components"]
    assert averages.attrs["meaning"] == "class" and averages.shape == (3, 13, 13)
    patches = s.extract_patches(hs_deepatoms.positions(y * SCALE, x * SCALE, units="nm", signal=s), window=13,
                                edge="reflect")  # fmt: skip
    expected = patches.data[tree["scores/class"].values == 0].mean(0)
    np.testing.assert_allclose(averages[0], expected, atol=0.02)
    assert int(tree["scree/bic"].idxmin()) == 3


@pytest.mark.parametrize("descriptor", ["zernike", "polar_fourier"])
@pytest.mark.parametrize("method", ["pca", "nmf"])
def test_scores_do_not_turn_with_the_image(descriptor, method):
    s, atoms, _ = planted(noise=0.0)
    tree = s.decompose_local(atoms, method=method, n_components=2, window=15, descriptor=descriptor, edge="reflect")
    assert tree["components/components"].attrs["meaning"] == "covariance"
    quarter = signal_of(np.rot90(s.data).copy())
    y, x = (s.data.shape[1] - 1) * SCALE - atoms.x.values, atoms.y.values
    moved = hs_deepatoms.positions(y, x, units="nm", signal=quarter)
    other = tree.deepatoms.encode(quarter, moved)
    order = np.lexsort((x, y))
    for k in range(2):
        assert np.corrcoef(other["scores"][:, k], tree["scores/scores"].values[order, k])[0, 1] >= 0.99


@pytest.mark.parametrize("descriptor", ["zernike", "polar_fourier"])
def test_scores_of_an_image_turned_by_any_angle(descriptor):
    scores = np.random.default_rng(3).random((130, 2)) * 2
    size = 300
    rows, columns = (one.ravel() * PITCH * 1.0 for one in np.mgrid[-5:5, -6:7])

    def turned(angle):
        y = size / 2 + rows * np.cos(angle) + columns * np.sin(angle)
        x = size / 2 + columns * np.cos(angle) - rows * np.sin(angle)
        image = np.zeros((size, size + 10))
        for one in range(130):
            for k, direction in enumerate((0.3 - angle, 2.0 - angle)):
                at = y[one] + 4 * np.sin(direction), x[one] + 4 * np.cos(direction)
                image += gaussian(image.shape, *at, scores[one, k], sigma=1.3)
        return hs.signals.Signal2D(image), y, x

    s, y, x = turned(0.0)
    tree = s.decompose_local(hs_deepatoms.positions(y, x, signal=s), method="pca", n_components=2, window=17,
                             descriptor=descriptor)  # fmt: skip
    other, y1, x1 = turned(0.43)
    found = tree.deepatoms.encode(other, hs_deepatoms.positions(y1, x1, signal=other))["scores"].values
    there = tree["scores/scores"].values[np.argsort(np.lexsort((x, y)))]
    here = found[np.argsort(np.lexsort((x1, y1)))]
    for k in range(2):
        assert np.corrcoef(there[:, k], here[:, k])[0, 1] >= 0.99


def test_sliding_fft_nmf():
    rows, columns = np.mgrid[:160, :240]
    left = np.cos(2 * np.pi * rows / 8) + np.cos(2 * np.pi * columns / 8)
    right = np.cos(2 * np.pi * (rows + columns) / 10) + np.cos(2 * np.pi * (rows - columns) / 10)
    image = np.where(columns < 120, left, right) + 0.3 * np.random.default_rng(0).standard_normal(rows.shape)
    tree = signal_of(image).decompose_local(descriptor="fft", n_components=2)
    maps = tree["maps/scores"]
    assert maps.dims == ("component", "y", "x") and maps.x.attrs["units"] == "nm"
    assert tree["components"].frequency_x.attrs["units"] == "1/nm"
    side = maps[0] > maps[1]
    assert (side[:, : side.sizes["x"] // 2 - 3] == side[0, 0]).all() and (side[:, -3:] != side[0, 0]).all()


def test_spectrum_image():
    energy = np.linspace(280, 300, 30)
    edges = [1 / (1 + np.exp(-(energy - at))) for at in (285, 293)]
    weights = np.random.default_rng(0).random((12, 14, 2))
    cube = hs.signals.Signal1D(weights @ np.array(edges))
    axes = zip(cube.axes_manager._axes, ("y", "x", "energy"), (0.1, 0.1, energy[1] - 280), strict=True)
    for axis, name, scale in axes:
        axis.name, axis.scale, axis.units = name, scale, "eV" if name == "energy" else "nm"
    tree = cube.decompose_local(window=(2, 3), method="pca", n_components=3)
    assert tree["components/components"].dims == ("component", "window_y", "window_x", "energy")
    assert tree["components/components"].shape == (3, 2, 3, 30) and tree["maps/scores"].shape == (3, 6, 4)
    each = cube.decompose_local(window=(1, 1), method="pca", n_components=2)
    truth = weights.reshape(-1, 2)
    fitted = each["scores/scores"].values
    design = np.column_stack([fitted, np.ones(len(fitted))])
    assert np.abs(design @ np.linalg.lstsq(design, truth, rcond=None)[0] - truth).max() < 1e-5
    assert cube.decompose_local(show_progressbar=False).attrs["kind"] == "unmixing"  # each spectrum by itself
    with pytest.raises(InvalidArgumentError, match="Leave it out"):
        cube.decompose_local(window=(2, 3), channels="y")
    lazy = cube.as_lazy(chunks=(5, 6, 11)).decompose_local(window=(2, 3), method="pca", n_components=3)
    np.testing.assert_allclose(lazy["scores/scores"], tree["scores/scores"])
    tree.deepatoms.plot()
    plt.close("all")


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
@pytest.mark.parametrize("method", ["pca", "nmf", "gmm", "kmeans", "som"])
def test_saved_and_used_again(method, ending, tmp_path):
    s, atoms, _ = planted()
    tree = s.decompose_local(atoms, method=method, n_components=3, window=13)
    tree.deepatoms.save(tmp_path / f"parts{ending}")
    again = hs_deepatoms.load(tmp_path / f"parts{ending}")
    assert isinstance(again, xr.DataTree) and set(again.children) == set(tree.children)
    np.testing.assert_array_equal(again["scores/scores"], tree["scores/scores"])
    assert again["scores"].y.attrs["units"] == "nm"
    other = again.deepatoms.encode(s, atoms)
    np.testing.assert_allclose(other["scores"], tree["scores/scores"], atol=1e-5 * float(tree["scores/scores"].max()))
    assert other.deepatoms.count() == other.sizes["atom"]
    if method == "gmm":
        np.testing.assert_array_equal(other["class"], tree["scores/class"])
        again["model/weights"][5] += 1
        with pytest.raises(ModelFileError, match="sha256"):
            again.deepatoms.encode(s, atoms)


def test_maps_and_pictures():
    s, atoms, _ = planted()
    tree = s.decompose_local(atoms, method="gmm", n_components=2, window=13)
    scores = tree.deepatoms.to_signal(1, method="scatter")
    assert scores.data.shape == s.data.shape and scores.axes_manager["x"].units == "nm"
    known = np.isfinite(scores.data)
    assert known.sum() == tree["scores"].sizes["atom"]
    assert tree.deepatoms.to_signal("class").data.shape == s.data.shape
    with pytest.raises(InvalidArgumentError, match="'class'"):
        tree.deepatoms.to_signal(2)
    figure = tree.deepatoms.plot()
    assert len(figure.axes) == 4  # two images, two maps, each with its colours
    figure.canvas.draw()
    for ax in figure.axes:  # which are as high as the picture, whatever the place for it
        tall, bar = (one.get_window_extent().height for one in (ax, ax.child_axes[0]))
        assert bar == pytest.approx(tall, abs=1)
    assert len(tree.deepatoms.plot_scree().axes) == 2
    with pytest.raises(InvalidArgumentError, match="1 to 2"):
        tree.deepatoms.plot(components=3)
    plt.close("all")
    assert not hasattr(xr.DataTree().deepatoms, "plot")


def test_provenance_and_dropped():
    s, atoms, _ = planted()
    with pytest.warns(UserWarning, match="edge"):
        tree = s.decompose_local(atoms, window=21, n_components=2)
    lost = json.loads(tree.attrs["dropped"])["edge"]
    assert len(lost) + tree["scores"].sizes["atom"] == 130 and not np.isin(lost, tree["scores"].atom).any()
    history = json.loads(tree.attrs["provenance"])
    assert history[-1]["operation"] == "decompose_local" and history[-1]["parameters"]["seed"] == 0


def test_nan_patches_have_no_scores():
    s, atoms, _ = planted()
    s.data[40:44, 40:44] = np.nan
    with pytest.warns(UserWarning, match="have NaN"):
        tree = s.decompose_local(atoms, window=13, n_components=2, edge="reflect", method="kmeans")
    lost = np.isnan(tree["scores/scores"]).all("component")
    assert 0 < lost.sum() < 9 and (tree["scores/class"].values[lost] == -1).all()


def test_few_and_odd_inputs():
    s, atoms, _ = planted()
    for n, words in ((0, "at least one"), (1, "at least 4"), (3, "at least 4")):
        with pytest.raises(InvalidArgumentError, match=words):
            s.decompose_local(atoms.isel(atom=slice(40, 40 + n)), n_components=4, window=13)
    four = s.decompose_local(atoms.isel(atom=slice(40, 44)), n_components=4, window=13)
    assert four["scores/scores"].shape == (4, 4)
    with pytest.raises(InvalidArgumentError, match="all the same"):
        signal_of(np.ones((60, 70))).decompose_local(grid=8, window=8)
    with pytest.raises(InvalidArgumentError, match="160 x 208"):
        s.decompose_local(atoms, window=161)
    with pytest.raises(InvalidArgumentError, match="zernike"):
        s.decompose_local(atoms, descriptor="sift")
    tree = s.decompose_local(atoms, window=13, n_components=2)
    with pytest.raises(InvalidArgumentError, match="Rebin"):
        coarse = s.deepcopy()
        coarse.axes_manager["x"].scale = 0.03
        tree.deepatoms.encode(coarse, grid=13)


def test_channels_and_frames():
    rng = np.random.default_rng(0)
    stack = hs.signals.Signal2D(rng.random((2, 3, 40, 50)))
    for axis, name in zip(stack.axes_manager._axes, ("detector", "time", "y", "x"), strict=True):
        axis.name = name
    tree = stack.decompose_local(grid=10, window=(8, 9), channels="detector", method="pca", n_components=3)
    assert tree["components/components"].dims == ("component", "detector", "window_y", "window_x")
    assert tree["maps/scores"].dims == ("component", "time", "y", "x") and tree["maps/scores"].shape == (3, 3, 4, 5)
    first = stack.data[:, 0, 1:9, 0:9].ravel() - tree["components/mean"].values.ravel()
    component = tree["components/components"][0].values.ravel()
    np.testing.assert_allclose(tree["maps/scores"][0, 0, 0, 0], first @ component, atol=1e-6)
    tree.deepatoms.plot(frame=2)
    plt.close("all")


@pytest.mark.parametrize("show", [True, False])
def test_patches_that_are_read_again_show_their_progress(show, capfd):
    """Each pass has a bar: looking at them, learning, scoring."""
    image = hs.signals.Signal2D(np.random.default_rng(0).random((70, 90)))
    asked = {"grid": 5, "window": 8, "method": "pca", "n_components": 2}
    image.decompose_local(**asked, incremental=True, show_progressbar=show)
    assert ("patches: 100%" in capfd.readouterr().err) == show
    image.decompose_local(**asked, incremental=False, show_progressbar=True)
    assert capfd.readouterr().err == ""
