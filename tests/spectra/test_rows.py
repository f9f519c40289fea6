import dask.array as da
import numpy as np
import pytest

from hs_deepatoms.spectra.noise import Noise
from hs_deepatoms.spectra.rows import SpectrumRows
from hs_deepatoms.spectra.spikes import Spikes


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


def test_spikes_are_repaired_where_the_rule_is_given():
    rng = np.random.default_rng(3)
    clean = rng.poisson(37, (20, 24, 90)).astype(np.uint16)
    data = clean.copy()
    data[15, 20, 70] += 2000
    spikes = Spikes(np.full(90, 37.0, np.float32), Noise(True, 1.0, ""), np.zeros(90, bool))
    everywhere = slice(0, 20), slice(0, 24)
    np.testing.assert_array_equal(SpectrumRows(data).read(everywhere), data)
    rows = SpectrumRows(data, np.arange(90), spikes)
    read = rows.read(everywhere)
    assert len(rows.repairs.places) == 1 and abs(read[15, 20, 70] - 37) < 30
    read[15, 20, 70] = clean[15, 20, 70]
    np.testing.assert_array_equal(read, clean)
