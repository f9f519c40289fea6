"""Ensembles: trained for seconds, compared with the truth."""

import warnings

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import torch

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, ModelFileError
from hs_deepatoms.modelfile.files import read_info
from tests.methods.conftest import f1_inside, lattice_image
from tests.workflows.conftest import SMALL, training_set
from tests.workflows.test_segmenter import FEW, QUIET, Mine, crystal

PLAIN = hs_deepatoms.Augmentation()


@pytest.fixture(scope="module")
def trained(taught_ensemble):
    return taught_ensemble


@pytest.fixture(scope="module")
def image():
    return crystal(9, (150, 130))


def test_atoms_know_how_far_members_agree(trained, image):
    pixels, y, x = image
    s = hs.signals.Signal2D(pixels)
    for axis in s.axes_manager.signal_axes:
        axis.scale, axis.units = 0.02, "nm"
    atoms = s.find_atoms(model=trained, **QUIET)
    assert f1_inside(atoms, y, x, pixels.shape, 5, 8) > 0.97
    assert atoms.agreement.values.max() == 1 and np.median(atoms.agreement) == 1
    assert atoms.y_spread.attrs["units"] == "nm" and 0 < np.nanmedian(atoms.y_spread) < 0.02
    px = atoms.deepatoms.to_units("px")
    np.testing.assert_allclose(px.y_spread, atoms.y_spread / 0.02)
    rough = trained.find_atoms(pixels, refine="none", **QUIET)
    assert {"agreement", "y_spread", "x_spread"} <= set(rough.variables) and rough.sizes["atom"] > 50
    assert trained.scores["iou"] > 0.6 and trained.history.sizes["training"] == 4
    assert "out_of_distribution" in atoms.attrs["provenance"]
    empty = trained.find_atoms(np.zeros((2, 64, 64)) + np.arange(2)[:, None, None], **QUIET)
    assert empty.sizes["atom"] == 0 and "agreement" in empty


def test_maps_are_means_and_variances_of_the_members(trained, image):
    pixels = image[0]
    own = []
    for net in trained.net.nets:
        one = hs_deepatoms.Segmenter(["column"], net=net)
        one.pixel_nm = trained.pixel_nm
        own.append(one.predict(pixels, **QUIET).values)
    mean = trained.predict(pixels, **QUIET)
    np.testing.assert_allclose(mean.values, np.mean(own, 0), atol=1e-4)
    parts = trained.uncertainty(pixels, **QUIET)
    assert parts.dims == ("variance", "y", "x")
    np.testing.assert_allclose(parts.sel(variance="epistemic"), np.var(own, 0), atol=1e-4)
    np.testing.assert_allclose(parts[0], parts[1] + parts[2], atol=1e-6)
    lazy = trained.uncertainty(da.from_array(pixels, chunks=(60, 130)), **QUIET)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy.values, parts.values, atol=1e-4)


def test_saved_and_loaded_is_the_same(trained, image, tmp_path):
    path = trained.save(tmp_path / "three.safetensors", licence="MIT")
    again = hs_deepatoms.load(path)
    assert type(again) is hs_deepatoms.Ensemble and again.members == 3 and again.method == "baseline"
    np.testing.assert_array_equal(again.predict(image[0], **QUIET).values, trained.predict(image[0], **QUIET).values)
    assert float(again.ood_score(image[0])) == float(trained.ood_score(image[0]))
    by_path = hs_deepatoms.find_atoms(image[0], model=path, **QUIET)
    assert "agreement" in by_path and read_info(path)["preprocessing"]["kind"] == "ensemble"
    with pytest.raises(ModelFileError, match="kind 'ensemble'"):
        from hs_deepatoms.workflows.segmenter import load_segmenter

        load_segmenter(path)


