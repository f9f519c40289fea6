"""One run at a time on one store, whatever became of the one before."""

import subprocess
import sys

import pytest

from hs_deepatoms._core.errors import StoreError
from hs_deepatoms.engine.lock import lock_file, only_run

HOLD = """
import sys, time
from pathlib import Path
from hs_deepatoms.engine.lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_by_name_until_the_first_is_killed(tmp_path):
    path = tmp_path / "atoms.zarr"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another run is writing"), only_run(path):
            pass
        process.kill()
        process.wait()
    assert lock_file(path).exists()
    with only_run(path):
        path.mkdir()
    assert [one.name for one in tmp_path.iterdir()] == ["atoms.zarr"]


def test_also_within_one_process(tmp_path):
    path = tmp_path / "atoms.zarr"
    with only_run(path), pytest.raises(StoreError, match=r"Got .*another run.* Allowed"), only_run(path):
        pass
    with only_run(path), only_run(tmp_path / "other.zarr"):
        pass


def test_something_in_the_way_of_the_lock(tmp_path):
    path = tmp_path / "atoms.zarr"
    lock_file(path).mkdir()
    with pytest.raises(StoreError, match=r"atoms.zarr.lock' is in the way"), only_run(path):
        pass
