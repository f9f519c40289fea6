"""Lines that were never recorded are told from lines that happen to be even."""

import numpy as np
import pytest

from hs_deepatoms.prepare.blank import LineRange, blank_lines
from hs_deepatoms.prepare.scaling import frame_scale, frame_scaling


@pytest.fixture
def frame():
    return np.random.default_rng(0).normal(1000, 30, (40, 57)).astype(np.float32)


def lines_of(frame):
    return blank_lines(LineRange.of(frame), frame)


def test_a_recorded_frame_has_none(frame):
    assert lines_of(frame) is None
    assert lines_of(np.ones((40, 57))) is None  # constant: for others to refuse


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_padded_rim_is_found_and_does_not_set_the_scale(frame, dtype):
    padded = np.pad(frame.astype(dtype), [(2, 0), (0, 3)])
    rows, columns = lines_of(padded)
    assert np.flatnonzero(rows).tolist() == [0, 1] and np.flatnonzero(columns).tolist() == [57, 58, 59]
    scale = frame_scale(padded)
    assert scale[:2] == frame_scaling(frame.astype(dtype))


def test_dead_and_saturated_lines(frame):
    frame[7], frame[20:22] = 0, 65535
    rows, columns = lines_of(frame)
    assert np.flatnonzero(rows).tolist() == [7, 20, 21] and not columns.any()


def test_lines_of_a_common_value_are_no_loss():
    """A field of few counts has empty rows; so has a picture whose background was cut at 0."""
    counts = np.random.default_rng(1).poisson(0.02, (200, 60))
    assert (counts.max(axis=1) == 0).any()
    assert lines_of(counts) is None


def test_a_single_count_is_no_frame_with_a_rim():
    assert lines_of((np.arange(60 * 70) == 777).reshape(60, 70)) is None


def test_nan_does_not_hide_a_blank_line(frame):
    frame[5] = 0
    frame[:, 9] = np.nan
    rows, columns = lines_of(frame)
    assert np.flatnonzero(rows).tolist() == [5] and not columns.any()


def test_parts_merge_to_the_whole(frame):
    frame[3] = 0
    whole, merged = LineRange.of(frame), LineRange.none(frame.shape)
    for top in (0, 16, 32):
        for left in (0, 30):
            merged.merge(LineRange.of(frame[top : top + 16, left : left + 30]), top, left)
    np.testing.assert_array_equal(merged.rows, whole.rows)
    np.testing.assert_array_equal(merged.columns, whole.columns)
