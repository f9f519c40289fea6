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


def progress(
    total: int, description: str, show_progressbar: bool | None, unit: str = "it", *, delay: float = 0.0
) -> tqdm:
    """A tqdm bar (silent if not wanted) to be used as a context manager: ``bar.update(n)``.

    With the unit "%" it shows the share alone, of a total of 100; with a delay (seconds) it is shown only where the job
    takes longer.
    """
    look = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]" if unit == "%" else None
    return tqdm(total=total, desc=description, unit=unit, bar_format=look, delay=delay, leave=True,
                disable=not wants_progress(show_progressbar))  # fmt: skip


class Share:
    """A part of a bar that is filled by steps of another size: tasks, on a bar of frames or percent.

    Parameters
    ----------
    bar : tqdm
    steps : int
        Until the part is full.
    total : int
        Of the bar's units in the part.
    """

    def __init__(self, bar: tqdm, steps: int, total: int):
        self.bar, self.steps, self.total, self.n = bar, max(1, steps), total, 0

    def update(self, n: int = 1) -> None:
        """Take note of ``n`` more steps."""
        before, self.n = self.n * self.total // self.steps, self.n + n
        self.bar.update(self.n * self.total // self.steps - before)
