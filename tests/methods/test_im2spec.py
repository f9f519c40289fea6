"""Spectra from images and images from spectra: against planted truth, labelled, saved, lazy, and with bad input."""

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
from hs_deepatoms.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError, TableError
from hs_deepatoms.simulate.spectrum_images import hysteresis_loops, planted_cube
from tests.methods.maps import calibrated, eels_of, image_of

matplotlib.use("Agg")
QUICK = {"show_progressbar": False, "window": 5, "steps": 100, "batch_size": 2, "folds": 1, "latent_dim": 5}
SHORT = {**QUICK, "steps": 8, "batch_size": 1}


@pytest.fixture(scope="module")
def cube():
    return planted_cube((72, 90), 40, endmembers=3, counts=(80, 300), link="pointwise", seed=2)


@pytest.fixture(scope="module")
def learned(cube):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return image_of(cube.image).im2spec(eels_of(cube.counts, cube.energy), **QUICK)


def test_beats_its_baselines_and_says_so(learned, cube):
    metrics = learned["metrics"].to_dataset()
    r2 = dict(zip(metrics["predictor"].values.tolist(), metrics["r2_noise_removed"].values, strict=True))
    assert set(r2) == {"model", "mean", "knn", "pca_ridge", "nmf_ridge"}
    assert r2["model"] > 0.8 and r2["model"] > max(r2["knn"], r2["pca_ridge"], r2["nmf_ridge"])
    assert metrics.attrs["beats_baselines"] == 1 and "beats every baseline" in metrics.attrs["verdict"]
    assert 0.6 < metrics["coverage"] < 0.76  # of few blocks
    assert metrics["r2_energy"].shape == (5, 40) and metrics["energy"].attrs["units"] == "eV"
    assert metrics["peak_error"].attrs["units"] == "eV"


def test_spectra_and_widths_against_the_truth(learned, cube):
    from hs_deepatoms.methods.pair_stored import stored_model
    from hs_deepatoms.methods.pair_use import mapped_outputs

    image = image_of(cube.image)
    test = learned["latent/part"].values == 2
    predicted = learned.deepatoms.predict(image)
    shapes = predicted.data / predicted.data.sum(-1, keepdims=True)
    mean = stored_model(learned).space.mean
    truth = cube.shapes[test]
    r2 = 1 - ((shapes[test] - truth) ** 2).sum() / ((truth - mean) ** 2).sum()
    assert r2 > 0.8
    stored = stored_model(learned)
    variance = stored.output.shape_variance(mapped_outputs(learned, image)[:, test])
    assert 0.5 < (np.abs(shapes[test] - truth) < np.sqrt(variance)).mean() < 0.85


def test_prediction_carries_everything_of_the_source(learned, cube, tmp_path):
    source = eels_of(cube.counts, cube.energy)
    predicted = learned.deepatoms.predict(image_of(cube.image))
    assert type(predicted).__name__ == "EELSSpectrum"
    path = tmp_path / "predicted.hspy"
    predicted.save(path)
    back = hs.load(path)
    for one in (predicted, back):
        tree = one.metadata.Acquisition_instrument.as_dictionary()
        assert tree == source.metadata.Acquisition_instrument.as_dictionary()
        for own, known in zip(one.axes_manager._axes, source.axes_manager._axes, strict=True):
            assert own.get_axis_dictionary() == known.get_axis_dictionary()
        assert one.metadata.deepatoms.predicted is True and "predicted" in one.metadata.General.title
        assert [entry["operation"] for entry in one.metadata.deepatoms.provenance] == ["im2spec", "predict"]
        assert one.get_noise_variance().data.shape == one.data.shape
    np.testing.assert_array_equal(back.data, predicted.data)
    std = learned.deepatoms.predict_std(image_of(cube.image))
    np.testing.assert_allclose(std.data**2, predicted.get_noise_variance().data, rtol=1e-4)
    assert (learned.deepatoms.predict_std(image_of(cube.image), kind="epistemic").data < std.data).all()


def test_exspy_works_on_a_prediction(learned, cube):
    predicted = learned.deepatoms.predict(image_of(cube.image)).inav[:4, :3]
    predicted.add_elements(["C"])
    removed = predicted.remove_background(signal_range=(250.0, 280.0), background_type="PowerLaw", fast=True,
                                          show_progressbar=False)  # fmt: skip
    assert type(removed).__name__ == "EELSSpectrum"
    model = predicted.create_model(auto_background=True, auto_add_edges=False)
    model.multifit(show_progressbar=False)
    assert np.isfinite(model.as_signal(show_progressbar=False).data).any()


