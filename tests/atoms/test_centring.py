"""Off-centring of columns in the cells of others."""

import numpy as np
import pytest

from hs_deepatoms.atoms.centring import off_centring


def perovskite(seed=0, n=20, side=10.0):
    rng = np.random.default_rng(seed)
    corner = np.stack([k.ravel() for k in np.mgrid[:n, :n]], axis=1) * side
    middle = np.stack([k.ravel() for k in np.mgrid[: n - 1, : n - 1]], axis=1) * side + side / 2 + [0.6, -0.2]
    stds = rng.uniform(0.02, 0.05, (2, len(corner))), rng.uniform(0.02, 0.05, (2, len(middle)))
    corner, middle = (p + s.T * rng.normal(size=p.shape) for p, s in zip((corner, middle), stds, strict=True))
    return corner, middle, *stds


def test_values_and_errors():
    corner, middle, corner_std, middle_std = perovskite()
    found = off_centring(*middle.T, *corner.T, std=middle_std, around_std=corner_std)
    assert found.neighbours == 4 and np.isfinite(found.y).all()
    assert abs(((found.y - 0.6) / found.y_std).std() - 1) < 0.08
    assert abs(((found.x + 0.2) / found.x_std).std() - 1) < 0.08
    assert abs(found.y.mean() - 0.6) < 0.01 and abs(found.x.mean() + 0.2) < 0.01


def test_incomplete_cells_have_no_value():
    corner, middle, _, _ = perovskite()
    found = off_centring(*middle.T, *corner[1:].T)
    assert np.isnan(found.y[0]) and np.isfinite(found.y[1:]).all() and np.isnan(found.y_std).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few(n):
    corner, middle, _, _ = perovskite()
    assert off_centring(*middle[:n].T, *corner.T).y.shape == (n,)
    assert np.isnan(off_centring(*middle.T, *corner[:n].T, neighbours=4).y).all()
    assert off_centring(*middle.T, *corner[:n].T).y.shape == (len(middle),)
