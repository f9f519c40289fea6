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


def with_gaps(frame):
    frame = frame.astype(float)
    frame[50:53], frame[:, 100], frame[0, 0] = np.nan, np.inf, np.nan
    return frame


@pytest.mark.parametrize("noise", [None, 2.3])
def test_lost_pixels_leave_the_judgement_to_the_others(scene, noise):
    y, x, gone, kept, held = scene
    kept, held = with_gaps(kept), with_gaps(held)
    there = np.isfinite(held)

    def judged(rows, recording=held):
        return log_likelihood(recording, expected_frame(kept, columns(y[rows], x[rows]), WIDTH), noise)

    assert np.isfinite(expected_frame(kept, columns(y, x), WIDTH)).all()
    truth, more, fewer = judged(~gone), judged(np.ones_like(gone)), judged(~gone & (np.arange(len(gone)) > 5))
    assert truth > more + 20 and truth > fewer + 20
    other = np.where(there, held, 1e9)  # what is lost does not matter, and always the same pixels are left out
    assert judged(~gone, np.where(there, other, np.nan)) == truth
    hidden = np.full(SHAPE, 5.0)
    hidden[60, 60] = np.nan
    assert np.isnan(log_likelihood(held, hidden, noise))


def test_evidence_and_doubt_beside_lost_pixels(scene):
    y, x, gone, kept, held = scene
    height = np.where(gone, 2.0, 6.0)
    everywhere = Columns(y, x, height, np.full(len(y), WIDTH))
    plain = evidence(held, expected_frame(kept, everywhere, WIDTH), y, x, height, WIDTH)
    lost = with_gaps(held)
    lost[60:80, 60:90] = np.nan
    z = evidence(lost, expected_frame(with_gaps(kept), everywhere, WIDTH), y, x, height, WIDTH)
    hidden = (y > 66) & (y < 74) & (x > 66) & (x < 84)
    assert np.isfinite(z).all() and hidden.any() and np.abs(z[hidden]).max() < 1.5
    far = np.abs(y - 51) > 12
    far &= (np.abs(x - 100) > 12) & ~((y > 50) & (y < 90) & (x > 50) & (x < 100))
    np.testing.assert_allclose(z[far], plain[far], atol=0.5)
    beside = ~gone & ~hidden & ~far
    assert z[beside].mean() > 3
    left = doubt(lost, expected_frame(lost, columns(y[~gone], x[~gone]), WIDTH), WIDTH)
    assert np.isfinite(left).all() and np.abs(left[65:75, 65:85]).max() < 4