@pytest.mark.parametrize("ending", ["zarr", "nc"])
def test_saved_and_loaded_predicts_the_same(learned, cube, tmp_path, ending):
    path = learned.deepatoms.save(tmp_path / f"model.{ending}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = hs_deepatoms.load(path)
    image = image_of(cube.image)
    np.testing.assert_array_equal(again.deepatoms.predict(image).data, learned.deepatoms.predict(image).data)
    assert again["metrics"]["predictor"].values.tolist() == learned["metrics"]["predictor"].values.tolist()
    along = again.deepatoms.decode_along(0, n=5)
    np.testing.assert_allclose(along["spectrum"], learned.deepatoms.decode_along(0, n=5)["spectrum"])


def test_lazy_gives_the_same_and_stays_lazy(cube, learned):
    lazy = eels_of(da.from_array(cube.counts, chunks=(20, 30, 17)), cube.energy)
    tree = image_of(cube.image).as_lazy().im2spec(lazy.as_lazy(), **QUICK)
    image = image_of(cube.image)
    first, second = tree.deepatoms.predict(image.as_lazy()), learned.deepatoms.predict(image)
    assert first._lazy and type(first).__name__ == "LazyEELSSpectrum"
    np.testing.assert_allclose(first.data.compute(), second.data, rtol=0.02, atol=2)
    assert not tree.deepatoms.predict(image.as_lazy(), lazy_output=False)._lazy


def test_latents_on_the_axes_of_the_image(learned, cube):
    latent = learned["latent"].to_dataset()
    assert latent["z"].dims == ("latent", "y", "x") and latent["y"].attrs["units"] == "nm"
    assert latent["x"].values[0] == pytest.approx(-2.0)
    z = latent["z"].values.reshape(5, -1)
    np.testing.assert_allclose(np.corrcoef(z), np.eye(5), atol=0.1)
    found = learned.deepatoms.latent_map(1)
    assert isinstance(found, hs.signals.Signal2D) and found.axes_manager["x"].scale == pytest.approx(0.1)
    np.testing.assert_array_equal(found.data, latent["z"].values[1])
    microscope = found.metadata.Acquisition_instrument.TEM
    assert microscope.beam_energy == 200 and found.metadata.General.title.startswith("latent 1 of ")
    assert found.metadata.Signal.signal_type == "" and "variance" not in found.metadata.Signal
    other = learned.deepatoms.latent_map(1, image_of(cube.image))
    np.testing.assert_allclose(other.data, found.data, atol=1e-4)
    along = learned.deepatoms.decode_along(0, n=7)
    change = [np.ptp(learned.deepatoms.decode_along(k, n=7)["spectrum"].values, 0).max() for k in range(5)]
    assert along["spectrum"].shape == (7, 40) and change[0] > change[-1]
    assert along["window"].dims == ("step", "channel", "window_y", "window_x")
    with pytest.raises(InvalidArgumentError, match="0 to 4"):
        learned.deepatoms.latent_map(9)


def test_pictures(learned, cube):
    for figure in (learned.deepatoms.plot(), learned.deepatoms.plot_scores(), learned.deepatoms.plot_along(0)):
        assert figure.axes or figure.subfigs
    plt.close("all")


def test_kind_of_the_image_decides_that_of_the_prediction(learned, cube):
    array = hs_deepatoms.to_xarray(image_of(cube.image))
    found = learned.deepatoms.predict(array)
    assert isinstance(found, xr.DataArray) and found.dims == ("y", "x", "Energy loss")
    assert found["std"].dims == found.dims and found["Energy loss"].attrs["units"] == "eV"
    np.testing.assert_allclose(found.values, learned.deepatoms.predict(image_of(cube.image)).data)
    stack = np.stack([cube.image, cube.image[::-1]])
    frames = hs.signals.Signal2D(stack)
    for place, name in ((1, "y"), (2, "x")):
        axis = frames.axes_manager._axes[place]
        axis.name, axis.units, axis.scale = name, "nm", 0.1
    movie = learned.deepatoms.predict(frames, std=False)
    assert movie.data.shape == (2, 72, 90, 40)
    np.testing.assert_allclose(movie.data[0], found.values, rtol=1e-4, atol=1e-2)


def test_arrays_and_data_arrays(cube):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare = hs_deepatoms.im2spec(cube.image, cube.counts, **SHORT)
        spectra = hs_deepatoms.to_xarray(eels_of(cube.counts, cube.energy))
        named = hs_deepatoms.to_xarray(image_of(cube.image)).deepatoms.im2spec(spectra, **SHORT)
    found = bare.deepatoms.predict(cube.image)
    assert found.dims == ("y", "x", "energy") and found.shape == cube.counts.shape
    predicted = named.deepatoms.predict(image_of(cube.image))
    assert type(predicted).__name__ == "EELSSpectrum" and predicted.axes_manager[-1].units == "eV"
    assert predicted.metadata.Acquisition_instrument.TEM.beam_energy == 200


def test_an_image_with_other_pixels_is_refused(learned, cube):
    with pytest.raises(InvalidArgumentError, match="those of the training"):
        learned.deepatoms.predict(image_of(cube.image, scale=0.2))


def test_survey_image_that_is_finer_and_larger(cube):
    """The spectra lie somewhere in an image with three times finer pixels; calibrations say where."""
    fine = np.kron(cube.image, np.ones((3, 3)))
    fine = np.pad(fine, ((9, 15), (6, 12)), mode="reflect")
    survey = image_of(fine, scale=0.1 / 3, offset=(3.0 - 0.1 / 3 * 10, -2.0 - 0.1 / 3 * 7))
    tree = survey.im2spec(eels_of(cube.counts, cube.energy), **{**QUICK, "window": 9, "steps": 20})
    assert float(tree["metrics"]["r2_noise_removed"].sel(predictor="model")) > 0.2
    predicted = tree.deepatoms.predict(survey)
    axes = predicted.axes_manager
    assert axes["x"].scale == pytest.approx(0.1) and predicted.data.shape[:2] == (80, 96)
    assert (axes["x"].offset + 2.0) % 0.1 == pytest.approx(0, abs=1e-6) or (axes["x"].offset + 2.0) % 0.1 > 0.0999
    region = hs.roi.RectangularROI(left=-2.0 - 0.1 / 3, top=3.0 - 0.1 / 3, right=-2.0 + 0.1 * 90 - 0.1 / 3,
                                   bottom=3.0 + 0.1 * 72 - 0.1 / 3)  # fmt: skip
    spectra = eels_of(cube.counts, cube.energy)
    for axis in spectra.axes_manager._axes[:2]:
        axis.units, axis.offset = "<undefined>", 0
    from hs_deepatoms.methods.pair_sources import read_pair

    by_units = read_pair(survey, eels_of(cube.counts, cube.energy), region=None, shift=None, operation="im2spec")
    by_region = read_pair(survey, spectra, region=region, shift=None, operation="im2spec")
    for first, second in zip(by_units.lines, by_region.lines, strict=True):
        assert first.first == pytest.approx(second.first, abs=1e-6) and first.pitch == pytest.approx(second.pitch)
    assert [line.first for line in by_region.lines] == pytest.approx([10, 7])


def test_shift_moves_the_spectra(cube):
    moved = np.roll(cube.image, (2, -3), (0, 1))
    few = {**QUICK, "steps": 60}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = image_of(moved).im2spec(eels_of(cube.counts, cube.energy), shift=(2, "-0.3 nm"), **few)
        wrong = image_of(moved).im2spec(eels_of(cube.counts, cube.energy), **few)
    found = [float(tree["metrics"]["r2_noise_removed"].sel(predictor="model")) for tree in (right, wrong)]
    assert found[0] > 0.6 and found[0] > found[1] + 0.1


def test_channels_masks_nan_and_spikes(cube):
    counts = cube.counts.astype(np.float32)
    counts[5:8, 5:9] = np.nan
    counts[30, 30, 20] += 40000
    mask = np.zeros((72, 90), bool)
    mask[:, :10] = True
    energies = np.zeros(40, bool)
    energies[:7] = True
    image = image_of(cube.image)
    with pytest.warns(UserWarning, match="12 spectra with NaN"):
        images = [image, image_of(cube.image**2)]
        tree = hs_deepatoms.im2spec(
            images, eels_of(counts, cube.energy), navigation_mask=mask, signal_mask=energies, **SHORT
        )
    assert tree["metrics"].attrs["data_nan"] == 12 and tree["metrics"].attrs["data_masked"] == 720
    assert tree["metrics"].attrs["data_spikes"] >= 1
    part = tree["latent/part"].values
    assert (part[:, :10] == -1).all() and (part[5:8, 5:9] == -1).all()
    both = calibrated(hs.signals.Signal2D(np.stack([cube.image, cube.image**2])))
    for place, name in ((1, "y"), (2, "x")):
        axis = both.axes_manager._axes[place]
        axis.name, axis.units, axis.scale = name, "nm", 0.1
    predicted = tree.deepatoms.predict(both)
    assert np.isnan(predicted.data[..., :7]).all() and np.isfinite(predicted.data[..., 7:]).all()
    with pytest.raises(InvalidAxesError, match="2 channels"):
        tree.deepatoms.predict(image)


def test_channels_that_are_nan_everywhere_are_left_out_and_elements_give_their_edges(cube):
    counts = cube.counts.astype(np.float32)
    counts[..., 3] = counts[..., 31] = np.nan
    spectra = eels_of(counts, cube.energy)
    spectra.add_elements(["Ti", "O", "H"])
    with pytest.warns(UserWarning, match="2 channels that are NaN in every spectrum") as seen:
        tree = image_of(cube.image).im2spec(spectra, **SHORT)
    assert not [one for one in seen if "iterations" in str(one.message)]  # no words of a library the user never called
    assert set(tree["metrics/edge"].values) == {"Ti_L3", "O_K"}
    assert tree["metrics"].attrs["data_nan"] == 0 and tree["metrics"].attrs["data_pixels"] == 72 * 90
    predicted = tree.deepatoms.predict(image_of(cube.image), std=False).data
    assert np.flatnonzero(np.isnan(predicted).any((0, 1))).tolist() == [3, 31]
    assert np.isfinite(np.delete(predicted, [3, 31], -1)).all()


def test_a_bare_array_has_the_pixels_of_the_training(learned, cube):
    for given in (cube.image, da.from_array(cube.image, chunks=(40, 90)), np.pad(cube.image, 7, mode="reflect")):
        found = learned.deepatoms.predict(given)
        assert isinstance(found, xr.DataArray) and found.dims == ("y", "x", "Energy loss")
        assert found["y"].attrs["units"] == "px" and found["Energy loss"].attrs["units"] == "eV"
        inner = found.values if given.shape == (72, 90) else found.values[7:-7, 7:-7]
        known = learned.deepatoms.predict(image_of(cube.image)).data
        np.testing.assert_allclose(inner[5:-5, 5:-5], known[5:-5, 5:-5], rtol=1e-3, atol=1e-2)


def test_a_shift_between_pixels_holds_for_other_images_too(cube):
    """What is interpolated for the training is interpolated for a prediction, on whatever grid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image_of(cube.image).im2spec(eels_of(cube.counts, cube.energy), shift=(0.04, "-0.03 nm"), **SHORT)
    own = tree.deepatoms.predict(image_of(cube.image), std=False)
    assert own.axes_manager["y"].offset == pytest.approx(3.04) and own.axes_manager["x"].offset == pytest.approx(-2.03)
    larger = image_of(np.pad(cube.image, ((3, 0), (4, 0)), mode="reflect"), offset=(2.7, -2.4))
    other = tree.deepatoms.predict(larger, std=False)
    assert other.axes_manager["x"].offset == pytest.approx(-2.43)
    np.testing.assert_allclose(other.data[8:, 9:], own.data[5:, 5:], rtol=1e-3, atol=1e-2)
    from hs_deepatoms.methods.pair_use import mapped_outputs

    held = mapped_outputs(tree, image_of(cube.image))
    known = tree["latent/z"].values
    np.testing.assert_allclose(tree.deepatoms.latent_map(0, image_of(cube.image)).data, known[0], atol=1e-3)
    assert held.shape[1:] == known.shape[1:]


def test_folds_hold_everything_out(cube):
    tree = image_of(cube.image).im2spec(eels_of(cube.counts, cube.energy), **{**SHORT, "folds": 3})
    assert (tree["latent/part"].values == 2).all() and tree["history"].sizes["member"] == 3
    assert tree["metrics"].attrs["data_folds"] == 3
    fold = tree["latent/fold"].values
    assert set(np.unique(fold)) == {0, 1, 2}
    ax = next(ax for ax in tree.deepatoms.plot().axes if ax.get_title() == "3 splits")
    drawn = np.asarray(ax.images[0].get_array())
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 3 and len(ax.get_legend().get_texts()) == 3
    plt.close("all")
    held = tree.deepatoms.held_out()
    assert np.isfinite(held.data).all() and (held.get_noise_variance().data > 0).all()
    assert np.abs(held.data - tree.deepatoms.predict(image_of(cube.image)).data).max() > 1  # not by all of them


def test_what_was_held_out_is_predicted_by_networks_that_have_not_seen_it(learned, cube, tmp_path):
    held = learned.deepatoms.held_out()
    test = learned["latent/part"].values == 2
    assert type(held).__name__ == "EELSSpectrum" and held.metadata.deepatoms.predicted is True
    assert held.metadata.General.title == "predicted (held out) from HAADF (core loss)"
    assert np.isnan(held.data[~test]).all()
    predicted = learned.deepatoms.predict(image_of(cube.image)).data  # of one split: the same network
    np.testing.assert_allclose(held.data[test], predicted[test], rtol=1e-4)
    for own, known in zip(held.axes_manager._axes, eels_of(cube.counts, cube.energy).axes_manager._axes, strict=True):
        assert own.get_axis_dictionary() == known.get_axis_dictionary()
    again = hs_deepatoms.load(learned.deepatoms.save(tmp_path / "model.zarr")).deepatoms.held_out(std=False)
    np.testing.assert_array_equal(again.data, held.data)
    held.save(tmp_path / "held.hspy")
    np.testing.assert_array_equal(hs.load(tmp_path / "held.hspy").data, held.data)


def test_spectra_of_chosen_pixels_are_drawn(learned, cube):
    lazy = eels_of(da.from_array(cube.counts, chunks=(20, 30, 17)), cube.energy).as_lazy()
    y, x = np.argwhere(learned["latent/part"].values == 2)[7]
    places = [(int(y), int(x)), (3.0 + 0.1 * y, -2.0 + 0.1 * x)]  # the same in pixels and in nm
    figure = learned.deepatoms.plot(pixels=places, spectra=lazy)
    first, second = (ax for ax in figure.axes if ax.get_title()[:2] in ("1:", "2:"))
    for ax in (first, second):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), cube.counts[y, x])
        np.testing.assert_allclose(ax.lines[1].get_ydata(), learned.deepatoms.held_out(std=False).data[y, x], rtol=1e-5)
    plt.close("all")
    trained = np.argwhere(learned["latent/part"].values == 0)[0].tolist()
    bad = {"0 to 71": [(72, 0)], "0 to 89": [(0, 900.0)], "pairs": [(1, 2, 3)], "which were trained on": [trained]}
    for words, pixels in bad.items():
        with pytest.raises(InvalidArgumentError, match=words):
            learned.deepatoms.plot(pixels=pixels, spectra=lazy)
    with pytest.raises(InvalidArgumentError, match="pixels alone"):
        learned.deepatoms.plot(pixels=places)
    for other in (lazy.inav[:-1], lazy.isig[:-1]):
        with pytest.raises(InvalidAxesError):
            learned.deepatoms.plot(pixels=places, spectra=other)


OTHERS = [
    {"target": "spectrum", "steps": 60, "batch_size": 4},
    {"variational": True, "members": 2},
    {"likelihood": "gaussian"},
    {"likelihood": "learned", "normalisation": "zlp"},
]


@pytest.mark.parametrize("options", OTHERS)
def test_other_models(cube, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        energy = cube.energy - cube.energy[0]  # as if the largest peak, the first, were the zero loss
        tree = image_of(cube.image).im2spec(eels_of(cube.counts, energy), **{**SHORT, "steps": 15, **options})
    predicted = tree.deepatoms.predict(image_of(cube.image))
    assert predicted.data.shape == cube.counts.shape and (predicted.data >= 0).all()
    assert np.isfinite(predicted.get_noise_variance().data).all()
    assert float(tree["metrics"]["r2_noise_removed"].sel(predictor="model")) > 0.1
    if options.get("target") == "spectrum":
        with pytest.raises(InvalidArgumentError, match="whole spectra are not kept"):
            tree.deepatoms.held_out()
    total = cube.totals.mean()
    assert predicted.data.sum(-1).mean() == pytest.approx(total, rel=0.1)


def test_spectra_that_are_no_counts():
    cube = hysteresis_loops((48, 52), 32, seed=1)
    signal = calibrated(hs.signals.Signal1D(cube.counts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image_of(cube.image).im2spec(signal, **{**QUICK, "steps": 60})
    assert tree["metrics"].attrs["data_likelihood"] == "gaussian"
    assert tree["metrics"].attrs["data_normalisation"] == "none"
    predicted = tree.deepatoms.predict(image_of(cube.image))
    assert predicted.data.min() < -0.3
    metrics = tree["metrics"].to_dataset()
    assert set(metrics["predictor"].values) == {"model", "mean", "knn", "pca_ridge", "nmf_ridge"}
    assert float(metrics["r2_noise_removed"].sel(predictor="nmf_ridge")) > 0.3  # above the lowest value of all


@pytest.mark.parametrize("target", ["scores", "spectrum"])
def test_spectra_that_are_not_below_zero_if_asked(target, tmp_path):
    cube = hysteresis_loops((30, 32), 24, seed=1)
    options = {**SHORT, "target": target}
    signal, image = calibrated(hs.signals.Signal1D(cube.counts + 0.4)), image_of(cube.image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trees = [image.im2spec(signal, non_negative=asked, **options) for asked in (None, True)]
    free, above = (tree.deepatoms.predict(image, std=False).data for tree in trees)
    assert free.min() < 0 and above.min() == 0
    np.testing.assert_allclose(above, np.maximum(free, 0), atol=1e-5)
    again = hs_deepatoms.load(trees[1].deepatoms.save(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(again.deepatoms.predict(image, std=False).data, above)
    with pytest.raises(InvalidArgumentError, match="non_negative='yes'"):
        image.im2spec(signal, non_negative="yes", **options)


def test_random_split_is_warned_of(cube):
    with pytest.warns(UserWarning, match="too good"):
        image_of(cube.image).im2spec(eels_of(cube.counts, cube.energy), split="random", **SHORT)


def test_a_model_that_is_no_better_says_so(cube):
    noise = image_of(np.random.default_rng(0).random(cube.image.shape))
    with pytest.warns(UserWarning, match="does not beat its baselines"):
        tree = noise.im2spec(eels_of(cube.counts, cube.energy), **SHORT)
    assert tree["metrics"].attrs["beats_baselines"] == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_an_image_that_has_nothing_to_do_with_the_spectra_predicts_the_mean_of_the_training(reverse):
    """Not that of all but the test: gaps and validation would be a hint that no baseline has."""
    cube = planted_cube((34, 40), 24, endmembers=3, counts=(80, 300), link="pointwise", seed=2)
    image = image_of(np.random.default_rng(5).normal(50.0, 7.0, cube.image.shape).astype(np.float32))
    spectra, options = eels_of(cube.counts, cube.energy), {**QUICK, "folds": 3, "steps": 12}
    with pytest.warns(UserWarning, match="does not beat its baselines"):
        tree = spectra.spec2im(image, **options) if reverse else image.im2spec(spectra, **options)
    metrics = tree["metrics"].to_dataset()
    assert not tree["metrics"].attrs["beats_baselines"]
    assert abs(float(metrics["r2"].sel(predictor="model"))) < 0.02
    assert abs(float(metrics["gain"])) < 0.05


def test_images_from_spectra(cube, tmp_path):
    spectra, image = eels_of(cube.counts, cube.energy), image_of(cube.image)
    tree = spectra.spec2im(image, window=3, steps=80, batch_size=2, folds=1, show_progressbar=False)
    metrics = tree["metrics"].to_dataset()
    assert float(metrics["r2"].sel(predictor="model")) > 0.6
    path = tree.deepatoms.save(tmp_path / "reverse.zarr")
    again = hs_deepatoms.load(path)
    predicted = again.deepatoms.predict(spectra)
    assert isinstance(predicted, hs.signals.Signal2D) and predicted.metadata.deepatoms.predicted is True
    assert predicted.axes_manager["x"].offset == -2.0
    lazy = again.deepatoms.predict(eels_of(da.from_array(cube.counts, chunks=(20, 30, -1)), cube.energy).as_lazy())
    np.testing.assert_allclose(lazy.data.compute(), predicted.data, rtol=1e-4, atol=1e-4)
    std = again.deepatoms.predict_std(spectra).data
    inside = (np.abs(predicted.data - cube.image) < std)[tree["latent/part"].values == 2].mean()
    assert 0.5 < inside < 0.85
    held, test = again.deepatoms.held_out(), tree["latent/part"].values == 2
    assert held.metadata.deepatoms.predicted is True and held.axes_manager["x"].offset == -2.0
    np.testing.assert_allclose(held.data[test], predicted.data[test], rtol=1e-4, atol=1e-4)
    widths = np.sqrt(held.get_noise_variance().data[test]) / std[test]  # by the other blocks alone
    assert 0.7 < widths.min() < widths.max() < 1.4
    assert np.isnan(held.data[~test]).all()
    np.testing.assert_allclose(tree["held_out/measured"].values[test], cube.image[test], rtol=1e-6)
    along = again.deepatoms.decode_along(0, n=5)
    assert along["image"].shape == (5, 1, 1, 1) and along["spectrum"].shape == (5, 40)
    assert np.ptp(along["image"].values) > 0.5 * cube.image.std() and along["energy"].attrs["units"] == "eV"
    middle = along["spectrum"].sel(step=0).values  # of usual spectra
    np.testing.assert_allclose(middle, cube.counts.mean((0, 1)), rtol=0.4)
    with pytest.raises(InvalidArgumentError, match="0 to 7"):
        again.deepatoms.decode_along(8)
    titles = [ax.get_title() for ax in tree.deepatoms.plot().axes]
    assert "measured, held out" in titles and "predicted, held out" in titles
    plt.close("all")
    with pytest.raises(InvalidAxesError, match="those of the training"):
        again.deepatoms.predict(spectra.isig[:20])
    spectra.axes_manager[-1].convert_to_units("keV")
    for same in (cube.counts, spectra):  # a bare array has the axis of the training; other units are the same energies
        np.testing.assert_array_equal(np.asarray(again.deepatoms.predict(same).data), predicted.data)


def test_whether_spikes_are_repaired_is_what_was_asked_at_the_training(cube, tmp_path):
    spoiled = cube.counts.copy()
    spoiled[20, 30, 15] += 20000
    clean, spiked = eels_of(cube.counts, cube.energy), eels_of(spoiled, cube.energy)
    for asked in (True, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = clean.spec2im(image_of(cube.image), spikes=asked, **{**SHORT, "window": 3})
        again = hs_deepatoms.load(tree.deepatoms.save(tmp_path / f"{asked}.zarr"))
        change = np.abs(again.deepatoms.predict(spiked).data - again.deepatoms.predict(clean).data)
        assert bool(change[18:23, 28:33].max() < 0.05) is asked


def test_finer_images_from_spectra(cube):
    fine = np.kron(cube.image, np.ones((2, 2))) + np.tile([[0.0, 0.2], [0.1, 0.3]], cube.image.shape)
    survey = image_of(fine, scale=0.05, offset=(3.0 - 0.025, -2.0 - 0.025))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = eels_of(cube.counts, cube.energy).spec2im(
            survey, steps=80, batch_size=2, folds=1, show_progressbar=False
        )
    predicted = tree.deepatoms.predict(eels_of(cube.counts, cube.energy))
    assert predicted.data.shape == fine.shape
    assert predicted.axes_manager["x"].scale == pytest.approx(0.05)
    assert predicted.axes_manager["x"].offset == pytest.approx(-2.025)
    along = tree.deepatoms.decode_along(0, n=3)["image"].values
    assert along.shape == (3, 1, 2, 2) and (along[:, 0, 1, 1] > along[:, 0, 0, 0]).all()
    held = tree.deepatoms.held_out()
    assert held.axes_manager["x"].get_axis_dictionary() == predicted.axes_manager["x"].get_axis_dictionary()
    test = np.kron(tree["latent/part"].values == 2, np.ones((2, 2))) > 0
    np.testing.assert_allclose(held.data[test], predicted.data[test], rtol=1e-4, atol=1e-4)
    assert predicted.data[1::2, 1::2].mean() - predicted.data[::2, ::2].mean() == pytest.approx(0.3, abs=0.12)


def bad_cases():
    rng = np.random.default_rng(0)
    image, counts = rng.random((20, 24)), rng.poisson(30, (20, 24, 12))
    far = image_of(image, offset=(500.0, 0.0))
    other = hs.signals.Signal1D(rng.poisson(30, (9, 13, 12)))
    energy = np.arange(12.0)
    return {
        "far away": (far, eels_of(counts, energy), {}, InvalidAxesError, "outside of the image"),
        "unknown relation": (hs.signals.Signal2D(image), other, {}, InvalidAxesError, "common calibration"),
        "one spectrum": (image_of(image), eels_of(counts, energy).inav[0, 0], {}, InvalidAxesError, "two: rows"),
        "a line": (image_of(image), eels_of(counts, energy).inav[:, 0], {}, InvalidAxesError, "two: rows"),
        "few": (image_of(image), eels_of(counts, energy).inav[:3, :3], {}, InvalidImageError, "at least 64"),
        "negative": (image_of(image), eels_of(counts - 40.0, energy), {"likelihood": "poisson"}, InvalidImageError,
                     "negative values"),
        "all NaN": (image_of(image), eels_of(counts * np.nan, energy), {}, InvalidImageError, "all NaN"),
        "complex": (image_of(image), eels_of(counts * 1j, energy), {}, InvalidImageError, "real numbers"),
        "wide window": (image_of(image), eels_of(counts, energy), {"window": 99}, InvalidArgumentError, "window=99"),
        "no room": (image_of(image), eels_of(counts, energy), {"window": 20}, InvalidArgumentError, "smaller window"),
        "flat image": (image_of(0 * image + 7), eels_of(counts, energy), {}, InvalidImageError, "is 7 everywhere"),
        "option": (image_of(image), eels_of(counts, energy), {"target": "all"}, InvalidArgumentError, "target='all'"),
        "mask": (image_of(image), eels_of(counts, energy), {"navigation_mask": np.zeros((3, 3), bool)},
                 InvalidArgumentError, "navigation_mask"),
        "names of edges": (image_of(image), eels_of(counts, energy), {"edges": ["Ti_L3"]}, InvalidArgumentError,
                           "names and onsets"),
        "many components": (image_of(image), eels_of(counts, energy), {"n_components": 13, "window": 3},
                            InvalidArgumentError, "at most 12"),
        "rate": (image_of(image), eels_of(counts, energy), {"learning_rate": "x"}, InvalidArgumentError, "above 0"),
        "no path": (image_of(image), eels_of(counts, energy), {"checkpoint": 5}, InvalidArgumentError,
                    "path of a file"),
        "number of an edge": (image_of(image), eels_of(counts, energy), {"edges": {5: 300.0}}, InvalidArgumentError,
                              "names and onsets"),
        "a flag": (image_of(image), eels_of(counts, energy), {"spikes": "no"}, InvalidArgumentError, "True or False"),
        "workers": (image_of(image), eels_of(counts, energy), {"num_workers": 0}, InvalidArgumentError,
                    "num_workers=0"),
        "no test": (image_of(image), eels_of(counts, energy), {"split": np.zeros((20, 24), bool), "window": 3},
                    InvalidArgumentError, "0 of 480 usable spectra in the test"),
        "all test": (image_of(image), eels_of(counts, energy), {"split": np.ones((20, 24), bool), "window": 3},
                     InvalidArgumentError, "480 of 480"),
        "no zero loss": (image_of(image), eels_of(counts, energy + 300), {"normalisation": "zlp"},
                         InvalidArgumentError, "from 300 to 311 eV"),
    }  # fmt: skip


@pytest.mark.parametrize("case", bad_cases())
def test_bad_input_has_a_named_error(case):
    image, spectra, options, error, words = bad_cases()[case]
    with pytest.raises(error, match=words):
        hs_deepatoms.im2spec(image, spectra, **{"show_progressbar": False, "steps": 3, **options})


@pytest.mark.parametrize(
    ("error", "words", "image"),
    [
        (InvalidImageError, "complex128 for predict", np.ones((9, 9), complex)),
        (InvalidImageError, r"shape \(0, 5\)", np.ones((0, 5))),
        (InvalidAxesError, "2 channels", [np.ones((9, 9))] * 2),
    ],
)
def test_what_no_spectra_are_predicted_from(learned, error, words, image):
    with pytest.raises(error, match=words):
        learned.deepatoms.predict(image)


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 1.5}, {"span": np.nan}, {"span": "a"}])
def test_steps_along_a_latent_that_are_none(learned, options):
    with pytest.raises(InvalidArgumentError, match=r"Got (n|span)="):
        learned.deepatoms.decode_along(0, **options)


@pytest.mark.parametrize("window", [0, 6, 1e9])
def test_a_window_of_spectra_that_does_not_fit_is_refused(window):
    rng = np.random.default_rng(0)
    spectra = eels_of(rng.poisson(30, (20, 24, 12)), np.arange(12.0))
    with pytest.raises(InvalidArgumentError, match="1 to 5, a quarter of the map"):
        spectra.spec2im(image_of(rng.random((20, 24))), window=window)


def test_windows_with_holes_of_the_image_are_counted():
    rng = np.random.default_rng(0)
    image = rng.random((20, 24))
    image[5, 7] = np.nan
    with pytest.warns(UserWarning, match="9 spectra are left out, in whose windows the image has NaN"):
        tree = image_of(image).im2spec(eels_of(rng.poisson(30, (20, 24, 12)), np.arange(12.0)), **SHORT | {"window": 3})
    assert (tree["latent/part"].values[4:7, 6:9] == -1).all()


def test_spectra_that_are_all_alike_and_as_many_components_as_channels():
    image, counts = np.random.default_rng(0).random((20, 24)), np.full((20, 24, 6), 7)
    options = {**SHORT, "window": 3, "n_components": 6, "edges": {"far": 1e6}}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(UserWarning, match="edges far are not scored"):
            tree = image_of(image).im2spec(eels_of(counts, np.arange(6.0)), **options)
    assert float(tree["metrics/gain"]) == 0 and tree["metrics"].attrs["beats_baselines"] == 0
    np.testing.assert_allclose(tree.deepatoms.predict(image_of(image)).data, 7, rtol=0.05)


def test_an_axis_without_even_steps_is_kept(cube):
    energy = np.sort(np.random.default_rng(0).uniform(100, 900, 40))
    signal = hs.signals.Signal1D(cube.counts, axes=[
        {"size": 72, "name": "y", "units": "nm", "scale": 0.1, "offset": 3.0, "navigate": True},
        {"size": 90, "name": "x", "units": "nm", "scale": 0.1, "offset": -2.0, "navigate": True},
        {"axis": energy, "name": "Energy loss", "units": "eV", "navigate": False}])  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image_of(cube.image).im2spec(signal, **SHORT)
    predicted = tree.deepatoms.predict(image_of(cube.image))
    np.testing.assert_array_equal(predicted.axes_manager[-1].axis, energy)


def test_fewer_spectra_than_channels():
    small = planted_cube((16, 20), 400, endmembers=3, counts=(80, 300), link="pointwise", seed=2)
    image, spectra = image_of(small.image), eels_of(small.counts, small.energy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = image.im2spec(spectra, **{**SHORT, "window": 3, "folds": 4})
        back = spectra.spec2im(image, **{**SHORT, "window": 3})
    assert tree["metrics"].attrs["data_components"] == 2
    assert tree["metrics"].attrs["data_gain"] == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(tree.deepatoms.predict(image).data.mean((0, 1)), small.counts.mean((0, 1)), rtol=0.2)
    assert back.deepatoms.predict(spectra).data.shape == (16, 20)


def test_pixels_in_other_units_are_refused(learned, cube):
    with pytest.raises(InvalidArgumentError, match=r"pixels of 1 px along y\. Allowed: those of the training, 0\.1 nm"):
        learned.deepatoms.predict(hs.signals.Signal2D(cube.image))


def test_loading_something_else_is_refused(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(TableError):
        hs_deepatoms.load(tmp_path / "a.zarr")


def test_axes_that_run_against_each_other_are_refused(cube):
    image = image_of(cube.image)
    image.axes_manager.signal_axes[0].scale *= -1
    with pytest.raises(InvalidAxesError, match="opposite directions"):
        image.im2spec(eels_of(cube.counts, cube.energy), **QUICK)
