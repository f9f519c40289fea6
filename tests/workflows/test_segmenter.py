"""Segmenter and Detector: trained for seconds, compared with the truth."""

import dask
import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import torch
import zarr

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, InvalidImageError, LabelError, ModelFileError, StoreError
from hs_deepatoms.modelfile.files import read_info
from hs_deepatoms.nets.catalogue import make_net
from hs_deepatoms.training.recipe import Recipe
from tests.methods.conftest import f1_inside, lattice_image, matched
from tests.workflows.conftest import SMALL, training_set

QUIET = {"show_progressbar": False}
FEW = {"steps": 4, "batch_size": 4, "window": 48, **QUIET}


def crystal(k, size=(96, 104), **options):
    return lattice_image(size, seed=k, angle=0.3 + k, counts=60.0, **options)


@pytest.fixture(scope="module")
def trained(taught_segmenter):
    return taught_segmenter


@pytest.fixture(scope="module")
def image():
    return crystal(9, (150, 130))


@pytest.fixture
def signal(image):
    made = hs.signals.Signal2D(image[0])
    for axis in made.axes_manager.signal_axes:
        axis.scale, axis.units = 0.02, "nm"
    return made


def test_it_finds_what_it_was_taught(trained, image):
    pixels, y, x = image
    assert trained.scores["iou"] > 0.6 and trained.training["steps"] == 50
    rough = hs_deepatoms.find_atoms(pixels, model=trained, refine="none", **QUIET)
    fine = hs.signals.Signal2D(pixels).find_atoms(model=trained, **QUIET)
    for atoms, error in ((rough, 0.5), (fine, 0.15)):
        assert f1_inside(atoms, y, x, pixels.shape, 5, 8) > 0.97
        pairs = matched(atoms.y_px.values, atoms.x_px.values, y, x, 5)
        away = np.hypot(
            atoms.y_px.values[pairs[:, 0]] - y[pairs[:, 1]], atoms.x_px.values[pairs[:, 0]] - x[pairs[:, 1]]
        )
        assert np.median(away) < error
    assert {"probability", "height", "y_std"} <= set(fine.variables) and "species" not in fine
    assert "find_atoms" in fine.attrs["provenance"] and "column" in fine.attrs["provenance"]


def test_maps_come_back_in_the_kind_that_went_in(trained, signal):
    found = signal.segment(model=trained, **QUIET)
    assert type(found) is hs.signals.Signal2D and found.data.shape == signal.data.shape
    assert found.axes_manager.signal_axes[0].units == "nm" and 0 <= found.data.min() and found.data.max() <= 1
    np.testing.assert_array_equal(found.data, trained.predict(signal, **QUIET).data)


def test_lazy_tiled_and_processes_give_the_same(trained, image, monkeypatch):
    from hs_deepatoms.engine import plan

    stack = np.stack([image[0], image[0][::-1], np.zeros_like(image[0])])
    whole = trained.predict(stack, **QUIET).values
    assert whole.shape == stack.shape and not whole[2].any()
    lazy = trained.predict(da.from_array(stack, chunks=(1, 60, 130)), **QUIET)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy.values, whole, atol=1e-4)
    atoms = trained.find_atoms(stack, **QUIET)
    monkeypatch.setattr(plan, "choose_tile", lambda *args, **options: (56, 1))
    np.testing.assert_allclose(trained.predict(stack, **QUIET).values, whole, atol=2e-3)
    tiled = trained.find_atoms(da.from_array(stack, chunks=(1, 60, 130)), **QUIET)
    assert tiled.sizes == atoms.sizes
    np.testing.assert_allclose(tiled.y_px, atoms.y_px, atol=0.02)


def test_another_process_gets_the_weights(trained):
    import cloudpickle

    from hs_deepatoms.modelfile.handle import NetHandle

    handle = NetHandle(trained.part)
    again = cloudpickle.loads(cloudpickle.dumps(handle))
    x = torch.zeros(1, 1, 20, 24)
    torch.testing.assert_close(again.on("cpu")(x), handle.on("cpu")(x))
    assert again.sha256 == handle.sha256


