import numpy as np
import pytest

from hs_deepatoms.spectra.grid import Line, aligned, first_pixel, mirrored


def test_same_grid_is_copied_and_mirrored():
    image = np.arange(6 * 7, dtype=float).reshape(1, 6, 7)
    out = aligned(image, (Line(0, 1, 6), Line(0, 1, 7)), 3)
    np.testing.assert_array_equal(out[0], np.pad(image[0], 1, mode="symmetric"))


@pytest.mark.parametrize("window", [3, 4, 6, 7, 9])
def test_window_of_a_coarse_spectrum_is_around_its_pixels(window):
    """Every spectrum covers 3 x 3 pixels of the image, from pixel 2 on."""
    image = np.arange(20 * 20, dtype=float).reshape(1, 20, 20)
    line = Line(first=3.0, pitch=3.0, size=4)
    assert line.step == 3
    out = aligned(image, (line, line), window)[0]
    assert out.shape == (9 + window,) * 2
    before = first_pixel(window, 3)
    assert 2 * before in (window - 3, window - 2)
    start = 1 * 3 + before  # of the pixels of the second spectrum in the aligned image
    np.testing.assert_array_equal(out[start : start + 3, start : start + 3], image[0, 5:8, 5:8])


def test_positions_between_pixels_are_interpolated():
    y, x = np.mgrid[:30, :40].astype(float)
    image = (2 * y + 3 * x)[None]
    lines = Line(4.3, 1.25, 10), Line(5.7, 1.25, 12)
    out = aligned(image, lines, 1)[0]
    expected = 2 * (4.3 + 1.25 * np.arange(10))[:, None] + 3 * (5.7 + 1.25 * np.arange(12))[None, :]
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_spectra_outside_of_the_image():
    assert Line(-2.0, 1.0, 6).inside(3).tolist() == [False, False, True, True, True, False]


def test_mirrored_indices():
    assert mirrored(np.arange(-3, 7), 4).tolist() == [2, 1, 0, 0, 1, 2, 3, 3, 2, 1]


@pytest.mark.parametrize("pitch", [1.0, 2.0, 0.5, 0.3, 1.37, 2.6, -1.0, -0.7])
@pytest.mark.parametrize("first", [20.0, 20.4])
@pytest.mark.parametrize("window", [1, 4, 7])
def test_windows_as_far_apart_as_the_gap_share_no_pixel_of_the_image(pitch, first, window):
    line = Line(first, pitch, 40)
    if window < line.step:
        return
    gap = -(-window // line.step) + line.shared
    places = line.positions(window)
    looked_at = [{*np.floor(own), *np.ceil(own)} for own in (places[k * line.step :][:window] for k in range(40))]
    assert all(looked_at[k].isdisjoint(looked_at[k + gap]) for k in range(40 - gap))
    assert (line.shared == 0) == (places % 1 == 0).all()
