"""Images, masks and coordinates stay together under every change."""

import numpy as np
import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError, LabelError
from hs_deepatoms.training import intensity
from hs_deepatoms.training.augmentation import Augmentation, augmented_set
from hs_deepatoms.training.geometry import Motion, Symmetry

QUIET = {"symmetries": False}
MOVES = {
    "symmetries": {},
    "rotation": {**QUIET, "rotation": 180.0},
    "zoom": {**QUIET, "zoom": (0.7, 1.5)},
    "resize": {**QUIET, "resize": (70, 40)},
    "jitter": {**QUIET, "jitter": (0.5, 0.5)},
    "drift": {**QUIET, "drift": (6.0, 6.0)},
    "crop": {"crop": (30, 40)},
    "all": {"rotation": 180.0, "zoom": (0.8, 1.3), "jitter": (0.2, 0.4), "drift": (2.0, 5.0), "crop": (36, 36)},
}
# the lines of a column that jitter are shifted apart; its position is where its middle line went
ALLOWED = {"jitter": 1.0, "all": 0.8}


def spots(shape, y, x, sigma=2.5):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-0.5 * ((yy[..., None] - y) ** 2 + (xx[..., None] - x) ** 2) / sigma**2).sum(-1)


def sample(shape=(50, 64)):
    y, x = np.array([14.3, 25.0, 34.6, 12.8]), np.array([15.2, 44.7, 20.0, 50.4])
    image = spots(shape, y, x)
    return image.astype(np.float32), (image > 0.5).astype(np.int64), y, x


def centre(image, y, x):
    """Where the parabolas through the logarithms of the pixels around a place have their tops: exact for a Gaussian."""
    i, j = round(y), round(x)
    found = []
    for before, here, after in (np.log(image[i - 2 : i + 3 : 2, j]), np.log(image[i, j - 2 : j + 3 : 2])):
        found.append((before - after) / (before - 2 * here + after))
    return i + found[0], j + found[1]


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("seed", range(4))
def test_coordinates_and_masks_follow_the_image(name, seed):
    image, mask, y, x = sample()
    done = Augmentation(**MOVES[name]).apply(image, mask, y=y, x=x, seed=seed)
    shape = done.image.shape
    assert done.mask.shape == shape and done.mask.dtype == mask.dtype and set(np.unique(done.mask)) <= {0, 1}
    inner = (done.y > 8) & (done.x > 8) & (done.y < shape[0] - 9) & (done.x < shape[1] - 9)
    for yy, xx in zip(done.y[inner], done.x[inner], strict=True):
        found = centre(done.image, yy, xx)
        assert np.hypot(found[0] - yy, found[1] - xx) < ALLOWED.get(name, 0.1)
        assert done.mask[round(yy), round(xx)] == 1
    # the mask is where the changed image is bright
    both = ((done.image > 0.5) & (done.mask == 1)).sum()
    assert both >= 0.85 * max((done.image > 0.5).sum(), done.mask.sum())


def test_all_eight_symmetries_are_reached_and_exact():
    image = np.arange(36.0, dtype=np.float32).reshape(6, 6)
    expected = {np.ascontiguousarray(m).tobytes() for k in range(4) for t in [np.rot90(image, k)] for m in (t, t.T)}
    rng = np.random.default_rng(0)
    seen = {Augmentation().apply(image, seed=int(s)).image.tobytes() for s in rng.integers(10**6, size=100)}
    assert seen == expected


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True), (True, True)])
def test_points_of_symmetries_are_exact(transpose, mirror):
    image = np.zeros((7, 10), np.float32)
    image[2, 8] = 1
    symmetry = Symmetry(transpose, *mirror)
    turned = symmetry.of_map(torch.from_numpy(image)).numpy()
    y, x = symmetry.of_points(np.array([2.0]), np.array([8.0]), image.shape)
    assert turned[int(y[0]), int(x[0])] == 1


def test_mirror_images_beyond_the_rim_are_points_too():
    y, x = np.array([20.0, 30.0]), np.array([4.0, 30.0])
    image = spots((41, 61), y, x).astype(np.float32)
    motion = Motion((41, 61), (41, 61), angle=0.3, zoom=(0.6, 0.6))
    out = motion.of_map(torch.from_numpy(image)).numpy()
    py, px, number = motion.of_points(y, x)
    assert len(py) > 4 and set(number) == {0, 1}
    for yy, xx in zip(py, px, strict=True):
        if 5 < yy < 35 and 5 < xx < 55:
            found = centre(out, yy, xx)
            assert np.hypot(found[0] - yy, found[1] - xx) < 0.25 and out[round(yy), round(xx)] > 0.5


