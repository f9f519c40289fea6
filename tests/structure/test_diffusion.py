"""Diffusion constant of planted walks with drift and localisation errors."""

import numpy as np
import pytest

from hs_deepatoms.structure.diffusion import diffusion


@pytest.mark.parametrize("n_atoms, n_frames", [(60, 201), (5, 2501)])
def test_within_five_percent(n_atoms, n_frames):
    rng = np.random.default_rng(3)
    walk = np.cumsum(rng.normal(0, np.sqrt(0.8), (2, n_atoms, n_frames)), axis=2)
    walk += np.cumsum(rng.normal(0.4, 1.0, (2, 1, n_frames)), axis=2) + rng.normal(0, 0.5, walk.shape)
    track, frame = (k.ravel() for k in np.indices((n_atoms, n_frames)))
    shuffled = rng.permutation(track.size)
    found = diffusion(track[shuffled], frame[shuffled], *(w.ravel()[shuffled] for w in walk))
    assert found.steps == n_atoms * (n_frames - 1) >= 10_000
    assert found.constant == pytest.approx(0.4, rel=0.05)
    assert found.localisation == pytest.approx(0.25, rel=0.15)
    assert diffusion(track, frame, *(w.ravel() for w in walk), drift=False).constant > 0.6


def test_gaps_and_next_to_nothing():
    assert diffusion([0, 0], [0, 2], [0.0, 5.0], [0.0, 5.0]).steps == 0
    assert np.isnan(diffusion([], [], [], []).constant)
