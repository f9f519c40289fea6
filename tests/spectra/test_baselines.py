import numpy as np

from hs_deepatoms.spectra.baselines import fit_regressions


def test_the_unit_of_a_channel_does_not_change_a_baseline():
    """An image of large numbers that says nothing beside one of small numbers that says all."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 26, 31)).astype(np.float32)
    target = (2 * image[1, 1:-1, 1:-1] + 0.1 * rng.normal(size=(24, 29))).astype(np.float32)[None]
    train = np.zeros((24, 29), bool)
    train[:, :18] = True
    look, wanted = ~train, ~train
    errors = []
    for unit in (1.0, 1e4):
        scaled = image * np.array([unit, 1.0], np.float32)[:, None, None]
        found = fit_regressions(scaled, 3, 1, target, train, look, np.ones(1), wanted, np.random.default_rng(1))
        errors.append([float(((found[name] - target)[:, wanted] ** 2).mean()) for name in ("knn", "ridge")])
    np.testing.assert_allclose(errors[0], errors[1], rtol=0.02)
    assert errors[0][1] < 0.1
