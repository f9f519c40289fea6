import numpy as np
import pytest

from hs_deepatoms.spectra.scores import SpectrumScores, beats, edge_strength, peak_place, spectral_angle


def test_r2_is_against_the_mean_spectrum():
    rng = np.random.default_rng(0)
    reference, truth = np.linspace(1, 2, 30), rng.normal(size=(50, 30)) + np.linspace(1, 2, 30)
    scores = SpectrumScores(reference, np.arange(30.0))
    for part in (slice(0, 20), slice(20, 50)):
        scores.add(truth[part], truth[part] + 0.1, np.zeros_like(truth[part]), np.arange(50)[part] // 10)
    found = scores.result()
    around = ((truth - reference) ** 2).sum()
    assert found["r2"] == pytest.approx(1 - 0.01 * truth.size / around)
    assert found["rmse"] == pytest.approx(0.1)
    assert scores.per_energy().shape == (30,)


def test_noise_is_taken_out():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(4000, 20))
    measured = truth + rng.normal(0, 0.5, truth.shape)
    scores = SpectrumScores(np.zeros(20), np.arange(20.0))
    scores.add(measured, 0.9 * truth, np.full(truth.shape, 0.25), np.zeros(4000, int))
    assert scores.result()["r2_noise_removed"] == pytest.approx(0.99, abs=0.003)
    assert scores.result()["r2"] < 0.85


def test_what_of_the_error_is_removed():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(1000, 10))
    made = []
    for size in (0.1, 0.2):
        one = SpectrumScores(np.zeros(10), np.arange(10.0))
        one.add(truth, truth + size * rng.normal(size=truth.shape), np.zeros_like(truth), np.arange(1000) // 50)
        made.append(one)
    gain, spread = beats(*made)
    assert gain == pytest.approx(0.75, abs=0.03) and 0 < spread < 0.05


def test_angle_and_peak():
    assert spectral_angle(np.array([[1.0, 0]]), np.array([[1.0, 1.0]]))[0] == pytest.approx(np.pi / 4)
    energy = np.linspace(300, 700, 401)
    spectrum = 1e6 * energy**-3.0 + 0.02 * np.exp(-0.5 * ((energy - 532) / 4) ** 2)
    assert peak_place(spectrum[None], energy)[0] == pytest.approx(532, abs=1.5)


def test_net_counts_of_an_edge():
    energy = np.linspace(400, 700, 601)
    back = 1e8 * energy**-3.0
    edge = 5.0 * (energy > 532)
    strength = edge_strength(energy, 532.0, 50.0)
    found = strength(np.stack([back, back + edge, back + 3 * edge]))
    assert found[0] == pytest.approx(0, abs=0.01 * found[1])
    assert found[2] / found[1] == pytest.approx(3, rel=0.01)
    assert edge_strength(energy, 690.0, 50.0) is None
