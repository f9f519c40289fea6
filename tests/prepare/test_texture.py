"""Power spectrum and grey values of windows."""

import numpy as np
from scipy.ndimage import gaussian_filter

from hs_deepatoms.prepare.texture import BANDS, cut_evenly, texture


def test_a_wave_shows_in_its_ring_whatever_its_direction():
    yy, xx = np.mgrid[:64, :72]
    ring = np.digitize(0.2, BANDS) - 1
    for angle in (0.0, 0.4, 1.2):
        wave = np.sin(2 * np.pi * 0.2 * (yy * np.sin(angle) + xx * np.cos(angle)))
        assert texture(wave[None])[0, :9].argmax() == ring


def test_blur_and_noise_change_it():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1, 64, 64))
    blurred = gaussian_filter(noise, (0, 1, 1))
    assert (texture(2 * noise)[0, :9] - texture(noise)[0, :9]).round(6).tolist() == [round(np.log10(4), 6)] * 9
    assert texture(blurred)[0, 8] < texture(noise)[0, 8] - 1


def test_windows_cover_the_image():
    image = np.arange(40 * 50).reshape(40, 50)
    windows = cut_evenly(image, (16, 16), 9)
    assert windows.shape == (6, 16, 16) and windows[0, 0, 0] == 0 and windows[-1, -1, -1] == image.max()
    assert cut_evenly(image, (64, 20), 9).shape == (2, 40, 20)
