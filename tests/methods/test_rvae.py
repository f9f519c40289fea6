"""Latents, poses and classes of planted motifs come back with labels, lazy or not, from files and for other patches."""

from __future__ import annotations

import hyperspy.api as hs
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, InvalidAxesError, ModelFileError, TableError
from tests.latent.planted import angle_errors, motif_picture, planted

matplotlib.use("Agg")
QUICK = {"show_progressbar": False, "batch_size": 64}
SCALE = 0.02


def patches_of(data, lazy=False):
    stack = hs.signals.Signal2D(data)
    stack.set_signal_type("atom_patches")
    return stack.as_lazy() if lazy else stack


@pytest.fixture(scope="module")
def learned():
    data, kinds, poses = planted(400)
    return data, kinds, poses, patches_of(data).rvae(steps=80, max_shift=2, **QUICK)


def image_of_motifs(lazy=False, n=(6, 7), pitch=26):
    rng = np.random.default_rng(1)
    rows, columns = (one.ravel() for one in np.mgrid[: n[0], : n[1]])
    kinds, angle = rng.integers(0, 2, rows.size), rng.uniform(-np.pi, np.pi, rows.size)
    image = 0.05 * rng.standard_normal((n[0] * pitch, n[1] * pitch))
    for row, column, k, turn in zip(rows, columns, kinds, angle, strict=True):
        part = motif_picture(k, (turn, 0, 0, 0), (pitch, pitch))
        image[row * pitch : (row + 1) * pitch, column * pitch : (column + 1) * pitch] += part
    s = hs.signals.Signal2D(image.astype(np.float32))
    for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
        axis.name, axis.scale, axis.units = name, SCALE, "nm"
    middle = (pitch - 1) / 2
    atoms = hs_deepatoms.positions((rows * pitch + middle) * SCALE, (columns * pitch + middle) * SCALE, units="nm",
                                   signal=s)  # fmt: skip
    return (s.as_lazy(chunks=(60, 70)) if lazy else s), atoms, kinds, angle


def test_planted_angles_and_classes(learned):
    _, kinds, poses, tree = learned
    latent = tree["latent"]
    errors = angle_errors(latent["angle"].values, poses[:, 0], kinds)
    assert np.degrees(np.median(errors)) < 3 and (np.degrees(errors) > 20).mean() < 0.02
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    assert cross_val_score(KNeighborsClassifier(5), latent["z"].values, kinds, cv=4).mean() > 0.97
    assert 0.5 < float(tree["metrics/residual"]) < 1.5
    assert float(tree["metrics/noise_std"]) == pytest.approx(0.1, rel=0.3)
    assert float(tree["history/loss"][-1]) < float(tree["history/loss"][0])


def test_what_the_tree_says(learned):
    data, _, _, tree = learned
    latent = tree["latent"]
    assert latent["z"].dims == ("atom", "latent") and latent["z"].shape == (400, 2)
    for name in ("angle", "angle_std", "shift_y", "shift_x", "residual", "anomaly"):
        assert latent[name].dims == ("atom",) and np.isfinite(latent[name]).all()
    assert latent["angle"].attrs["units"] == "rad" and latent["shift_y"].attrs["units"] == "px"
    assert tree["manifold/manifold"].dims == ("z_0", "z_1", "window_y", "window_x")
    assert tree["manifold/manifold"].shape[2:] == data.shape[1:]
    assert "rvae" in tree.attrs["provenance"]


def test_decode_inverts_encode(learned):
    data, _, _, tree = learned
    found = tree.deepatoms.encode(patches_of(data[:50]))
    np.testing.assert_allclose(found["z"], tree["latent/z"][:50], atol=1e-3)
    images = tree.deepatoms.decode(found)
    assert images.dims == ("atom", "window_y", "window_x")
    assert np.median(np.std(images.values - data[:50], axis=(1, 2))) < 0.13
    np.testing.assert_allclose(tree.deepatoms.reconstruct([3, 7]), images.isel(atom=[3, 7]), atol=0.02)
    turned = tree.deepatoms.decode(found["z"].values[:1], angle=[found["angle"].values[0] + np.pi])
    there = tree.deepatoms.decode(found["z"].values[:1], angle=found["angle"].values[0])
    np.testing.assert_allclose(turned.values[0, ::-1, ::-1], there.values[0], atol=0.03)
    with pytest.raises(InvalidArgumentError, match=r"\(n, 2\)"):
        tree.deepatoms.decode(np.zeros((3, 5)))


