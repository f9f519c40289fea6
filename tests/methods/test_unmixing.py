"""Spectrum images in, components and abundances with all they had out."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError
from hs_deepatoms.simulate.edges import count_image, edge_spectra, phase_maps

NY, NX, CHANNELS = 22, 26, 90
ENERGY = 200.0 + 5 * np.arange(CHANNELS)
QUIET = {"show_progressbar": False}


def truth(seed=0):
    rng = np.random.default_rng(seed)
    maps, spectra = phase_maps((NY, NX), 3, rng), 100 * edge_spectra(3, 1.0, ENERGY)
    return count_image(maps, spectra, 1.0, rng), maps, spectra


def eels(data=None, *, lazy=False):
    s = hs.signals.Signal1D(truth()[0] if data is None else data)
    s.set_signal_type("EELS")
    s.metadata.General.title = "sample"
    s.set_microscope_parameters(beam_energy=200, convergence_angle=10, collection_angle=20)
    for axis, (name, scale, offset, units) in zip(
        s.axes_manager._axes[-3:],
        [("y", 0.5, 3, "nm"), ("x", 0.5, 7, "nm"), ("Energy loss", 5, 200, "eV")],
        strict=True,
    ):
        axis.name, axis.scale, axis.offset, axis.units = name, scale, offset, units
    return s.as_lazy() if lazy else s


@pytest.mark.parametrize("lazy", [False, True])
def test_components_are_spectra_and_abundances_maps(lazy, tmp_path):
    s = eels(lazy=lazy)
    tree = s.decompose_local(**QUIET)
    assert tree.attrs["method"] == "nfindr"
    for one in (tree, hs_deepatoms.load(tree.deepatoms.save(tmp_path / "cube.zarr"))):
        spectra, maps = one.deepatoms.components(), one.deepatoms.abundances()
        assert type(spectra).__name__ == "EELSSpectrum"
        assert spectra.axes_manager[-1].get_axis_dictionary() == s.axes_manager[-1].get_axis_dictionary()
        assert (
            spectra.metadata.Acquisition_instrument.as_dictionary() == s.metadata.Acquisition_instrument.as_dictionary()
        )
        assert spectra.metadata.General.title == "sample: components"
        assert maps.axes_manager.signal_shape == (NX, NY)
        assert [(a.name, a.scale, a.offset, a.units) for a in maps.axes_manager.signal_axes] == [
            ("x", 0.5, 7, "nm"), ("y", 0.5, 3, "nm")]  # fmt: skip
        assert maps.data.shape == (3, NY, NX)
    spectra.save(tmp_path / "components.hspy")
    assert type(hs.load(tmp_path / "components.hspy")).__name__ == "EELSSpectrum"
    assert "eigenvalues above the edge" in tree.attrs["n_components_reason"]


def test_netcdf_and_encoding_give_the_same_numbers(tmp_path):
    s = eels()
    for method in ("nmf", "bayes", "pca", "gmm", "kmeans"):  # bayes: the mean of the posterior, not its maximum
        tree = s.decompose_local(method=method, n_components=3, **QUIET)
        again = hs_deepatoms.load(tree.deepatoms.save(tmp_path / f"{method}.nc")).deepatoms.encode(s, **QUIET)
        own = tree.deepatoms.abundances()
        np.testing.assert_allclose(again.data, own.data, atol=1e-4 * np.abs(own.data).max())
        assert again.axes_manager.as_dictionary() == own.axes_manager.as_dictionary()


def test_known_spectra_give_their_abundances():
    data, maps, spectra = truth()
    tree = eels(data).decompose_local(endmembers=spectra, **QUIET)
    error = tree["abundances/abundances"].values - maps
    assert np.abs(error).max() < 0.2
    assert np.sqrt((error**2).mean()) < 1.2 * np.sqrt((tree["abundances/abundances_std"].values ** 2).mean())
    one_by_one = eels(data).decompose_local(endmembers=[eels(data).inav[0, 0], eels(data).inav[5, 9]], **QUIET)
    assert one_by_one["abundances/abundances"].sizes["component"] == 2
    single = eels(data).inav[3, 4].decompose_local(endmembers=spectra, **QUIET)
    assert single["abundances/abundances"].values == pytest.approx(maps[:, 4, 3], abs=0.2)


@pytest.mark.parametrize("method", ["vca", "bayes", "svd", "ica", "som", "dbscan", "hdbscan", "isomap"])
def test_every_method_draws(method):
    import matplotlib.pyplot as plt

    tree = eels().decompose_local(method=method, **QUIET)
    k = tree["components"].sizes["component"]
    figure = tree.deepatoms.plot()
    assert len([ax for ax in figure.axes if ax.images]) == min(8, k)
    plt.close(figure)
    plt.close(tree.deepatoms.plot_scree())
    assert tree.deepatoms.components().data.shape == (k, CHANNELS)
    assert np.isfinite(tree["abundances/abundances"].values).all()


def test_shares_of_a_pixel_and_the_model_of_the_cube():
    data, maps, spectra = truth()
    for method in ("nmf", "pca", "svd"):
        model = eels(data).decompose_local(method=method, **QUIET).deepatoms.reconstruct()
        assert type(model).__name__ == "LazyEELSSpectrum"
        assert model.metadata.General.title == "sample: model"
        mean = np.einsum("kyx,kc->yxc", maps, spectra)
        assert np.abs(model.data.compute() - mean).mean() < 0.35 * np.abs(data - mean).mean()
    with pytest.raises(InvalidArgumentError, match="add up"):
        eels(data).decompose_local(method="kmeans", **QUIET).deepatoms.reconstruct()


def test_masks_nan_and_dead_channels():
    data = truth()[0].copy()
    data[2, 3] = np.nan
    data[:, :, 40] = np.nan  # a dead channel
    mask = np.zeros((NY, NX), bool)
    mask[:, :5] = True
    window = np.zeros(CHANNELS, bool)
    window[:10] = True
    with pytest.warns(UserWarning, match="1 of 462 spectra have NaN"):
        tree = eels(data[:, ::-1]).decompose_local(navigation_mask=mask, signal_mask=window, **QUIET)
    lost = np.isnan(tree["abundances/abundances"].values).any(0)
    assert lost.sum() == NY * 5 + 1
    assert np.flatnonzero(np.isnan(tree["components/components"].values).any(0)).tolist() == [*range(10), 40]


def test_arrays_and_line_scans_and_non_uniform_axes():
    data = truth()[0]
    array = xr.DataArray(data, dims=("y", "x", "energy"), coords={"energy": ("energy", ENERGY, {"units": "eV"})})
    own = eels(data).decompose_local(**QUIET)
    for given in (array, data):
        tree = hs_deepatoms.decompose_local(given, signal_dims=-1 if given is data else "energy", **QUIET)
        np.testing.assert_allclose(tree["abundances/abundances"], own["abundances/abundances"], rtol=1e-6)
        assert isinstance(tree.deepatoms.components(), xr.DataArray)
    assert tree.deepatoms.to_signal(1).dims == ("nav_0", "nav_1")
    line = eels(data).inav[4]
    found = line.decompose_local(n_components=2, **QUIET)
    assert found.deepatoms.abundances().data.shape == (2, NY)
    found.deepatoms.plot()
    bent = eels(data)
    bent.axes_manager[-1].convert_to_non_uniform_axis()
    bent.axes_manager[-1].axis = ENERGY + 1e-3 * (ENERGY - 200) ** 2
    kept = bent.decompose_local(**QUIET).deepatoms.components().axes_manager[-1]
    np.testing.assert_array_equal(kept.axis, bent.axes_manager[-1].axis)
    with pytest.raises(InvalidAxesError, match="steps differ"):
        bent.vae(invariances=["shift"], steps=2, **QUIET)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "nonsense"}, "'nfindr'"),
        ({"n_components": 0}, "whole number"),
        ({"method": "gmm", "sum_to_one": True}, "abundances"),
        ({"smoothness": -1}, "smoothness"),
        ({"smoothness": "much"}, "smoothness='much'"),
        ({"spikes": "no"}, "spikes='no'"),
        ({"sum_to_one": 1}, "sum_to_one=1"),
        ({"poisson": "yes"}, "poisson"),
        ({"num_workers": 0}, "num_workers=0"),
        ({"descriptor": "fft"}, "descriptor"),
        ({"endmembers": np.ones((2, 7))}, "energies"),
        ({"endmembers": np.ones((2, CHANNELS))}, "mixture"),
        ({"endmembers": -np.ones((1, CHANNELS))}, "negative"),
        ({"navigation_mask": np.ones((NY, NX), bool)}, "masks everything"),
        ({"signal_mask": np.zeros(4, bool)}, "shape"),
        ({"navigation_mask": np.zeros((NY, NX))}, "bool"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(InvalidArgumentError, match=match):
        eels().decompose_local(**options, **QUIET)


def test_spectra_that_are_all_alike_are_one_component():
    for data in (np.full((NY, NX, CHANNELS), 7), np.ones((NY, NX, 1)) * np.linspace(1, 9, CHANNELS)):
        tree = eels(data).decompose_local(**QUIET)
        assert tree["components"].sizes["component"] == 1
        np.testing.assert_allclose(tree["abundances/abundances"], 1, rtol=1e-5)


def test_refusals_of_data():
    with pytest.raises(InvalidArgumentError, match="at least 2"):
        eels().inav[0, 0].decompose_local(**QUIET)
    with pytest.raises(InvalidArgumentError, match="finite"):
        eels(np.full((NY, NX, CHANNELS), np.nan)).decompose_local(**QUIET)
    with pytest.raises(InvalidImageError, match="real numbers"):
        hs_deepatoms.decompose_local(np.ones((4, 5, 9), complex), signal_dims=-1, **QUIET)
    with pytest.raises(InvalidArgumentError, match="mean is not above zero"):
        eels(-truth()[0]).decompose_local(poisson=True, **QUIET)
    for method in ("nmf", "nfindr", "vca", "bayes"):
        with pytest.raises(InvalidArgumentError, match="100 % have a sum below 0"):
            eels(truth()[0] - truth()[0].max()).decompose_local(method=method, n_components=2, **QUIET)
    with pytest.raises(InvalidArgumentError, match="without a window"):
        eels().decompose_local(edge="reflect", **QUIET)
    with pytest.raises(InvalidArgumentError, match="Got endmembers for patches"):
        hs.signals.Signal2D(np.ones((40, 44))).decompose_local(grid=4, window=8, endmembers=np.ones((2, 4)))
    moved = eels()
    moved.axes_manager[-1].offset = 210
    with pytest.raises(InvalidArgumentError, match="Interpolate"):
        eels().decompose_local(endmembers=moved.inav[0, 0], **QUIET)
    with pytest.raises(InvalidArgumentError, match="Interpolate"):
        eels().decompose_local(**QUIET).deepatoms.encode(moved, **QUIET)


def test_one_peak_hides_no_others_in_the_picture():
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    spectra = 0.2 + np.exp(-((np.arange(60) - np.array([[20], [40]])) ** 2) / 8)
    spectra[:, 3] = 50.0
    share = rng.random((8, 9, 1))
    cube = rng.poisson(40 * (share * spectra[0] + (1 - share) * spectra[1])).astype(float)
    figure = hs_deepatoms.decompose_local(hs.signals.Signal1D(cube), n_components=2, **QUIET).deepatoms.plot()
    assert "square-root" in figure.axes[0].get_ylabel()
    figure.canvas.draw()
    edge = figure.bbox.x1
    for ax in figure.axes:  # nothing is cut off, colour bars neither
        box = ax.get_tightbbox()
        assert box.x0 >= -1 and box.x1 <= edge + 1 and box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1
    plt.close(figure)
