"""Numbers that are allowed, and the messages for those that are not."""

import numpy as np
import pytest

from hs_deepatoms._core.numbers import check_count, check_number, check_whole
from hs_deepatoms.errors import InvalidArgumentError


@pytest.mark.parametrize("value", [1, 7, np.int64(2), np.uint8(3), 2**70])
def test_whole_numbers_pass(value):
    check_whole("n", value, 1)
    check_count("n", value)
    check_number("n", value)


@pytest.mark.parametrize("value", [0, -1, 1.0, np.float64(2), np.nan, True, np.True_, "1", [1], np.array([1]), 1j])
def test_others_are_no_counts(value):
    with pytest.raises(InvalidArgumentError, match=r"^Got n=.* Allowed: None or a whole number of 1 or more\. Leave"):
        check_count("n", value)


def test_none_only_where_it_says_so():
    check_count("n", None)
    check_whole("n", None, optional=True)
    check_number("n", None, optional=True)
    for check in (check_whole, check_number):
        with pytest.raises(InvalidArgumentError, match=r"Got n=None\. Allowed: a"):
            check("n", None)


def test_ends_are_allowed_and_named():
    for value in (3, 12):
        check_whole("largest", value, 3, 12)
    for value in (2, 13):
        with pytest.raises(InvalidArgumentError, match=rf"={value}\. .*a whole number from 3 to 12\. Try 6"):
            check_whole("largest", value, 3, 12, todo="Try 6.")


@pytest.mark.parametrize("value", [0, -0.5, np.nan, np.inf, -np.inf, np.complex64(1), False, "2", [2.0]])
def test_no_numbers_above_0(value):
    with pytest.raises(InvalidArgumentError, match=r"fmax=.* Allowed: a finite number above 0\. Choose"):
        check_number("fmax", value)


def test_zero_where_it_is_one():
    check_number("temperature", 0.0, zero=True)
    with pytest.raises(InvalidArgumentError, match="a finite number of 0 or more"):
        check_number("temperature", -1e-9, zero=True)
