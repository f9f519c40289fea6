"""Run a call on one core: where many small tensor operations follow each other, sharing each one costs more than it
saves."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
from typing import TypeVar

Result = TypeVar("Result")
_LOCK = Lock()


def on_one_core(call: Callable[..., Result], *arguments, **options) -> Result:
    """``call(*arguments, **options)`` without torch sharing its work between cores.

    The number of threads that torch uses in other threads, and in this one afterwards, stays as it is. (A thread that
    asks torch for anything for the first time in the instant in which the limit is set would keep it.)

    Examples
    --------
    >>> import torch
    >>> on_one_core(torch.get_num_threads)
    1
    """
    import torch

    with _LOCK:  # or another call would take the limit of this one for the usual one
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        # the limit is each thread's own, but setting it also sets that of threads yet to come: put back by another
        others = Thread(target=torch.set_num_threads, args=(usual,))
        others.start()
        others.join()
    try:
        return call(*arguments, **options)
    finally:
        torch.set_num_threads(usual)
