"""The sample that ships with the package: simulated by us, so that anybody can try everything without a microscope."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.simulate.background import smooth_field
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import Recording, record
from hs_deepatoms.simulate.lattices import Crystal, lattice_points


def demo_image(seed: int = 0) -> tuple[np.ndarray, dict]:
    """A perovskite seen down [001] with a tilt of the lattice, vacancies, a thickness gradient and counting noise.

    Parameters
    ----------
    seed : int

    Returns
    -------
    image : ndarray, uint16, shape (320, 440)
        Detector counts.
    truth : dict
        ``y_px``, ``x_px``, ``species`` (0: A site, 1: B site) of every column in the field, ``pixel_size_nm``,
        ``vacancy_y_px``, ``vacancy_x_px`` of the sites left empty, and ``rim_y_px``, ``rim_x_px`` of columns centred
        just outside, of which a flank is to be seen.

    Examples
    --------
    >>> image, truth = demo_image()
    >>> image.shape, truth["pixel_size_nm"]
    ((320, 440), 0.016)
    """
    rng = np.random.default_rng(seed)
    shape, pixel, sigma = (320, 440), 0.016, 3.0
    crystal = Crystal(np.eye(2), np.array([(0, 0), (0.5, 0.5)]), np.array([1.0, 0.45]), "perovskite_001").scaled()
    spacing = 0.3905 / np.sqrt(2) / pixel
    y, x, kind = lattice_points(crystal, spacing, np.deg2rad(11), (160.0, 220.0), 320.0)
    y, x = y + 0.15 * rng.standard_normal(len(y)), x + 0.15 * rng.standard_normal(len(x))
    field = (y > -8) & (x > -8) & (y < shape[0] + 8) & (x < shape[1] + 8)
    y, x, kind = y[field], x[field], kind[field]
    empty = (rng.random(len(y)) < 0.06) & (kind == 1)
    thickness = 0.6 + 0.4 * smooth_field(rng, shape)
    local = thickness[np.clip(np.rint(y).astype(int), 0, 319), np.clip(np.rint(x).astype(int), 0, 439)]
    there = ~empty
    expected = draw_columns(shape, y[there], x[there], (crystal.heights[kind] * local)[there], sigma, tail=0.05)
    counts = record(rng, expected + 0.25 * thickness, Recording(counts=60.0, readout=1.0, jitter=0.2))
    image = np.clip(np.round(counts + 20), 0, 65535).astype(np.uint16)
    inside = (y > -0.5) & (x > -0.5) & (y < shape[0] - 0.5) & (x < shape[1] - 0.5)
    seen, lost, rim = inside & there, inside & empty, ~inside & there
    truth = {"y_px": y[seen], "x_px": x[seen], "species": kind[seen], "pixel_size_nm": pixel}
    truth |= {"rim_y_px": y[rim], "rim_x_px": x[rim]}
    return image, {**truth, "vacancy_y_px": y[lost], "vacancy_x_px": x[lost]}