def test_no_latent_gives_no_picture_and_wrong_poses_are_refused(learned):
    tree, z = learned[-1], np.zeros((3, 2))
    assert tree.deepatoms.decode(z[:0]).shape == (0, *tree.deepatoms.decode(z).shape[1:])
    for options in ({"angle": [0.0, 1.0]}, {"shift_y": np.zeros((3, 1))}, {"scale": 0.0}):
        with pytest.raises(InvalidArgumentError, match=next(iter(options))):
            tree.deepatoms.decode(z, **options)
    with pytest.raises(InvalidArgumentError, match="n=0"):
        tree.deepatoms.manifold(0)


def test_manifold_and_traverse(learned):
    tree = learned[-1]
    assert tree.deepatoms.manifold(4).shape == (4, 4, 21, 24)
    line = tree.deepatoms.traverse(1, n=5)
    assert line.dims == ("z", "window_y", "window_x") and line.sizes["z"] == 5
    with pytest.raises(InvalidArgumentError, match="0 to 1"):
        tree.deepatoms.traverse(2)


@pytest.mark.parametrize("ending", ["zarr", "nc"])
def test_save_and_load(tmp_path, learned, ending):
    data, _, _, tree = learned
    path = tree.deepatoms.save(tmp_path / f"tree.{ending}")
    back = hs_deepatoms.load(path)
    np.testing.assert_array_equal(back["latent/z"], tree["latent/z"])
    found = back.deepatoms.encode(patches_of(data[:9]))
    np.testing.assert_allclose(found["z"], tree["latent/z"][:9], atol=1e-3)
    back["model"]["weights"].values[-3] ^= 1
    with pytest.raises(ModelFileError, match="damaged"):
        back.deepatoms.manifold()


