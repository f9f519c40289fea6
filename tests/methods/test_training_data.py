"""Label images, crops, label files and simulated sets."""

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import zarr

import hs_deepatoms
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.errors import InvalidArgumentError, LabelError
from hs_deepatoms.methods.labels import read_labels

SHAPE = (3, 40, 56)


def table(shape=SHAPE, species=None):
    y, x, frame = [8.0, 20.4, 30.0], [10.0, 33.3, 12.0], [0, 1, 2]
    columns = None if species is None else {"species": species}
    return hs_deepatoms.positions(y, x, signal=np.zeros(shape), frame=frame, columns=columns)


def test_labels_of_a_table_lie_on_the_axes_of_its_images(signal):
    atoms = hs_deepatoms.positions([20.0, 60.0], [30.0, 90.0], signal=signal)
    before = atoms.copy(deep=True)
    found = hs_deepatoms.label_images(atoms, signal, radius="80 pm")  # 0.025 nm per pixel along x
    assert type(found) is hs.signals.Signal2D and found.data.shape == signal.data.shape
    assert found.axes_manager.signal_axes[0].units == "nm" and set(np.unique(found.data)) == {0, 1}
    yy, xx = np.nonzero(found.data)
    distance = np.minimum(np.hypot(yy - 20, xx - 30), np.hypot(yy - 60, xx - 90))
    assert distance.max() <= 3.2 and len(yy) == 2 * 29 + 2 * 8  # all pixels within 3.2 px
    assert atoms.identical(before)


def test_several_classes_with_a_radius_each():
    atoms = table(species=["Mo", "S", "Mo"])
    found = hs_deepatoms.label_images(atoms, np.zeros(SHAPE), classes=["S", "Mo"], radius={"S": 1, "Mo": 3})
    assert found.dims == ("nav_0", "y", "x")
    assert set(np.unique(found[0])) == {0, 2} and set(np.unique(found[1])) == {0, 1}
    assert int((found[0] == 2).sum()) == 29 and int(found[1].sum()) in (3, 4)
    soft = hs_deepatoms.label_images(atoms, np.zeros(SHAPE), classes=["S", "Mo"], radius=3, shape="gaussian")
    assert soft.dims == ("class", "nav_0", "y", "x") and soft.dtype == np.float32
    assert list(soft["class"].values) == ["S", "Mo"] and float(soft.sel({"class": "Mo"})[0, 8, 10]) == 1


def test_a_part_of_an_image_knows_where_it_lies(signal):
    atoms = hs_deepatoms.positions([20.3, 60.3], [30.2, 90.2], signal=signal)
    whole = hs_deepatoms.label_images(atoms, signal, radius=3).data
    part = signal.isig[20:, 40:]
    with pytest.raises(LabelError, match="1 of 2 atoms outside the images"):
        hs_deepatoms.label_images(atoms, part, radius=3)
    found = hs_deepatoms.label_images(atoms.isel(atom=[1]), part, radius=3).data
    np.testing.assert_array_equal(found, whole[40:, 20:])
    # an array has no axes: pixels of the table's own image
    np.testing.assert_array_equal(hs_deepatoms.label_images(atoms, signal.data, radius=3), whole)


def test_the_usual_radius_follows_the_spacing(standard):
    image, y, x = standard
    atoms = hs_deepatoms.positions(y, x, signal=image)
    found = hs_deepatoms.label_images(atoms, image)
    assert 0.08 < float(found.mean()) < 0.35


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_label_images_are_read_window_by_window(tmp_path, kind):
    data = np.random.default_rng(0).integers(0, 3, SHAPE)
    given = {"numpy": lambda: data, "dask": lambda: da.from_array(data, chunks=(1, 20, 20)),
             "zarr": lambda: zarr.create_array(tmp_path / "m.zarr", data=data, chunks=(1, 20, 20))}[kind]()  # fmt: skip
    labels = read_labels(given, read_source(np.zeros(SHAPE)), ["a", "b"])
    assert labels.exclusive
    np.testing.assert_array_equal(labels.read(2, slice(5, 20), slice(30, 50)), data[2, 5:20, 30:50])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.zeros((3, 40, 55), int), ["a"], r"\(3, 40, 55\).*\(3, 40, 56\)"),
        (np.full(SHAPE, 3), ["a", "b"], "0 never occurs"),
        (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 4, ["a", "b"], "from 0 to 3"),
        (np.full((3, 2, 40, 56), 1.5), ["a", "b"], "shares between 0 and 1"),
        (np.full((3, 2, 40, 56), np.nan), ["a", "b"], "shares between 0 and 1"),
        (np.zeros(SHAPE, complex), ["a"], "type complex128"),
        (np.full(SHAPE, "a"), ["a"], "type <U1"),
        (np.zeros(SHAPE), ["a", "b"], "shares of shape"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, classes, message):
    with pytest.raises(LabelError, match=message):
        read_labels(labels, read_source(np.zeros(SHAPE)), classes)


