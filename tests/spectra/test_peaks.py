import numpy as np
import pytest

from hs_deepatoms.spectra.peaks import measured_peaks

ENERGY = 700 + 8.0 * np.arange(162)


def core_loss(line=1000.0, height=6000.0):
    """Counts of a power law with a line on it."""
    return 2e4 * (ENERGY / 700) ** -3 + height * np.exp(-0.5 * ((ENERGY - line) / 16) ** 2)


def test_peak_above_a_power_law():
    energy = np.linspace(300, 700, 401)
    spectra = [1e6 * energy**-3.0 + 0.02 * np.exp(-0.5 * ((energy - at) / 4) ** 2) for at in (532, 480)]
    peaks = measured_peaks(spectra[0][None], np.zeros((1, 401)), energy)
    assert energy[peaks.open[0]] == pytest.approx(532, abs=1.5)
    assert peaks.distance(np.stack(spectra)[1:]) == pytest.approx(52, abs=2)


def test_without_noise_it_is_the_distance_of_the_peaks():
    peaks = measured_peaks(core_loss()[None], np.zeros((1, 162)), ENERGY)
    assert peaks.distance(core_loss(1120)[None]) == pytest.approx(120, abs=8)


@pytest.mark.parametrize("height", [300.0, 1000.0])
def test_the_truth_is_not_blamed_for_noise(height):
    """A line elsewhere is, by as far as it is away, however high it is."""
    rng, truth = np.random.default_rng(0), core_loss(height=height)[None]
    counts = rng.poisson(np.tile(truth, (400, 1))).astype(float)
    peaks = measured_peaks(counts, counts, ENERGY)
    assert peaks.clear.mean() > (0.1 if height < 500 else 0.99)
    assert np.nanmean(peaks.distance(np.tile(truth, (400, 1)))) < 1
    for line, high in ((1400, 3000), (1400, 200), (850, 1000)):
        wrong = np.nanmean(peaks.distance(np.tile(core_loss(line, high)[None], (400, 1))))
        assert wrong == pytest.approx(abs(line - 1000), abs=60)


def test_background_alone_has_no_peak():
    rng = np.random.default_rng(3)
    counts = rng.poisson(np.tile(core_loss(height=0)[None], (400, 1))).astype(float)
    peaks = measured_peaks(counts, counts, ENERGY)
    assert peaks.clear.mean() < 0.01
    assert np.isnan(peaks.distance(np.tile(core_loss()[None], (400, 1)))).mean() > 0.99


def test_of_two_peaks_the_higher_one_counts_where_noise_lets_it_be_told():
    """True errors of 400 eV, where the wrong one of two lines is the higher, for lines that differ enough."""
    rng = np.random.default_rng(4)
    lines = core_loss(1000, 2000) + core_loss(1400, 1000) - core_loss(height=0)
    turned = core_loss(1000, 1000) + core_loss(1400, 2000) - core_loss(height=0)
    alike = core_loss(1000, 1010) + core_loss(1400, 1000) - core_loss(height=0)
    for truth, wrong in ((lines, 400), (alike, 0)):
        counts = rng.poisson(np.tile(truth, (300, 1))).astype(float)
        peaks = measured_peaks(counts, counts, ENERGY)
        assert peaks.clear.all() and (peaks.distance(np.tile(truth, (300, 1))) > 0).mean() < 0.05
        assert peaks.distance(np.tile(turned, (300, 1))).mean() == pytest.approx(wrong, abs=40)


def test_measured_and_predicted_have_the_same_background():
    """Counts with zeros at the ends have no power law: nor has what is compared with them, though it is positive."""
    rng, energy = np.random.default_rng(1), np.linspace(0.2, 20, 124)
    truth = 40 * np.exp(-(((energy - 0.3) / 0.15) ** 2)) + 5 * np.exp(-(((energy - 8) / 0.2) ** 2)) + 0.01
    counts = rng.poisson(np.tile(truth, (300, 1))).astype(float)
    assert (counts[:, -2:] == 0).all(1).mean() > 0.9
    peaks = measured_peaks(counts, counts, energy)
    assert peaks.clear.mean() > 0.9 and np.nanmean(peaks.distance(np.tile(truth, (300, 1)))) < 0.05


def test_negative_energies_and_values_have_a_straight_line():
    bias = np.linspace(-5, 5, 64)
    loop = np.tanh(bias) + 2 * np.exp(-0.5 * ((bias - 1) / 0.3) ** 2)
    peaks = measured_peaks(loop[None], np.full((1, 64), 1e-4), bias)
    assert peaks.distance(loop[None]) == 0 and not peaks.power.any()
