"""Words that are allowed, yes or no, and seeds; and the messages for others."""

import numpy as np
import pytest

from hs_deepatoms._core.choices import check_choice, yes_or_no
from hs_deepatoms._core.seeds import generator
from hs_deepatoms.errors import InvalidArgumentError


@pytest.mark.parametrize("value", ["dark ", "Auto", "", None, 0, True, ["auto"], ("auto",), np.array(["auto", "dark"])])
def test_other_words_are_named_errors_arrays_too(value):
    with pytest.raises(InvalidArgumentError, match=r"^Got contrast=.* Allowed: 'auto', 'dark'\. Choose one of these"):
        check_choice("contrast", value, ("auto", "dark"))


def test_yes_and_no_are_taken_at_their_word():
    assert yes_or_no("lazy_output", np.True_, False) is True and yes_or_no("lazy_output", None, False) is False
    for value in ("no", 0, 1, [True], np.array(False)):
        with pytest.raises(InvalidArgumentError, match=r"Got lazy_output=.* Allowed: True, False or None"):
            yes_or_no("lazy_output", value, True)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", {}])
def test_seeds_that_are_none(seed):
    with pytest.raises(InvalidArgumentError, match=r"Got seed=.* whole number of 0 or more"):
        generator(seed)
