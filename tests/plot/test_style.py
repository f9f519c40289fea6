"""Sizes that follow the spacing."""

import numpy as np

from hs_deepatoms.plot import style


def test_some_of_many_frames_tell_the_spacing(monkeypatch):
    y, x = (g.ravel() for g in np.mgrid[0:10:2.0, 0:12:2.0])
    frame = np.repeat(np.arange(50), y.size)
    y, x = np.tile(y, 50), np.tile(x, 50)
    looked, nearest = [], style.nearest
    monkeypatch.setattr(style, "nearest", lambda y, *rest: looked.append(len(y)) or nearest(y, *rest))
    assert style.typical_spacing(y, x, frame) == 2
    monkeypatch.setattr(style, "MANY", 300)
    assert style.typical_spacing(y, x, frame) == 2
    assert style.typical_spacing(y, x, 5 * frame + 1) == 2  # none of these frames is one of those
    assert looked == [1500, 300, 1500]