def test_a_lazy_result_is_of_the_weights_of_its_time(image):
    images, tables = training_set(1)
    segmenter = hs_deepatoms.Segmenter(net_options=SMALL)
    lazy = segmenter.predict(image[0], lazy_output=True, **QUIET)
    before = segmenter.predict(image[0], **QUIET)
    segmenter.fit(images, tables, **FEW)
    np.testing.assert_array_equal(lazy.values, before.values)
    assert not np.allclose(segmenter.predict(image[0], **QUIET).values, before.values)


def test_saved_and_loaded_is_the_same(trained, image, tmp_path):
    path = trained.save(tmp_path / "mine.safetensors", name="mine", licence="MIT", data="three crystals")
    again = hs_deepatoms.load(path)
    assert again.classes == ["column"] and again.scores == trained.scores and "MIT" in again.card["licence"]
    np.testing.assert_array_equal(again.predict(image[0], **QUIET).values, trained.predict(image[0], **QUIET).values)
    by_path = hs_deepatoms.find_atoms(image[0], model=path, **QUIET)
    assert by_path.sizes == trained.find_atoms(image[0], **QUIET).sizes
    about = read_info(path)
    assert about["modules"]["net"]["architecture"] == "UNet" and about["preprocessing"]["classes"] == ["column"]
    assert about["card"]["training"]["steps"] == 50
    with pytest.raises(InvalidArgumentError, match="safetensors"):
        trained.save(tmp_path / "mine.pt")
    with pytest.raises(ModelFileError, match="cannot be read"):
        (tmp_path / "no.safetensors").write_bytes(b"nothing")
        hs_deepatoms.load(tmp_path / "no.safetensors")


