"""Freed memory goes back to the system."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hs_deepatoms.engine.heap import _trim, trim_heap


@pytest.mark.skipif(not sys.platform.startswith("linux") or _trim() is None, reason="glibc only")
def test_freed_memory_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    small = [np.ones(8000) for _ in range(3000)]  # 64 kB each: from the heap
    kept = small[::50]  # holes between
    full = resident()
    del small
    trim_heap()
    assert resident() < full - 100e6 and len(kept) == 60


def test_it_may_be_called_anywhere(monkeypatch):
    _trim.cache_clear()
    monkeypatch.setattr(sys, "platform", "win32")
    trim_heap()
    _trim.cache_clear()
