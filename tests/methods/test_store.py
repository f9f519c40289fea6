"""`find_atoms(store=...)`: the same table on disk, whatever stopped it on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import torch

import hs_deepatoms
from hs_deepatoms import find_atoms
from hs_deepatoms._core.errors import InvalidArgumentError, StoreError
from hs_deepatoms.atoms.filed import Filed
from hs_deepatoms.engine.checkpoint import Checkpoint
from hs_deepatoms.engine.lock import only_run
from hs_deepatoms.methods import stored

from .conftest import lattice_image


def stack(frames=5):
    return np.stack([lattice_image((90, 110), seed=k)[0] for k in range(frames)])


@pytest.fixture(scope="module")
def movie():
    return stack()


@pytest.fixture(scope="module")
def whole(movie, tmp_path_factory):
    """The store of the movie by a run that nothing stopped."""
    path = tmp_path_factory.mktemp("whole") / "whole.zarr"
    find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)
    return path


@pytest.fixture(scope="module")
def stopped(movie, tmp_path_factory):
    """What is left of a run that was stopped when all blocks were done."""
    parts = tmp_path_factory.mktemp("stopped") / "atoms.zarr.parts"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stored, "complete", interrupted)
        find_atoms(movie, store=parts.with_suffix(""), navigation_chunks=1, show_progressbar=False)
    return parts


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


def test_tiles_and_regions(tmp_path, small_tiles):
    image = lattice_image((230, 290))[0]
    usual = find_atoms(image, show_progressbar=False)
    same(usual, find_atoms(image, store=tmp_path / "a.zarr", show_progressbar=False))
    assert max(small_tiles) > 1


def test_an_error_on_the_way_and_on_from_there(movie, whole, tmp_path, monkeypatch):
    path, calls, put = tmp_path / "atoms.zarr", [], Filed.put

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
    same(hs_deepatoms.load(whole), again)
    assert bytes_of(path) == bytes_of(whole)
    third = find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)
    assert len(calls) == 6
    same(again, third)


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
def test_a_worker_killed_in_the_middle(movie, whole, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    movie, put, calls = da.from_array(movie, chunks=(1, 90, 110)), Filed.put, []
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
    assert sorted(calls) == list(range(5))
    same(hs_deepatoms.load(whole), atoms)
    assert bytes_of(tmp_path / "atoms.zarr") == bytes_of(whole)


def test_stopped_between_the_last_two_steps(movie, tmp_path, monkeypatch):
    path = tmp_path / "atoms.zarr"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "discard", interrupted)
        find_atoms(movie, store=path, refine="none", show_progressbar=False)
    assert sorted(os.listdir(tmp_path)) == ["atoms.zarr", "atoms.zarr.parts"]
    find_atoms(movie, store=path, refine="none", show_progressbar=False)
    assert os.listdir(tmp_path) == ["atoms.zarr"]


def interrupted(*args):
    raise KeyboardInterrupt


SCRIPT = """
import os, signal, sys
from pathlib import Path
import dask.array as da
import numpy as np
from hs_deepatoms import find_atoms
replace = Path.replace
def killing(self, target):
    if Path(target).name == "columns-0000003.npz":  # written, but not yet called what a finished block is called
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = killing
movie = da.from_array(np.load(sys.argv[2]), chunks=(1, 90, 110))
find_atoms(movie, store=sys.argv[1], navigation_chunks=1, num_workers=1, show_progressbar=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_and_resumed(movie, whole, tmp_path):
    path, parts = tmp_path / "atoms.zarr", tmp_path / "atoms.zarr.parts"
    np.save(tmp_path / "movie.npy", movie)
    run = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path), str(tmp_path / "movie.npy")]
    # with another number of threads than here: not a bit depends on it
    threads = {"OMP_NUM_THREADS": "1" if torch.get_num_threads() > 1 else "2"}
    environment = {**os.environ, **threads, "PYTHONPATH": str(Path(hs_deepatoms.__file__).parents[1])}
    killed = subprocess.run(run, env=environment, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(file.name for file in parts.glob("columns-*.npz")) == [f"columns-{k:07d}.npz" for k in range(3)]
    assert not path.exists()
    find_atoms(da.from_array(movie, chunks=(1, 90, 110)), store=path, navigation_chunks=1, show_progressbar=False)
    assert bytes_of(path) == bytes_of(whole) and len(bytes_of(path)) > 10


def calibrated(movie, scale=0.02, units="nm", title="a", name="x"):
    """A lazy signal."""
    s = hs.signals.Signal2D(da.from_array(movie, chunks=(1, -1, -1))).as_lazy()
    for axis in s.axes_manager.signal_axes:
        axis.scale, axis.units = scale, units
    s.axes_manager.signal_axes[0].name = name
    s.metadata.General.title = title
    return s


def test_other_axes_are_told_and_the_atoms_can_have_them(movie, tmp_path):
    movie = movie[:2]
    path, options = tmp_path / "a.zarr", {"elliptical": True, "show_progressbar": False}
    find_atoms(calibrated(movie), store=path, **options)
    for other, said in (
        ({"scale": 0.021}, r"scale: 0\.02 then, 0\.021 now"),
        ({"scale": 20.0, "units": "pm"}, 'units: "nm" then, "pm" now'),
        ({"name": "u"}, 'name: "x" then, "u" now'),
    ):
        signal = calibrated(movie, **other)
        with pytest.raises(StoreError, match=said):
            find_atoms(signal, store=path, **options)
        made, wanted = hs_deepatoms.positions(hs_deepatoms.load(path), signal=signal), find_atoms(signal, **options)
        for column in wanted.variables:
            if wanted[column].dtype.kind == "f":
                np.testing.assert_allclose(made[column], wanted[column], rtol=1e-5, atol=1e-5, err_msg=column)
            assert made[column].attrs.get("units") == wanted[column].attrs.get("units")
    renamed = find_atoms(calibrated(movie, title="b"), store=path, **options)
    assert json.loads(renamed.attrs["metadata"])["General"]["title"] == "b"


def test_a_run_taken_up_with_other_axes_has_those_throughout(movie, tmp_path, monkeypatch):
    path, put, calls = tmp_path / "a.zarr", Filed.put, []
    options = {"navigation_chunks": 1, "show_progressbar": False}

    def failing(self, stage, number, points):
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        put(self, stage, number, points)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Filed, "put", failing)
        find_atoms(calibrated(movie), store=path, **options)
    other = calibrated(movie, scale=0.021, title="b")
    kept, usual = find_atoms(other, store=path, **options), find_atoms(other, **options)
    same(usual, kept)
    assert kept.attrs["axes"] == usual.attrs["axes"] and kept.attrs["metadata"] == usual.attrs["metadata"]
    same(usual, find_atoms(other, store=path, **options))


