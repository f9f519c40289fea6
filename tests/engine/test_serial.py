import threading

import pytest
import torch

from hs_deepatoms._core.cores import all_cores, cores
from hs_deepatoms.engine.serial import on_cores, on_one_core
from tests.fresh import run_fresh


def in_a_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_one_core_inside_and_as_before_outside():
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert on_one_core(torch.get_num_threads) == 1
        assert torch.get_num_threads() == 3
        assert in_a_new_thread(torch.get_num_threads) == 3
        assert in_a_new_thread(lambda: (on_one_core(torch.get_num_threads), torch.get_num_threads())) == (1, 3)
    finally:
        torch.set_num_threads(usual)


def test_arguments_results_and_errors_pass_through():
    assert on_one_core(divmod, 7, 2) == (3, 1)
    assert on_one_core(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        on_one_core(divmod, 1, 0)


def test_calls_at_the_same_time_leave_every_thread_as_it_was():
    def work():
        inside = on_one_core(torch.get_num_threads)
        return inside, torch.get_num_threads()

    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = []
        threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [(1, 3)] * 24
        assert in_a_new_thread(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(usual)


def test_blas_is_limited_until_the_last_call_ends():
    """In a process of its own: other libraries of this one may have bound BLAS to a number of threads."""
    code = """
from threadpoolctl import threadpool_info, threadpool_limits
from hs_deepatoms.engine.serial import on_one_core, one_core_blas

def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

on_one_core(len, ())  # loads it
with threadpool_limits(2, user_api="blas"):
    print(on_one_core(on_one_core, blas_threads), on_one_core(lambda: (on_one_core(len, ()), blas_threads())))
    try:
        on_one_core(divmod, 1, 0)
    except ZeroDivisionError:
        print(blas_threads())
    with one_core_blas():
        print(on_one_core(blas_threads), blas_threads())
    print(blas_threads())
"""
    assert run_fresh(code).split() == ["{1}", "(0,", "{1})", "{2}", "{1}", "{1}", "{2}"]


def test_blas_is_limited_in_any_thread_and_given_back_by_any_other():
    """threadpoolctl may heed one thread only; tasks run in others, and the last to end is not the first to begin."""
    code = """
import threading
from threadpoolctl import threadpool_info, threadpool_limits
from hs_deepatoms.engine.serial import one_core_blas

def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

one_core_blas().__enter__(); one_core_blas().__exit__(None, None, None)  # loads it, from this thread
with threadpool_limits(2, user_api="blas"):
    with one_core_blas():
        pass
    def alone():
        with one_core_blas():
            print(blas_threads())
    in_thread(alone)
    print(blas_threads())
    first, second = one_core_blas(), one_core_blas()
    in_thread(lambda: first.__enter__())
    in_thread(lambda: second.__enter__())
    in_thread(lambda: first.__exit__(None, None, None))
    print(blas_threads())
    in_thread(lambda: second.__exit__(None, None, None))
    print(blas_threads())
"""
    assert run_fresh(code).split() == ["{1}", "{2}", "{1}", "{2}"]


def test_a_share_of_the_cores_for_torch_and_compiled_loops():
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        inside = on_cores(2, lambda: (torch.get_num_threads(), cores(), on_one_core(torch.get_num_threads)))
        assert inside == (2, min(2, all_cores()), 1)
        nested = on_cores(3, lambda: (on_one_core(len, ()), torch.get_num_threads(), in_a_new_thread(cores)))
        assert nested == (0, 3, all_cores())
        assert (torch.get_num_threads(), in_a_new_thread(torch.get_num_threads)) == (5, 5)
        assert on_cores(9, torch.get_num_threads) == 5
        with pytest.raises(ZeroDivisionError):
            on_cores(2, divmod, 1, 0)
        assert (torch.get_num_threads(), cores()) == (5, all_cores())
    finally:
        torch.set_num_threads(usual)


def test_a_share_without_torch_loads_none():
    code = """
import sys
from hs_deepatoms._core.cores import cores
from hs_deepatoms.engine.serial import on_cores
print(on_cores(1, cores), "torch" in sys.modules)
"""
    assert run_fresh(code).split() == ["1", "False"]
