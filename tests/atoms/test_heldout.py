"""Held-out counts: likelihood and the evidence of single atoms."""

import numpy as np
import pytest

from hs_deepatoms.atoms.heldout import Columns, doubt, evidence, expected_frame, log_likelihood
from hs_deepatoms.simulate.columns import draw_columns

SHAPE, WIDTH = (120, 140), 2.5


@pytest.fixture(scope="module")
def scene():
    """Expected counts, places of atoms and of empty sites, and two recordings."""
    y, x = (p.ravel().astype(float) for p in np.mgrid[12:110:14, 12:130:14])
    gone = np.arange(len(y)) % 9 == 4
    expected = 4 + draw_columns(SHAPE, y[~gone], x[~gone], np.full((~gone).sum(), 6.0), WIDTH)
    rng = np.random.default_rng(0)
    return y, x, gone, rng.poisson(expected), rng.poisson(expected)


def columns(y, x, height=6.0):
    return Columns(y, x, np.full(len(y), height), np.full(len(y), WIDTH))


def likelihood(scene, rows, height=6.0):
    y, x, _, kept, held = scene
    return log_likelihood(held, expected_frame(kept, columns(y[rows], x[rows], height), WIDTH))


def test_the_truth_is_most_likely(scene):
    gone = scene[2]
    truth = likelihood(scene, ~gone)
    assert truth > likelihood(scene, np.ones_like(gone))
    assert truth > likelihood(scene, ~gone & (np.arange(len(gone)) > 5))
    assert truth > likelihood(scene, ~gone, 9.0)


def test_atoms_in_empty_sites_have_no_evidence(scene):
    y, x, gone, kept, held = scene
    height = np.where(gone, 2.0, 6.0)  # what a fit to the noise of the first part would have given
    everywhere = Columns(y, x, height, np.full(len(y), WIDTH))
    z = evidence(held, expected_frame(kept, everywhere, WIDTH), y, x, height, WIDTH)
    assert z[~gone].min() > 4 and abs(z[gone].mean()) < 1 and abs(z[gone].std() - 1) < 0.6
    gauss = evidence(held, expected_frame(kept, everywhere, WIDTH), y, x, height, WIDTH, noise=np.sqrt(5.5))
    assert np.corrcoef(z, gauss)[0, 1] > 0.98
    assert evidence(held, kept, y[:0], x[:0], height[:0], WIDTH).shape == (0,)


def test_a_missed_atom_leaves_a_doubt(scene):
    y, x, gone, kept, _ = scene
    there = ~gone
    there[20] = False
    left = doubt(kept, expected_frame(kept, columns(y[there], x[there]), WIDTH), WIDTH)
    assert left[int(y[20]), int(x[20])] > 4
    assert np.abs(left[y[gone].astype(int), x[gone].astype(int)]).max() < 4
