from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hs_deepatoms.engine import resident
from hs_deepatoms.engine.resident import networks_at_once, one_at_a_time, turn_of_network
from hs_deepatoms.engine.serial import on_cores


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


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(resident, "all_cores", lambda: 4)
    here = threading.local()
    monkeypatch.setattr(resident, "cores", lambda: getattr(here, "share", 4))
    return here


@pytest.mark.parametrize(("allowed", "each"), [(3, 2), (1, 1)])
def test_blocks_that_share_the_cores_run_two_networks_at_once_with_half_of_them_each(
    allowed, each, four_cores, monkeypatch
):
    monkeypatch.setattr(resident, "usual_threads", lambda: allowed)  # what the user has set for torch
    both, threads = threading.Barrier(2), []

    def work(_):
        four_cores.share = 1
        with turn_of_network("cpu"):
            threads.append(torch.get_num_threads())
            both.wait(timeout=20)  # breaks unless two are inside
        return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        after = list(pool.map(lambda _: on_cores(1, work, _), range(4)))
    assert threads == [each] * 4 and after == [1] * 4


@pytest.mark.parametrize(("device", "share", "expected"), [("cpu", 4, 1), ("cpu", 1, 2), ("cuda", 1, 1)])
def test_networks_at_once(four_cores, device, share, expected):
    four_cores.share = share
    assert networks_at_once(device) == expected


def test_one_of_several_processes_has_its_share_alone(four_cores, monkeypatch):
    four_cores.share = 1
    monkeypatch.setattr(resident, "parent_process", lambda: "another")
    assert networks_at_once("cpu") == 1


def test_a_network_that_has_all_cores_runs_alone(four_cores):
    with turn_of_network("cpu"), ThreadPoolExecutor(1) as pool:
        assert not pool.submit(resident._locks["cpu"].acquire, blocking=False).result()
