"""Blocks that are worked on in threads: in their order, not too far ahead, and nothing runs on after an error."""

from __future__ import annotations

import threading
import time

import pytest

from hs_deepatoms.engine.ahead import AHEAD, MOST, in_threads


@pytest.mark.parametrize("num_workers", [1, 3, None])
def test_results_come_in_the_order_of_the_blocks(num_workers):
    def work(number, wait):
        time.sleep(wait)
        return number

    blocks = [(k, 0.02 * (k % 3 == 0)) for k in range(10)]
    assert list(in_threads(work, blocks, num_workers)) == list(range(10))


def test_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=10)
    assert sorted(in_threads(lambda _: both.wait(), [(0,), (1,)], 2)) == [0, 1]


def test_no_more_blocks_are_read_than_are_worked_on_soon():
    read = []
    found = in_threads(lambda k: k, ((read.append(k) or k,) for k in range(50)), 2)
    assert next(found) == 0 and len(read) == 2 * AHEAD
    found.close()
    assert len(read) == 2 * AHEAD


def test_many_cores_do_not_hold_many_blocks(monkeypatch):
    monkeypatch.setattr("hs_deepatoms.engine.ahead.cores", lambda: 128)
    read = []
    found = in_threads(lambda k: k, ((read.append(k) or k,) for k in range(300)))
    assert next(found) == 0 and len(read) == AHEAD * MOST
    found.close()


def test_an_error_ends_it():
    done = []

    def work(k):
        if k == 1:
            raise ValueError("one")
        time.sleep(0.02)
        done.append(k)

    with pytest.raises(ValueError, match="one"):
        list(in_threads(work, ((k,) for k in range(100)), 2))
    count = len(done)
    time.sleep(0.1)
    assert len(done) == count < 10
