"""A spike is what a pixel has alone; blocks do not matter."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from hs_deepatoms.spectra.noise import Noise
from hs_deepatoms.spectra.rows import SpectrumRows
from hs_deepatoms.spectra.search import Search, many, neighbours
from hs_deepatoms.spectra.spikes import Repairs, Spikes

SCAN, N = (14, 19), 60
LINE = 60 * np.exp(-0.5 * (np.arange(N) - 40.0) ** 2)  # a FWHM of 2.4 channels
RULE = Spikes(np.full(N, 5.0, np.float32), Noise(True, 1.0, ""), np.zeros(N, bool))
ALONE = [(0, 0, 7), (6, 7, 20), (7, 8, 21), (13, 18, 59), (6, 3, 40), (5, 9, 50)]


def scan_with_line():
    """Counts with a sharp line in 3 x 3 pixels, and spikes; two of these touch, in neighbouring channels."""
    expected = np.full((*SCAN, N), 5.0)
    expected[5:8, 12:15] += LINE
    data = np.random.default_rng(0).poisson(expected).astype(np.float32)
    clean = data.copy()
    for at in ALONE:
        data[at] += 2000
    data[7, 8, 21] -= 1900  # a twentieth of its neighbour, in the next channel: does not hide that
    clean[7, 8, 21] = data[7, 8, 21]  # but stays
    return data, clean


def searched(data, block):
    search, rows = Search(RULE, SCAN), {}
    places = np.arange(np.prod(SCAN)).reshape(SCAN)
    for y in range(0, SCAN[0], block[0]):
        for x in range(0, SCAN[1], block[1]):
            here = slice(y, y + block[0]), slice(x, x + block[1])
            looked = search.look(places[here].ravel(), data[here].reshape(-1, N))
            rows |= zip(places[here].ravel().tolist(), looked.rows, strict=True)
            search.add(looked)
    return search, rows


@pytest.mark.parametrize("block", [(14, 19), (1, 19), (3, 4), (2, 1), (1, 1)])
def test_blocks_do_not_matter(block):
    data, clean = scan_with_line()
    repairs = searched(data, block)[0].repairs()
    assert (np.diff(repairs.places) >= 0).all()
    found = sorted(zip(*np.unravel_index(repairs.places, SCAN), repairs.channels, strict=True))
    assert found == sorted(set(ALONE) - {(7, 8, 21)})
    index = np.arange(data[..., 0].size)
    mended = repairs.repair(index, data.reshape(-1, N))
    np.testing.assert_array_less(np.abs(mended - clean.reshape(-1, N)), 25)
    whole = searched(data, SCAN)[0].repairs()
    np.testing.assert_array_equal(repairs.values, whole.values)


def test_a_block_mends_what_it_knows_and_doubts_the_rest():
    data, _ = scan_with_line()
    search, rows = searched(data, (7, 19))  # the line is cut, the spike at (6, 7) is beside the cut
    at = {place: np.ravel_multi_index(place, SCAN) for place in ((0, 0), (6, 7))}
    assert rows[at[0, 0]][7] < 30
    assert rows[at[6, 7]][20] > 1000
    assert set(search.doubts().places.tolist()) >= {at[6, 7]}


def test_neighbours_are_those_of_the_frame():
    near = neighbours(np.array([12]), (4, 3, 4))[0]  # the first pixel of the second frame
    assert sorted(near[near >= 0]) == [13, 16, 17]
    assert (neighbours(np.array([0]), ()) == -1).all()
    assert sorted(neighbours(np.array([3]), (9,))[0][[3, 4]]) == [2, 4]


@pytest.mark.parametrize("chunks", [None, (5, 4), (1, 3), (14, 19)])
def test_maps_are_mended_in_one_pass_as_in_two(chunks, monkeypatch):
    monkeypatch.setattr("hs_deepatoms.spectra.rows.BATCH", 4 * N * 20)  # twenty spectra
    data, clean = scan_with_line()
    source = data if chunks is None else da.from_array(data, chunks=(*chunks, N))
    rows, out = SpectrumRows(source, None, RULE), np.zeros_like(data)
    for place, block in rows.first_blocks():
        out[place] = block
    np.testing.assert_array_less(np.abs(out - clean), 25)
    for again in (rows, SpectrumRows(source, None, RULE)):
        np.testing.assert_array_equal(again.read((slice(0, 14), slice(0, 99))), out)
        second = np.zeros_like(data)
        for place, block in again.blocks():
            second[place] = block
        np.testing.assert_array_equal(second, out)


def test_many_are_said_to_be():
    assert not many(Repairs(np.arange(10), np.arange(10), np.zeros(10)), 100, 50)
    assert "in one channel 12" in many(Repairs(np.arange(12), np.full(12, 3), np.zeros(12)), 400, 500)
    assert "60 of 50000 values" in many(Repairs(np.arange(60), np.arange(60), np.zeros(60)), 100, 500)
