"""Cosmic rays go, phases with sharp lines and single photons stay; what is negative is said to be."""

from __future__ import annotations

import json
import warnings

import hyperspy.api as hs
import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.simulate.spectrum_images import planted_cube
from hs_deepatoms.spectra.search import OFTEN

QUIET = {"show_progressbar": False}
CHANNEL = np.arange(200)


def x_rays(data, *, lazy=False):
    s = hs.signals.Signal1D(data)
    s.set_signal_type("EDS_TEM")
    if lazy:
        s = s.as_lazy()
        s.data = s.data.rechunk((11, 17, 64))
    return s


def repaired(tree):
    return json.loads(tree.attrs["provenance"])[-1]["parameters"]["spikes"]


def precipitate(shape, size, height, width, rng):
    """Counts, the spectra of both phases, and where the second is."""
    background = 3 * np.exp(-CHANNEL / 80) + 2 + 25 * np.exp(-0.5 * ((CHANNEL - 60) / 2.5) ** 2)
    line = sum(share * height * np.exp(-0.5 * ((CHANNEL - at) / width) ** 2) for at, share in ((130, 1), (160, 0.5)))
    here = slice(shape[0] // 2 + 3, shape[0] // 2 + 3 + size), slice(shape[1] // 2 + 5, shape[1] // 2 + 5 + size)
    expected = np.broadcast_to(background, (*shape, 200)).copy()
    expected[here] += line
    return rng.poisson(expected).astype(np.uint16), np.array([background, line]), here


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("shape", "size", "height", "width"), [
    ((128, 100), 12, 60, 0.7), ((128, 130), 7, 60, 1.0), ((128, 130), 5, 300, 0.8), ((128, 130), 2, 300, 1.0)
])  # fmt: skip
def test_a_precipitate_with_sharp_lines_is_not_erased_and_cosmic_rays_are(shape, size, height, width, lazy):
    rng = np.random.default_rng(1)
    data, spectra, here = precipitate(shape, size, height, width, rng)
    place = rng.permutation(shape[0] * shape[1])[: shape[0] * shape[1] // 100]
    channel = rng.integers(0, 200, len(place))
    data[np.unravel_index(place, shape)[0], np.unravel_index(place, shape)[1], channel] += 1500
    tree = x_rays(data, lazy=lazy).decompose_local(endmembers=spectra, **QUIET)
    found = tree["abundances/abundances"].values
    assert found[1][here].mean() == pytest.approx(1, abs=0.05)
    elsewhere = np.ones(shape, bool)
    elsewhere[here] = False
    # a spike of 1500 on the line would make it 5 and more; two that touch in one channel stay
    assert (found[1][elsewhere] > 0.3).sum() <= 1
    assert 0.95 * len(place) <= repaired(tree) <= len(place)


def test_single_photons_stay_and_cosmic_rays_among_them_go():
    """As in the X-rays of a real map: a few counts in a thousand channels, a trace element of 0.01 of them a pixel."""
    rng = np.random.default_rng(0)
    main, trace = (a * np.exp(-0.5 * ((CHANNEL - at) / 4) ** 2) for a, at in ((0.5, 50), (0.003, 140)))
    data = rng.poisson(np.broadcast_to(main + trace + 1e-4, (84, 77, 200))).astype(np.uint16)
    line = data[..., 125:156].sum()
    place = rng.permutation(84 * 77)[:60]
    channel = rng.integers(0, 200, 60)
    spoiled = data.copy()
    spoiled[place // 77, place % 77, channel] += 50
    for counts, spikes in ((data, 0), (spoiled, 60)):
        tree = x_rays(counts).decompose_local(endmembers=np.array([main + 1e-4, trace + 1e-9]), **QUIET)
        assert repaired(tree) == spikes
        assert tree["components/mean"].values[125:156].sum() * 84 * 77 == pytest.approx(line, abs=5)


def test_zeros_around_a_scan_do_not_hide_spikes():
    """Rims of an aligned scan and channels that were cut: most values are 0, the others no single counts."""
    rng = np.random.default_rng(0)
    bright = 1 + 0.5 * np.linspace(0, 1, 34)[:, None] * np.sin(CHANNEL / 20)
    data = rng.poisson(300 * np.linspace(2, 1, 200) * np.broadcast_to(bright, (40, 34, 200))).astype(float)
    data[:18] = 0
    data[..., :30] = 0
    at = 25 + np.arange(10), 3 * np.arange(10) + 2, 40 + 10 * np.arange(10)
    data[at] += 9000
    tree = x_rays(data).decompose_local(method="nfindr", n_components=2, **QUIET)
    assert repaired(tree) == 10
    assert np.nanmax(tree["abundances/misfit"]) < 10


@pytest.mark.parametrize("change", [-100.0, np.nan])
def test_spectra_that_are_no_counts_are_encoded_as_they_were(change):
    rng = np.random.default_rng(1)
    data = rng.poisson(30 + 20 * rng.random((20, 21, 1)) * np.linspace(0, 1, 60)).astype(float)
    tree = x_rays(data).decompose_local(method="pca", n_components=2, **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = tree.deepatoms.encode(x_rays(data + change), **QUIET).data
    assert found.shape == (2, 20, 21) and np.isfinite(found).all() == np.isfinite(change)


def test_a_map_of_few_photons_is_unmixed():
    """More than half of the spectra without a count."""
    rng, expected = np.random.default_rng(2), np.zeros((40, 42, 100))
    expected[:, :, 20:30] += 0.05
    expected[:, 20:, 60:70] += 0.02
    tree = x_rays(rng.poisson(expected).astype(float)).decompose_local(n_components=2, **QUIET)
    assert np.isfinite(tree["abundances"].to_dataset().to_array().values).any()


def test_many_spikes_are_said_to_be_many():
    rng = np.random.default_rng(0)
    data = rng.poisson(20, (60, 61, 200)).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        x_rays(data).decompose_local(n_components=1, **QUIET)
    place, channel = rng.permutation(3660)[:1200], rng.integers(0, 200, 1200)  # one pixel in three
    data[place // 61, place % 61, channel] += 4000
    with pytest.warns(UserWarning, match="were taken for spikes of cosmic rays"):
        tree = x_rays(data).decompose_local(n_components=1, **QUIET)
    assert repaired(tree) > OFTEN * data.size


@pytest.mark.parametrize("method", ["nfindr", "nmf", "svd", "pca", "ica", "kmeans", "gmm"])
def test_encoding_repairs_what_the_decomposition_does(method):
    cube = planted_cube((27, 32), 90, endmembers=3, counts=(40, 160), link="pointwise", steepness=6.0, seed=22)
    rng = np.random.default_rng(8)
    place, channel = rng.permutation(27 * 32)[:30], rng.integers(10, 80, 30)
    data = cube.counts.astype(np.int32)
    data[place // 32, place % 32, channel] += 20000
    tree = hs.signals.Signal1D(data).decompose_local(method=method, n_components=3, **QUIET)
    own = tree.deepatoms.abundances().data
    np.testing.assert_allclose(tree.deepatoms.encode(hs.signals.Signal1D(data), **QUIET).data, own,
                               atol=1e-4 * np.abs(own).max())  # fmt: skip
    plain = hs.signals.Signal1D(data).decompose_local(method="pca", n_components=3, spikes=False, **QUIET)
    own = plain.deepatoms.abundances().data
    np.testing.assert_allclose(plain.deepatoms.encode(hs.signals.Signal1D(data), **QUIET).data, own,
                               atol=1e-4 * np.abs(own).max())  # fmt: skip


def test_spectra_whose_mean_was_taken_away_are_refused_or_warned_of():
    cube = planted_cube((27, 32), 90, endmembers=3, counts=(40, 160), link="pointwise", steepness=6.0, seed=22)
    data = cube.counts.astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        for taken in (data.mean((0, 1)), data.mean(-1, keepdims=True)):
            for method in ("nfindr", "vca", "nmf", "bayes"):
                with pytest.raises(InvalidArgumentError, match=r"mean is not above zero \([0-9]+ % have a sum below 0"):
                    hs.signals.Signal1D(data - taken).decompose_local(method=method, **QUIET)
            hs.signals.Signal1D(data - taken).decompose_local(method="pca", **QUIET)
    with pytest.warns(UserWarning, match="sums below zero by more than their noise"):
        hs.signals.Signal1D(data - 0.7 * data.mean((0, 1))).decompose_local(**QUIET)


@pytest.mark.parametrize("method", ["dbscan", "tsne"])
def test_methods_without_scores_of_new_spectra_say_so(method):
    s = hs.signals.Signal1D(np.random.default_rng(0).poisson(30, (9, 11, 40)))
    with pytest.raises(InvalidArgumentError, match="new data for") as caught:
        s.decompose_local(method=method, **QUIET).deepatoms.encode(s, **QUIET)
    assert "patches" not in str(caught.value)


def test_the_model_of_a_plain_signal_has_its_axes():
    s = hs.signals.Signal1D(np.random.default_rng(0).poisson(30, (8, 9, 40)))
    s.axes_manager[-1].is_binned = True
    model = s.decompose_local(n_components=2, **QUIET).deepatoms.reconstruct()
    assert model.axes_manager.signal_shape == (40,)
    assert model.axes_manager.navigation_shape == (9, 8)
    assert model.axes_manager[-1].is_binned
