"""Run a call on one core: where many small tensor operations follow each other, sharing each one costs more than it
saves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def on_one_core(call: Callable[..., Result], *arguments, **options) -> Result:
    """``call(*arguments, **options)`` in a thread of its own, in which torch does not share work between cores.

    The number of threads that torch uses anywhere else stays as it is.

    Examples
    --------
    >>> import torch
    >>> on_one_core(torch.get_num_threads)
    1
    """
    with ThreadPoolExecutor(1) as pool:
        _limit(pool)
        return pool.submit(call, *arguments, **options).result()


def _limit(pool: ThreadPoolExecutor) -> None:
    import torch

    # torch's limit is each thread's own, but setting it also sets that of threads yet to come: that is put back.
    # A thread takes the usual limit when it first asks, so it asks before.
    usual = torch.get_num_threads()
    pool.submit(torch.get_num_threads).result()
    try:
        pool.submit(torch.set_num_threads, 1).result()
    finally:
        torch.set_num_threads(usual)
