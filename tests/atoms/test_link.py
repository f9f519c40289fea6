"""Drift and links against movies whose truth is known."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from hs_deepatoms.atoms.link import drift, link, neighbour_spacing
from hs_deepatoms.errors import InvalidArgumentError, MissingExtraError
from hs_deepatoms.simulate.movies import LATTICES, link_scores, moving_lattice
from tests.fresh import run_fresh


def linked(movie, memory=2):
    moved = drift(movie.frame, movie.y, movie.x, n_frames=movie.n_frames, extent=(0, movie.size, 0, movie.size))
    y, x = movie.y - moved.y[movie.frame], movie.x - moved.x[movie.frame]
    return moved, link(movie.frame, y, x, n_frames=movie.n_frames, memory=memory)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("wander", [0.0, 0.3, np.inf], ids=["constant", "wandering", "random"])
@pytest.mark.parametrize("walk", [False, True], ids=["vibrate", "walk"])
def test_99_of_100_links_are_right(lattice, wander, walk):
    hop = 0.1 / np.sqrt(2) if walk else 0.1
    movie = moving_lattice(lattice, wander=wander, walk=walk, hop=hop, n_frames=20, seed=3)
    moved, track = linked(movie)
    assert min(link_scores(movie, track, 2)) >= 0.99
    assert np.hypot(moved.y - movie.drift_y, moved.x - movie.drift_x).max() < 0.12
    assert len(set(zip(track.tolist(), movie.frame.tolist(), strict=True))) == track.size


def test_without_drift_the_score_is_much_lower_so_the_test_can_fail():
    movie = moving_lattice("square", n_frames=10)
    assert link_scores(movie, link(movie.frame, movie.y, movie.x), 2)[0] < 0.9


def test_scale_and_place_do_not_matter():
    movie = moving_lattice("hexagonal", n_frames=6, n_atoms=150)
    y, x = movie.y * 1e-10 + 3e-7, movie.x * 1e-10 - 2e-8
    first, second = drift(movie.frame, movie.y, movie.x), drift(movie.frame, y, x)
    np.testing.assert_allclose(np.array(second)[:, 1:], 1e-10 * np.array(first)[:, 1:], rtol=1e-4)
    free = [(values - moved[movie.frame]) for values, moved in ((movie.y, first.y), (movie.x, first.x))]
    small = [(values - moved[movie.frame]) for values, moved in ((y, second.y), (x, second.x))]
    np.testing.assert_array_equal(link(movie.frame, *free), link(movie.frame, *small))


def test_errors_of_the_drift_are_honest():
    errors = []
    for seed in range(30):
        movie = moving_lattice("square", n_frames=2, n_atoms=200, seed=seed)
        moved = drift(movie.frame, movie.y, movie.x)
        errors += [(moved.y - movie.drift_y)[1] / moved.y_std[1], (moved.x - movie.drift_x)[1] / moved.x_std[1]]
    assert 0.7 < np.std(errors) < 1.4


def test_atoms_that_leave_the_field_of_view_do_not_hold_the_drift_back():
    along = []
    for seed in range(40):
        movie = moving_lattice("hexagonal", n_frames=10, n_atoms=200, walk=True, seed=seed)
        moved = drift(movie.frame, movie.y, movie.x)
        error = np.array([moved.y - movie.drift_y, moved.x - movie.drift_x])[:, -1]
        way = np.array([movie.drift_y[-1], movie.drift_x[-1]])
        along.append((error / np.array([moved.y_std[-1], moved.x_std[-1]])) @ way / np.hypot(*way))
    assert abs(np.mean(along)) < 0.4 and 0.7 < np.std(along) < 1.4


def test_a_faster_drift_is_followed_once_it_has_begun():
    y, x = (g.ravel() for g in np.mgrid[:12, :12] * 1.0)
    true = np.cumsum([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])  # a perfect lattice: nothing but the past tells
    frame = np.repeat(np.arange(true.size), y.size)
    moved = drift(frame, np.tile(y, true.size) + true[frame], np.tile(x, true.size))
    np.testing.assert_allclose(moved.y, true, atol=1e-6)


def test_a_pattern_of_gaps_tells_long_shifts_apart():
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[:30, :30] * 1.0).reshape(2, -1)[:, rng.random(900) < 0.7]
    moved = drift(np.repeat([0, 1], y.size), np.append(y, y + 0.8), np.append(x, x - 0.9))
    assert moved.y[1] == pytest.approx(0.8, abs=1e-6)


def test_empty_frames_and_a_vanished_atom():
    y, x = (g.ravel() for g in np.mgrid[:5, :5] * 10.0)
    times = np.array([1, 2, 5, 6])
    frame = np.repeat(times, y.size)
    y, x = np.tile(y, 4) + 2.0 * (frame - 1), np.tile(x, 4) - 1.0 * (frame - 1)
    moved = drift(frame, y, x, n_frames=8)
    np.testing.assert_allclose(moved.y, [0, 0, 2, 4, 6, 8, 10, 10], atol=1e-9)
    assert np.isnan(moved.y_std[[0, 3, 4, 7]]).all() and np.isfinite(moved.y_std[[1, 2, 5, 6]]).all()
    track = link(frame, y - moved.y[frame], x - moved.x[frame], n_frames=8, memory=2)
    assert track.tolist() == list(range(25)) * 4
    assert link(frame, y - moved.y[frame], x - moved.x[frame], n_frames=8, memory=1).max() == 49


@pytest.mark.parametrize("n_frames", [None, 0, 1, 4])
def test_no_atoms(n_frames):
    none = np.empty(0)
    assert drift(none.astype(int), none, none, n_frames=n_frames).y.tolist() == [0.0] * (n_frames or 0)
    assert link(none.astype(int), none, none, n_frames=n_frames).size == 0


@pytest.mark.parametrize("frame", [[0], [2], [0, 1], [0, 3], [0, 0], [1, 1, 2]])
def test_too_few_atoms_for_a_drift(frame):
    frame = np.array(frame)
    y = np.arange(frame.size) * 3.0
    moved = drift(frame, y, y, n_frames=4)
    assert moved.y.tolist() == [0.0] * 4
    track = link(frame, y, y, n_frames=4)
    assert track.dtype == np.int64 and (track >= 0).all()


def test_no_likeness_is_no_drift():
    rng = np.random.default_rng(1)
    frame = np.repeat([0, 1], [300, 300])
    moved = drift(frame, *rng.uniform(0, 40, (2, 600)))
    assert moved.y[1] == 0 and np.isnan(moved.y_std[1])


def test_tracks_are_numbered_by_their_first_atom_and_the_order_of_rows_is_kept():
    frame = np.array([1, 0, 1, 0])
    assert link(frame, np.array([5.1, 0.0, 0.1, 5.0]), np.zeros(4), max_step=1.0).tolist() == [0, 1, 1, 0]


def test_too_long_steps_name_the_remedy():
    rng = np.random.default_rng(0)
    frame = np.repeat([0, 1], 400)
    y, x = rng.uniform(0, 1e-3, (2, 800))
    with pytest.raises(InvalidArgumentError, match="shorter max_step"):
        link(frame, y, x, max_step=1.0)


def test_spacing_of_single_atoms_is_unknown():
    assert np.isnan(neighbour_spacing(np.array([0, 1]), np.zeros(2), np.zeros(2)))


def test_trackpy_is_quiet_and_its_settings_stay(capfd):
    import trackpy

    level = trackpy.logger.level
    handlers, root = list(trackpy.logger.handlers), list(logging.getLogger().handlers)
    movie = moving_lattice("square", n_frames=4, n_atoms=100)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    linked(movie)
    assert capfd.readouterr() == ("", "")
    assert (trackpy.logger.level, trackpy.logger.handlers, logging.getLogger().handlers) == (level, handlers, root)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_without_trackpy_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackpy", None)
    with pytest.raises(MissingExtraError, match="pip install 'trackpy'"):
        link(np.array([0, 1]), np.zeros(2), np.zeros(2), max_step=1.0)


def test_trackpy_is_imported_when_atoms_are_linked_and_not_before():
    code = "import sys, hs_deepatoms, hs_deepatoms.atoms.link; print('trackpy' in sys.modules)"
    assert run_fresh(code, path=Path(__file__).parents[2]).strip() == "False"