def test_a_spacing_in_other_pixels_is_another_job(movie, tmp_path):
    options = {"spacing": "0.2 nm", "refine": "none", "show_progressbar": False}
    find_atoms(calibrated(movie), store=tmp_path / "a.zarr", **options)
    with pytest.raises(StoreError, match="apart: "):
        find_atoms(calibrated(movie, scale=0.0201), store=tmp_path / "a.zarr", **options)


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_torn_block_is_done_again(movie, whole, stopped, tmp_path, left):
    path = tmp_path / "atoms.zarr"
    parts = shutil.copytree(stopped, tmp_path / stopped.name)
    os.truncate(parts / "columns-0000001.npz", int(left * (parts / "columns-0000001.npz").stat().st_size))
    again = find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)
    same(hs_deepatoms.load(whole), again)
    assert bytes_of(path) == bytes_of(whole) and os.listdir(tmp_path) == ["atoms.zarr"]


def test_two_runs_at_once(movie, tmp_path):
    path = tmp_path / "atoms.zarr"
    with only_run(path), pytest.raises(StoreError, match="another run is writing"):
        find_atoms(movie, store=path, refine="none", show_progressbar=False)
    find_atoms(movie, store=path, refine="none", show_progressbar=False)
    with only_run(path):  # of a finished store: nothing is written
        find_atoms(movie, store=path, refine="none", show_progressbar=False)


@pytest.mark.parametrize("lost", ["y", "y_px/c", "x_px", "axes"])
def test_a_finished_store_that_lost_parts_since(tmp_path, movie, whole, lost):
    path = shutil.copytree(whole, tmp_path / "atoms.zarr")
    if lost == "axes":
        header = json.loads((path / "zarr.json").read_text())
        del header["attributes"]["axes"]
        (path / "zarr.json").write_text(json.dumps(header))
    else:
        shutil.rmtree(path / lost)
    with pytest.raises(StoreError, match=rf"lost parts since \(.*{lost.split('/')[0]}\)"):
        find_atoms(movie, store=path, navigation_chunks=1, show_progressbar=False)


@pytest.mark.parametrize("store", ["a\0b.zarr", "x" * 3000 + ".zarr"])
def test_stores_that_no_file_system_takes(movie, store):
    with pytest.raises(InvalidArgumentError, match="Got store="):
        find_atoms(movie, store=store, show_progressbar=False)