def test_seeds_and_random_state(learned):
    data = planted(60)[0]
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = (patches_of(data).rvae(steps=4, seed=k, **QUICK)["latent/z"].values for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_image_and_atoms_lazy_or_not():
    trees = []
    for lazy in (False, True):
        s, atoms, *_ = image_of_motifs(lazy)
        trees.append(s.rvae(atoms, window=19, steps=5, edge="reflect", **QUICK))
    np.testing.assert_allclose(trees[0]["latent/z"], trees[1]["latent/z"], atol=1e-4)
    tree = trees[0]
    assert tree["latent"].y.attrs["units"] == "nm" and tree["latent/shift_x"].attrs["units"] == "nm"
    np.testing.assert_array_equal(tree["latent"].atom, image_of_motifs()[1].atom)
    drawn = tree.deepatoms.latent_map(0)
    assert drawn.data.shape == (156, 182) and drawn.axes_manager[0].scale == pytest.approx(SCALE)
    assert tree.deepatoms.latent_map("angle", method="scatter").data.shape == (156, 182)
    assert {"z_0", "z_1", "angle"} <= set(tree.deepatoms.table().data_vars)
    with pytest.raises(InvalidArgumentError, match="z_0"):
        tree.deepatoms.latent_map(7)
    found = tree.deepatoms.encode(*image_of_motifs()[:2])
    np.testing.assert_allclose(found["z"], tree["latent/z"], atol=1e-3)
    for figure in (tree.deepatoms.plot(), tree.deepatoms.plot_manifold(), tree.deepatoms.plot_history()):
        figure.canvas.draw()
    plt.close("all")


def test_arrays_and_data_arrays():
    s, atoms, *_ = image_of_motifs()
    one = s.rvae(atoms, window=19, steps=3, edge="reflect", **QUICK)
    two = hs_deepatoms.to_xarray(s).deepatoms.rvae(atoms, window=19, steps=3, edge="reflect", **QUICK)
    np.testing.assert_array_equal(one["latent/z"], two["latent/z"])
    tree = hs_deepatoms.rvae(np.random.default_rng(0).random((50, 60)), grid=7, window=(9, 11), steps=2, **QUICK)
    assert tree["latent"].sizes["atom"] == 48


def test_frames_of_a_scan_are_patches():
    data = planted(42)[0].reshape(6, 7, 21, 24)
    tree = hs.signals.Signal2D(data).rvae(steps=3, **QUICK)
    assert tree["latent"].sizes["atom"] == 42
    assert tree.deepatoms.latent_map(0).data.shape == (6, 7)
    found = tree.deepatoms.encode(hs.signals.Signal2D(data))
    np.testing.assert_allclose(found["z"], tree["latent/z"], atol=1e-3)
    with pytest.raises(InvalidAxesError, match="grid"):
        hs.signals.Signal2D(data[0, 0]).rvae(steps=3)
    with pytest.raises(InvalidArgumentError, match="window"):
        hs.signals.Signal2D(data).rvae(window=9, steps=3)


def shifted_peaks():
    rng = np.random.default_rng(0)
    shift, ratio = rng.uniform(-4, 4, (6, 8)), rng.uniform(0.2, 1, (6, 8))
    e = np.arange(60)
    data = np.exp(-((e - 25 - shift[..., None]) ** 2) / 8)
    data = data + ratio[..., None] * np.exp(-((e - 38 - shift[..., None]) ** 2) / 8)
    return (data + 0.03 * rng.standard_normal(data.shape)).astype(np.float32), shift, ratio


def test_spectra_and_their_shift():
    data, shift, ratio = shifted_peaks()
    s = hs.signals.Signal1D(data)
    s.axes_manager.signal_axes[0].name, s.axes_manager.signal_axes[0].scale = "energy", 0.5
    s.axes_manager.signal_axes[0].units = "eV"
    tree = s.vae(latent_dim=1, invariances=["shift"], max_shift=6, steps=250, **QUICK)
    found = tree["latent"]
    assert found["shift_x"].attrs["units"] == "eV" and "angle" not in found and "shift_y" not in found
    assert np.corrcoef(found["shift_x"], shift.ravel())[0, 1] > 0.97
    assert abs(np.corrcoef(found["z"].values[:, 0], ratio.ravel())[0, 1]) > 0.9
    assert tree.deepatoms.latent_map(0).data.shape == (6, 8)
    assert tree["manifold/manifold"].dims == ("latent", "step", "energy")
    assert tree.deepatoms.reconstruct().dims == ("atom", "energy")
    tree.deepatoms.plot()
    plt.close("all")


def test_channels():
    data, *_ = planted(40)
    stack = hs.signals.Signal2D(np.stack([data, 1 - data]))
    stack.set_signal_type("atom_patches")
    tree = stack.rvae(steps=3, **QUICK)
    assert tree["manifold/manifold"].dims == ("z_0", "z_1", "channel", "window_y", "window_x")
    assert tree.deepatoms.reconstruct().shape == (40, 2, 21, 24)


def test_discrete_labels_and_condition():
    data, kinds, _ = planted(200)
    tree = patches_of(data).rvae(discrete=2, latent_dim=1, steps=60, **QUICK)
    share = tree["latent/class_probability"]
    assert share.dims == ("atom", "class_index")
    np.testing.assert_allclose(share.sum("class_index"), 1, atol=1e-4)
    found = tree["latent/class"].values
    assert max((found == kinds).mean(), (found != kinds).mean()) > 0.95
    labels = np.where(np.arange(200) < 12, kinds, -1)
    given = patches_of(data).rvae(labels=labels, steps=60, **QUICK)
    assert (given["latent/class"].values == kinds).mean() > 0.95
    assert given["latent/class"].attrs["names"] == "[0, 1]"
    known = patches_of(data).vae(condition=kinds.astype(float), steps=5, **QUICK)
    again = known.deepatoms.encode(patches_of(data), condition=kinds.astype(float))
    np.testing.assert_allclose(again["z"], known["latent/z"], atol=1e-3)
    assert known.deepatoms.decode([[0.0, 0.0]], condition=[[1.0]]).shape == (1, 21, 24)
    with pytest.raises(InvalidArgumentError, match=r"condition of shape \(2,\)"):
        known.deepatoms.decode([[0.0, 0.0]], condition=[1.0, 2.0])
    with pytest.raises(InvalidArgumentError, match="condition"):
        known.deepatoms.encode(patches_of(data))


@pytest.mark.parametrize("options", [{"decoder": "conv", "encoder": "conv"}, {"decoder": "spatial"},
                                     {"likelihood": "bernoulli"}, {"invariances": ("rotation", "shift", "scale")},
                                     {"invariances": ()}, {"latent_dim": 3}])  # fmt: skip
def test_options(options):
    data = planted(40)[0]
    tree = patches_of(data).rvae(steps=3, **options, **QUICK)
    assert np.isfinite(tree["latent/z"]).all() and np.isfinite(tree["manifold/manifold"]).all()
    assert ("scale" in tree["latent"]) == ("scale" in options.get("invariances", ()))
    plain = patches_of(data).vae(variational=False, steps=3, **QUICK)
    assert "angle" not in plain["latent"]


def test_few_and_broken_patches():
    data = planted(30)[0]
    for few in (data[:0], data[:1]):
        with pytest.raises((InvalidArgumentError, InvalidAxesError)):
            patches_of(few).rvae(steps=2, **QUICK)
    assert np.isfinite(patches_of(data[:3]).rvae(steps=2, **QUICK)["latent/z"]).all()
    broken = data.copy()
    broken[4, 3, 2] = np.nan
    with pytest.warns(UserWarning, match="1 of 30"):
        tree = patches_of(broken).rvae(steps=2, **QUICK)
    assert np.isnan(tree["latent/z"][4]).all() and np.isfinite(np.delete(tree["latent/z"].values, 4, 0)).all()
    np.testing.assert_array_equal(np.isnan(tree["latent/anomaly"]), np.arange(30) == 4)
    with pytest.raises(InvalidArgumentError, match="all the same"):
        patches_of(np.full((5, 9, 8), 3.0)).rvae(steps=2, **QUICK)
    even = hs.signals.Signal2D(np.full((60, 71), 3.0, np.float32))  # interpolated, it differs by rounding
    atoms = hs_deepatoms.positions([20.3, 30.7, 41.2], [25.9, 31.1, 44.4], signal=even)
    for call in (lambda: even.rvae(atoms, window=11, steps=2, **QUICK),
                 lambda: even.decompose_local(atoms, window=11, method="pca", n_components=1)):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match="all the same"):
            call()
    assert (even.extract_patches(atoms, window=11, normalisation="zscore").data == 0).all()
    small = patches_of(1e-13 * data).rvae(steps=2, **QUICK)  # the size of a unit says nothing
    assert np.isfinite(small["latent/z"]).all()
    flat = data.copy()
    flat[7] = 2.0
    assert np.isfinite(patches_of(flat).rvae(steps=2, **QUICK)["latent/z"]).all()
    with pytest.raises(InvalidArgumentError, match="image"):
        hs.signals.Signal2D(np.random.default_rng(0).random((20, 30))).rvae(grid=4, window=25, steps=2)


