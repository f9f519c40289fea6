"""Patches of a known function at known places."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from hs_deepatoms.patches import cut
from hs_deepatoms.patches.cut import Cutting, cut_patches
from hs_deepatoms.patches.normalise import normalise
from hs_deepatoms.patches.windows import cubic_taps, grid_nodes, whole_centres, windows_fit

SHAPE = (7, 10)


def smooth(f, y, x):
    return np.sin(0.3 * y + f) + np.cos(0.25 * x) + 0.1 * f


@pytest.fixture
def frames():
    f, y, x = np.meshgrid(np.arange(3), np.arange(40), np.arange(52), indexing="ij")
    return np.stack([smooth(f, y, x), -smooth(f, y, x)])


@pytest.fixture
def places():
    rng = np.random.default_rng(0)
    frame = np.sort(rng.integers(0, 3, 25))
    return frame, rng.uniform(5, 34, 25), rng.uniform(7, 44, 25)


def expected(places, shape=SHAPE):
    frame, y, x = (one[:, None, None] for one in places)
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in shape)
    return smooth(frame, y + rows[:, None], x + columns)


def test_subpixel_patches_are_centred(frames, places):
    patches = cut_patches(frames, *places, Cutting(SHAPE), lazy=False)
    assert patches.shape == (2, 25, *SHAPE)
    np.testing.assert_allclose(patches[0], expected(places), atol=2e-3)
    np.testing.assert_allclose(patches[1], -patches[0])


def test_integer_patches_are_copies(frames, places):
    patches = cut_patches(frames, *places, Cutting(SHAPE, "integer"), lazy=False)
    centre, across = whole_centres(places[1], 7), whole_centres(places[2], 10)
    assert np.abs(centre - places[1]).max() <= 0.5 and np.abs(across - places[2]).max() <= 0.5
    np.testing.assert_allclose(patches[0], expected((places[0], centre, across)), atol=1e-12)


@pytest.mark.parametrize("edge", ["drop", "reflect", "mask"])
@pytest.mark.parametrize("chunks", [(2, 1, 40, 52), (1, 2, 13, 17), (1, 3, 5, 52)])
def test_lazy_and_eager_are_the_same(frames, places, edge, chunks, monkeypatch):
    monkeypatch.setattr(cut, "CHUNK", 4 * 2 * 70 * 4)
    lazy = cut_patches(da.from_array(frames, chunks), *places, Cutting(SHAPE, edge=edge), lazy=True)
    assert len(lazy.chunks[1]) > 3
    np.testing.assert_array_equal(lazy.compute(), cut_patches(frames, *places, Cutting(SHAPE, edge=edge), lazy=False))


def test_few_frames_are_loaded_at_once(frames, places, monkeypatch):
    monkeypatch.setattr(cut, "LOADED", 1)
    lazy = cut_patches(da.from_array(frames), *places, Cutting(SHAPE), lazy=True)
    assert lazy.chunks[1] == tuple(np.bincount(places[0]))


def test_edges():
    image = np.arange(20.0).reshape(1, 1, 4, 5)
    corner = (np.array([0]), np.array([0.0]), np.array([4.0]))
    mirrored = cut_patches(image, *corner, Cutting((3, 3), "integer", "reflect"), lazy=False)[0, 0]
    np.testing.assert_array_equal(mirrored, np.pad(image[0, 0], 1, mode="reflect")[:3, 4:])
    masked = cut_patches(image, *corner, Cutting((3, 3), "subpixel", "mask"), lazy=False)[0, 0]
    np.testing.assert_array_equal(np.isnan(masked), [[1, 1, 1], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(masked[1:, :2], [[3, 4], [8, 9]])


def test_whole_positions_are_copied_by_the_interpolation():
    image = np.random.default_rng(0).random((1, 1, 9, 9))
    one = (np.array([0]), np.array([4.0]), np.array([4.0]))
    np.testing.assert_allclose(cut_patches(image, *one, Cutting((5, 5)), lazy=False)[0, 0], image[0, 0, 2:7, 2:7])


def test_taps_and_fit():
    taps = cubic_taps(np.linspace(0, 1, 5))
    np.testing.assert_allclose(taps.sum(1), 1)
    np.testing.assert_allclose(taps @ np.arange(-1, 3) ** 2, np.linspace(0, 1, 5) ** 2, atol=1e-12)
    assert windows_fit(np.array([0.9, 1.0, 8.0, 8.1]), 3, 10, centring="subpixel").tolist() == [0, 1, 1, 0]


def test_grid():
    np.testing.assert_allclose(grid_nodes(4, 20, 5, edge="drop"), [1.5, 6.5, 11.5, 16.5])
    np.testing.assert_allclose(grid_nodes(4, 7, 2, edge="reflect"), [0, 2, 4, 6])
    assert windows_fit(grid_nodes(5, 31, 4, edge="drop"), 5, 31, centring="integer").all()


@pytest.mark.parametrize("how", ["mean", "zscore", "minmax", "norm"])
def test_normalisation(how):
    patches = np.random.default_rng(0).random((2, 3, 4, 5)) + 2
    patches[0, 1, 2, 3] = np.nan
    patches[1, 2] = 7.0
    out = normalise(patches, how)
    assert np.isnan(out).sum() == 1 and np.isnan(out[0, 1, 2, 3])
    if how != "norm":
        assert (out[1, 2] == 0).all()
    checks = {"mean": (np.nanmean, 0), "zscore": (np.nanstd, 1), "minmax": (np.nanmax, 1)}
    measure, value = checks.get(how, (lambda one: np.sqrt(np.nansum(one**2)), 1))
    np.testing.assert_allclose([measure(one) for one in out[0]], value, atol=1e-12)
