"""Pairs of neighbours: what columns a lattice vector away say."""

import numpy as np

from hs_deepatoms.atoms.kin import FEATURES, NEIGHBOURS, find_kin


def checkerboard(size=14, noise=0.1, seed=0, slope=0.0):
    rng = np.random.default_rng(seed)
    y, x = (w.ravel() for w in np.mgrid[:size, : size + 3].astype(float))
    kind = (y + x) % 2
    y, x = y + 0.02 * rng.standard_normal(len(y)), x + 0.02 * rng.standard_normal(len(y))  # no ties of distance
    return y, x, 0.4 * kind + slope * x + noise * rng.standard_normal(len(y)), kind


def test_pairs_of_one_sublattice_are_the_alike_ones():
    y, x, value, kind = checkerboard()
    kin = find_kin(y, x, value)
    same = kind[kin.row] == kind[:, None]
    unlike, stronger = kin.features[..., 0], kin.features[..., 1]
    often = kin.there & (kin.features[..., 2] > np.log1p(25) / 3)  # some 25 pairs of the kind
    assert often.mean() > 0.8 and unlike[same & often].max() < unlike[~same & often].min()
    assert (kin.order > 1).all()
    assert kin.features.shape == (len(y), NEIGHBOURS, FEATURES) and np.isfinite(kin.features).all()
    other = ~same & often  # no vector is of one sign: it takes half of the columns up and half down
    assert np.abs(stronger[other].mean()) < 0.1


def test_scale_rotation_mirror_offset_and_factor_do_not_matter():
    y, x, value, _ = checkerboard()
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    v, u = turn @ np.array([y, -x]) * 13.0
    one, two = find_kin(y, x, value), find_kin(v, u, 5 + 3 * value)
    np.testing.assert_allclose(two.spread, 3 * one.spread)
    np.testing.assert_array_equal(one.row, two.row)
    assert np.quantile(np.abs(one.features - two.features), 0.95) < 0.2  # the maps have pixels
    assert abs(one.order[0] - two.order[0]) < 0.2


def test_a_slope_is_no_order_and_hides_none():
    for slope in (0.0, 0.1):
        y, x, value, kind = checkerboard(slope=slope)
        assert (find_kin(y, x, value).order > 1).all()
        assert (find_kin(y, x, value - 0.4 * kind).order < 0.7).all()


def test_frames_know_nothing_of_each_other():
    y, x, value, _ = checkerboard()
    alone = find_kin(y, x, value)
    order = np.random.default_rng(1).permutation(2 * len(y))
    frame = np.repeat([0, 3], len(y))[order]
    both = find_kin(np.tile(y, 2)[order], np.tile(x, 2)[order], np.concatenate([value, 9 * value])[order], frame)
    place = np.argsort(order)[: len(y)]
    np.testing.assert_allclose(both.features[place], alone.features, atol=1e-4)
    assert (frame[both.row] == frame[:, None]).all()


def test_few_columns():
    for n in (0, 1, 2, 5):
        kin = find_kin(np.arange(float(n)), np.zeros(n), np.arange(float(n)))
        assert kin.row.shape == (n, NEIGHBOURS) and kin.there.sum() == n * max(n - 1, 0)
        assert np.isfinite(kin.features).all()
    kin = find_kin(np.zeros(40), np.zeros(40), np.zeros(40))  # all on one point, all alike
    assert np.isfinite(kin.features).all() and (kin.spread > 0).all()
