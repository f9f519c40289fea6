import numpy as np
import pytest

from hs_deepatoms.spectra.intervals import calibrate, inflation, inside_one_sigma, likely_stretch, random_pit


def test_widths_that_are_too_small_are_mended():
    rng = np.random.default_rng(0)
    n = 20000
    true = np.array([[0.3], [0.1]]) * np.exp(rng.normal(0, 0.5, (2, n)))
    noise = np.full((2, n), 0.02**2)
    joint = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], n).T
    residual = true * joint + 0.02 * rng.normal(size=(2, n))
    stretch, factors, root = calibrate(residual, true / np.array([[2.0], [0.5]]), noise, np.arange(n) // 100)
    np.testing.assert_allclose(factors, [2.0, 0.5], rtol=0.05)
    np.testing.assert_allclose(stretch, 1, atol=0.03)
    assert (root @ root.T)[0, 1] == pytest.approx(0.6, abs=0.05)


def test_every_block_counts_the_same():
    residual = np.concatenate([np.full(1000, 0.5), np.full(10, 3.0)])
    block = np.concatenate([np.zeros(1000, int), np.ones(10, int)])
    factor = inflation(residual, np.ones(1010), np.zeros(1010), block)
    assert factor == pytest.approx(3.0, rel=1e-3)


def test_widths_hold_for_what_has_noise_of_its_own_on_top():
    rng = np.random.default_rng(3)
    n = 40000
    residual = rng.normal(0, np.where(rng.random(n) < 0.2, 1.0, 0.1))  # few large errors: far from normal
    extra, none = np.full(n, 0.3**2), np.zeros(n)
    measured = residual + 0.3 * rng.normal(size=n)
    for given, right in ((extra, 0.683), (None, None)):
        c = inflation(residual, np.ones(n), none, np.arange(n) // 100, given)
        held = float((measured**2 < c**2 + extra).mean())
        assert held == pytest.approx(right, abs=0.01) if right else held < 0.65


@pytest.mark.parametrize(("mean", "extra"), [(0.4, 0.0), (20.0, 0.0), (60.0, 100.0)])
def test_randomised_transform_of_counts_is_uniform(mean, extra):
    rng = np.random.default_rng(1)
    level = np.full(40000, mean)
    if extra:
        level = rng.gamma(mean**2 / extra, extra / mean, 40000)
    counts = rng.poisson(level)
    pit = random_pit(counts, np.full(40000, mean), np.full(40000, mean + extra), rng, discrete=True)
    np.testing.assert_allclose(np.quantile(pit, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.01)
    assert inside_one_sigma(pit).mean() == pytest.approx(0.683, abs=0.01)


def test_transform_of_other_numbers():
    rng = np.random.default_rng(2)
    pit = random_pit(rng.normal(3, 2, 20000), np.full(20000, 3.0), np.full(20000, 4.0), rng, discrete=False)
    assert inside_one_sigma(pit).mean() == pytest.approx(0.683, abs=0.012)


def test_widths_that_vary_too_little_are_stretched():
    """Of errors that vary as the power 1.3 of what is said, 68 % lie inside wherever they are small or large."""
    rng = np.random.default_rng(5)
    n = 20000
    said = 0.2 * np.exp(rng.normal(0, 0.7, n))
    noise, block = np.full((1, n), 0.01**2), np.arange(n) // 50
    residual = 0.7 * said**1.3 * rng.normal(size=n) + 0.01 * rng.normal(size=n)
    stretch, factors, _ = calibrate(residual[None], said[None], noise, block)
    assert stretch[0] == pytest.approx(1.3, abs=0.03)
    inside = np.abs(residual) < np.sqrt((factors[0] * said ** stretch[0]) ** 2 + noise[0])
    for part in np.array_split(np.argsort(said), 4):
        assert inside[part].mean() == pytest.approx(0.683, abs=0.02)
    few = likely_stretch(residual[:60], said[:60], noise[0, :60], np.zeros(60))
    assert abs(few - 1) < 0.3 * abs(stretch[0] - 1) + 0.05  # one block says next to nothing
