"""Several spectra of every place by one network: against planted truth, labelled, saved, lazy, and with bad input."""

from __future__ import annotations

import warnings

import dask.array as da
import hyperspy.api as hs
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError
from hs_deepatoms.simulate.spectrum_images import planted_cube
from tests.methods.maps import calibrated, eels_of, image_of

matplotlib.use("Agg")
QUICK = {"show_progressbar": False, "window": 5, "steps": 100, "batch_size": 2, "folds": 1, "latent_dim": 5}
SHORT = {**QUICK, "steps": 8, "batch_size": 1}
X_RAYS = 23  # channels


@pytest.fixture(scope="module")
def cube():
    return planted_cube((72, 90), 40, endmembers=3, counts=(80, 300), link="pointwise", seed=2)


@pytest.fixture(scope="module")
def lines(cube):
    """Shares (ny, nx, n) of the X-rays, of the same composition, and their counts."""
    channel, peaks = np.arange(X_RAYS), np.array([[5, 14], [9, 17], [12, 20]])
    shapes = np.exp(-0.5 * ((channel - peaks[..., None]) / 1.2) ** 2).sum(1) + 0.05
    shapes = np.tensordot(cube.abundances, shapes / shapes.sum(1, keepdims=True), ((0,), (0,)))
    return shapes, np.random.default_rng(7).poisson(shapes * cube.totals[..., None] * 0.05)


def eds_of(counts, lazy=False, scale=0.2):
    signal = calibrated(hs.signals.Signal1D(counts))
    axis = signal.axes_manager[-1]
    axis.name, axis.units, axis.offset, axis.scale = "Energy", "keV", 0.1, scale
    signal.set_signal_type("EDS_TEM")
    signal.metadata.General.title = "X-rays"
    detector = {"azimuth_angle": 12.5, "energy_resolution_MnKa": 130.0}
    signal.metadata.add_dictionary({"Acquisition_instrument": {"TEM": {"Detector": {"EDS": detector}}}})
    return signal.as_lazy() if lazy else signal


@pytest.fixture(scope="module")
def pair(cube, lines):
    return [eels_of(cube.counts, cube.energy), eds_of(lines[1])]


