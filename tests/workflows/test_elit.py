"""Adaptation without labels: what it gains, and when it stops."""

import copy

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.workflows.elit import _objection
from tests.methods.conftest import f1_inside, lattice_image

QUIET = {"show_progressbar": False}
KNOWN, UNSEEN = {"sigma": 2.0, "counts": 100.0}, {"sigma": 4.2, "counts": 4.0}


def crystal(k, **how):
    return lattice_image((96, 96), spacing=13.0, seed=k, angle=0.3 + k, heights=(1.0, 0.6), **how)


@pytest.fixture(scope="module")
def trained():
    parts = [crystal(k, **KNOWN) for k in range(4)]
    ensemble = hs_deepatoms.Ensemble(members=2, net_options={"filters": 6, "depth": 2})
    tables = [hs_deepatoms.positions(y, x, signal=image) for image, y, x in parts]
    return ensemble.fit([image for image, _, _ in parts], tables, steps=40, batch_size=4, window=48, radius=3,
                        learning_rate=5e-3, augmentation=hs_deepatoms.Augmentation(), **QUIET)  # fmt: skip


@pytest.mark.filterwarnings("ignore:These images are unlike")
def test_it_gets_better_where_conditions_changed(trained):
    image, y, x = crystal(30, **UNSEEN)
    before = {name: value.clone() for name, value in trained.net.state_dict().items()}
    s = hs.signals.Signal2D(image.astype(np.uint16))
    adapted, report = s.elit(model=trained, rounds=2, steps=25, batch_size=4, **QUIET)
    assert all((before[name] == value).all() for name, value in trained.net.state_dict().items())
    kept = report.attrs["kept_round"]
    assert kept > 0 and report.held_out_gain[kept] > 0 and report.attrs["noise"] == "counts"
    was, now = (f1_inside(m.find_atoms(image, refine="none", **QUIET), y, x, image.shape, 5, 8)
                for m in (trained, adapted))  # fmt: skip
    assert now > was
    assert float(adapted.ood_score(image)) < 0.5 * float(trained.ood_score(image))
    assert adapted.training["elit"]["kept_round"] == kept


@pytest.mark.filterwarnings("ignore:These images are unlike")
def test_a_round_that_harms_is_undone(trained, monkeypatch):
    image = crystal(31, **KNOWN)[0]
    fit = hs_deepatoms.Ensemble.fit
    # what was to be an atom is said to be background
    monkeypatch.setattr(hs_deepatoms.Ensemble, "fit", lambda self, s, labels, **o: fit(self, s, labels * 0, **o))
    adapted, report = hs_deepatoms.elit(image, model=trained, rounds=3, steps=15, batch_size=4, learning_rate=1e-2,
                                        **QUIET)  # fmt: skip
    assert report.attrs["kept_round"] == 0 and not report.kept[-1] and report.sizes["round"] == 2
    assert report.attrs["stopped"] != "all 3 rounds were done"
    np.testing.assert_array_equal(adapted.predict(image, **QUIET).values, trained.predict(image, **QUIET).values)


def test_filled_vacancies_are_objected_to():
    before = {"held_out_gain": 10.0}
    good = {"held_out_gain": 20.0, "added": 10, "added_evidence": 5.0}
    assert _objection(good, before) == ""
    assert "fell" in _objection({**good, "held_out_gain": 9.0}, before)
    assert "not to be seen" in _objection({**good, "added_evidence": 0.3}, before)
    assert _objection({**good, "added": 1, "added_evidence": 0.3}, before) == ""


def test_what_does_not_fit_is_named(trained, tmp_path):
    image = crystal(32, **KNOWN)[0]
    for wrong in (None, hs_deepatoms.Segmenter(net_options={"filters": 2, "depth": 1}),
                  hs_deepatoms.Ensemble(members=2, net_options={"filters": 2, "depth": 1})):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match="Ensemble"):
            hs_deepatoms.elit(image, model=wrong)
    for name, value in (("rounds", 0), ("share", 1.0), ("confident", 0.0), ("steps", -1)):
        with pytest.raises(InvalidArgumentError, match=name):
            hs_deepatoms.elit(image, model=trained, **{name: value})
    with pytest.raises(InvalidArgumentError, match="no atom is sure"):
        hs_deepatoms.elit(np.random.default_rng(0).poisson(3.0, (96, 96)), model=trained, confident=0.999, **QUIET)


def test_what_is_not_known_speaks_against_a_round():
    good = {"held_out_gain": 20.0, "added": 10, "added_evidence": 5.0}
    assert _objection({**good, "held_out_gain": float("nan")}, {"held_out_gain": 10.0})
    assert _objection({**good, "added_evidence": float("nan")}, {"held_out_gain": 10.0})
    assert _objection(good, {"held_out_gain": float("nan")})


@pytest.mark.filterwarnings("ignore:These images are unlike")
def test_lost_pixels_do_not_switch_the_guards_off(trained, monkeypatch):
    image = crystal(31, **KNOWN)[0]
    image[40:42], image[5, 5] = np.nan, np.nan
    fit = hs_deepatoms.Ensemble.fit
    monkeypatch.setattr(hs_deepatoms.Ensemble, "fit", lambda self, s, labels, **o: fit(self, s, labels * 0, **o))
    _, report = hs_deepatoms.elit(image, model=trained, rounds=3, steps=15, batch_size=4, learning_rate=1e-2, **QUIET)
    assert report.attrs["kept_round"] == 0 and report.sizes["round"] == 2 and report.attrs["noise"] == "counts"
    assert np.isfinite(report.held_out_gain).all() and float(report.held_out_gain[1]) < 0


@pytest.mark.filterwarnings("ignore:These images are unlike")
def test_the_radius_is_that_of_the_signals_pixels(trained, monkeypatch):
    from hs_deepatoms.workflows import elit, findings

    model, asked, look = copy.deepcopy(trained), [], findings.look
    model.pixel_nm, model.training = 0.02, {**model.training, "radius_px": 3.0}
    monkeypatch.setattr(elit, "_objection", lambda *figures: "")
    monkeypatch.setattr(findings, "look", lambda *args: asked.append(args[3]) or look(*args))
    signal = hs.signals.Signal2D(crystal(33, **KNOWN)[0])
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = 0.01, "nm"
    adapted, _ = hs_deepatoms.elit(signal, model=model, rounds=1, steps=2, batch_size=2, confident=0.5, **QUIET)
    assert asked == pytest.approx([6.0, 6.0]) and adapted.training["radius_px"] == pytest.approx(6.0)
    assert adapted.pixel_nm == pytest.approx(0.01)
