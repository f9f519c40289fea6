"""One rule for spikes: what stands far out of its neighbours, unless it is a line."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.spectra.noise import Noise, noise_of
from hs_deepatoms.spectra.spikes import Spikes, learn_spikes


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_spikes_are_repaired_and_lines_are_not(gain):
    rng = np.random.default_rng(1)
    typical = np.full(200, 50.0)
    typical[100] = 4000.0  # a line of one channel that all spectra have
    clean = (gain * rng.poisson(typical, (400, 200))).astype(np.float32)
    spikes = learn_spikes(clean, noise_of(clean))
    assert spikes.mend(clean)[0] is clean
    spiked = clean.copy()
    spiked[3, 20] += 3000 * gain
    spiked[9, 150:152] += 900 * gain
    repaired, found = spikes.mend(spiked)
    assert sorted(zip(*found[:2], strict=True)) == [(3, 20), (9, 150), (9, 151)]
    at = (3, 9, 9), (20, 150, 151)
    assert (np.abs(repaired[at] - 50 * gain) < 40 * gain).all()
    repaired[at] = clean[at]
    np.testing.assert_array_equal(repaired, clean)


def test_a_line_that_some_spectra_have_stays_and_a_spike_goes():
    rng = np.random.default_rng(3)
    expected = np.full((480, 90), 37.0)
    expected[80:105, 40:42] += 220.0  # a phase of 5 % of the map
    data = rng.poisson(expected).astype(np.float32)
    data[300, 70] += 2000
    row, channel, _ = learn_spikes(data, Noise(True, 1.0, "")).find(data)
    assert (row.tolist(), channel.tolist()) == ([300], [70])


def test_state_makes_the_same_rule():
    rows = np.random.default_rng(0).poisson(20, (100, 50)).astype(np.float32)
    rows[5, 9] += 900
    spikes = learn_spikes(rows, noise_of(rows))
    for own, again in zip(spikes.find(rows), Spikes.from_state(spikes.state()).find(rows), strict=True):
        np.testing.assert_array_equal(own, again)
    assert len(spikes.find(rows)[0]) == 1
    rows[5, 6] = np.nan  # three channels beside it: nothing to compare with
    assert not len(spikes.find(rows)[0])
