import threading

import pytest

import hs_deepatoms._core.cores
from hs_deepatoms._core.cores import cores, limited_to


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    """Of a machine with one core no limit can be seen."""
    monkeypatch.setattr(hs_deepatoms._core.cores, "all_cores", lambda: 8)


def test_a_limit_is_of_this_thread_only_and_ends():
    found = []
    with limited_to(1):
        assert cores() == 1
        with limited_to(10**6):
            assert cores() == 8
        assert cores() == 1
        thread = threading.Thread(target=lambda: found.append(cores()))
        thread.start()
        thread.join()
    assert found == [8]
    assert cores() == 8


def test_a_limit_ends_with_an_error():
    with pytest.raises(ValueError, match="here"), limited_to(1):
        raise ValueError("here")
    assert cores() == 8
