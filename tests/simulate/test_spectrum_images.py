import numpy as np
import pytest

from hs_deepatoms.simulate.spectrum_images import LINKS, hysteresis_loops, planted_cube, tunnelling_spectra


@pytest.mark.parametrize("link", LINKS)
def test_counts_are_those_of_the_truth(link):
    cube = planted_cube((40, 52), 64, endmembers=4, link=link, seed=3)
    assert cube.image.shape == (40, 52) and cube.counts.shape == (40, 52, 64) and cube.counts.dtype == np.uint16
    np.testing.assert_allclose(cube.shapes.sum(-1), 1, rtol=1e-4)
    np.testing.assert_allclose(cube.abundances.sum(0), 1, rtol=1e-4)
    np.testing.assert_allclose(np.tensordot(cube.abundances, cube.endmembers, ((0,), (0,))), cube.shapes, rtol=1e-3)
    expected = cube.shapes * cube.totals[..., None]
    chi2 = ((cube.counts - expected) ** 2 / expected).mean()
    assert chi2 == pytest.approx(1, abs=0.02)
    assert 19 * 64 < cube.totals.min() and cube.totals.max() < 201 * 64


def test_a_seed_gives_the_same_cube_and_own_spectra_are_used():
    own = np.random.default_rng(0).random((3, 30))
    first, second = (planted_cube((16, 18), 30, endmembers=own, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_allclose(first.endmembers, own / own.sum(1, keepdims=True))


@pytest.mark.parametrize("make", [hysteresis_loops, tunnelling_spectra])
def test_spectra_that_are_no_counts(make):
    cube = make((30, 36), 48, noise=0.1, seed=1)
    assert cube.shapes.shape == (30, 36, 48) and np.ptp(cube.shapes, (0, 1)).max() > 0.5
    assert (cube.counts - cube.shapes).std() == pytest.approx(0.1, rel=0.02)