def test_unlike_images_are_announced(trained):
    like = np.stack([crystal(k)[0] for k in range(20, 26)])
    noisy = np.stack([lattice_image((96, 104), seed=k, angle=0.3 + k, counts=3.0)[0] for k in range(20, 26)])
    known, unknown = trained.ood_score(like), trained.ood_score(noisy)
    assert known.dims == ("axis_0",) or known.ndim == 1
    assert unknown.values.min() > known.values.max() and np.median(known) < 1 < np.median(unknown)
    with pytest.warns(UserWarning, match="out-of-distribution score"):
        trained.find_atoms(noisy[0], **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trained.find_atoms(like[int(known.values.argmin())], **QUIET)
    assert np.isnan(trained.ood_score(np.zeros((64, 64))))


@pytest.mark.parametrize("method", ["scratch", "swag"])
def test_other_ways_to_members(method, image, tmp_path):
    images, tables = training_set(2)
    made = []
    for _ in range(2):
        ensemble = hs_deepatoms.Ensemble(members=2, method=method, net_options={"filters": 2, "depth": 1})
        state = torch.get_rng_state()
        made.append(ensemble.fit(images, tables, augmentation=None, **{**FEW, "steps": 8}))
        assert torch.equal(torch.get_rng_state(), state)
    maps = made[0].predict(image[0], **QUIET).values
    np.testing.assert_array_equal(maps, made[1].predict(image[0], **QUIET).values)
    one, two = (list(net.parameters()) for net in made[0].net.nets)
    assert not torch.equal(one[0], two[0])
    made[0].fit(images, tables, augmentation=None, **FEW)
    assert not np.array_equal(made[0].predict(image[0], **QUIET).values, maps)


def test_two_classes(image, tmp_path):
    pixels, y, x = image
    table = hs_deepatoms.positions(y, x, signal=pixels, columns={"species": np.where(np.arange(len(y)) % 2, "A", "B")})
    ensemble = hs_deepatoms.Ensemble(["A", "B"], members=2, net_options={"filters": 2, "depth": 1})
    ensemble.fit(pixels, table, augmentation=None, **FEW)
    assert ensemble.uncertainty(pixels, **QUIET).dims == ("variance", "class", "y", "x")
    maps = ensemble.predict(pixels, **QUIET)
    assert maps.dims == ("class", "y", "x")
    again = hs_deepatoms.load(ensemble.save(tmp_path / "two.safetensors"))
    np.testing.assert_array_equal(again.predict(pixels, **QUIET).values, maps.values)
    assert "species" in ensemble.find_atoms(pixels, threshold=0.2, refine="none", **QUIET)


def test_a_users_module(image, tmp_path):
    images, tables = training_set(1)
    ensemble = hs_deepatoms.Ensemble(net=Mine(), members=2).fit(images, tables, augmentation=None, **FEW)
    path = ensemble.save(tmp_path / "mine.safetensors")
    with pytest.raises(ModelFileError, match="Mine"):
        hs_deepatoms.load(path)
    again = hs_deepatoms.load(path, net=Mine())
    np.testing.assert_array_equal(again.predict(image[0], **QUIET).values, ensemble.predict(image[0], **QUIET).values)


def test_what_does_not_fit_is_named(image):
    for wrong in (1, 0, True, 2.5):
        with pytest.raises(InvalidArgumentError, match="members="):
            hs_deepatoms.Ensemble(members=wrong)
    with pytest.raises(InvalidArgumentError, match="method"):
        hs_deepatoms.Ensemble(method="bagging")
    fresh = hs_deepatoms.Ensemble(members=2, net_options=SMALL)
    with pytest.raises(InvalidArgumentError, match="not trained"):
        fresh.ood_score(image[0])
    with pytest.raises(InvalidArgumentError, match="checkpoint"):
        fresh.fit(image[0], np.zeros(image[0].shape, int), checkpoint="run.safetensors", **FEW)


def test_what_fails_after_the_training_leaves_the_ensemble(monkeypatch):
    from hs_deepatoms.nets.members import Members
    from hs_deepatoms.workflows import novelty

    images, tables = training_set(2)
    ensemble = hs_deepatoms.Ensemble(["column"], members=2, net_options={"filters": 4, "depth": 1})
    ensemble.fit(images, tables, augmentation=PLAIN, **FEW)
    before = (ensemble.net, ensemble.history, ensemble.scores, ensemble.training, ensemble.familiarity)
    back, cpu = [], Members.cpu

    class Full(RuntimeError):
        pass

    def fails(*args):
        raise Full("out of memory")

    monkeypatch.setattr(novelty, "learned_familiarity", fails)
    monkeypatch.setattr(Members, "cpu", lambda self: back.append(self) or cpu(self))
    with pytest.raises(Full):
        ensemble.fit(images, tables, augmentation=PLAIN, **FEW)
    after = (ensemble.net, ensemble.history, ensemble.scores, ensemble.training, ensemble.familiarity)
    assert all(one is two for one, two in zip(before, after, strict=True))
    assert len(back) == 1 and back[0] is not ensemble.net  # the new one is off the device all the same


def test_the_seed_comes_back_from_the_file(tmp_path):
    for make in (hs_deepatoms.Segmenter, hs_deepatoms.Ensemble):
        model = make(net_options={"filters": 2, "depth": 1}, seed=7)
        assert hs_deepatoms.load(model.save(tmp_path / f"{make.__name__}.safetensors")).seed == 7
