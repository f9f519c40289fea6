"""Whether a word is one of those allowed, and yes or no where nobody has to say; asked in one way everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain


def check_choice(name: str, value: Any, allowed: Sequence[str], todo: str = "Choose one of these.") -> str:
    """One of the allowed words.

    Raises
    ------
    InvalidArgumentError
        If it is another one, or no text at all (an array of words, say).

    Examples
    --------
    >>> check_choice("order", "yx", ("yx", "xy"))
    'yx'
    """
    if not isinstance(value, str) or value not in allowed:
        raise InvalidArgumentError(explain(f"{name}={value!r}", ", ".join(map(repr, allowed)), todo))
    return value


def yes_or_no(name: str, value: Any, default: bool) -> bool:
    """True or False; None is the default.

    Raises
    ------
    InvalidArgumentError
        If it is anything else: ``"no"`` would count as True.

    Examples
    --------
    >>> yes_or_no("lazy_output", None, True), yes_or_no("lazy_output", False, True)
    (True, False)
    """
    if value is None:
        return default
    if not isinstance(value, bool | np.bool_):
        raise InvalidArgumentError(explain(f"{name}={value!r}", "True, False or None", "Leave it out for the default."))
    return bool(value)