@pytest.mark.parametrize("options", [{"latent_dim": 0}, {"invariances": "rotation"}, {"invariances": ["mirror"]},
                                     {"likelihood": "poisson"}, {"encoder": "resnet"}, {"decoder": "gan"},
                                     {"discrete": 1}, {"max_shift": 30}, {"max_scale": 0.9}, {"steps": 0},
                                     {"labels": np.zeros(40)}, {"labels": [0, 1]}, {"condition": "height"},
                                     {"seed": -1}, {"device": "abacus"}])  # fmt: skip
def test_what_is_refused(options):
    with pytest.raises((InvalidArgumentError, RuntimeError)):
        patches_of(planted(40)[0]).rvae(**({"steps": 2, **QUICK} | options))


def test_encode_refuses_other_patches(learned):
    tree = learned[-1]
    with pytest.raises(InvalidArgumentError, match="21 x 24"):
        tree.deepatoms.encode(patches_of(np.zeros((3, 20, 20), np.float32)))
    with pytest.raises(TableError, match="y and x"):
        tree.deepatoms.latent_map(0)
    with pytest.raises(InvalidArgumentError, match="ids"):
        tree.deepatoms.reconstruct([10_000])
    assert isinstance(tree, xr.DataTree)


def phase_image(size=(84, 98), edge=50, noise=0.8):
    """Two textures, side by side, in noise; the boundary is at a column."""
    y, x = np.mgrid[: size[0], : size[1]]
    left, right = np.cos(2 * np.pi * x / 7), np.cos(2 * np.pi * (x + y) / 10)
    return np.where(x < edge, left, right) + noise * np.random.default_rng(0).standard_normal(x.shape)