def test_no_pair_is_lost_and_the_same_seed_is_the_same():
    images = np.random.default_rng(0).normal(size=(5, 24, 24)).astype(np.float32)
    masks = np.zeros((5, 24, 24), np.int64)  # classes that are missing are no reason to drop a pair
    how = Augmentation.usual()
    one, two = (augmented_set(images, masks, augmentation=how, copies=3, seed=s) for s in (1, 1))
    assert one[0].shape == (15, 24, 24) and one[1].shape == (15, 24, 24)
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.allclose(one[0], augmented_set(images, masks, augmentation=how, copies=3, seed=2)[0])
    assert len(np.unique(one[0].reshape(15, -1).mean(1))) == 15
    np.testing.assert_array_equal(images, np.random.default_rng(0).normal(size=(5, 24, 24)).astype(np.float32))


def test_a_seed_does_the_same_to_the_image_whatever_goes_with_it():
    image, mask, y, x = sample()
    how = Augmentation.usual()
    alone = how.apply(image, seed=5).image
    np.testing.assert_array_equal(alone, how.apply(image, mask, y=y, x=x, seed=5).image)
    np.testing.assert_array_equal(alone, how.apply(torch.from_numpy(image), seed=5).image.numpy())


@pytest.mark.parametrize("pixels", [1, 2, 100, 199, 200, 201, 402, 9216, 65536])
def test_ends_of_the_range_are_the_percentiles(pixels):
    image = torch.randn(1, 1, pixels, generator=torch.Generator().manual_seed(pixels))
    low, high = torch.quantile(image.flatten(), torch.tensor([0.005, 0.995])).tolist()
    assert intensity.image_range(image) == (low, (high - low) or 1.0)


def test_range_of_a_constant_image_is_one():
    assert intensity.image_range(torch.full((1, 20, 30), 7.0)) == (7.0, 1.0)


def test_noise_has_the_strength_that_was_asked_for():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, 200).repeat(200, 1)[None]
    noisy = intensity.gaussian_noise(ramp, 0.2, generator)
    assert float((noisy - ramp).std()) == pytest.approx(0.2, rel=0.03)
    counted = intensity.poisson_noise(ramp, 50.0, generator)
    assert float((counted - ramp).var()) == pytest.approx(0.5 / 50, rel=0.05)
    assert float((counted - ramp).mean()) == pytest.approx(0, abs=1e-3)
    peppered = intensity.salt_and_pepper(ramp, 0.1, generator)
    assert float((peppered != ramp).float().mean()) == pytest.approx(0.1, abs=0.01)
    delta = torch.zeros(1, 41, 41)
    delta[0, 20, 20] = 1
    spread = intensity.blur(delta, 2.0)
    yy = torch.arange(41.0)[:, None] - 20
    assert float(spread.sum()) == pytest.approx(1) and float((spread[0] * yy**2).sum()) == pytest.approx(4, rel=0.02)
    assert float(intensity.contrast(ramp, 2.0).std() / ramp.std()) == pytest.approx(2)
    bent = intensity.gamma(ramp, 2.0)
    assert float(bent[0, 0, 100]) == pytest.approx(0.25, abs=0.02)


def test_custom_changes_and_channels():
    def double(image, mask, rng):
        return 2 * image, mask + 1

    image, mask, _, _ = sample()
    done = Augmentation(symmetries=False, custom=(double,)).apply(np.stack([image, image]), mask)
    np.testing.assert_allclose(done.image[1], 2 * image)
    np.testing.assert_array_equal(done.mask, mask + 1)


@pytest.mark.parametrize(
    "wrong", [{"zoom": (0, 1)}, {"blur": (2, 1)}, {"poisson": 5}, {"crop": (0, 5)}, {"salt_and_pepper": (-0.1, 0)}]
)
def test_ranges_that_make_no_sense_are_named(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(LabelError, match="image's height and width"):
        Augmentation().apply(np.zeros((8, 9)), np.zeros((9, 8), int))
    with pytest.raises(LabelError, match="2 label images for 3 images"):
        augmented_set(np.zeros((3, 8, 8)), np.zeros((2, 8, 8), int), augmentation=Augmentation())
    with pytest.raises(InvalidArgumentError, match="part of the image"):
        Augmentation(crop=(20, 20)).apply(np.zeros((16, 32)))


@pytest.mark.parametrize("kind", ["?", "u1", "u2", ">u2", "u4", ">f4", "f8"])
def test_any_type_of_pixels_and_classes(kind):
    values = np.random.default_rng(0).integers(0, 2, (32, 40))
    change = Augmentation(rotation=20, blur=(1, 1))
    expected = change.apply(values.astype("f4"), values, seed=1)
    made = change.apply(values.astype(kind), values.astype("i8" if "f" in kind else kind), seed=1)
    np.testing.assert_allclose(made.image, expected.image, atol=1e-6)
    np.testing.assert_array_equal(made.mask, expected.mask)
    assert made.image.dtype.kind == "f" and ("f" in kind or made.mask.dtype == np.dtype(kind))