def test_tables_that_do_not_fit_are_named():
    source = read_source(np.zeros(SHAPE))
    with pytest.raises(LabelError, match="a column 'species'"):
        read_labels(table(), source, ["a", "b"])
    with pytest.raises(LabelError, match=r"species \['S'\]"):
        read_labels(table(species=["Mo", "S", "Mo"]), source, ["Mo", "W"])
    with pytest.raises(LabelError, match="a table of 1 frames for images of 3"):
        read_labels(hs_deepatoms.positions([3.0], [4.0], signal=np.zeros((40, 56))), source, ["a"])
    with pytest.raises(InvalidArgumentError, match=r"radius without \['S'\]"):
        read_labels(table(species=["Mo", "S", "Mo"]), source, ["Mo", "S"], radius={"Mo": 2})


def test_crops_belong_together_and_repeat():
    image = np.arange(90.0 * 80).reshape(90, 80)
    labels = image.astype(int)
    one, marks = hs_deepatoms.cut_crops(image, labels, size=32, n=6, seed=3)
    assert one.shape == marks.shape == (6, 32, 32) and len(np.unique(one[:, 0, 0])) > 3
    np.testing.assert_array_equal(one, marks)
    np.testing.assert_array_equal(one, hs_deepatoms.cut_crops(da.from_array(image), labels, size=32, n=6, seed=3)[0])
    with pytest.raises(InvalidArgumentError, match="size=81"):
        hs_deepatoms.cut_crops(image, labels, size=81, n=1)
    with pytest.raises(LabelError, match="the same shape"):
        hs_deepatoms.cut_crops(image, labels[:-1], size=32, n=1)


def test_label_files_of_other_tools(tmp_path):
    from PIL import Image

    picture = np.zeros((20, 30), np.uint8)
    picture[3:7, 5:9] = 255
    Image.fromarray(picture).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", picture)
    np.savez(tmp_path / "mask.npz", picture)
    zarr.create_array(tmp_path / "mask.zarr", data=picture)
    files = [tmp_path / f"mask.{ending}" for ending in ("png", "npy", "npz", "zarr")]
    stack = hs_deepatoms.read_label_files(files)
    assert stack.shape == (4, 20, 30) and stack.dtype == np.int64
    for mask in stack:
        np.testing.assert_array_equal(mask, picture // 255)
    assert hs_deepatoms.read_label_files(files[0], values={0: 0, 255: 2}).max() == 2
    with pytest.raises(LabelError, match=r"values \[255\]"):
        hs_deepatoms.read_label_files(files[0], values={0: 0})
    with pytest.raises(LabelError, match="cannot be read"):
        hs_deepatoms.read_label_files(tmp_path / "nothing.png")
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(20, 30)))
    with pytest.raises(LabelError, match="600 different values"):
        hs_deepatoms.read_label_files(tmp_path / "image.npy")


def test_numbered_objects_become_classes_with_a_gap():
    objects = np.zeros((2, 20, 31), np.uint8)
    objects[0, 4:12, 3:10], objects[0, 4:12, 10:17], objects[1, 2:9, 5:9] = 7, 3, 200
    labels = hs_deepatoms.object_labels(hs.signals.Signal2D(objects))
    assert labels.shape == objects.shape and labels.dtype == np.int64
    expected = (objects > 0).astype(int)
    expected[0, 4:12, 9:11] = 0
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(hs_deepatoms.object_labels(objects[0]), expected[0])
    for wrong in (objects / 2, objects.astype(int) - 1):
        with pytest.raises(LabelError, match="whole numbers of 0 or more"):
            hs_deepatoms.object_labels(wrong)


@pytest.mark.parametrize("kind", ["particles", "walls", "steps"])
def test_simulated_sets_of_larger_things(kind):
    images, labels = hs_deepatoms.simulated_set(2, size=64, kind=kind, seed=5)
    again = hs_deepatoms.simulated_set(2, size=64, kind=kind, seed=5)
    assert images.shape == labels.shape == (2, 64, 64) and set(np.unique(labels)) == {0, 1}
    np.testing.assert_array_equal(images, again[0])
    with pytest.raises(InvalidArgumentError, match="'walls'"):
        hs_deepatoms.simulated_set(2, kind="fibres")


def test_simulated_sets_repeat_and_label_what_is_bright():
    images, labels = hs_deepatoms.simulated_set(16, size=64, seed=1)
    again, _ = hs_deepatoms.simulated_set(16, size=64, seed=1)
    np.testing.assert_array_equal(images, again)
    bright = [img[m == 1].mean() > img[m == 0].mean() for img, m in zip(images, labels, strict=True) if m.sum() > 50]
    assert len(bright) >= 3 and np.mean(bright) >= 0.75
