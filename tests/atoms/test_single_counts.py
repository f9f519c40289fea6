"""Single counts that were blurred are no columns."""

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hs_deepatoms import find_atoms
from hs_deepatoms.simulate.columns import draw_columns

SHAPE = (160, 176)


def counts(rate, blur, seed):
    return gaussian_filter(np.random.default_rng(seed).poisson(rate, SHAPE).astype(float), blur)


def find(image):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return find_atoms(image, show_progressbar=False)


@pytest.mark.parametrize(("rate", "blur"), [(0.03, 0.7), (0.03, 0.8)])
def test_blurred_counts_are_no_atoms(rate, blur):
    """There were hundreds, nearly all sure."""
    image = counts(rate, blur, 1)
    with pytest.warns(UserWarning, match="looks like noise"):
        assert find_atoms(image, show_progressbar=False).sizes["atom"] == 0
    assert find(np.stack([image, counts(rate, blur, 2)])).sizes["atom"] == 0


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_narrow_atoms_on_some_sites_of_a_lattice_on_pixels_are_columns(shift):
    rng = np.random.default_rng(0)
    places = np.mgrid[6:154:4, 6:170:4].reshape(2, -1)
    places = places[:, rng.random(places.shape[1]) < 0.3] + shift
    image = rng.poisson(10 + 100 * draw_columns(SHAPE, *places, np.ones(places.shape[1]), 0.95)).astype(np.float32)
    assert 0.9 * places.shape[1] < find(image).sizes["atom"] < 1.05 * places.shape[1]


def test_narrow_atoms_anywhere_and_a_lattice_on_pixels_are_columns():
    rng = np.random.default_rng(3)
    places = np.column_stack([rng.uniform(5, n - 5, 900) for n in SHAPE])
    keep = [0]
    for k in range(1, 900):
        if np.hypot(*(places[keep] - places[k]).T).min() > 6:
            keep.append(k)
    alone = draw_columns(SHAPE, *places[keep].T, np.ones(len(keep)), 0.9)
    lattice = draw_columns(SHAPE, *(v.ravel() for v in np.mgrid[5:155:6, 5:171:6]), np.ones(25 * 28), 0.9)
    for image, n in ((alone, len(keep)), (lattice, 25 * 28)):
        found = find(rng.poisson(400 * image + 4).astype(np.float32)).sizes["atom"]
        assert 0.95 * n < found < 1.03 * n
