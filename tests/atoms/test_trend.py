"""The trend under values that come in classes."""

import numpy as np

from hs_deepatoms.atoms.trend import fit_trend, polynomial
from tests.atoms.test_species import STRENGTH, lattice


def test_trend_does_not_eat_the_contrast():
    y, x, strength, kind, good = lattice(3, "smooth")
    trend = fit_trend(y, x, np.log(strength), use=good)
    rest = np.log(strength) - trend.values
    steps = [np.median(rest[kind == k]) - np.median(rest[kind == k + 1]) for k in range(2)]
    np.testing.assert_allclose(steps, -np.diff(np.log(STRENGTH[3])), atol=0.03)


def test_a_trend_alone_is_found_where_there_is_one():
    rng = np.random.default_rng(0)
    y, x = rng.random((2, 400))
    noise = 0.02 * rng.standard_normal(400)
    use = np.arange(400) % 10 > 0
    flat = fit_trend(y, x, noise, use=use)
    bent = fit_trend(y, x, 0.8 * (x - 0.5) ** 2 + 0.3 * y + noise, use=use)
    assert np.ptp(flat.values) < 0.03 and len(flat.centres) == len(bent.centres) == 1
    truth = 0.8 * (x - 0.5) ** 2 + 0.3 * y
    assert np.abs(bent.values - (truth - truth[use].mean())).max() < 0.03


def test_terms_of_a_polynomial():
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 7))
    assert polynomial(a, b, 0).shape == (7, 0) and polynomial(a, b, 2).shape == (7, 5)
    np.testing.assert_allclose(np.sort(polynomial(a, b, 1)[0]), np.sort([a[0], b[0]]))
