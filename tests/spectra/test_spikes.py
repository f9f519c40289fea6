"""One rule for spikes: what stands far out of its neighbours, unless it is a line."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.spectra.noise import Noise, noise_of
from hs_deepatoms.spectra.spikes import Spikes, learn_spikes


def found_by(spikes, rows):
    found = spikes.find(rows)
    return found.row[found.spike].tolist(), found.channel[found.spike].tolist(), found.value[found.spike]


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_spikes_are_repaired_and_lines_are_not(gain):
    rng = np.random.default_rng(1)
    typical = np.full(200, 50.0)
    typical[100] = 4000.0  # a line of one channel that all spectra have
    clean = (gain * rng.poisson(typical, (400, 200))).astype(np.float32)
    spikes = learn_spikes(clean, noise_of(clean))
    assert not spikes.find(clean).spike.any()
    spiked = clean.copy()
    spiked[3, 20] += 3000 * gain
    spiked[9, 150:152] += 900 * gain
    row, channel, value = found_by(spikes, spiked)
    assert list(zip(row, channel, strict=True)) == [(3, 20), (9, 150), (9, 151)]
    assert (np.abs(value - 50 * gain) < 40 * gain).all()


def test_a_line_that_some_spectra_have_stays_and_a_spike_goes():
    rng = np.random.default_rng(3)
    expected = np.full((480, 90), 37.0)
    expected[80:105, 40:42] += 220.0  # a phase of 5 % of the map
    data = rng.poisson(expected).astype(np.float32)
    data[300, 70] += 2000
    data[90, 41] += 3000  # on the line
    assert found_by(learn_spikes(data, Noise(True, 1.0, "")), data)[:2] == ([90, 300], [41, 70])


def test_state_makes_the_same_rule():
    rows = np.random.default_rng(0).poisson(20, (100, 50)).astype(np.float32)
    rows[5, 9] += 900
    spikes = learn_spikes(rows, noise_of(rows))
    for name, own in vars(spikes.find(rows)).items():
        np.testing.assert_array_equal(own, getattr(Spikes.from_state(spikes.state()).find(rows), name))
    assert found_by(spikes, rows)[:2] == ([5], [9])
    before = {**spikes.state(), "kept": np.arange(50) == 9}  # as a file had it
    del before["lines"]
    assert found_by(Spikes.from_state(before), rows)[:2] == ([], [])
    rows[5, 6] = np.nan  # three channels beside it: nothing to compare with
    assert not len(spikes.find(rows).row)


@pytest.mark.parametrize("gain", [1.0, 0.02])
@pytest.mark.parametrize("mean", [1e-4, 3e-3, 0.1, 2.0])
def test_few_counts_are_no_spikes(mean, gain):
    """The tail is that of counts: single photons, and as many as come together by chance, stay."""
    rng = np.random.default_rng(4)
    expected = mean * (1 + 20 * np.exp(-0.5 * ((np.arange(300) - 140) / 5) ** 2))
    data = (gain * rng.poisson(expected, (6000, 300))).astype(np.float32)
    spikes = learn_spikes(data[:2000], noise_of(data[:2000]))
    assert not spikes.find(data).spike.any()
    data[77, 30] += 60 * gain
    assert found_by(spikes, data)[:2] == ([77], [30])
