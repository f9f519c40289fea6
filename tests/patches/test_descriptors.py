"""Descriptors of functions whose turned copies are known without interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.patches.descriptors import Fourier, PolarFourier, Zernike

SHAPE, STEPS = (25, 31), (0.05, 0.04)


def motifs(angle, seed=0, n=40):
    """Patches of Gaussian columns at random places, turned by ``angle`` about the middle."""
    rng = np.random.default_rng(seed)
    rows, columns = ((np.arange(k) - (k - 1) / 2) * step for k, step in zip(SHAPE, STEPS, strict=True))
    radius, phase, height = 0.5 * np.sqrt(rng.random((n, 4))), rng.uniform(0, 6.3, (n, 4)), rng.random((n, 4)) + 0.5
    y, x = radius * np.sin(phase + angle), radius * np.cos(phase + angle)
    distance = (rows[:, None] - y[..., None, None]) ** 2 + (columns - x[..., None, None]) ** 2
    return (height[..., None, None] * np.exp(-distance / 2 / 0.1**2)).sum(1)[None]


@pytest.mark.parametrize("kind", [Zernike, PolarFourier])
@pytest.mark.parametrize("angle", [0.4, np.pi / 2, 2.7])
def test_turning_changes_nothing(kind, angle):
    describe = kind(SHAPE, STEPS)
    first, turned = describe.describe(motifs(0)), describe.describe(motifs(angle))
    assert first.shape == (40, describe.n_features)
    between = first.std(axis=0).mean()
    assert np.abs(turned - first).mean() < 0.05 * between


def test_other_motifs_differ():
    for kind in (Zernike, PolarFourier):
        found = kind(SHAPE, STEPS).describe(motifs(0))
        assert np.linalg.matrix_rank(found - found.mean(0)) > 20


def test_channels_lie_side_by_side():
    patches = motifs(0)
    describe = Zernike(SHAPE, STEPS)
    both = describe.describe(np.concatenate([patches, 2 * patches]))
    np.testing.assert_allclose(both[:, describe.n_features :], 2 * both[:, : describe.n_features])


def test_fourier_finds_the_period():
    rows = np.mgrid[:32, :24][0]
    describe = Fourier((32, 24), (0.1, 0.2))
    found = describe.describe(np.cos(2 * np.pi * rows / 8)[None, None]).reshape(32, 24)
    y, x = describe.frequencies()
    at = np.unravel_index(found.argmax(), found.shape)
    np.testing.assert_allclose([abs(y[at[0]]), x[at[1]]], [1 / 0.8, 0], atol=1e-12)
