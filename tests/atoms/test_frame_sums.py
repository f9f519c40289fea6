"""Sums of frames over blocks, and frames whose columns take the place of others."""

import numpy as np
import pytest

from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.frame_sums import FrameSums, Replaced


def points(frames, seed=0):
    rng, n = np.random.default_rng(seed), len(frames)
    arrays = [rng.uniform(1, 9, n) for _ in range(5)]
    return Points(np.array(frames), *arrays, rng.uniform(size=n), {"height": rng.normal(size=n).astype(np.float32)})


def test_sums_do_not_depend_on_the_blocks():
    whole = points([0, 0, 0, 2, 2, 5, 5, 5, 5])
    rows = np.array([0, 1, 0, 1, 0, 0, 1, 1, 0], bool)
    parts = FrameSums.join([FrameSums.of(whole.keep(rows), 0.5), FrameSums.of(whole.keep(~rows), 0.5)])
    one = FrameSums.of(whole, 0.5)
    np.testing.assert_allclose(parts.table(), one.table())
    expected, doubt, width = one.over(7)
    p = whole.probability[whole.frame == 5]
    p = p[p >= 0.1]
    assert expected[5] == pytest.approx(p.sum()) and doubt[5] == pytest.approx((p * (1 - p)).sum() / p.sum())
    assert 1 < width[5] < 9 and expected[1] == doubt[1] == width[1] == 0
    assert one.rows == (whole.probability >= 0.5).sum()
    assert one.without(np.array([5, 2])).frame.tolist() == [0]


def test_frames_are_replaced_in_order():
    new = points([1, 3, 3], seed=1).in_order()
    got = Replaced(np.array([1, 2, 3]), new).into(points([0, 0, 2, 2, 3, 4]).in_order())
    assert got.frame.tolist() == [0, 0, 1, 3, 3, 4]
    np.testing.assert_array_equal(got.y[2:5], new.y)
    assert got.fitted["height"].dtype == np.float32 and len(got.fitted["height"]) == 6


def test_nothing_may_replace_something_and_something_nothing():
    none = Replaced(np.array([0]), Points.none()).into(points([0, 0]))
    assert len(none.y) == 0 and set(none.fitted) == {"height"}
    some = Replaced(np.array([0]), points([0])).into(Points.none())
    assert len(some.y) == 1 and set(some.fitted) == {"height"}
    part = Replaced(np.array([0, 4]), points([0, 4])).into(points([1, 2]), 1, 3)
    assert part.frame.tolist() == [1, 2]
