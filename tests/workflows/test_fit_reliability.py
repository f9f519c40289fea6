import numpy as np
import pytest
from numpy.testing import assert_array_equal

import hs_deepatoms
from hs_deepatoms.atoms.reliability import reliable
from hs_deepatoms.modelfile.registry import shipped_model
from hs_deepatoms.simulate.plain import simulate_lattice
from hs_deepatoms.workflows import fit_reliability
from hs_deepatoms.workflows.fit_reliability import KINDS, Judged, fit, judged, radius_of, right, with_knots

KNOTS = ([0.1, 0.45, 0.9], [0.2, 0.5, 0.8])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, knots in (("bare", None), ("mapped", KNOTS)):
        with_knots(shipped_model(), folder / f"{name}.safetensors", knots)
    return folder / "bare.safetensors", folder / "mapped.safetensors"


def test_which_columns_are_kept_does_not_change_but_what_is_said_of_them(models):
    image = simulate_lattice(np.random.default_rng(3), weakest=4.0, strongest=4.5).image
    bare, mapped = (hs_deepatoms.find_atoms(image, model=m, show_progressbar=False) for m in models)
    assert 20 < bare.sizes["atom"] == mapped.sizes["atom"]
    assert_array_equal(bare.y.values, mapped.y.values)
    np.testing.assert_allclose(mapped.probability, reliable(bare.probability.values, KNOTS), atol=1e-5)
    assert float(mapped.probability.min()) >= 0.5 - 1e-6 and float(bare.probability.min()) >= 0.45


def test_a_threshold_is_one_of_what_is_said(models):
    image = simulate_lattice(np.random.default_rng(3), weakest=4.0, strongest=4.5).image
    bare = hs_deepatoms.find_atoms(image, model=models[0], threshold=0.9, show_progressbar=False)
    mapped = hs_deepatoms.find_atoms(image, model=models[1], threshold=0.8, show_progressbar=False)
    assert_array_equal(bare.y.values, mapped.y.values)
    assert 0 < bare.sizes["atom"] and float(mapped.probability.min()) >= 0.8 - 1e-6


def test_every_detection_has_an_atom_of_its_own():
    y, x = np.array([10.0, 10.5, 30.0, 50.0]), np.array([10.0, 10.0, 30.0, 50.0])
    hit = right(y, x, np.array([0.5, 0.9, 0.8, 0.7]), np.array([10.2, 33.0]), np.array([10.0, 30.0]), 2.0)
    assert hit.tolist() == [False, True, False, False]
    assert radius_of(np.arange(3) * 10.0, np.zeros(3), 2.0) == pytest.approx(3.0)
    assert radius_of(np.zeros(1), np.zeros(1), 2.0) == 6.0
    assert not right(y, x, np.ones(4), np.empty(0), np.empty(0), 1.0).any()


def test_images_of_every_kind_are_functions_of_seed_and_number():
    for number, kind in enumerate(KINDS):
        one, again = (fit_reliability.simulated(np.random.default_rng([1, number]), kind, number) for _ in range(2))
        assert_array_equal(one[0], again[0])
        assert len(one[1]) == len(one[2]) and one[3] > 0
    part = judged(1, KINDS.index("lattice") + 3 * len(KINDS))
    assert part.kind == "lattice" and part.probability.shape == part.right.shape and len(part.right) > 10


def test_a_map_is_found_that_makes_them_true():
    rng = np.random.default_rng(0)
    parts = [Judged("any", p := rng.uniform(0.05, 0.99, 200), rng.random(200) < p**2) for _ in range(100)]
    said, true = fit(parts)
    assert said == list(fit_reliability.AT) and (np.diff(true) > 0).all()
    assert true[3] == pytest.approx(0.8 * 0.16 + 0.2 * 0.4, abs=0.04)  # believed to four fifths
