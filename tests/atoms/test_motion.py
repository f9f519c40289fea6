"""Statistics of tracks against values computed by hand or known from theory."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.atoms.motion import consecutive, jumps, mean_square, summaries


def walks(n_tracks=400, n_frames=20, sigma=0.3, seed=0):
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.normal(0, sigma, (2, n_frames, n_tracks)), axis=1)
    time, track = (g.ravel() for g in np.mgrid[:n_frames, :n_tracks])
    return track, time, places[0].ravel(), places[1].ravel()


def test_a_random_walk_spreads_with_time_and_its_errors_are_those_seen():
    made = mean_square(*walks(), 6)
    np.testing.assert_allclose(made.y, 0.09 * np.arange(1, 7), rtol=0.1)
    assert made.n_pairs.tolist() == [400 * (20 - lag) for lag in range(1, 7)] and (made.n_tracks == 400).all()
    several = np.array([mean_square(*walks(seed=seed), 3).y for seed in range(40)])
    np.testing.assert_allclose(several.std(axis=0), made.y_std[:3], rtol=0.35)


def test_lags_stay_inside_a_track_and_gaps_are_no_lag_of_one():
    track, time = np.array([0, 0, 1, 1]), np.array([0, 2, 0, 3])
    made = mean_square(track, time, np.array([0.0, 2.0, 10.0, 13.0]), np.zeros(4), 3)
    assert made.n_pairs.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(made.y, [np.nan, 4.0, 9.0])
    assert np.isnan(made.y_std).all()


@pytest.mark.parametrize("track", [[], [-1, -1]])
def test_no_tracks(track):
    track = np.array(track, np.int64)
    none = np.zeros(track.size)
    assert consecutive(track, none)[0].size == 0
    assert mean_square(track, none.astype(int), none, none, 2).n_pairs.tolist() == [0, 0]
    assert summaries(track, none, none, none)["track"].size == 0
    assert jumps(none[:0], none[:0], none[:0]).size == 0


def test_summaries_in_any_order_of_rows():
    track, time = np.array([3, 1, 3, -1, 1]), np.array([5, 0, 2, 0, 1])
    made = summaries(track, time, np.array([4.0, 1.0, 2.0, 9.0, 1.0]), np.arange(5.0))
    assert made["track"].tolist() == [1, 3] and made["count"].tolist() == [2, 2]
    assert made["first"].tolist() == [1, 2] and made["last"].tolist() == [4, 0]
    assert made["y"].tolist() == [1.0, 3.0] and made["y_net"].tolist() == [0.0, 2.0]
    assert made["y_rms"].tolist() == [0.0, 1.0]


def test_jumps_stand_out_and_vibration_does_not():
    rng = np.random.default_rng(0)
    dy, dx = rng.normal(0, 0.1, (2, 5000))
    gap = np.ones(5000)
    assert not jumps(dy, dx, gap).any()
    dy[[7, 99]] = 1.0
    assert np.flatnonzero(jumps(dy, dx, gap)).tolist() == [7, 99]
    assert not jumps(dy[:5], dx[:5], gap[:5]).any()
