"""Warnings that point at the line of the user who called us, however deep in here they arise."""

from __future__ import annotations

import os
import sys
import warnings

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def warn_user(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line that is none of ours.

    Parameters
    ----------
    text
        What is said.
    category
        Of the warning.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     warn_user("Look here.")
    >>> said[0].filename.endswith("ase.py")
    False
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(HOME):
        frame = frame.f_back
    names = frame.f_globals
    registry = names.setdefault("__warningregistry__", {})
    module = names.get("__name__", "<unknown>")
    warnings.warn_explicit(text, category, frame.f_code.co_filename, frame.f_lineno, module, registry)
