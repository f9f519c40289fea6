"""Two parts of an image with independent noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hs_deepatoms.prepare.thinning import noise_sigma, thinned


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
