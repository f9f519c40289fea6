from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

from hs_deepatoms.engine.resident import one_at_a_time


def test_one_thread_at_a_time_on_a_device():
    inside, most = 0, 0
    gate = threading.Barrier(4)

    def work(_):
        nonlocal inside, most
        gate.wait()
        for _ in range(20):
            with one_at_a_time("cpu"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == 1


def test_devices_do_not_wait_for_each_other_and_a_thread_may_enter_twice():
    with one_at_a_time("cuda:0"), one_at_a_time("cuda:0"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: one_at_a_time("cuda:1").__enter__()).result(timeout=10) is None


def test_it_travels_by_name():
    assert pickle.loads(pickle.dumps(one_at_a_time)) is one_at_a_time
