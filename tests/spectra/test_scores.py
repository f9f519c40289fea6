import numpy as np
import pytest

from hs_deepatoms.spectra.blocks import small_blocks
from hs_deepatoms.spectra.scores import (
    HeldOut,
    SpectrumScores,
    beats,
    edge_strength,
    spectral_angle,
    sum_over_blocks,
)


def held_out(measured, noise, block, reference):
    return HeldOut(np.arange(measured.shape[1]), measured, np.full(measured.shape, noise), block, reference)


def test_r2_is_against_the_mean_spectrum():
    rng = np.random.default_rng(0)
    reference, truth = np.linspace(1, 2, 30), rng.normal(size=(50, 30)) + np.linspace(1, 2, 30)
    scores = SpectrumScores(30)
    for part in (slice(0, 20), slice(20, 50)):
        scores.add(held_out(truth[part], 0.0, np.arange(50)[part] // 10, reference), truth[part] + 0.1)
    found = scores.result()
    around = ((truth - reference) ** 2).sum()
    assert found["r2"] == pytest.approx(1 - 0.01 * truth.size / around)
    assert found["rmse"] == pytest.approx(0.1)
    assert scores.per_energy().shape == (30,)


def test_noise_is_taken_out():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(4000, 20))
    measured = truth + rng.normal(0, 0.5, truth.shape)
    scores = SpectrumScores(20)
    scores.add(held_out(measured, 0.25, np.zeros(4000, int), np.zeros(20)), 0.9 * truth)
    assert scores.result()["r2_noise_removed"] == pytest.approx(0.99, abs=0.003)
    assert scores.result()["r2"] < 0.85


def test_what_of_the_error_is_removed():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(1000, 10))
    made = []
    for size in (0.1, 0.2):
        one = SpectrumScores(10)
        guess = truth + size * rng.normal(size=truth.shape)
        one.add(held_out(truth, 0.0, np.arange(1000) // 50, np.zeros(10)), guess)
        made.append(one)
    gain, spread = beats(*(one.blocks for one in made))
    assert gain == pytest.approx(0.75, abs=0.03) and 0 < spread < 0.05


def test_every_fold_has_a_mean_of_its_own():
    """Two folds whose trainings have other means: the mean spectrum of each has an R2 of 0."""
    rng = np.random.default_rng(4)
    scores = SpectrumScores(6)
    for level in (0.0, 3.0):
        mean = np.full(6, level)
        scores.add(held_out(rng.normal(1, 1, (50, 6)), 0.0, np.zeros(50, int), mean), np.tile(mean, (50, 1)))
    assert scores.result()["r2"] == pytest.approx(0)
    np.testing.assert_allclose(scores.per_energy(), 0, atol=1e-12)


def test_blocks_that_are_alike_count_as_fewer():
    rng = np.random.default_rng(0)
    block = small_blocks((64, 64), 4)
    found = []
    for wide in (1, 16):
        sums = [sum_over_blocks(np.kron(rng.normal(size=(64 // wide,) * 2), np.ones((wide, wide))).ravel(),
                                block.ravel()) for _ in range(40)]  # fmt: skip
        found.append(np.mean([spread for _, spread in sums]) / np.std([total for total, _ in sums]))
    assert found == pytest.approx([1.15, 1.0], abs=0.3)


def test_angle():
    assert spectral_angle(np.array([[1.0, 0]]), np.array([[1.0, 1.0]]))[0] == pytest.approx(np.pi / 4)


def test_net_counts_of_an_edge():
    energy = np.linspace(400, 700, 601)
    back = 1e8 * energy**-3.0
    edge = 5.0 * (energy > 532)
    strength = edge_strength(energy, 532.0, 50.0)
    found = strength(np.stack([back, back + edge, back + 3 * edge]))
    assert found[0] == pytest.approx(0, abs=0.01 * found[1])
    assert found[2] / found[1] == pytest.approx(3, rel=0.01)
    assert edge_strength(energy, 690.0, 50.0) is None
