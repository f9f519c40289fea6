"""How kernels are compiled, and how one job is shared between threads without a bit of its result depending on that."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from numba import njit
from numba.core import event

from hs_deepatoms._core.cores import all_cores, cores

_logger = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[2]


def kernel(function: Callable) -> Callable:
    """Compile a loop when it is first called, and keep it for later sessions.

    Sums may be taken in another order, or loops would not be vectors' work; NaN and infinity stay themselves.
    """
    compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})(function)
    # what is kept holds the kernels it calls as well, and is out of date when any file of these changes, not its own
    kept = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(kept, "_source_stamp"):
        kept._source_stamp = _sources()
    return compiled


class _Patience(event.Listener):
    """Says once why a first call takes its time: nobody waits half a minute without a word."""

    said = False

    def on_start(self, event) -> None:
        function = getattr(event.data.get("dispatcher"), "py_func", None)
        if not self.said and getattr(function, "__module__", "").startswith(f"{_PACKAGE.name}."):
            self.said = True
            _logger.warning(
                "Compiling loops, once after installation: this takes some seconds for rings, about half a minute for "
                "the fit of columns, and several on a busy machine."
            )

    def on_end(self, event) -> None:
        pass


event.register("numba:compile", _Patience())


@cache
def _sources() -> tuple:
    files = sorted(_PACKAGE.glob("*/compiled/*.py"))
    return tuple((str(file.relative_to(_PACKAGE)), file.stat().st_mtime, file.stat().st_size) for file in files)


def in_parts(compiled: Callable, n: int, *arguments, part: int = 512) -> None:
    """``compiled(start, stop, *arguments)`` for all parts of ``range(n)``, on as many threads as there are cores.

    A part writes what no other one does, and nothing of it depends on where parts begin: one thread takes all at once.
    """
    if n <= 2 * part or cores() == 1:
        if n:
            compiled(0, n, *arguments)
        return
    starts = iter(range(0, n, part))

    def work() -> None:
        for start in starts:  # the next one for whoever asks first
            compiled(start, min(n, start + part), *arguments)

    helpers = [_pool(os.getpid()).submit(work) for _ in range(min(cores(), -(-n // part)) - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():  # others were busy: this thread did all of it
                helper.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Waiting threads; a forked process has none of those of its parent."""
    return ThreadPoolExecutor(max(1, all_cores() - 1), thread_name_prefix="columns")
