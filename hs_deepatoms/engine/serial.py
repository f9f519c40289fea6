"""Run a call on one core, or on a share of them: where many small tensor operations follow each other, or others work
beside it, sharing each operation costs more than it saves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from functools import cache
from threading import Lock, Thread
from typing import TypeVar

from hs_deepatoms._core.cores import limited_to

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
    with _BLAS:
        return _with_threads(1, call, *arguments, **options)


def on_cores(count: int, call: Callable[..., Result], *arguments, **options) -> Result:
    """``call(*arguments, **options)`` with so many cores for torch, where it is loaded, and for compiled loops.

    For calls beside others: more threads than there are cores wait for each other.

    Examples
    --------
    >>> import torch
    >>> on_cores(1, torch.get_num_threads)
    1
    """
    with limited_to(count):
        if "torch" not in sys.modules:
            return call(*arguments, **options)
        return _with_threads(count, call, *arguments, **options)


def _with_threads(count: int, call: Callable[..., Result], *arguments, **options) -> Result:
    """A call with at most so many threads of torch."""
    import torch

    with _LOCK:  # while another thread is changing its own, this one might take that for the usual number
        fewest = min(count, torch.get_num_threads())
    with torch_threads(fewest):
        return call(*arguments, **options)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch uses so many threads for what this thread asks of it in the body.

    Examples
    --------
    >>> import torch
    >>> with torch_threads(3):
    ...     torch.get_num_threads()
    3
    """
    import torch

    with _LOCK:
        usual = torch.get_num_threads()
        if count != usual:
            _set_threads(count)
    try:
        yield
    finally:
        if count != usual:
            with _LOCK:
                _set_threads(usual)


def _set_threads(count: int) -> None:
    """Threads that torch uses in this thread: setting them also sets those of threads yet to come, put back here."""
    import torch

    usual = usual_threads()
    torch.set_num_threads(count)
    if count != usual:
        _in_another(lambda: torch.set_num_threads(usual))


def usual_threads() -> int:
    """Threads that torch uses in a thread that nobody has limited: as many as the user, or torch itself, has set."""
    import torch

    found: list = []
    _in_another(lambda: found.append(torch.get_num_threads()))
    return found[0]


def _in_another(call: Callable[[], None]) -> None:
    other = Thread(target=call)
    other.start()
    other.join()


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
