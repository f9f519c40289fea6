import numpy as np
from matplotlib.figure import Figure

from hs_deepatoms.plot.mosaic import draw_mosaic

PICTURES = np.random.default_rng(0).random((9, 8, 5, 6))


def test_pictures_are_where_they_belong():
    ax = Figure().subplots()
    draw_mosaic(ax, PICTURES)
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn.shape == (45, 48)
    np.testing.assert_array_equal(drawn[10:15, 18:24], PICTURES[2, 3])


def test_a_picture_far_from_the_others_leaves_them_their_greys():
    odd = PICTURES.copy()
    odd[8, :3] = 30 * odd[8, :3] - 15
    ax = Figure().subplots()
    draw_mosaic(ax, odd)
    low, high = ax.images[0].get_clim()
    assert -0.01 < low < 0.2 and 0.9 < high < 1.01


def test_few_pictures_have_all_of_their_range():
    ax = Figure().subplots()
    draw_mosaic(ax, PICTURES[:1, :2])
    assert ax.images[0].get_clim() == (PICTURES[:1, :2].min(), PICTURES[:1, :2].max())


def test_a_picture_of_nothing_changes_no_range():
    some = PICTURES.copy()
    some[3, 4] = np.nan
    ax = Figure().subplots()
    draw_mosaic(ax, some)
    assert np.isfinite(ax.images[0].get_clim()).all()
    draw_mosaic(ax, np.full((2, 3, 4, 5), np.nan))
