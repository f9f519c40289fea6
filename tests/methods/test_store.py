"""`find_atoms(store=...)`: the same table on disk, whatever stopped it on the way."""

import os
import signal
import subprocess
import sys
import time

import dask.array as da
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms import find_atoms
from hs_deepatoms._core.errors import InvalidArgumentError, StoreError
from hs_deepatoms.atoms.filed import Filed
from hs_deepatoms.engine.checkpoint import Checkpoint

from .conftest import lattice_image


def stack(frames=5):
    return np.stack([lattice_image((90, 110), seed=k)[0] for k in range(frames)])


@pytest.fixture(scope="module")
def movie():
    return stack()


def bytes_of(folder):
    """Every chunk of every array, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("c/*")) if path.is_file()}


def same(first, second):
    for name in first.variables:
        np.testing.assert_array_equal(first[name].values, second[name].values, err_msg=name)
        assert first[name].dtype == second[name].dtype, name


@pytest.mark.parametrize("refine", ["none", "quick"])
def test_the_table_on_disk_is_that_in_memory(movie, tmp_path, refine):
    usual = find_atoms(movie, refine=refine, show_progressbar=False)
    kept = find_atoms(movie, refine=refine, store=tmp_path / "atoms.zarr", show_progressbar=False)
    assert kept["y"].chunks is not None and sorted(os.listdir(tmp_path)) == ["atoms.zarr"]
    same(usual, kept)
    loaded = hs_deepatoms.load(tmp_path / "atoms.zarr")
    same(usual, loaded)
    lazy = hs_deepatoms.load(tmp_path / "atoms.zarr", lazy=True)
    assert lazy["height" if refine == "quick" else "probability"].chunks is not None
    same(usual, lazy)
    assert loaded.deepatoms.count().values.tolist() == usual.deepatoms.count().values.tolist()


def test_tiles_and_regions(movie, tmp_path, small_tiles):
    image = lattice_image((300, 420))[0]
    usual = find_atoms(image, show_progressbar=False)
    same(usual, find_atoms(image, store=tmp_path / "a.zarr", show_progressbar=False))
    assert max(small_tiles) > 1


def test_an_error_on_the_way_and_on_from_there(movie, tmp_path, monkeypatch):
    path, calls = tmp_path / "atoms.zarr", []
    whole = find_atoms(movie, store=tmp_path / "whole.zarr", navigation_chunks=1, show_progressbar=False)
    put = Filed.put

    def failing(self, stage, number, points):
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        put(self, stage, number, points)

    monkeypatch.setattr(Filed, "put", failing)
    with pytest.raises(KeyboardInterrupt):
        find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)
    assert not path.exists() and (tmp_path / "atoms.zarr.parts").is_dir()
    again = find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)
    assert len(calls) == 3 + 3  # two blocks were there already
    same(whole, again)
    assert bytes_of(path) == bytes_of(tmp_path / "whole.zarr")
    third = find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)
    assert len(calls) == 6
    same(whole, third)


def test_other_jobs_are_refused(movie, tmp_path):
    path = tmp_path / "atoms.zarr"
    find_atoms(movie, store=path, refine="none", show_progressbar=False)
    for other, options in ((movie[:4], {"refine": "none"}), (movie + 1, {"refine": "none"}), (movie, {})):
        with pytest.raises(StoreError, match=r"Got .* Allowed"):
            find_atoms(other, store=path, show_progressbar=False, **options)
    (tmp_path / "b.zarr.parts").mkdir()
    with pytest.raises(StoreError, match="no unfinished job"):
        find_atoms(movie, store=tmp_path / "b.zarr", show_progressbar=False)
    for bad in (tmp_path / "atoms.nc", 3, tmp_path / "nowhere" / "atoms.zarr"):
        with pytest.raises(InvalidArgumentError, match="store="):
            find_atoms(movie, store=bad, show_progressbar=False)


@pytest.mark.filterwarnings("ignore:This looks like noise")
def test_nothing_is_an_empty_store(tmp_path):
    noise = np.random.default_rng(0).normal(size=(2, 180, 200))
    atoms = find_atoms(noise, store=tmp_path / "none.zarr", show_progressbar=False)
    assert atoms.sizes["atom"] == 0 and atoms.deepatoms.count().values.tolist() == [0, 0]
    same(find_atoms(noise, show_progressbar=False), atoms)


def test_the_atoms_do_not_depend_on_how_the_work_is_shared_out(movie):
    lazy = da.from_array(movie, chunks=(2, 50, 110))
    usual = find_atoms(movie, show_progressbar=False)
    for data, options in (
        (movie, {"batch_size": 1}),
        (movie, {"batch_size": 3, "num_workers": 2}),
        (lazy, {"navigation_chunks": 2, "num_workers": 1}),
        (lazy.rechunk((5, 90, 30)), {"num_workers": 3}),
    ):
        atoms = find_atoms(data, show_progressbar=False, **options)
        assert atoms["nav_0_index"].values.tolist() == usual["nav_0_index"].values.tolist(), options
        for name in ("y_px", "x_px"):
            np.testing.assert_allclose(atoms[name], usual[name], rtol=0, atol=1e-3, err_msg=str(options))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_worker_killed_in_the_middle(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    movie, put, calls = da.from_array(stack(7), chunks=(1, 90, 110)), Filed.put, []
    whole = find_atoms(movie, store=tmp_path / "whole.zarr", navigation_chunks=1, show_progressbar=False)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))

        def killing(self, stage, number, points):
            calls.append(number)
            if len(calls) == 2:  # chunks of the next blocks lie in its memory already
                os.kill(victim, signal.SIGKILL)
            put(self, stage, number, points)

        monkeypatch.setattr(Filed, "put", killing)
        atoms = find_atoms(movie, store=tmp_path / "atoms.zarr", navigation_chunks=1, show_progressbar=False)
    assert sorted(calls) == list(range(7))
    same(whole, atoms)
    assert bytes_of(tmp_path / "atoms.zarr") == bytes_of(tmp_path / "whole.zarr")


def test_stopped_between_the_last_two_steps(movie, tmp_path, monkeypatch):
    path = tmp_path / "atoms.zarr"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "discard", interrupted)
        find_atoms(movie, store=path, refine="none", show_progressbar=False)
    assert sorted(os.listdir(tmp_path)) == ["atoms.zarr", "atoms.zarr.parts"]
    find_atoms(movie, store=path, refine="none", show_progressbar=False)
    assert os.listdir(tmp_path) == ["atoms.zarr"]


def interrupted(self):
    raise KeyboardInterrupt


FRAMES = 20
SCRIPT = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[2])
from tests.methods.test_store import FRAMES, stack
import dask.array as da
from hs_deepatoms import find_atoms
find_atoms(da.from_array(stack(FRAMES), chunks=(1, 90, 110)), store=sys.argv[1], navigation_chunks=1, num_workers=1,
           show_progressbar=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_and_resumed(tmp_path):
    root = str(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
    path, parts = tmp_path / "atoms.zarr", tmp_path / "atoms.zarr.parts"
    run = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path), root]
    process = subprocess.Popen(run)
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None and len(list(parts.glob("columns-*.npz"))) < 3:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert 3 <= len(list(parts.glob("columns-*.npz"))) < FRAMES and not path.exists()
    subprocess.run(run, check=True, timeout=300)
    # here, with another number of threads perhaps: not a bit depends on it
    movie = da.from_array(stack(FRAMES), chunks=(1, 90, 110))
    find_atoms(movie, store=tmp_path / "w.zarr", navigation_chunks=1, show_progressbar=False)
    assert bytes_of(path) == bytes_of(tmp_path / "w.zarr") and len(bytes_of(path)) > 10
