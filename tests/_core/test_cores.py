import threading

import pytest

from hs_deepatoms._core.cores import all_cores, cores, limited_to


def test_a_limit_is_of_this_thread_only_and_ends():
    found = []
    with limited_to(1):
        assert cores() == 1
        with limited_to(10**6):
            assert cores() == all_cores()
        assert cores() == 1
        thread = threading.Thread(target=lambda: found.append(cores()))
        thread.start()
        thread.join()
    assert found == [all_cores()]
    assert cores() == all_cores()


def test_a_limit_ends_with_an_error():
    with pytest.raises(ValueError, match="here"), limited_to(1):
        raise ValueError("here")
    assert cores() == all_cores()