def lattice_image():
    """One square lattice in two orientations, in 1.2 times its own standard deviation of noise."""
    y, x = np.mgrid[:72, :84]
    found = []
    for turn in (np.radians(20), 0.0):
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        found.append(0.25 * (2 + np.cos(2 * np.pi * u / 5) + np.cos(2 * np.pi * v / 5)))
    return np.where(x > 42, *found) + 0.3 * np.random.default_rng(0).standard_normal(x.shape)


def test_physics_loss_smooths_the_map_and_its_phases():
    """The same training with the loss in effect and without: the map that is returned, not the loss of batches."""
    import torch

    from hs_deepatoms.latent.physics import edge_loss

    s = hs.signals.Signal2D(lattice_image().astype(np.float32))
    options = {"grid": 4, "window": 16, "latent_dim": 1, "invariances": ["shift"], "max_shift": 3, "steps": 25,
               "show_progressbar": False, "physics": "edges", "physics_block": 8}  # fmt: skip
    rough, right = [], []
    for weight in (0.0, 0.3):
        tree = s.vae(physics_weight=weight, **options)
        values = tree["latent/z"].values[:, 0]
        assert values.std() > 0.3
        rough.append(float(edge_loss(torch.from_numpy(values.reshape(15, 18)))[0]))
        table = tree.deepatoms.phases(0, least=0.0)
        share = (table["phase"].values == (table["x_px"].values > 42)).mean()
        right.append(max(share, 1 - share))
    assert rough[1] < 0.5 * rough[0]
    assert right[1] > right[0] and right[1] > 0.97


def test_phases_and_what_physics_refuses():
    s = hs.signals.Signal2D(phase_image().astype(np.float32))
    options = {"grid": 6, "window": 14, "latent_dim": 1, "steps": 5, **QUICK}
    table = s.vae(**options).deepatoms.phases(0, least=0.0)
    assert table.deepatoms.to_signal("phase").data.shape == (84, 98)
    two = s.vae(**(options | {"latent_dim": 2}), physics="periodicity", physics_weight=(0.1, 0.0), physics_block=8)
    assert np.isfinite(two["history/physics"]).all()
    with pytest.raises(InvalidArgumentError, match="each of the 2"):
        s.vae(**(options | {"latent_dim": 2}), physics="edges", physics_weight=(0.1, 0.2, 0.3))
    with pytest.raises(InvalidArgumentError, match="grid"):
        patches_of(planted(40)[0]).rvae(physics="edges", steps=2)
    for wrong in (
        {"physics": "entropy"},
        {"physics": "edges", "physics_latents": [4]},
        {"physics": "edges", "physics_block": 1},
    ):
        with pytest.raises(InvalidArgumentError):
            s.vae(**(options | wrong))


