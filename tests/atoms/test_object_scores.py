import numpy as np
import pytest

from hs_deepatoms.atoms.object_scores import line_hits, object_hits, total


def squares(*boxes, shape=(40, 60)):
    out = np.zeros(shape, int)
    for k, (y, x, n) in enumerate(boxes, 1):
        out[y : y + n, x : x + n] = k
    return out


def test_objects_by_hand():
    true = squares((2, 2, 10), (20, 2, 10), (20, 30, 10))
    # one exact; one shifted by 3 (overlap 70 of 130); one shifted by 4 (60 of 140); one where nothing is
    found = squares((2, 2, 10), (20, 5, 10), (20, 34, 10), (2, 45, 10))
    hits = object_hits(found, true)
    assert hits == (2, 4, 2, 3)
    assert (hits.precision, hits.recall) == (0.5, 2 / 3) and hits.f1 == pytest.approx(4 / 7)


def test_numbers_and_gaps_do_not_matter():
    true = squares((2, 2, 10), (20, 2, 10))
    assert object_hits(np.where(true == 2, 9, 0) + np.where(true == 1, 4, 0), true) == (2, 2, 2, 2)


def test_two_halves_are_no_object_and_two_in_one_neither():
    true = squares((2, 2, 12))
    halves = true.copy()
    halves[:, 8:] *= 2
    assert object_hits(halves, true).hits == 0
    two = squares((2, 2, 10), (2, 12, 10))
    assert object_hits((two > 0).astype(int), two).hits == 0


def test_what_the_rim_cuts_off_counts_neither_way():
    true = squares((2, 2, 10), (20, 58, 2))
    assert object_hits(true, true, smallest=10) == (1, 1, 1, 1)
    assert object_hits(np.where(true == 1, 1, 0), true, smallest=10) == (1, 1, 1, 1)


def test_nothing_found_and_nothing_there():
    none, one = np.zeros((5, 6), int), squares((1, 1, 2), shape=(5, 6))
    assert object_hits(none, none).f1 == 1 and object_hits(none, one).f1 == 0 and object_hits(one, none).f1 == 0
    assert line_hits(none, none).f1 == 1 and line_hits(none, one).f1 == 0 and line_hits(one, none).f1 == 0


def test_lines_within_a_distance():
    true = np.zeros((20, 30), bool)
    true[5, :20] = True
    found = np.zeros_like(true)
    found[7, 10:30] = True
    hits = line_hits(found, true)
    assert hits == (10, 20, 10, 20)
    assert total([hits, hits]) == (20, 40, 20, 40) and total([hits, hits]).f1 == 0.5
