"""Tables read as movies; tracks through joining and editing."""

from __future__ import annotations

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.tables.edited import edited_table
from hs_deepatoms.tables.movies import NO_TRACK, check_tracks, movie_length, read_movie
from tests.tables.samples import SHAPE, image_signal, image_table, stack_table


def two_frames(shift=1.0):
    y, x, frame = np.array([3.0, 15.0, 3 + shift, 15 + shift]), np.array([4.0, 30.0, 4.0, 30.0]), [0, 0, 1, 1]
    return hs_deepatoms.positions(y, x, signal=image_signal("time"), frame=frame)


def test_the_last_navigation_axis_is_time_unless_told():
    ds, frame = stack_table()
    movie = read_movie(ds)
    order = np.argsort(frame, kind="stable")
    assert (movie.n_frames, movie.n_groups) == (2, 3)
    assert movie.time.tolist() == (frame[order] % 2).tolist() and movie.group.tolist() == (frame[order] // 2).tolist()
    other = read_movie(ds, "time")
    assert (other.n_frames, other.n_groups) == (3, 2)
    assert other.time.tolist() == movie.group.tolist() and other.group.tolist() == movie.time.tolist()
    assert read_movie(ds, -1).axis == 1 and read_movie(ds, 0).axis == 0


@pytest.mark.parametrize("axis", ["tilts", 2, -3, True, 1.0])
def test_no_such_axis(axis):
    with pytest.raises(InvalidArgumentError, match=r"time.*tilt"):
        read_movie(stack_table()[0], axis)


def test_a_single_image_is_a_movie_of_one_frame():
    movie = read_movie(image_table()[0])
    assert (movie.n_frames, movie.n_groups) == (1, 1) and not movie.time.any()
    with pytest.raises(InvalidArgumentError, match="single image"):
        read_movie(image_table()[0], "time")


def test_axes_in_different_units_are_compared_in_pixels():
    signal = image_signal("time")
    signal.axes_manager._axes[-1].units = "mrad"
    ds = hs_deepatoms.positions([3.0, 4.0], [7.0, 9.0], signal=signal, frame=[0, 1])
    movie = read_movie(ds)
    np.testing.assert_allclose(movie.y, [3, 4])
    np.testing.assert_allclose(movie.x, [7, 9])
    np.testing.assert_allclose(movie.factors, (0.03, 0.02))
    assert movie.units == "px" and movie.extent == (-0.5, SHAPE[0] - 0.5, -0.5, SHAPE[1] - 0.5)


def test_lengths_are_pixels_units_or_text():
    ds = two_frames()
    movie = read_movie(ds)
    assert [movie_length(one, ds, movie, "max_step") for one in (5, 0.1, "100 pm")] == pytest.approx([0.1, 0.1, 0.1])
    for wrong in (0, -1, "3 eV", None, True):
        with pytest.raises(InvalidArgumentError):
            movie_length(wrong, ds, movie, "max_step")


def test_a_table_that_is_not_linked_says_what_to_do():
    ds = two_frames()
    with pytest.raises(TableError, match=r"deepatoms\.link\(\)"):
        check_tracks(ds, read_movie(ds))
    twice = ds.assign_coords(track=("atom", [0, 0, 1, 2]))
    with pytest.raises(TableError, match="two atoms in one frame"):
        check_tracks(twice, read_movie(twice))


def test_joined_tables_keep_tracks_apart_unless_they_were_linked_together():
    ds = two_frames().deepatoms.link(drift=False, max_step=3)
    halves = [ds.isel(atom=[0, 2]), ds.isel(atom=[1, 3])]
    assert hs_deepatoms.concat(halves)["track"].values.tolist() == ds["track"].values.tolist() == [0, 1, 0, 1]
    other = two_frames(shift=0.5).deepatoms.link(drift=False, max_step=3)
    joined = hs_deepatoms.concat([halves[1], other, halves[0]])
    assert sorted(joined["track"].values.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    check_tracks(joined, read_movie(joined))
    mixed = hs_deepatoms.concat([ds, two_frames(shift=0.5)])["track"]
    assert mixed.dtype == np.int64 and np.count_nonzero(mixed == NO_TRACK) == 4


def test_atoms_added_by_hand_have_no_track():
    ds = two_frames().deepatoms.link(drift=False, max_step=3)
    axes = read_axes(ds)
    made = edited_table(ds, keep=np.ones(4, bool), y=ds.y.values[:1], x=ds.x.values[:1] + 0.3, frame=[0], axes=axes)
    assert made["track"].values.tolist() == [0, 1, 0, 1, NO_TRACK]
    assert made.deepatoms.tracks()["count"].values.tolist() == [2, 2]


def read_axes(ds):
    from hs_deepatoms.tables.schema import stored_axes

    return stored_axes(ds)[1][-2:]
