from __future__ import annotations

import gc
import signal
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest

import hs_deepatoms._core.cores
from hs_deepatoms._core.cores import cores
from hs_deepatoms._core.errors import DeepAtomsError, InvalidArgumentError
from hs_deepatoms.engine import mapping
from hs_deepatoms.engine.mapping import map_blocks, map_to_array
from hs_deepatoms.engine.plan import plan_blocks
from tests.engine.tracked import Tracked, dies_once, doubled, fails, pixels, total

MIB = 2**20
quiet = {"show_progressbar": False}


def whole(shape):
    return np.ascontiguousarray(np.broadcast_to(pixels(shape, (0,) * len(shape)), shape))


def count(array, block):
    return array.shape


@pytest.mark.parametrize("navigation", [(), (5,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("kind", ["whole", "strips", "tiles", "crosswise"])
def test_results_do_not_depend_on_chunking(navigation, kind):
    shape = (*navigation, 90, 70)
    signal = {"whole": (90, 70), "strips": (90, 7), "tiles": (32, 24), "crosswise": (16, 70)}[kind]
    nav = navigation if kind == "crosswise" else tuple(min(2, n) for n in navigation)
    for frames in (1, 4):
        blocks = plan_blocks(navigation, shape[-2:], tile=96 if frames > 1 else 40, halo=8, frames_per_block=frames)
        wanted = map_blocks(whole(shape), blocks, total, arguments=(1, 0.5), **quiet)
        source = Tracked(shape, (*nav, *signal))
        for memory in (mapping.MEMORY, 3000):
            found = map_blocks(source.array, blocks, total, arguments=(1, 0.5), memory=memory, **quiet)
            assert found == wanted


def test_eager_data_is_sliced_without_copies_and_left_as_it_is():
    data = whole((6, 64, 48))
    blocks = plan_blocks(6, (64, 48), tile=64, halo=0, frames_per_block=2)
    arrays = map_blocks(data, blocks, lambda array, block: array, **quiet)
    assert all(np.shares_memory(array, data) for array in arrays)
    assert all(array.flags.c_contiguous for array in arrays)


def test_a_block_across_rows_of_the_navigation():
    data = whole((3, 4, 20, 30))
    blocks = plan_blocks(12, (20, 30), tile=32, halo=0, frames_per_block=5)
    arrays = map_blocks(da.from_array(data, chunks=(2, 3, 20, 16)), blocks, lambda a, b: a, **quiet)
    np.testing.assert_array_equal(np.concatenate(arrays), data.reshape(12, 20, 30))


STACK = (500, 32, 24)


@pytest.mark.parametrize("frames", [1, 4, 50, 7])
def test_a_stack_is_never_gathered(frames):
    source = Tracked(STACK, (frames, *STACK[1:]))
    blocks = plan_blocks(STACK[:1], STACK[1:], tile=64, halo=8, frames_per_block=4, chunks=source.array.chunks)
    chunk, frame = frames * 32 * 24 * 4, 32 * 24 * 4
    results = map_blocks(source.array, blocks, count, num_workers=2, **quiet)
    assert sum(shape[0] for shape in results) == 500
    assert set(source.loads.values()) == {1}
    # Two waves of 2 x 2 workers' blocks, or the chunk in use and the next.
    assert source.most <= max(2 * chunk, 2 * 4 * max(4 * frame, chunk))
    gc.collect()
    assert source.alive == 0


def test_workers_that_are_done_begin_with_the_next_wave():
    """A block waits for one of the wave after its own, which comes only if the other worker goes on."""
    data = da.zeros((8, 20, 30), chunks=(1, 20, 30))
    blocks = plan_blocks(8, (20, 30), tile=32, halo=0, frames_per_block=1)
    later = threading.Event()

    def met(array, block):
        if block.frames[0] == 4:
            later.set()
        return later.wait(30) if block.frames[0] == 3 else True

    assert all(map_blocks(data, blocks, met, num_workers=2, **quiet))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_block_may_map_blocks_itself(num_workers):
    """All workers may be at it: none is left for the blocks inside."""
    data = da.zeros((4, 20, 30), chunks=(1, 20, 30))
    blocks = plan_blocks(4, (20, 30), tile=32, halo=0, frames_per_block=1)
    inner = plan_blocks(4, (20, 30), tile=32, halo=0, frames_per_block=2)

    def both(array, block):
        return map_blocks(data, inner, count, num_workers=num_workers, **quiet)

    found = map_blocks(data, blocks, both, num_workers=num_workers, **quiet)
    assert found == [[(2, 20, 30)] * 2] * 4


def test_threads_stay_for_the_next_job():
    data = da.zeros((6, 20, 30), chunks=(1, 20, 30))
    blocks = plan_blocks(6, (20, 30), tile=32, halo=0, frames_per_block=1)

    def who(array, block):
        return threading.get_ident()

    seen = {thread for _ in range(4) for thread in map_blocks(data, blocks, who, num_workers=2, **quiet)}
    assert len(seen) <= 2 and threading.get_ident() not in seen


@pytest.mark.parametrize(("blocks", "workers", "each"), [(6, 3, 2), (2, 3, 4), (1, 3, 8), (6, 1, 8), (6, 16, 1)])
def test_blocks_side_by_side_share_the_cores(monkeypatch, blocks, workers, each):
    monkeypatch.setattr(hs_deepatoms._core.cores, "all_cores", lambda: 8)
    stack = np.zeros((blocks, 4, 5))
    grid = plan_blocks(blocks, (4, 5), tile=8, halo=0, frames_per_block=1)
    options = {"num_workers": workers, "show_progressbar": False}
    assert map_blocks(stack, grid, lambda array, block: cores(), **options) == [each] * blocks
    rest = map_blocks(stack, grid[:1], lambda array, block: cores(), of=blocks, **options)
    assert rest == [each]  # what is left of a job is done as the whole


@pytest.mark.parametrize("lazy", [True, False])
def test_what_a_block_raises_ends_the_job_at_once(lazy):
    data = da.zeros((40, 20, 30), chunks=(1, 20, 30))
    blocks = plan_blocks(40, (20, 30), tile=32, halo=0, frames_per_block=1)
    begun = []

    def third_fails(array, block):
        begun.append(block.frames[0])
        if len(begun) == 3:
            raise ZeroDivisionError(block.frames)
        return array.shape

    with pytest.raises(ZeroDivisionError):
        map_blocks(data if lazy else data.compute(), blocks, third_fails, num_workers=2, **quiet)
    assert len(begun) < 12


@pytest.mark.parametrize(
    ("chunks", "limit"),
    [((256, 256), 0.55), ((1024, 8), 0.45), ((8, 1024), 0.45), ((1024, 1024), 1.0), ((100, 300), 0.6)],
)
def test_one_large_image_loads_each_chunk_once(chunks, limit):
    shape = (1024, 1024)
    source = Tracked(shape, chunks)
    blocks = plan_blocks((), shape, tile=128, halo=16, chunks=source.array.chunks)
    found = map_blocks(source.array, blocks, total, num_workers=2, **quiet)
    assert set(source.loads.values()) == {1}
    assert source.most <= limit * 4 * 1024 * 1024
    assert found == map_blocks(whole(shape), blocks, total, **quiet)


def test_chunks_across_all_frames_are_cut_as_they_come():
    source = Tracked((96, 64, 48), (96, 16, 16))
    blocks = plan_blocks(96, (64, 48), tile=64, halo=0, frames_per_block=2)
    size = 96 * 64 * 48 * 4
    memory = size // 3
    found = map_blocks(source.array, blocks, total, num_workers=2, memory=memory, **quiet)
    assert found == map_blocks(whole((96, 64, 48)), blocks, total, **quiet)
    chunk = size // 12
    # Every slab of a ninth of the stack loads each chunk once.
    assert max(source.loads.values()) <= 10
    assert source.most <= memory // 2 + chunk


def test_what_a_rechunk_cuts_up_is_loaded_once():
    source = Tracked((60, 32, 24), (20, 32, 24))
    blocks = plan_blocks(60, (32, 24), tile=64, halo=0, frames_per_block=1)
    for scheduler in ("threads", "sync"):
        source.loads.clear()
        with dask.config.set(scheduler=scheduler):
            map_blocks(source.array.rechunk((1, 32, 24)), blocks, total, num_workers=2, **quiet)
        assert set(source.loads.values()) == {1}


def test_only_the_part_that_blocks_need_is_loaded():
    source = Tracked((20, 32, 24), (1, 32, 24))
    blocks = [b for b in plan_blocks(20, (32, 24), tile=64, halo=0) if b.frames[0] in (3, 11)]
    map_blocks(source.array, blocks, total, **quiet)
    assert sorted(source.loads) == [(3, 0, 0), (11, 0, 0)]


def test_loading_overlaps_the_function():
    running, seen = threading.Event(), []

    def load():
        seen.append(running.is_set())
        time.sleep(0.02)

    def run(array, block):
        running.set()
        time.sleep(0.06)
        running.clear()

    source = Tracked((12, 32, 24), (1, 32, 24), delay=load)
    map_blocks(source.array, plan_blocks(12, (32, 24), tile=64, halo=0), run, num_workers=1, **quiet)
    assert any(seen[2:])


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize("lazy", [True, False])
def test_local_schedulers(scheduler, lazy):
    data = whole((3, 4, 50, 70))
    blocks = plan_blocks((3, 4), (50, 70), tile=48, halo=8)
    wanted = map_blocks(data, blocks, total, **quiet)
    with dask.config.set(scheduler=scheduler):
        given = da.from_array(data, chunks=(1, 2, 32, 70)) if lazy else data
        assert map_blocks(given, blocks, total, num_workers=2, **quiet) == wanted


def test_a_scheduler_of_ones_own():
    calls = []

    def get(graph, keys, **options):
        calls.append(len(graph))
        return dask.get(graph, keys)

    data = whole((4, 20, 30))
    blocks = plan_blocks(4, (20, 30), tile=32, halo=0)
    with dask.config.set(scheduler=get):
        found = map_blocks(da.from_array(data, chunks=(1, 20, 30)), blocks, total, **quiet)
    assert calls
    assert found == map_blocks(data, blocks, total, **quiet)


def test_processes_and_their_errors():
    data = whole((4, 20, 30))
    blocks = plan_blocks(4, (20, 30), tile=32, halo=0)
    wanted = map_blocks(data, blocks, total, **quiet)
    with dask.config.set(scheduler="processes"):
        assert map_blocks(da.from_array(data, chunks=(2, 20, 16)), blocks, total, num_workers=1, **quiet) == wanted
        with pytest.raises(KeyError) as error:
            map_blocks(data, blocks, fails, num_workers=1, **quiet)
    assert error.value.args == ("no such column: 'height'",)
    assert type(error.value) is KeyError


@pytest.mark.parametrize("processes", [False, True])
def test_a_cluster(processes):
    distributed = pytest.importorskip("distributed")
    data = whole((6, 40, 30))
    blocks = plan_blocks(6, (40, 30), tile=32, halo=8)
    source = Tracked((6, 40, 30), (2, 40, 10))
    wanted = map_blocks(data, blocks, total, **quiet)
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": processes, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        lazy = da.from_array(data, chunks=(2, 40, 10)) if processes else source.array
        assert map_blocks(lazy, blocks, total, **quiet) == wanted
        assert map_blocks(data, blocks, total, **quiet) == wanted
        with pytest.raises(KeyError, match="no such column"):
            map_blocks(lazy, blocks, fails, **quiet)
        made = map_to_array(lazy, blocks, doubled, leading=(2,))
        np.testing.assert_array_equal(made.compute(), np.stack([data, -data]))


def test_a_cluster_reads_hspy_files(tmp_path):
    distributed = pytest.importorskip("distributed")
    import hyperspy.api as hs

    data = whole((4, 40, 30))
    hs.signals.Signal2D(data).save(tmp_path / "stack.hspy")
    lazy = hs.load(tmp_path / "stack.hspy", lazy=True).data
    blocks = plan_blocks(4, (40, 30), tile=64, halo=0)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        assert map_blocks(lazy, blocks, total, **quiet) == map_blocks(data, blocks, total, **quiet)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_cluster_that_loses_a_worker_loses_nothing(tmp_path):
    distributed = pytest.importorskip("distributed")
    data = whole((8, 40, 30))
    blocks = plan_blocks(8, (40, 30), tile=64, halo=0)
    wanted = map_blocks(data, blocks, total, **quiet)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        # of eager data dask has no second copy once they are sent; lazy data it loads again
        for kind, source in (("eager", data), ("lazy", da.from_array(data, chunks=(2, 40, 30)))):
            marker = tmp_path / kind
            assert map_blocks(source, blocks, dies_once, arguments=(str(marker),), **quiet) == wanted
            assert marker.exists()


def test_a_cluster_holds_what_a_rechunk_cuts_up():
    distributed = pytest.importorskip("distributed")
    source = Tracked((20, 32, 24), (10, 32, 24))
    blocks = plan_blocks(20, (32, 24), tile=64, halo=0)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        map_blocks(source.array.rechunk((1, 32, 24)), blocks, total, **quiet)
    assert set(source.loads.values()) == {1}


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_errors_come_through_unchanged(lazy, scheduler):
    class Odd(DeepAtomsError):
        def __init__(self, number, text):
            super().__init__(f"{text}: {number}")
            self.number = number

    def broken(array, block):
        raise Odd(7, "column")

    data = whole((3, 20, 30))
    blocks = plan_blocks(3, (20, 30), tile=32, halo=0)
    with dask.config.set(scheduler=scheduler), pytest.raises(Odd) as error:
        map_blocks(da.from_array(data, chunks=(1, 20, 30)) if lazy else data, blocks, broken, **quiet)
    assert error.value.number == 7
    assert str(error.value) == "column: 7"


def test_errors_while_loading_come_through():
    def load():
        raise OSError("the disk is gone")

    source = Tracked((3, 20, 30), (1, 20, 30), delay=load)
    with pytest.raises(OSError, match="the disk is gone"):
        map_blocks(source.array, plan_blocks(3, (20, 30), tile=32, halo=0), total, **quiet)


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize("lazy", [True, False])
def test_the_bar_counts_blocks(monkeypatch, lazy, scheduler):
    bars = []

    class Bar:
        def __init__(self, total):
            self.total, self.n, self.steps = total, 0, 0
            bars.append(self)

        def update(self, n=1):
            self.n += n
            self.steps += n > 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(mapping, "progress", lambda total, *rest: Bar(total))
    data = whole((9, 20, 30))
    blocks = plan_blocks(9, (20, 30), tile=32, halo=0)
    with dask.config.set(scheduler=scheduler):
        map_blocks(da.from_array(data, chunks=(2, 20, 30)) if lazy else data, blocks, total)
    assert [(bar.total, bar.n, bar.steps) for bar in bars] == [(9, 9, 9)]


def test_the_bar_can_be_seen(capfd):
    data = whole((3, 20, 30))
    blocks = plan_blocks(3, (20, 30), tile=32, halo=0)
    map_blocks(data, blocks, total, show_progressbar=True, description="Finding")
    seen = capfd.readouterr()
    assert "Finding" in seen.out + seen.err
    assert "3/3 " in seen.out + seen.err and "frames/s" in seen.out + seen.err
    map_blocks(data[:1], blocks[:1], total, show_progressbar=True)
    one = capfd.readouterr().err
    assert "100%" in one and "block" not in one and "/" not in one
    map_blocks(data, blocks, total, **quiet)
    assert capfd.readouterr() == ("", "")


def test_no_blocks_no_results():
    assert map_blocks(whole((2, 20, 30)), [], total, **quiet) == []
    assert map_blocks(da.zeros((2, 20, 30)), [], total, **quiet) == []


def test_blocks_outside_the_data_and_unknown_sizes_are_named():
    blocks = plan_blocks(3, (20, 30), tile=32, halo=0)
    with pytest.raises(InvalidArgumentError, match="inside the data"):
        map_blocks(whole((2, 20, 30)), blocks, total, **quiet)
    unknown = da.from_array(whole((3, 20, 30)), chunks=(1, 20, 30))
    unknown = unknown[da.from_array(np.array([True, True, False]), chunks=1)]
    with pytest.raises(InvalidArgumentError, match="compute_chunk_sizes"):
        map_blocks(unknown, blocks[:1], total, **quiet)


def test_eager_overhead_per_block_is_small():
    data = np.zeros((2000, 16, 16), dtype=np.float32)
    blocks = plan_blocks(2000, (16, 16), tile=16, halo=0)
    start = time.thread_time()
    map_blocks(data, blocks, count, num_workers=1, **quiet)
    assert (time.thread_time() - start) / 2000 < 1e-3


@pytest.mark.parametrize("navigation", [(), (5,), (3, 4)])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("tile", [40, 128])
def test_map_to_array(navigation, lazy, tile):
    data = whole((*navigation, 90, 70))
    given = da.from_array(data, chunks=(*(2 for _ in navigation), 32, 70)) if lazy else data
    blocks = plan_blocks(navigation, (90, 70), tile=tile, halo=8, frames_per_block=2)
    made = map_to_array(given, blocks, doubled, leading=(2,), dtype=np.float32)
    assert isinstance(made, da.Array)
    assert made.dtype == np.float32
    assert made.shape == (2, *navigation, 90, 70)
    np.testing.assert_array_equal(made.compute(), np.stack([data, -data]))
    np.testing.assert_array_equal(made[0, ..., 5:9, :7].compute(), data[..., 5:9, :7])


def test_map_to_array_from_flat_blocks_over_two_navigation_axes():
    data = whole((3, 4, 20, 30))
    blocks = plan_blocks(12, (20, 30), tile=32, halo=0, frames_per_block=5)
    made = map_to_array(data, blocks, lambda array, block: array, dtype=np.float32)
    np.testing.assert_array_equal(made.compute(), data)


def test_map_to_array_loads_nothing_before_it_is_computed_and_then_once():
    source = Tracked((8, 32, 24), (2, 32, 24))
    blocks = plan_blocks(8, (32, 24), tile=16, halo=8)
    made = map_to_array(source.array, blocks, doubled, leading=(2,))
    assert not source.loads
    made.compute()
    assert set(source.loads.values()) == {1}


def test_map_to_array_names_a_wrong_shape_and_blocks_that_are_no_grid():
    data = whole((3, 20, 30))
    blocks = plan_blocks(3, (20, 30), tile=16, halo=8)
    with pytest.raises(InvalidArgumentError, match="Return the core"):
        map_to_array(data, blocks, lambda array, block: array).compute()
    with pytest.raises(InvalidArgumentError, match="no grid"):
        map_to_array(data, blocks[:-1], doubled, leading=(2,))


def test_each_block_may_have_arguments_of_its_own():
    stack = np.arange(3 * 20 * 30).reshape(3, 20, 30)
    blocks = plan_blocks(3, (20, 30), tile=32, halo=0, frames_per_block=1)
    got = map_blocks(stack, blocks, lambda array, block, common, own: (common, own, block.frames[0]),
                     arguments=("all",), each=[("a",), ("b",), ("c",)], show_progressbar=False)  # fmt: skip
    assert got == [("all", "a", 0), ("all", "b", 1), ("all", "c", 2)]


def test_results_may_be_collected_instead_of_kept():
    stack = np.arange(3 * 20 * 30).reshape(3, 20, 30)
    blocks = plan_blocks(3, (20, 30), tile=32, halo=0, frames_per_block=1)
    got = []
    kept = map_blocks(stack, blocks, lambda array, block: int(array.sum()), show_progressbar=False,
                      collect=lambda number, value: got.append((number, value)))  # fmt: skip
    assert got == [(k, int(frame.sum())) for k, frame in enumerate(stack)] and kept == [None] * 3


def test_blocks_are_shared_out_by_threads_and_neighbours_stay_together():
    from hs_deepatoms.engine.runners import ClusterRunner

    class Client:
        def __init__(self, threads):
            self.threads = threads

        def nthreads(self):
            return self.threads

    shared = ClusterRunner(Client({"a": 1, "b": 2}))._shared_out(6)
    assert [options["workers"][0] for options in shared] == ["a", "a", "b", "b", "b", "b"]
    assert all(options["allow_other_workers"] for options in shared)
    gone = ClusterRunner(Client({}))
    assert gone._shared_out(2) == [{}, {}]


@pytest.mark.parametrize("lazy", [True, False])
def test_callbacks_of_others_see_one_wave_at_a_time(lazy):
    from dask.diagnostics import Profiler

    data = da.zeros((9, 20, 30), chunks=(1, 20, 30))
    blocks = plan_blocks(9, (20, 30), tile=32, halo=0, frames_per_block=1)
    with Profiler() as profiler:
        found = map_blocks(data if lazy else data.compute(), blocks, count, num_workers=2, **quiet)
    assert len(found) == 9 and len(profiler.results) >= 4


def test_an_eager_job_is_interrupted_at_once():
    data = np.zeros((200, 20, 30), np.float32)
    blocks = plan_blocks(200, (20, 30), tile=32, halo=0, frames_per_block=1)
    begun = []

    def slow(array, block):
        begun.append(block)
        if len(begun) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.05)
        return 1

    usual = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # one that was started in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            map_blocks(data, blocks, slow, num_workers=2, **quiet)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert len(begun) < 20
