"""Strengths read off the image."""

import numpy as np

from hs_deepatoms.atoms.strength import strength_at
from hs_deepatoms.simulate.columns import draw_columns


def test_strengths_are_relative_to_the_surroundings():
    y, x = (w.ravel() for w in np.mgrid[5:60:10, 5:80:10].astype(float))
    strength = np.where(np.arange(y.size) % 3, 4.0, 8.0)
    image = draw_columns((60, 80), y, x, strength, 2.0) + 100
    image[0, :5] = np.nan
    measured = strength_at(image, y, x)
    assert np.isfinite(measured).all()
    assert measured[strength == 8].min() > 1.5 * measured[strength == 4].max()
    assert (strength_at(-image, y, x) < 0).mean() > 0.9


def test_none_and_one():
    image = np.zeros((20, 30))
    image[8, 12] = 1
    assert strength_at(image, np.empty(0), np.empty(0)).size == 0
    assert strength_at(image, np.array([8.0]), np.array([12.0]))[0] > 0
