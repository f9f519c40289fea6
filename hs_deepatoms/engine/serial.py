"""Run a call on one core: where many small tensor operations follow each other, sharing each one costs more than it
saves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from functools import cache
from threading import Lock, Thread
from typing import TypeVar

Result = TypeVar("Result")
_LOCK = Lock()


def on_one_core(call: Callable[..., Result], *arguments, **options) -> Result:
    """``call(*arguments, **options)`` without torch, or the BLAS of numpy and scipy, sharing its work between cores.

    The number of threads that torch uses in other threads, and in this one afterwards, stays as it is. (A thread that
    asks torch for anything for the first time in the instant in which the limit is set would keep it.) That of BLAS is
    one number for the whole process: it is limited for all threads for as long as the call takes.

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
        with _BLAS:
            return call(*arguments, **options)
    finally:
        torch.set_num_threads(usual)


@cache
def _blas():
    """The BLAS libraries that numpy and scipy brought: looking for them takes milliseconds."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


class _OneCoreBlas(ContextDecorator):
    """BLAS on one core from the first call that enters until the last one leaves.

    Its threads wait for work by spinning, a tenth of a second after the last one: a small factorisation takes three
    times as long on two cores as on one, and a product of small matrices takes a core from all that comes after it.
    """

    def __init__(self):
        self._lock, self._calls, self._usual = Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if not self._calls:
                _release_control()
                self._usual = _blas().limit(limits=1)
            self._calls += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                _release_control()
                self._usual.restore_original_limits()
                _release_control()


def _release_control() -> None:
    """Let this thread limit BLAS, and put the limit back: threadpoolctl from 3.8 on heeds one thread only, the first
    that asked, and the last call to end may be in another one."""
    for library in _blas().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


_BLAS = _OneCoreBlas()


def one_core_blas() -> _OneCoreBlas:
    """A context, or decorator, with the BLAS of numpy and scipy on one core, as in `on_one_core`; torch is neither
    limited nor needed.

    Examples
    --------
    >>> import numpy as np
    >>> with one_core_blas():
    ...     float(np.eye(3).dot(np.ones(3)).sum())
    3.0
    """
    return _BLAS
