"""Whether a number is one that is allowed, asked in one way everywhere; True and False are no numbers."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain

LEAVE_OUT = "Leave it out for the default."


def is_whole(value: Any, least: int = 0, most: float = np.inf) -> bool:
    """Whether it is a whole number (of Python's or NumPy's types) from ``least`` to ``most``.

    Examples
    --------
    >>> [is_whole(value, 1) for value in (1, np.uint8(3), 0, 1.0, True, "1", None)]
    [True, True, False, False, False, False, False]
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and bool(least <= value <= most)


def is_number(value: Any) -> bool:
    """Whether it is a finite real number.

    Examples
    --------
    >>> [is_number(value) for value in (-1, np.float32(0.5), np.nan, np.inf, 1j, True, "1", None)]
    [True, True, False, False, False, False, False, False]
    """
    return isinstance(value, Real) and not isinstance(value, bool) and bool(-np.inf < value < np.inf)


def check_whole(
    name: str, value: Any, least: int = 0, most: float = np.inf, *, optional: bool = False, todo: str | None = None
) -> None:
    """Refuse what is no whole number from ``least`` to ``most``.

    Parameters
    ----------
    name
        Of the argument.
    value
        What was given.
    least, most
        What is allowed, both included.
    optional
        None is allowed too.
    todo
        What to do; by default, to leave it out where None is allowed, or to choose another value.

    Raises
    ------
    InvalidArgumentError
        If it is none of these.

    Examples
    --------
    >>> check_whole("steps", 0, 1)
    Traceback (most recent call last):
    hs_deepatoms._core.errors.InvalidArgumentError: Got steps=0. Allowed: a whole number of 1 or more. Choose another value.
    """  # noqa: E501
    if not is_whole(value, least, most):
        reach = f"of {least} or more" if most == np.inf else f"from {least} to {most}"
        _refuse(name, value, f"a whole number {reach}", optional, todo)


def check_count(name: str, value: Any) -> None:
    """Refuse what is neither None nor a whole number of 1 or more.

    Raises
    ------
    InvalidArgumentError
        If it is neither.
    """
    check_whole(name, value, 1, optional=True)


def check_number(name: str, value: Any, *, zero: bool = False, optional: bool = False, todo: str | None = None) -> None:
    """Refuse what is no finite number above 0, or of 0 and more with ``zero``.

    Parameters
    ----------
    name, value, optional, todo
        As in `check_whole`.
    zero
        0 is allowed too.

    Raises
    ------
    InvalidArgumentError
        If it is none.

    Examples
    --------
    >>> check_number("temperature", -1.0, zero=True)
    Traceback (most recent call last):
    hs_deepatoms._core.errors.InvalidArgumentError: Got temperature=-1.0. Allowed: a finite number of 0 or more. Choose another value.
    """  # noqa: E501
    if not is_number(value) or value < 0 or (value == 0 and not zero):
        _refuse(name, value, f"a finite number {'of 0 or more' if zero else 'above 0'}", optional, todo)


def _refuse(name: str, value: Any, allowed: str, optional: bool, todo: str | None) -> None:
    if optional and value is None:
        return
    todo = todo or (LEAVE_OUT if optional else "Choose another value.")
    raise InvalidArgumentError(explain(f"{name}={value!r}", f"None or {allowed}" if optional else allowed, todo))
