"""One progress bar over a whole job, following HyperSpy's ``show_progressbar``."""

from __future__ import annotations

import numpy as np
from tqdm.auto import tqdm

from hs_deepatoms._core.errors import InvalidArgumentError, explain


def wants_progress(show_progressbar: bool | None) -> bool:
    """None means HyperSpy's own preference, as in HyperSpy."""
    if isinstance(show_progressbar, bool | np.bool_):
        return bool(show_progressbar)
    if show_progressbar is not None:
        got = f"show_progressbar={show_progressbar!r}"
        raise InvalidArgumentError(explain(got, "True, False or None (HyperSpy's preference)", "Choose one of these."))
    from hyperspy.defaults_parser import preferences

    return bool(preferences.General.show_progressbar)


def progress(total: int, description: str, show_progressbar: bool | None, unit: str = "it") -> tqdm:
    """A tqdm bar (silent if not wanted) to be used as a context manager: ``bar.update(n)``."""
    return tqdm(total=total, desc=description, unit=unit, disable=not wants_progress(show_progressbar), leave=True)
