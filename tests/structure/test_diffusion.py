"""Diffusion constant of planted walks with drift and localisation errors."""

import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import TableError
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


@pytest.mark.parametrize("n_atoms", [3, 30])
def test_errors_are_right_for_few_atoms_too(n_atoms):
    pulls, n_frames = [], 1801 // n_atoms
    for seed in range(80):
        rng = np.random.default_rng(seed)
        walk = np.cumsum(rng.normal(0, np.sqrt(0.8), (2, n_atoms, n_frames)), axis=2)
        walk += np.cumsum(rng.normal(0.4, 1.0, (2, 1, n_frames)), axis=2) + rng.normal(0, 0.5, walk.shape)
        track, frame = (k.ravel() for k in np.indices((n_atoms, n_frames)))
        found = diffusion(track, frame, *(w.ravel() for w in walk))
        pulls.append((found.constant - 0.4) / found.constant_std)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.25


@pytest.mark.parametrize("n_atoms, n_frames, missed", [(5, 2400, 0.1), (10, 900, 0.3), (3, 3000, 0.3)])
def test_atoms_that_are_missed_do_not_bias(n_atoms, n_frames, missed):
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        walk = np.cumsum(rng.normal(0, 0.5, (2, n_atoms, n_frames)), axis=2)
        walk += np.cumsum(rng.normal(0.2, 1.0, (2, 1, n_frames)), axis=2) + rng.normal(0, 0.5, walk.shape)
        there = np.flatnonzero(rng.random(n_atoms * n_frames) >= missed)
        track, frame = (k.ravel()[there] for k in np.indices((n_atoms, n_frames)))
        found.append(diffusion(track, frame, *(w.ravel()[there] for w in walk)))
    off = np.array([one.constant for one in found]) / 0.125 - 1
    assert abs(off.mean()) < 3 * off.std() / np.sqrt(off.size) < 0.08
    assert 0.75 < np.sqrt(np.mean([((one.constant - 0.125) / one.constant_std) ** 2 for one in found])) < 1.3


def test_gaps_and_next_to_nothing():
    one_alone = diffusion([0, 0, 0], [0, 1, 2], [0.0, 5.0, 6.0], [0.0, 5.0, 9.0])
    assert one_alone.steps == 0 and np.isnan(one_alone.constant)
    assert diffusion([0, 0], [0, 2], [0.0, 5.0], [0.0, 5.0]).steps == 0
    assert np.isnan(diffusion([], [], [], []).constant)


def test_of_a_table():
    rng = np.random.default_rng(0)
    y, x = (k.ravel() for k in np.mgrid[30:270:40.0, 30:350:40.0])
    walk = np.cumsum(rng.normal(0, 0.5, (2, 40, y.size)), axis=1) + np.stack([y, x])[:, None]
    image = xr.DataArray(np.zeros((40, 300, 380), np.float32), dims=("time", "y", "x"))
    for dim in "yx":
        image = image.assign_coords({dim: (dim, 0.1 * np.arange(image.sizes[dim]), {"units": "nm"})})
    frame = np.repeat(np.arange(40), y.size)
    atoms = hs_deepatoms.positions(walk[0].ravel(), walk[1].ravel(), signal=image, frame=frame)
    found = atoms.deepatoms.link(max_step=4).deepatoms.diffusion()
    assert found["diffusion"].attrs["units"] == "nm^2/frame"
    assert abs(found["diffusion"] - 0.125 * 0.01) < 4 * found["diffusion_std"] < 0.2 * 0.125 * 0.01 * 4
    with pytest.raises(TableError):
        atoms.deepatoms.diffusion()