class Mine(torch.nn.Module):
    """A user's own network."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1)
        )

    def forward(self, x):
        return self.layers(x)


def test_a_users_module_works_wherever_a_name_does(image, tmp_path):
    images, tables = training_set(1)
    segmenter = hs_deepatoms.Segmenter(net=Mine()).fit(images, tables, **FEW)
    found = segmenter.predict(image[0], **QUIET)
    path = segmenter.save(tmp_path / "mine.safetensors")
    with pytest.raises(ModelFileError, match="Mine"):
        hs_deepatoms.load(path)
    with pytest.raises(ModelFileError, match=r"net=Mine\(\)"):
        hs_deepatoms.load(path, net=Mine)
    again = hs_deepatoms.load(path, net=Mine())
    np.testing.assert_array_equal(again.predict(image[0], **QUIET).values, found.values)
    with dask.config.set(scheduler="processes", num_workers=1):
        other = segmenter.predict(image[0], **QUIET)
    np.testing.assert_allclose(other.values, found.values, atol=1e-6)


@pytest.mark.parametrize("kind", ["numpy", "signal", "lazy", "zarr"])
def test_data_of_any_kind_gives_the_same_weights(tmp_path, kind):
    images = np.random.default_rng(0).normal(size=(5, 40, 48)).astype(np.float32)
    labels = (images > 0.5).astype(int)
    given = {
        "numpy": lambda a, n: a,
        "signal": lambda a, n: hs.signals.Signal2D(a),
        "lazy": lambda a, n: hs.signals.Signal2D(da.from_array(a, chunks=(2, 20, 48))).as_lazy(),
        "zarr": lambda a, n: zarr.create_array(tmp_path / n, data=a, chunks=(1, 40, 48)),
    }[kind]
    one, two = (hs_deepatoms.Segmenter(net_options={"filters": 2, "depth": 1}) for _ in range(2))
    one.fit(images, labels, **FEW)
    two.fit(given(images, "i.zarr"), given(labels, "l.zarr"), **FEW)
    for a, b in zip(one.net.parameters(), two.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_classes_become_species():
    heights = (1.0, 0.35)
    parts = [lattice_image((96, 104), seed=k, counts=300.0, heights=heights, angle=0.2 + k) for k in range(4)]

    def table(image, y, x):
        at = image[np.clip(np.rint(y).astype(int), 0, 95), np.clip(np.rint(x).astype(int), 0, 103)]
        species = np.where(at > 0.5 * (np.percentile(at, 5) + np.percentile(at, 95)), "A", "B")
        return hs_deepatoms.positions(y, x, signal=image, columns={"species": species})

    tables = [table(*part) for part in parts]
    segmenter = hs_deepatoms.Segmenter(["A", "B"], net_options=SMALL, seed=1)
    segmenter.fit([p[0] for p in parts[:3]], tables[:3], steps=70, batch_size=4, window=64, learning_rate=5e-3,
                  class_weights="balanced", radius=3, **QUIET)  # fmt: skip
    maps = segmenter.predict(parts[3][0], **QUIET)
    assert maps.dims == ("class", "y", "x") and list(maps["class"].values) == ["A", "B"]
    atoms = segmenter.find_atoms(parts[3][0], **QUIET)
    pairs = matched(atoms.y_px.values, atoms.x_px.values, tables[3].y_px.values, tables[3].x_px.values, 4)
    true = {int(v): n for v, n in zip(tables[3].species.flag_values, ("A", "B"), strict=True)}
    species = np.array([true[int(v)] for v in tables[3].species.values])
    said = np.array(["A", "B"])[atoms.species.values[pairs[:, 0]]]
    assert len(pairs) > 38 and np.mean(said == species[pairs[:, 1]]) > 0.9


def discs(n, seed, overlap=False):
    rng = np.random.default_rng(seed)
    images, labels, truth = [], [], []
    yy, xx = np.mgrid[:96, :120]
    for _ in range(n):
        y, x = rng.uniform(12, 84, 7), rng.uniform(12, 108, 7)
        r = rng.uniform(6, 11, 7)
        disc = (np.hypot(yy[..., None] - y, xx[..., None] - x) < r).any(-1)
        images.append(5 * disc + rng.standard_normal(disc.shape))
        labels.append(disc.astype(int))
        truth.append((y, x, r))
    return np.array(images), np.array(labels), truth


def test_particles_are_told_apart_and_measured():
    images, labels, _ = discs(6, 0)
    segmenter = hs_deepatoms.Segmenter(["particle"], net="segresnet", net_options={"filters": 6})
    segmenter.fit(images, labels, steps=50, batch_size=4, window=64, learning_rate=1e-2, **QUIET)
    yy, xx = np.mgrid[:96, :120]
    ellipse = ((yy - 40) / 12) ** 2 + ((xx - 60) / 24) ** 2 < 1
    s = hs.signals.Signal2D(5 * ellipse + np.random.default_rng(3).standard_normal(ellipse.shape))
    for axis in s.axes_manager.signal_axes:
        axis.scale, axis.units = 0.5, "nm"
    found, table = segmenter.instances(s, smallest=100)
    assert found.data.max() == 1 and table.sizes["atom"] == 1
    assert float(table.area[0]) == pytest.approx(np.pi * 12 * 24 / 4, rel=0.1) and table.area.attrs["units"] == "nm^2"
    assert float(table.major_axis[0]) == pytest.approx(24, rel=0.1) and table.major_axis.attrs["units"] == "nm"
    assert float(table.y[0]) == pytest.approx(20, abs=0.5)
    angle = float(table.rotation[0])
    assert table.rotation.attrs["long_name"].startswith("direction of the long axis")
    assert min(angle, np.pi - angle) < 0.1


def test_walls_become_lines_with_a_length():
    rows, columns = np.mgrid[:90, :112]
    rng = np.random.default_rng(0)
    images, labels = [], []
    for _ in range(6):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-20, 20)
        away = np.abs((rows - 45) * np.cos(angle) - (columns - 56) * np.sin(angle) - offset)
        images.append(4 * np.exp(-0.5 * (away / 1.3) ** 2) + rng.standard_normal(rows.shape))
        labels.append((away < 1.6).astype(int))
    segmenter = hs_deepatoms.Segmenter(["wall"], net="reshednet", net_options={"filters": 4, "layers": 1})
    segmenter.fit(np.array(images), np.array(labels), steps=60, batch_size=4, window=64, learning_rate=2e-2, **QUIET)
    circle = np.abs(np.hypot(rows - 45, columns - 56) - 30)
    s = hs.signals.Signal2D(np.stack([4 * np.exp(-0.5 * (circle / 1.3) ** 2), np.zeros(rows.shape)])
                            + rng.standard_normal((2, 90, 112)))  # fmt: skip
    for axis in s.axes_manager.signal_axes:
        axis.scale, axis.units = 0.5, "nm"
    lines, table = segmenter.lines(s, shortest=25)
    assert lines.data.shape == s.data.shape and lines.metadata.General.title == "lines"
    found = circle[lines.data[0] > 0]
    assert len(found) > 120 and (found < 2).mean() > 0.95
    here = table.where(table.nav_0_index == 0, drop=True)
    assert float(here.length.sum()) == pytest.approx(0.5 * 2 * np.pi * 30, rel=0.15)
    assert table.length.attrs["units"] == "nm" and "area" not in table
    mask = np.zeros((90, 112), bool)
    mask[:, 56:] = True
    half, _ = segmenter.lines(s, shortest=25, signal_mask=mask)
    assert not half.data[..., 60:].any() and half.data[0, :, :50].any()
    with pytest.raises(InvalidArgumentError, match="between 0 and 1"):
        segmenter.lines(s, threshold=1.0)


def test_freezing_and_training_on(trained):
    images, tables = training_set(1)
    segmenter = hs_deepatoms.Segmenter(net_options=SMALL).fit(images, tables, **FEW)
    before = {k: v.clone() for k, v in segmenter.net.state_dict().items()}
    segmenter.fit(images, tables, freeze=["down"], **FEW)
    after = segmenter.net.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("down"))
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert all(p.requires_grad for p in segmenter.net.parameters())
    with pytest.raises(InvalidArgumentError, match="freeze='encoder'"):
        segmenter.fit(images, tables, freeze=["encoder"], **FEW)


def test_pixel_sizes_are_matched(image):
    pixels, _, _ = image
    images, tables = training_set(2)

    def calibrated(data, size):
        s = hs.signals.Signal2D(np.asarray(data))
        for axis in s.axes_manager.signal_axes:
            axis.scale, axis.units = size, "nm"
        return s

    segmenter = hs_deepatoms.Segmenter(net_options=SMALL)
    segmenter.fit([calibrated(i, 0.02) for i in images], tables, steps=40, batch_size=4, window=64, radius=4,
                  learning_rate=5e-3, validation=None, augmentation=hs_deepatoms.Augmentation(), **QUIET)  # fmt: skip
    assert segmenter.pixel_nm == pytest.approx(0.02) and segmenter.scores == {}
    same = segmenter.predict(calibrated(pixels, 0.02), **QUIET).data
    fine = np.kron(pixels, np.ones((2, 2)))
    doubled = segmenter.predict(calibrated(fine, 0.01), **QUIET).data
    assert doubled.shape == fine.shape
    assert np.corrcoef(doubled[::2, ::2].ravel(), same.ravel())[0, 1] > 0.9
    unmatched = segmenter.predict(calibrated(fine, 0.01), match_pixel_size=False, **QUIET).data
    assert np.abs(unmatched - doubled).mean() > 2 * np.abs(doubled[::2, ::2] - same).mean()


def test_what_does_not_fit_is_named(trained, image):
    images, tables = training_set(1)
    with pytest.raises(LabelError, match="2 images with 1 labels"):
        trained.fit(images * 2, tables)
    with pytest.raises(LabelError, match="labels of shape"):
        trained.fit(images[0], np.zeros((3, 4), int))
    with pytest.raises(InvalidImageError, match="no valid pixel"):
        hs_deepatoms.Segmenter(net_options=SMALL).fit(np.full((64, 64), np.nan), np.zeros((64, 64), int), **FEW)
    with pytest.raises(InvalidArgumentError, match="spacing"):
        hs_deepatoms.find_atoms(image[0], model=trained, spacing=10)
    with pytest.raises(InvalidArgumentError, match="class_weights"):
        hs_deepatoms.Segmenter(2, net_options=SMALL).fit(images[0], np.zeros(images[0].shape, int),
                                                         class_weights=[1, 2], **FEW)  # fmt: skip
    for find, name, value in ((trained.instances, "depth", 0), (trained.instances, "smallest", "a"),
                              (trained.lines, "shortest", -1), (trained.lines, "threshold", "a")):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=f"{name}="):
            find(image[0], **{name: value}, **QUIET)
    for name, value in (("workers", -1), ("seed", "a")):
        with pytest.raises(InvalidArgumentError, match=f"{name}="):
            trained.fit(images[0], np.zeros(images[0].shape, int), **{**FEW, name: value})
    for wrong in (0, [], ["a", "a"], [1, 2]):
        with pytest.raises(InvalidArgumentError, match="classes="):
            hs_deepatoms.Segmenter(wrong)
    with pytest.raises(InvalidArgumentError, match="net='vgg'"):
        hs_deepatoms.Segmenter(net="vgg")
    with pytest.raises(InvalidArgumentError, match="seed='a'"):
        hs_deepatoms.Segmenter(seed="a")


def test_the_shipped_model_can_be_taught(tmp_path):
    image, y, x = lattice_image()
    table = hs_deepatoms.positions(y, x, signal=image)
    state = torch.get_rng_state()
    detector = hs_deepatoms.Detector()
    before = {k: v.clone() for k, v in detector.modules["detector"].state_dict().items()}
    detector.fit(image, table, steps=3, batch_size=2, freeze=["down0", "down1"], **QUIET)
    after = detector.modules["detector"].state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith(("down0", "down1")))
    assert not torch.equal(before["head.weight"], after["head.weight"]) and torch.equal(torch.get_rng_state(), state)
    assert all(torch.allclose(before[k], after[k]) for k in before if k.endswith(("running_mean", "running_var")))
    path = detector.save(tmp_path / "taught.safetensors", licence="GPL-3.0-or-later")
    mine = hs.signals.Signal2D(image).find_atoms(model=detector, **QUIET)
    again = hs_deepatoms.find_atoms(image, model=hs_deepatoms.load(path), **QUIET)
    assert f1_inside(mine, y, x, image.shape, 5, 8) > 0.97
    np.testing.assert_allclose(mine.y_px, again.y_px, atol=1e-9)
    assert read_info(path)["card"]["origin"] and read_info(path)["preprocessing"]["threshold"] == 0.45
    with pytest.raises(LabelError, match="positions tables"):
        detector.fit(image, np.zeros(image.shape, int), steps=1)


@pytest.mark.parametrize("name", ["unet", "dilnet", "reshednet", "segresnet"])
def test_every_network_can_be_trained_and_kept(tmp_path, name, image):
    images, tables = training_set(1)
    segmenter = hs_deepatoms.Segmenter(net=name, net_options={"filters": 2}, seed=3).fit(images, tables, **FEW)
    again = hs_deepatoms.load(segmenter.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again.predict(image[0], **QUIET), segmenter.predict(image[0], **QUIET))
    fresh = make_net(name, filters=2, seed=3)
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in segmenter.net.parameters()]


def test_a_stopped_training_goes_on(tmp_path, monkeypatch):
    from hs_deepatoms.training.trainer import Trainer

    images, tables = training_set(4)
    path = tmp_path / "run.safetensors"

    def begun():
        return hs_deepatoms.Segmenter(net_options={"filters": 2, "depth": 1, "dropout": 0.2})

    options = {"batch_size": 3, "window": 32, "checkpoint": path, **QUIET}
    recipe = Recipe(steps=9, checkpoint_every=2, validate_every=3)
    whole = begun().fit(images, tables, recipe=recipe, **{**options, "checkpoint": None})
    real = Trainer.train

    def dies(self, *args):
        if self.step == 5:
            raise KeyboardInterrupt
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", dies)
        with pytest.raises(KeyboardInterrupt):
            begun().fit(images, tables, recipe=recipe, **options)
    with pytest.raises(StoreError, match="labels"):
        begun().fit(images, [t.isel(atom=slice(5)) for t in tables], recipe=recipe, **options)
    resumed = begun().fit(images, tables, recipe=recipe, **options)
    for one, other in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not path.exists() and whole.scores == resumed.scores


class Negated(torch.nn.Module):
    """Sees bright what is dark."""

    def __init__(self, net):
        super().__init__()
        self.net, self.halo, self.multiple = net, net.halo, net.multiple

    def forward(self, x):
        return self.net(-x)


def test_dark_atoms_are_fitted_as_such(trained, image):
    pixels, _, _ = image
    segmenter = hs_deepatoms.Segmenter(["column"], net=Negated(trained.net))
    dark = segmenter.find_atoms(500 - pixels, **QUIET)
    bright = trained.find_atoms(pixels, **QUIET)
    assert dark.sizes == bright.sizes and float(dark.height.median()) < 0 < float(bright.height.median())
    np.testing.assert_allclose(dark.y_px, bright.y_px, atol=0.02)


def test_what_is_masked_is_left_out(trained, image):
    stack = np.stack([image[0]] * 3)
    mask = np.zeros(stack.shape[1:], bool)
    mask[:, :60] = True
    atoms = trained.find_atoms(stack, signal_mask=mask, navigation_mask=np.array([False, True, False]), **QUIET)
    assert set(atoms.nav_0_index.values) == {0, 2} and float(atoms.x_px.min()) > 55
    assert set(atoms.deepatoms.count().values[[0, 2]]) == {atoms.sizes["atom"] // 2}
    nothing = trained.find_atoms(stack, navigation_mask=np.ones(3, bool), **QUIET)
    assert nothing.sizes["atom"] == 0


def test_a_training_that_fails_leaves_what_was_learned():
    from hs_deepatoms import Segmenter, simulated_set
    from hs_deepatoms.errors import InvalidArgumentError, TrainingError

    images, labels = simulated_set(6, size=48)
    segmenter = Segmenter(["c"], net_options={"filters": 4, "depth": 1}).fit(
        images, labels, steps=4, show_progressbar=False
    )
    before = segmenter.predict(images[0])
    with pytest.raises(TrainingError):
        segmenter.fit(images, labels, steps=30, learning_rate=1e30, show_progressbar=False)
    np.testing.assert_array_equal(np.asarray(segmenter.predict(images[0])), np.asarray(before))
    with pytest.raises(InvalidArgumentError, match="class_weights"):
        segmenter.fit(images, labels, loss=lambda *_: 0.0, class_weights=[1, 2], show_progressbar=False)


def test_a_detector_whose_training_fails_stays_as_it_was():
    from hs_deepatoms.errors import TrainingError

    images, tables = training_set(1)
    detector = hs_deepatoms.Detector()
    before = {name: value.clone() for name, value in detector.modules["detector"].state_dict().items()}
    with pytest.raises(TrainingError):
        detector.fit(images, tables, steps=4, batch_size=2, learning_rate=1e30, device="cpu", **QUIET)
    assert all(torch.equal(v, before[name]) for name, v in detector.modules["detector"].state_dict().items())
    assert detector.history is None and detector.training == {}


def test_a_checkpoint_of_a_detector_belongs_to_its_images(tmp_path, monkeypatch):
    from hs_deepatoms.training import fit as loop

    image, y, x = lattice_image()
    path = tmp_path / "run.safetensors"
    recipe = Recipe(steps=4, checkpoint_every=1)

    def teach(y, x, image=image):
        table = hs_deepatoms.positions(y, x, signal=image)
        return hs_deepatoms.Detector().fit(image, table, recipe=recipe, batch_size=1, checkpoint=path, **QUIET)

    real = loop.Trainer.train
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(loop.Trainer, "train", lambda self, *a: killed() if self.step == 2 else real(self, *a))
        teach(y, x)
    for other in ((y[:-1], x[:-1]), (y, x, image + image % 3)):
        with pytest.raises(StoreError, match="samples"):
            teach(*other)
    assert teach(y, x).training["steps"] == 4 and not path.exists()


def killed():
    raise RuntimeError("killed")


def test_saving_where_nothing_can_be_saved_is_named(tmp_path, trained):
    (tmp_path / "folder.safetensors").mkdir()
    for path, message in (("none/a.safetensors", "not there"), ("folder.safetensors", "which is a folder")):
        with pytest.raises(InvalidArgumentError, match=message):
            trained.save(tmp_path / path)


def test_another_network_for_the_same_weights_is_announced(tmp_path):
    class Other(torch.nn.Conv2d):
        pass

    own = hs_deepatoms.Segmenter(net=torch.nn.Conv2d(1, 1, 3, padding=1))
    path = own.save(tmp_path / "own.safetensors")
    with pytest.warns(UserWarning, match="holds the weights of a Conv2d, and a Other was given back"):
        hs_deepatoms.load(path, net=Other(1, 1, 3, padding=1))


def test_a_file_whose_header_was_changed_is_refused(tmp_path, trained):
    from hs_deepatoms.modelfile.files import save_modules

    told = trained._preprocessing()
    for changed, message in (({"classes": ["a", "b"]}, "1 channels for the classes"), ({"classes": None}, "'classes'")):
        path = tmp_path / "changed.safetensors"
        about = {k: v for k, v in {**told, **changed}.items() if v is not None or k == "pixel_size_nm"}
        save_modules(path, {"net": trained.part}, preprocessing=about)
        with pytest.raises(ModelFileError, match=message):
            hs_deepatoms.load(path)