@pytest.fixture(scope="module")
def learned(cube, pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return image_of(cube.image).im2spec(pair, **{**QUICK, "folds": 3})


def test_every_spectrum_beats_its_own_baselines(learned):
    metrics = learned["metrics"].to_dataset()
    assert metrics["title"].values.tolist() == ["core loss", "X-rays"]
    assert metrics["r2_noise_removed"].dims == ("spectrum", "predictor")
    r2 = metrics["r2_noise_removed"].to_pandas()
    assert (r2["model"] > 0.9).all() and (r2["model"] > r2[["knn", "pca_ridge", "nmf_ridge"]].max(axis=1)).all()
    assert metrics.attrs["beats_baselines"] == 1
    for line, title in zip(metrics.attrs["verdict"].split("\n"), ("core loss", "X-rays"), strict=True):
        assert f"({title}): The model beats every baseline" in line
    for number, (n, units) in enumerate(((40, "eV"), (X_RAYS, "keV"))):
        own = learned[f"spectrum_{number}/metrics"].to_dataset()
        assert own["r2_energy"].shape == (5, n) and own["energy"].attrs["units"] == units
        np.testing.assert_array_equal(own["r2"], metrics["r2"][number])
    assert learned["latent/z"].dims == ("latent", "y", "x") and learned["latent/error"].dims == ("spectrum", "y", "x")


def test_spectra_against_the_truth_and_as_sure_as_they_say(learned, cube, lines):
    test = learned["latent/part"].values == 2
    for predicted, shapes in zip(learned.deepatoms.predict(image_of(cube.image)), (cube.shapes, lines[0]), strict=True):
        found, truth = predicted.data[test] / predicted.data[test].sum(-1, keepdims=True), shapes[test]
        assert 1 - ((found - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum() > 0.9
    for signal, counts in zip(learned.deepatoms.held_out(), (cube.counts, lines[1]), strict=True):
        away = (signal.data[test] - counts[test]) / np.sqrt(signal.get_noise_variance().data[test])
        assert 0.55 < (np.abs(away) < 1).mean() < 0.85 and np.isnan(signal.data[~test]).all()


def test_each_has_the_axes_and_metadata_of_its_own(learned, cube, pair, tmp_path):
    found = learned.deepatoms.predict(image_of(cube.image))
    assert [type(one).__name__ for one in found] == ["EELSSpectrum", "EDSTEMSpectrum"]
    for number, (predicted, source) in enumerate(zip(found, pair, strict=True)):
        predicted.save(tmp_path / f"{number}.hspy")
        for one in (predicted, hs.load(tmp_path / f"{number}.hspy")):
            tree = one.metadata.Acquisition_instrument.as_dictionary()
            assert tree == source.metadata.Acquisition_instrument.as_dictionary()
            for own, known in zip(one.axes_manager._axes, source.axes_manager._axes, strict=True):
                assert own.get_axis_dictionary() == known.get_axis_dictionary()
            assert one.metadata.deepatoms.predicted is True
            assert one.metadata.General.title == f"predicted from HAADF ({source.metadata.General.title})"
            np.testing.assert_array_equal(one.data, predicted.data)
    stds = learned.deepatoms.predict_std(image_of(cube.image))
    sure = learned.deepatoms.predict_std(image_of(cube.image), kind="epistemic")
    for predicted, std, less in zip(found, stds, sure, strict=True):
        np.testing.assert_allclose(std.data**2, predicted.get_noise_variance().data, rtol=1e-4)
        assert (less.data <= std.data).all() and less.data.mean() < std.data.mean()


@pytest.mark.parametrize("ending", ["zarr", "nc"])
def test_saved_and_loaded_predicts_the_same(learned, cube, tmp_path, ending):
    again = hs_deepatoms.load(learned.deepatoms.save(tmp_path / f"both.{ending}"))
    image = image_of(cube.image)
    for first, second in zip(again.deepatoms.predict(image), learned.deepatoms.predict(image), strict=True):
        np.testing.assert_array_equal(first.data, second.data)
    one = again.deepatoms.of("X-rays")
    alone = hs_deepatoms.load(one.deepatoms.save(tmp_path / f"one.{ending}"))
    for tree in (one, alone):
        np.testing.assert_array_equal(tree.deepatoms.predict(image).data, learned.deepatoms.predict(image)[1].data)
        assert tree["latent/error"].dims == ("y", "x") and tree.deepatoms.latent_map(0).data.shape == (72, 90)


def test_lazy_gives_the_same_and_stays_lazy(learned, cube, lines):
    spectra = [eels_of(da.from_array(cube.counts, chunks=(20, 30, 17)), cube.energy).as_lazy(),
               eds_of(da.from_array(lines[1], chunks=(36, 25, -1))).as_lazy()]  # fmt: skip
    tree = image_of(cube.image).as_lazy().im2spec(spectra, **{**QUICK, "folds": 3})
    image = image_of(cube.image)
    lazy, eager = tree.deepatoms.predict(image.as_lazy()), tree.deepatoms.predict(image)
    assert [type(one).__name__ for one in lazy] == ["LazyEELSSpectrum", "LazyEDSTEMSpectrum"]
    for first, second, other in zip(lazy, eager, learned.deepatoms.predict(image), strict=True):
        np.testing.assert_allclose(first.data.compute(), second.data, rtol=1e-5)
        np.testing.assert_allclose(first.get_noise_variance().data.compute(), second.get_noise_variance().data,
                                   rtol=1e-4)  # fmt: skip
        np.testing.assert_allclose(second.data, other.data, rtol=0.02, atol=2)


def test_along_latents_pictures_and_one_of_them(learned, pair):
    along = learned.deepatoms.decode_along(0, n=7)
    assert [one["spectrum"].shape for one in along] == [(7, 40), (7, X_RAYS)]
    np.testing.assert_array_equal(along[0]["window"], along[1]["window"])
    assert all(np.ptp(one["spectrum"].values, 0).max() > 0.1 * one["spectrum"].values.max() for one in along)
    second = learned.deepatoms.of(1)
    xr.testing.assert_equal(second.deepatoms.decode_along(0, n=7), along[1])
    places = np.argwhere(learned["latent/part"].values == 2)[[3, 40]].tolist()
    figures = learned.deepatoms.plot(pixels=places, spectra=pair)
    labels = [figure.axes[0].get_xlabel() for figure in figures]
    assert labels == ["Energy loss (eV)", "Energy (keV)"]
    assert [figure.get_suptitle() for figure in figures] == ["core loss", "X-rays"]
    drawn = figures[1].axes[1].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, pair[1].data[tuple(places[1])])
    for made in (learned.deepatoms.plot(), learned.deepatoms.plot_scores(), learned.deepatoms.plot_along(1)):
        assert len(made) == 2
    plt.close("all")
    for which in (2, -1, "EDS", True):
        with pytest.raises(InvalidArgumentError, match="0 to 1, or a title"):
            learned.deepatoms.of(which)
    with pytest.raises(InvalidArgumentError, match="a list of 2"):
        learned.deepatoms.plot(pixels=places, spectra=pair[:1])


def test_whole_spectra_of_each(cube, pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = hs_deepatoms.im2spec(image_of(cube.image), pair, target="spectrum", **SHORT)
    image = image_of(cube.image)
    found = tree.deepatoms.predict(image)
    for predicted, source in zip(found, pair, strict=True):
        assert predicted.data.shape == source.data.shape and np.isfinite(predicted.data).all()
        mean = source.data.mean((0, 1))
        np.testing.assert_allclose(predicted.data.mean((0, 1)), mean, atol=0.25 * mean.max())
    lazy = tree.deepatoms.predict(image.as_lazy())
    np.testing.assert_allclose(lazy[1].data.compute(), found[1].data, rtol=1e-4)


def test_options_of_each_and_places_without_one_of_the_spectra(cube, lines, pair):
    counts = lines[1].astype(np.float32)
    counts[5:8, 5:9] = np.nan
    masks = [np.arange(40) < 7, np.arange(X_RAYS) > 20]
    with pytest.warns(UserWarning, match=r"12 spectra with NaN are left out \(spectrum_1, X-rays\)") as seen:
        tree = image_of(cube.image).im2spec(
            [pair[0], eds_of(counts)],
            signal_mask=masks,
            n_components=[3, 2],
            edges=[{"O_K": 532.0}, None],
            likelihood=["learned", "auto"],
            **SHORT,
        )
    assert not [one for one in seen if "not scored" in str(one.message)]
    assert (tree["latent/part"].values[5:8, 5:9] == -1).all()
    metrics = [tree[f"spectrum_{k}/metrics"] for k in range(2)]
    assert [one.attrs["data_components"] for one in metrics] == [3, 2]
    assert [one.attrs["data_pixels"] for one in metrics] == [72 * 90 - 12] * 2
    assert metrics[0]["edge"].values.tolist() == ["O_K"] and "edge" not in metrics[1]
    found = tree.deepatoms.predict(image_of(cube.image), std=False)
    for one, mask in zip(found, masks, strict=True):
        np.testing.assert_array_equal(np.isnan(one.data).all((0, 1)), mask)
    said = found[1].metadata.deepatoms.provenance[0]["parameters"]
    assert said["n_components"] == 2 and said["likelihood"] == "poisson"


@pytest.mark.parametrize("options", [{"variational": True}, {"target": "spectrum"}])
def test_counts_beside_loops_that_are_none(cube, pair, options):
    """A spectrum with a total and one without: amplitude and phase, or counts and a current."""
    bias = np.tanh(np.linspace(-3, 3, 31) - cube.abundances[0][..., None])
    bias += np.random.default_rng(0).normal(0, 0.05, bias.shape)
    loops = calibrated(hs.signals.Signal1D(bias))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image_of(cube.image).im2spec([loops, pair[0]], **{**SHORT, "steps": 40, **options})
    kinds = [tree[f"spectrum_{k}/metrics"].attrs for k in range(2)]
    assert [one["data_normalisation"] for one in kinds] == ["none", "area"]
    assert [one["data_likelihood"] for one in kinds] == ["gaussian", "poisson"]
    first, second = tree.deepatoms.predict(image_of(cube.image))
    test = tree["latent/part"].values == 2
    error, around = ((first.data - bias)[test] ** 2).sum(), ((bias - bias.mean((0, 1)))[test] ** 2).sum()
    assert 1 - error / around > 0.3
    np.testing.assert_allclose(second.data[test].mean(0), cube.counts[test].mean(0), rtol=0.35)
    assert first.data.min() < -0.5 and second.data.min() >= 0
    std = np.sqrt(first.get_noise_variance().data[test])
    assert 0.55 < (np.abs(first.data[test] - bias[test]) < std).mean() < 0.85


def test_a_list_of_one_is_a_list(cube, pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image_of(cube.image).im2spec(pair[:1], **SHORT)
        plain = image_of(cube.image).im2spec(pair[0], **SHORT)
    (found,) = tree.deepatoms.predict(image_of(cube.image))
    np.testing.assert_array_equal(found.data, plain.deepatoms.predict(image_of(cube.image)).data)
    assert tree["metrics"].sizes["spectrum"] == 1
    title = plain.attrs["spectra"]
    assert plain.deepatoms.of(0) is plain and plain.deepatoms.of(title) is plain
    with pytest.raises(InvalidArgumentError, match="of a single spectrum"):
        plain.deepatoms.of(1)


def test_arrays_and_data_arrays(cube, lines, pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare = hs_deepatoms.im2spec(cube.image, [cube.counts, lines[1]], **SHORT)
        named = hs_deepatoms.im2spec(hs_deepatoms.to_xarray(image_of(cube.image)),
                                     [hs_deepatoms.to_xarray(one) for one in pair], **SHORT)  # fmt: skip
    assert [one.shape for one in bare.deepatoms.predict(cube.image)] == [(72, 90, 40), (72, 90, X_RAYS)]
    found = named.deepatoms.predict(image_of(cube.image))
    assert [one.axes_manager[-1].units for one in found] == ["eV", "keV"]


def test_an_image_from_several_spectra(cube, pair, tmp_path):
    image, options = image_of(cube.image), {**QUICK, "window": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = hs_deepatoms.spec2im(pair, image, **options)
        first = pair[0].spec2im(image, **options)
    r2 = [float(one["metrics/r2"].sel(predictor="model")) for one in (tree, first)]
    assert r2[0] > 0.6 and r2[0] > r2[1] - 0.1
    again = hs_deepatoms.load(tree.deepatoms.save(tmp_path / "reverse.zarr"))
    predicted = again.deepatoms.predict(pair)
    assert predicted.metadata.General.title == "predicted image from core loss + X-rays (HAADF)"
    held, test = again.deepatoms.held_out(), tree["latent/part"].values == 2
    np.testing.assert_allclose(held.data[test], predicted.data[test], rtol=1e-4, atol=1e-4)
    lazy = again.deepatoms.predict([one.as_lazy() for one in pair])
    np.testing.assert_allclose(lazy.data.compute(), predicted.data, rtol=1e-4, atol=1e-4)
    along = again.deepatoms.decode_along(0, n=5)
    assert along["spectrum_0"].shape == (5, 40) and along["spectrum_1"].shape == (5, X_RAYS)
    spoiled = pair[1].deepcopy()
    spoiled.change_dtype("float32")
    spoiled.data[4, 6] = np.nan
    assert np.isnan(again.deepatoms.predict([pair[0], spoiled]).data[4, 6])
    assert again.deepatoms.latent_map(0).metadata.General.title == "latent 0 of core loss + X-rays"
    for given in (pair[0], pair[:1], [*pair, pair[0]]):
        with pytest.raises(InvalidArgumentError, match="a list of 2"):
            again.deepatoms.predict(given)
    with pytest.raises(InvalidAxesError, match="those of the training"):
        again.deepatoms.predict(pair[::-1])


def bad_cases():
    rng = np.random.default_rng(0)
    image, counts, energy = rng.random((20, 24)), rng.poisson(30, (20, 24, 12)), np.arange(12.0)
    eels = eels_of(counts, energy)
    moved, coarse, turned = (eels.deepcopy() for _ in range(3))
    moved.axes_manager._axes[1].offset += 0.3
    coarse.axes_manager._axes[0].scale *= 1.5
    turned.axes_manager._axes[0].scale *= -1
    other = hs.signals.Signal1D(counts[:19])
    stack = hs.signals.Signal1D(np.stack([counts, counts]))
    return {
        "empty": ([], {}, InvalidArgumentError, "an empty list of spectra"),
        "moved": ([eels, moved], {}, InvalidAxesError, "spectrum_1 with 24 pixels along x from -1.7 to 0.6 nm"),
        "coarse": ([eels, coarse], {}, InvalidAxesError, "spectra of one scan, on one grid"),
        "turned": ([eels, turned], {}, InvalidAxesError, "opposite directions"),
        "other size": ([eels, other], {}, InvalidAxesError, "spectrum_1 with 19 pixels along"),
        "an image": ([eels, image_of(image)], {}, InvalidImageError, "2 signal dimensions"),
        "one is NaN": ([eels, eels_of(counts * np.nan, energy)], {}, InvalidImageError, r"\(spectrum_1, core loss\)"),
        "a single spectrum": ([eels, eels.inav[0, 0]], {}, InvalidAxesError, "im2spec, spectrum_1"),
        "segments": (stack, {}, InvalidAxesError, r"\[eels.inav\[:, :, k\] for k in range\(2\)\]"),
        "segments in a list": ([eels, stack], {}, InvalidAxesError, "as a list"),
        "options": ([eels, eels], {"likelihood": ["auto"]}, InvalidArgumentError, "likelihood with 1 values for 2"),
        "an option": ([eels, eels], {"normalisation": ["auto", "sum"]}, InvalidArgumentError, "normalisation='sum'"),
        "negative": ([eels, eels_of(counts - 40.0, energy)], {"likelihood": "poisson"}, InvalidImageError,
                     r"\(spectrum_1, core loss\) and likelihood"),
        "mask": ([eels, eels_of(counts[..., :10], energy[:10])], {"signal_mask": np.arange(12) < 3},
                 InvalidArgumentError, r"signal_mask of shape \(12,\)"),
    }  # fmt: skip


@pytest.mark.parametrize("case", bad_cases())
def test_bad_input_has_a_named_error(case):
    spectra, options, error, words = bad_cases()[case]
    image = image_of(np.random.default_rng(0).random((20, 24)))
    with pytest.raises(error, match=words):
        hs_deepatoms.im2spec(image, spectra, **{"show_progressbar": False, "steps": 3, "window": 3, **options})


def test_spectra_without_units_are_of_the_scan_of_the_same_size(cube, lines, pair):
    bare = hs.signals.Signal1D(lines[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image_of(cube.image).im2spec([bare, pair[0]], **SHORT)
    first, second = tree.deepatoms.predict(image_of(cube.image))
    assert first.axes_manager["x"].units == "nm" and second.data.shape == (72, 90, 40)
    assert tree.deepatoms.held_out()[0].axes_manager["x"].units == tree["latent/x"].attrs["units"] == "nm"
