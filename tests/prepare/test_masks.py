import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt

from hs_deepatoms.prepare import masks
from hs_deepatoms.prepare.masks import fill_invalid, invalid_pixels
from hs_deepatoms.simulate.columns import draw_columns


def lattice(shape=(60, 90), sigma=2.0):
    y, x = (a.ravel().astype(float) for a in np.mgrid[5 : shape[0] : 11, 4 : shape[1] : 11])
    return draw_columns(shape, y, x, np.ones(len(y)), sigma).astype(np.float32)


def test_hot_dead_and_nan_pixels_are_found_and_columns_are_not():
    image = lattice()
    image[20, 30], image[40, 7], image[9, 9], image[0, 20], image[59, 89] = 9.0, -9.0, np.nan, 9.0, -9.0
    bad = invalid_pixels(image)
    assert sorted(zip(*np.nonzero(bad), strict=True)) == [(0, 20), (9, 9), (20, 30), (40, 7), (59, 89)]


def test_user_mask_is_added():
    masked = np.zeros((60, 90), bool)
    masked[:5, :7] = True
    assert np.array_equal(invalid_pixels(lattice(), masked), masked)


def test_a_lost_line_is_bridged_smoothly():
    image = lattice()
    broken = image.copy()
    broken[27] = np.nan  # through the flank of a row of columns, and row 5 + 2 * 11 = 27 is their very top
    filled = fill_invalid(broken, invalid_pixels(broken))
    assert np.abs(filled - image).max() < 0.06
    assert np.array_equal(np.delete(filled, 27, 0), np.delete(image, 27, 0))


def test_large_gaps_take_the_nearest_value_and_nothing_valid_gives_zeros():
    image = np.repeat(np.arange(30, dtype=np.float32)[:, None], 20, 1)
    bad = np.zeros(image.shape, bool)
    bad[10:25] = True
    filled = fill_invalid(image, bad)
    assert np.isfinite(filled).all() and filled.min() >= -1 and filled.max() <= 30
    assert filled[13, 3] == 9 and filled[21, 3] == 25
    assert not fill_invalid(image, np.ones_like(bad)).any()


@pytest.mark.parametrize("share", [0.002, 0.02])
def test_gaps_are_filled_one_by_one_as_all_at_once(share, monkeypatch):
    image, rng = lattice(), np.random.default_rng(4)
    bad = binary_dilation(rng.random(image.shape) < share, iterations=2) | (rng.random(image.shape) < share)
    bad[17] = bad[:, 0] = bad[40:47, 30:41] = True
    monkeypatch.setattr(masks, "SPREAD", np.inf)
    one_by_one = fill_invalid(image, bad)
    monkeypatch.setattr(masks, "SPREAD", 0.0)
    np.testing.assert_array_equal(one_by_one, fill_invalid(image, bad))
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    middle = np.s_[42:45, 33:38]  # of the wide gap
    assert np.array_equal(one_by_one[middle], image[tuple(nearest)][middle])


def test_input_is_not_changed():
    image = lattice()
    image[3, 4] = np.nan
    before = image.copy()
    fill_invalid(image, invalid_pixels(image))
    np.testing.assert_array_equal(image, before)
