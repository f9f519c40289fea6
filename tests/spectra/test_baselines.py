import numpy as np

from hs_deepatoms.spectra.baselines import fit_regressions, non_negative_kept


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


def test_shares_without_negative_ones_keep_the_sum_of_their_spectra():
    rng = np.random.default_rng(0)
    basis = rng.random((3, 17)).astype(np.float32)
    shares = rng.normal(0.4, 0.3, (3, 5, 7)).astype(np.float32)
    shares[:, 0, 0] = 0  # not wanted
    shares[:, 1, 1] = 0.2
    shares[:, 2, 2] = -0.1
    assert (shares < 0).any()
    kept = non_negative_kept(shares, basis)
    assert kept.dtype == np.float32 and np.isfinite(kept).all() and (kept >= 0).all()
    before, after = (np.einsum("kyx,kn->yx", one, basis) for one in (shares, kept))
    np.testing.assert_allclose(after, np.maximum(before, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kept[:, 1, 1], 0.2, rtol=1e-6)
    assert not kept[:, 0, 0].any() and not kept[:, 2, 2].any()