def test_a_quantity_as_labels(learned, tmp_path):
    """A number that sets the picture, known of some patches: found for the others, with its uncertainty."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(3.25, 4.75, 240)
    grid = np.arange(13) - 6
    far = (truth - 2)[:, None, None]
    data = np.exp(-(grid[:, None] ** 2) / 4) * (np.exp(-((grid - far) ** 2) / 4) + np.exp(-((grid + far) ** 2) / 4))
    data = (data + 0.05 * rng.standard_normal(data.shape)).astype(np.float32)
    given = np.where(np.arange(240) < 40, truth, np.nan)
    tree = patches_of(data).vae(latent_dim=1, labels=given, steps=60, **QUICK)
    assert tree["latent/z"].sizes["latent"] == 2 and "class" not in tree["latent"]
    error = (tree["latent/value"].values - truth)[40:]
    assert np.sqrt((error**2).mean()) < 0.25 * truth.std()
    assert 0.4 < (np.abs(error) < tree["latent/value_std"].values[40:]).mean() < 0.95
    back = hs_deepatoms.load(tree.deepatoms.save(tmp_path / "tree.zarr"))
    np.testing.assert_allclose(
        back.deepatoms.encode(patches_of(data[:9]))["value"], tree["latent/value"][:9], atol=0.02
    )
    with pytest.raises(InvalidArgumentError, match="two or more values"):
        patches_of(data).vae(labels=np.where(np.arange(240) < 9, 0.5, np.nan), steps=2, **QUICK)


def test_a_quantity_is_hashed_with_the_model_and_old_trees_load():
    from hs_deepatoms.methods.latent_tree import quantity_in

    data = planted(60)[0]
    given = np.where(np.arange(60) < 30, data.mean((1, 2)), np.nan)
    node = patches_of(data).rvae(labels=given, steps=3, **QUICK)["model"].to_dataset()
    quantity, z = quantity_in(node), np.zeros((1, 3))
    old = node.assign(known_z=(("known", "latent"), quantity.z), known_value=("known", quantity.values))
    old.attrs["quantity"] = f"[{quantity.lengths}, {quantity.signal}, {quantity.noise}]"
    np.testing.assert_allclose(quantity_in(old).predict(z)[0], quantity.predict(z)[0])
    content = node["weights"].values.copy()
    place = content.tobytes().index(quantity.values.tobytes())
    content[place] ^= 1
    with pytest.raises(ModelFileError, match="damaged"):
        quantity_in(node.assign(weights=("byte", content)))


def test_largest_angle_and_symmetry(learned):
    """Motifs that are turned by little keep the axes of the image as their zero; without a limit they need not."""
    _, _, _, tree = learned
    assert (tree["latent/symmetry"] == 1).all()
    rng = np.random.default_rng(0)
    angle = rng.uniform(-0.35, 0.35, 150)
    data = np.stack([motif_picture(0, (turn, 0, 0, 0), (21, 24)) for turn in angle])
    data = (data + 0.1 * rng.standard_normal(data.shape)).astype(np.float32)
    found = patches_of(data).rvae(latent_dim=1, invariances=["rotation"], max_angle=30, steps=60, **QUICK)[
        "latent/angle"
    ]
    assert np.abs(found).max() < np.radians(45)
    assert np.degrees(np.median(np.abs(found - angle - np.median(found - angle)))) < 3
    with pytest.raises(InvalidArgumentError, match="max_angle"):
        patches_of(data).rvae(max_angle=200.0, steps=2, **QUICK)


def test_phases_of_atoms(learned):
    with pytest.raises(InvalidArgumentError, match="latent"):
        learned[-1].deepatoms.phases(9)
    found = learned[-1].deepatoms.phases("residual", least=0.99)["phase"].values
    assert (found == 0).all()


def test_trajectories():
    stack = np.random.default_rng(0).random((3, 40, 45)).astype(np.float32)
    s = hs.signals.Signal2D(stack)
    y, x = np.tile([12.0, 20.0, 28.0], 3), np.tile([12.0, 30.0, 18.0], 3)
    atoms = hs_deepatoms.positions(y, x, frame=np.repeat(np.arange(3), 3), signal=s)
    tracks = np.array([0, 1, -1, 0, 1, 4, 0, 1, 4])
    linked = atoms.assign_coords(track=("atom", tracks[np.lexsort((x, y, np.repeat(np.arange(3), 3)))]))
    tree = s.rvae(linked, window=9, steps=2, **QUICK)
    found = tree.deepatoms.trajectories()
    assert found.dims == ("track", "frame", "latent") and found.track.values.tolist() == [0, 1, 4]
    assert np.isnan(found.sel(track=4)).all("latent").values.tolist() == [True, False, False]
    with pytest.raises(TableError, match="link"):
        s.rvae(atoms, window=9, steps=2, **QUICK).deepatoms.trajectories()


def test_jitter_watch_and_history_of_the_physics_loss():
    s = hs.signals.Signal2D(phase_image().astype(np.float32))
    options = {"grid": 6, "window": 14, "latent_dim": 1, "steps": 12, "physics": "edges", "physics_block": 8, **QUICK}
    tree = s.vae(physics_jitter=3, physics_watch=3, **options)
    assert np.isfinite(tree["history/physics"]).all() and tree["history/physics"].sizes["step"] == 12
    assert tree["watch/phase"].shape == (3, 180) and tree["watch"].watch_step.values.tolist() == [4, 8, 12]
    np.testing.assert_allclose(tree["watch/z"][-1], tree["latent/z"][:, 0], atol=0.2)
    seen = []
    s.vae(physics_watch=lambda table, step: seen.append((step, table["phase"].size)), **options)
    assert len(seen) == 12 and seen[0] == (1, 180)
    for figure in (tree.deepatoms.plot_watch(), tree.deepatoms.plot_phases(s, least=0.0).figure,
                   tree.deepatoms.plot_history()):  # fmt: skip
        figure.canvas.draw()
    plt.close("all")
    product = s.vae(physics_combine="multiply", likelihood="bernoulli", **options)
    assert (product["history/loss"] > 0).all()
    for wrong, said in (({"physics_combine": "multiply"}, "never below 0"), ({"physics_jitter": -2}, "0 or more"),
                        ({"physics_watch": -1}, "how often"), ({"physics_combine": "mean"}, "add")):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=said):
            s.vae(**(options | wrong))
    with pytest.raises(InvalidArgumentError, match="as they are"):
        hs.signals.Signal2D(planted(42)[0].reshape(6, 7, 21, 24)).rvae(physics="edges", physics_jitter=2, steps=2)
    with pytest.raises(InvalidArgumentError, match="watched"):
        patches_of(planted(40)[0]).rvae(steps=2, **QUICK).deepatoms.plot_watch()


def test_capacity_and_beta_schedules():
    data = planted(80)[0]
    held = [float((patches_of(data).rvae(steps=60, capacity=c, beta=b, **QUICK)["latent/z"] ** 2).mean())
            for c, b in ((0.0, 20.0), (12.0, 20.0))]  # fmt: skip
    assert held[1] > held[0]
    tree = patches_of(data).rvae(steps=3, beta=(0.0, 2.0), **QUICK)
    assert np.isfinite(tree["latent/z"]).all()
    for wrong in ({"capacity": -1.0}, {"beta": (1.0, 2.0, 3.0)}, {"beta": -1.0}):
        with pytest.raises(InvalidArgumentError):
            patches_of(data).rvae(**({"steps": 2, **QUICK} | wrong))


def test_a_stopped_training_goes_on(tmp_path, monkeypatch):
    from hs_deepatoms.errors import StoreError
    from hs_deepatoms.training.trainer import Trainer

    data, path = planted(60)[0], tmp_path / "state.safetensors"
    whole = patches_of(data).rvae(steps=20, **QUICK)
    step = Trainer.train

    def stopping(self, *args):
        if self.step == 11:
            raise KeyboardInterrupt
        step(self, *args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "train", stopping)
        patches_of(data).rvae(steps=20, checkpoint=path, **QUICK)
    assert path.exists()
    with pytest.raises(StoreError, match="data"):
        patches_of(data[::-1].copy()).rvae(steps=20, checkpoint=path, **QUICK)
    on = patches_of(data).rvae(steps=20, checkpoint=path, **QUICK)
    np.testing.assert_allclose(on["latent/z"], whole["latent/z"], atol=1e-4)
    assert not path.exists() and on["history"].sizes["step"] == 20
    with pytest.raises(InvalidArgumentError, match="restarts"):
        patches_of(data).rvae(steps=2, restarts=2, checkpoint=path, **QUICK)
