import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import median_filter

from hs_deepatoms.spectra.rows import SpectrumRows, running_median, without_spikes


def test_running_median_is_that_of_five():
    rows = np.random.default_rng(0).normal(size=(7, 31)).astype(np.float32)
    np.testing.assert_array_equal(running_median(rows), median_filter(rows, (1, 5), mode="nearest"))


def test_spikes_are_repaired_and_lines_are_not():
    rng = np.random.default_rng(1)
    typical = np.full(200, 50.0)
    typical[100] = 4000.0  # a line of one channel that all spectra have
    clean = rng.poisson(typical, (40, 200)).astype(np.float32)
    spiked = clean.copy()
    spiked[3, 20] += 3000
    spiked[9, 150:152] += 900
    repaired, n = without_spikes(spiked, typical)
    assert n == 3
    assert abs(repaired[3, 20] - 50) < 40 and np.abs(repaired[9, 150:152] - 50).max() < 40
    rest = np.ones_like(clean, bool)
    rest[3, 20] = rest[9, 150] = rest[9, 151] = False
    np.testing.assert_array_equal(repaired[rest], clean[rest])
    assert without_spikes(clean, typical)[1] == 0


@pytest.mark.parametrize("chunks", [(4, 5, 24), (9, 11, 7), (1, 11, 24)])
def test_lazy_blocks_cover_the_map_as_eager_ones_do(chunks):
    data = np.random.default_rng(0).integers(0, 99, (9, 11, 24)).astype(np.uint16)
    out = []
    for source in (data, da.from_array(data, chunks=chunks)):
        whole = np.full(data.shape, np.nan, np.float32)
        for place, block in SpectrumRows(source).blocks():
            assert np.isnan(whole[place]).all()
            whole[place] = block
        out.append(whole)
    np.testing.assert_array_equal(out[0], data)
    np.testing.assert_array_equal(out[1], data)


def test_chunks_that_are_too_large_are_read_in_strips(monkeypatch):
    monkeypatch.setattr("hs_deepatoms.spectra.rows.BATCH", 4 * 6 * 30)  # thirty spectra
    data = np.random.default_rng(0).random((40, 50, 6))
    sizes, whole = [], np.zeros(data.shape, np.float32)
    for place, block in SpectrumRows(da.from_array(data, chunks=(40, 25, 2))).blocks():
        sizes.append(block.shape[0] * block.shape[1])
        whole[place] += block
    assert max(sizes) <= 30
    np.testing.assert_allclose(whole, data.astype(np.float32))


def test_only_blocks_with_wanted_pixels_are_read():
    lazy = da.from_array(np.zeros((8, 8, 6)), chunks=(4, 4, 6)) + 0
    wanted = np.zeros((8, 8), bool)
    wanted[5, 1] = True
    rows = SpectrumRows(lazy)
    rows._places = lambda: [(slice(a, a + 4), slice(b, b + 4)) for a in (0, 4) for b in (0, 4)]
    assert [place for place, _ in rows.blocks(wanted)] == [(slice(4, 8), slice(0, 4))]


def test_channels_are_chosen():
    data = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    rows = SpectrumRows(data, np.array([0, 4]))
    assert rows.n_channels == 2
    np.testing.assert_array_equal(rows.read((slice(1, 2), slice(0, 3)))[0], data[1][:, [0, 4]])


def test_a_line_that_some_spectra_have_stays_and_a_spike_goes():
    rng = np.random.default_rng(3)
    expected = np.full((20, 24, 90), 37.0)
    expected[3:8, 2:7, 40:42] += 220.0  # a phase of 5 % of the map
    clean = rng.poisson(expected)
    data = clean.copy()
    data[15, 20, 70] += 2000
    rows = SpectrumRows(data, typical=np.median(data, (0, 1)))
    rows.learn_lines(data.reshape(-1, 90).astype(np.float32))
    read = rows.read((slice(0, 20), slice(0, 24)))
    assert rows.spikes == 1 and abs(read[15, 20, 70] - 37) < 40
    np.testing.assert_array_equal(read[3:8, 2:7], clean[3:8, 2:7])
