import dask.array as da
import numpy as np
import pytest

from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.errors import InvalidImageError
from hs_deepatoms.methods.labels import read_labels
from hs_deepatoms.workflows import labelled
from hs_deepatoms.workflows.labelled import LabelledSet, has_labels, split, whole_frames, window_of


def pair(images, labels=None):
    source = read_source(images)
    labels = (np.asarray(images) > np.median(np.asarray(images))).astype(int) if labels is None else labels
    return source, read_labels(labels, source, ["bright"])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(100, 5, shape)


def test_windows_of_lazy_and_eager_images_are_the_same(monkeypatch):
    images = noise(6, 48, 70)
    eager = LabelledSet([pair(images)], (32, 32))
    lazy = LabelledSet([pair(da.from_array(images, chunks=(1, 24, 70)))], (32, 32))
    monkeypatch.setattr(labelled, "KEPT", 2 * 48 * 70 * 8)
    assert len(eager) == len(lazy) == 6 * 2 * 3
    for k in range(0, 36, 5):
        one, two = (s.get(k, np.random.default_rng([k])) for s in (eager, lazy))
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert one[0].shape == (1, 32, 32) and one[0].dtype == np.float32 and np.abs(one[0]).max() < 3
    assert len(lazy._frames) <= 2


def test_labels_follow_their_image_and_missing_pixels_have_none():
    images = noise(1, 40, 40)[0]
    images[5:9, 7] = np.nan
    source = read_source(images)
    marks = np.arange(1600).reshape(40, 40) % 2
    data = LabelledSet([(source, read_labels(marks, source, ["odd"]))], (40, 40))
    image, target = data.get(0, np.random.default_rng(0))
    assert np.isfinite(image).all() and (target[5:9, 7] == -1).all()
    rest = np.isfinite(images)
    np.testing.assert_array_equal(target[rest], marks[rest])


def test_validation_shares_no_pixel_with_training():
    frames = whole_frames([pair(noise(10, 32, 32))])
    training, validation = split(frames, 0.2, (32, 32), seed=0)
    assert len(validation) == 2 and not {r.frame for r in training} & {r.frame for r in validation}
    large = whole_frames([pair(noise(200, 100))])
    (top,), (bottom,) = split(large, 0.15, (64, 64), seed=0)
    assert top.box[1] == bottom.box[0] == 136 and bottom.box[1] == 200
    assert split(whole_frames([pair(noise(40, 40))]), 0.15, (40, 40), seed=0)[1] == []
    assert split(frames, 0.0, (32, 32), seed=0)[1] == []
    fixed = LabelledSet([pair(noise(200, 100))], (64, 64), [bottom], fixed=True)
    rows = {corner[0] for _, corner in fixed.places}
    assert rows == {136} and len(fixed) == 2


def test_images_of_different_sizes_give_one_window():
    pairs = [pair(noise(2, 40, 60)), pair(noise(90, 33))]
    data = LabelledSet(pairs, window_of(pairs))
    assert {data.get(k, np.random.default_rng(k))[0].shape for k in range(len(data))} == {(1, 33, 33)}
    shares = data.class_shares(1)
    assert shares == pytest.approx([0.5, 0.5], abs=0.02)


def test_images_without_contrast_are_named():
    images = noise(3, 32, 32)
    images[1] = 4.0
    data = LabelledSet([pair(images)], (32, 32))
    with pytest.raises(InvalidImageError, match="frame 1 of image 0"):
        data.get(1, np.random.default_rng(0))


def test_one_frame_is_always_left_to_train_on():
    from hs_deepatoms.workflows.labelled import held_out

    assert [held_out(share, 4) for share in (0.01, 0.25, 0.5, 0.9, 0.99)] == [1, 1, 2, 3, 3]


def test_frames_that_are_held_out_have_labels():
    images = noise(12, 32, 32)
    marks = np.full(images.shape, -1)
    marks[[1, 4, 6, 8, 9]] = images[[1, 4, 6, 8, 9]] > 100
    pairs = [pair(images, marks)]
    for seed in range(5):
        training, validation = split(whole_frames(pairs), 0.3, (16, 16), seed, lambda r: has_labels(pairs, r))
        assert len(validation) == 2 and {r.frame for r in validation} < {1, 4, 6, 8, 9}
        assert len(training) == 10
    everything = split(whole_frames(pairs), 0.3, (16, 16), 0)
    assert {r.frame for r in everything[1]} - {1, 4, 6, 8, 9}  # it needs to ask
    # too few for whole frames: a strip of each, where both parts have labels
    marks[[4, 6, 8, 9]] = -1
    marks[9, :10] = 0
    pairs = [pair(images, marks)]
    training, validation = split(whole_frames(pairs), 0.3, (10, 10), 0, lambda r: has_labels(pairs, r))
    assert [(r.frame, r.box) for r in validation] == [(1, (22, 32, 0, 32))] and len(training) == 12
