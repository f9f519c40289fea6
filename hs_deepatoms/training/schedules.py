"""Learning-rate factors as functions of the share of the training that is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def one_cycle(used: float) -> float:
    """A short rise, then a cosine to zero (Smith & Topin, arXiv:1708.07120)."""
    rise = 0.05
    if used < rise:
        return 0.05 + 0.95 * used / rise
    return 0.5 * (1 + math.cos(math.pi * (used - rise) / (1 - rise))) + 1e-3


def cosine(used: float) -> float:
    """From one to zero along a cosine (Loshchilov & Hutter, ICLR 2017, arXiv:1608.03983)."""
    return 0.5 * (1 + math.cos(math.pi * min(used, 1.0))) + 1e-3


def constant(used: float) -> float:
    """Always one."""
    return 1.0


def steps_down(used: float) -> float:
    """A tenth of it after half, a hundredth after three quarters of the training."""
    return 1.0 if used < 0.5 else 0.1 if used < 0.75 else 0.01


SCHEDULES: dict[str, Callable[[float], float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "constant": constant,
    "steps": steps_down,
}


def factor_of(schedule: str | Sequence[float] | Callable[[float], float], used: float, swa_from: float | None) -> float:
    """Factor of the learning rate when a share ``used`` of the training is done.

    Where weights are averaged at the end (``swa_from``) the rate stays as it is half-way down, or the averaged weights
    would all be the same.

    Examples
    --------
    >>> factor_of([1.0, 0.1], 0.6, None), factor_of("constant", 0.2, None)
    (0.1, 1.0)
    """
    if swa_from is not None:
        used = min(used, swa_from)
    if isinstance(schedule, str):
        return SCHEDULES[schedule](used)
    if callable(schedule):
        return float(schedule(used))
    return float(schedule[min(int(used * len(schedule)), len(schedule) - 1)])
