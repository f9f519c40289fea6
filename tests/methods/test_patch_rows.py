"""Patches whose origins move while a model learns, without NaN."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest

from hs_deepatoms.methods.patch_rows import Movable, Scaling
from tests.methods.test_rvae import QUICK, phase_image


def test_moved_origins_are_other_parts_of_the_image():
    wide = np.arange(2 * 7 * 8, dtype=float).reshape(2, 1, 7, 8)
    rows = Movable(wide, (2, 1), np.zeros((2, 0), np.float32), Scaling(), None)
    np.testing.assert_array_equal(rows.take(np.array([1]), (-2, 1))[0].reshape(3, 6), wide[1, 0, :3, 2:])
    assert rows.take(np.array([0, 1])).shape == (2, 18)


@pytest.mark.parametrize("lazy", [False, True])
def test_moved_origins_beside_a_hole(lazy):
    """Patches that would reach into the NaN stay where they are: none gets into the network."""
    data = phase_image().astype(np.float32)
    data[30:37, 40:45] = np.nan
    s = hs.signals.Signal2D(data)
    s = s.as_lazy(chunks=(50, 60)) if lazy else s
    options = {"grid": 6, "window": 13, "physics": "edges", "physics_block": 6, "steps": 10, **QUICK}
    with pytest.warns(UserWarning, match="have NaN"):
        tree = s.rvae(physics_jitter=3, **options)
    assert np.isfinite(tree["history/loss"]).all() and np.isfinite(tree["history/physics"]).all()


def test_moved_patches_with_nan_stay():
    wide = np.random.default_rng(0).random((3, 1, 7, 8))
    wide[1, 0, 6, 3] = np.nan
    rows = Movable(wide, (2, 1), np.zeros((3, 0), np.float32), Scaling(), "mean")
    moved, kept = rows.take(np.arange(3), (2, 1)), rows.take(np.arange(3))
    assert np.isfinite(moved).all()
    np.testing.assert_array_equal(moved[1], kept[1])
    assert (np.abs(moved - kept).max(1) > 0).tolist() == [True, False, True]
