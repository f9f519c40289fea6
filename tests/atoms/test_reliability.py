import numpy as np
import pytest

from hs_deepatoms.atoms.reliability import ROWS, fitted_knots, raw, reliable, reliable_rows

KNOTS = ([0.05, 0.3, 0.6, 0.95], [0.1, 0.2, 0.7, 0.9])


def test_the_map_rises_meets_its_knots_and_has_an_inverse():
    p = np.linspace(0.001, 0.999, 999)
    said = reliable(p, KNOTS)
    assert (np.diff(said) > 0).all() and said.min() > 0 and said.max() < 1
    np.testing.assert_allclose(reliable(KNOTS[0], KNOTS), KNOTS[1])
    np.testing.assert_allclose(raw(said, KNOTS), p, atol=1e-9)
    odds = np.log(said / (1 - said)) - np.log(p / (1 - p))
    np.testing.assert_allclose(odds[p > 0.95], odds[-1], atol=1e-9)  # beyond the last knot as there
    assert float(raw(0.5, None)) == pytest.approx(0.5)


def test_rows_are_worked_on_in_pieces():
    p = np.random.default_rng(0).random(ROWS + 7).astype(np.float32)
    rows = reliable_rows(p, KNOTS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, reliable(p, KNOTS), atol=1e-6)
    np.testing.assert_array_equal(reliable_rows(p, None), p)


def test_knots_are_found_from_what_came_true():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.02, 0.98, 60_000)
    right = rng.random(len(p)) < reliable(p, KNOTS)
    at = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
    found = fitted_knots(p, right, np.ones(len(p)), at)
    np.testing.assert_allclose(found[1], reliable(at, KNOTS), atol=0.03)
    # probabilities that hold stay
    same = fitted_knots(p, rng.random(len(p)) < p, np.ones(len(p)), at)
    np.testing.assert_allclose(same[1], at, atol=0.02)


def test_a_map_that_would_fall_is_flat_instead():
    p = np.repeat([0.2, 0.4, 0.8], 4000)
    right = np.concatenate([np.arange(4000) < n for n in (2000, 1200, 3000)])
    found = fitted_knots(p, right, np.ones(len(p)), (0.2, 0.4, 0.8))
    assert (np.diff(found[1]) > 0).all() and found[1][1] - found[1][0] < 0.02
    assert found[1][:2] == pytest.approx([0.4, 0.4], abs=0.03) and found[1][2] == pytest.approx(0.75, abs=0.02)
