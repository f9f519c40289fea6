"""Two parts of an image with independent noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hs_deepatoms.prepare.thinning import is_counts, noise_gain, noise_sigma, thinned
from tests.methods.conftest import lattice_image


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_counts_are_split_by_binomial_draws(share):
    rng = np.random.default_rng(0)
    mean = 3 + 2 * np.sin(np.arange(300) / 7)
    counts = rng.poisson(np.broadcast_to(mean, (2, 300, 300)))
    kept, held, said, noise = thinned(counts, rng, share)
    np.testing.assert_array_equal(kept + held, counts)
    assert noise is None and said == share and kept.min() >= 0
    for part, factor in ((kept, share), (held, 1 - share)):
        assert abs(part.mean() / (factor * counts.mean()) - 1) < 0.01
        assert abs((part - factor * mean).var() / (factor * mean.mean()) - 1) < 0.02
    assert abs(np.mean((kept - share * mean) * (held - (1 - share) * mean))) < 0.01
    np.testing.assert_array_equal(thinned(counts.astype(float), np.random.default_rng(3)).kept.sum(0).dtype, np.float32)


def test_other_values_are_split_by_noise_of_their_own_strength():
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal((1, 300, 300)), (0, 8, 8)) * 60 + 7.3
    frames = smooth + 2.0 * rng.standard_normal(smooth.shape)
    kept, held, _, noise = thinned(frames, rng)
    np.testing.assert_allclose(kept + held, frames, atol=1e-5)
    assert noise[0] == pytest.approx(2 / np.sqrt(2), rel=0.03)
    rest = kept - smooth / 2, held - smooth / 2
    assert abs(np.corrcoef(rest[0].ravel(), rest[1].ravel())[0, 1]) < 0.02
    assert rest[1].std() == pytest.approx(noise[0], rel=0.03)


def test_noise_is_measured_beside_structure_and_gaps():
    frame = np.random.default_rng(1).normal(5, 0.4, (200, 200)) + np.arange(200) / 20
    frame[50:60] = np.nan
    assert noise_sigma(frame) == pytest.approx(0.4, rel=0.06)
    assert noise_sigma(np.full((9, 9), np.nan)) == 0


def crystal(counts, sigma=2.0, spacing=9.0):
    return lattice_image((96, 110), spacing=spacing, sigma=sigma, counts=counts, seed=1)[0]


@pytest.mark.parametrize("counts", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize(("sigma", "spacing"), [(1.2, 6.0), (2.0, 9.0), (4.0, 14.0)])
def test_only_counts_pass_for_counts(counts, sigma, spacing):
    image = crystal(counts, sigma, spacing)[None]
    assert is_counts(image) and is_counts(image.astype(np.uint16)) and is_counts(image.astype(np.int32))
    scaled = {"16 bit": np.rint(image * (65535 / image.max())), "gain 3": 3 * image,
              "8 bit": np.rint(image * (255 / image.max())), "pedestal": image + 20 * image.mean(),
              "blurred": np.rint(gaussian_filter(image * 40, (0, 1, 1))),
              "negative": image - np.rint(2 * image.mean())}  # fmt: skip
    for name, other in scaled.items():
        if name == "8 bit" and abs(np.log(255 / image.max())) < 0.5:
            continue
        assert not is_counts(other), name


@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("size", [32, 96])
def test_few_counts_are_counts(rate, size):
    rng = np.random.default_rng(3)
    assert all(is_counts(rng.poisson(rate, (1, size, size))) for _ in range(40))
    assert not any(is_counts(6 * rng.poisson(rate, (1, size, size))) for _ in range(40))
    assert is_counts(np.zeros((1, size, size), int))


def test_scaled_counts_are_split_as_gaussian_noise_and_it_says_so():
    rng = np.random.default_rng(0)
    frames = (50 * rng.poisson(40.0, (2, 200, 200))).astype(np.uint16)
    with pytest.warns(UserWarning, match=r"(4[6-9]|5[0-2]) times that of counts"):
        kept, held, _, noise = thinned(frames, rng)
    assert noise == pytest.approx(50 * np.sqrt(40) / np.sqrt(2), rel=0.05)
    assert abs(np.corrcoef(kept.ravel(), held.ravel())[0, 1]) < 0.03


def test_counts_with_lost_pixels_are_counts():
    counts = np.random.default_rng(0).poisson(6.0, (1, 120, 130)).astype(np.float32)
    counts[0, 40:44] = np.nan
    kept, held, _, noise = thinned(counts, np.random.default_rng(1))
    assert noise is None and noise_gain(counts) == pytest.approx(1, abs=0.15)
    np.testing.assert_array_equal(np.isnan(kept), np.isnan(counts))
    np.testing.assert_array_equal(kept + held, counts)
