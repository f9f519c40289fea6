"""Whether ``find_atoms`` ends with the same table, whatever kills it on the way and however it is run.

    python benchmarks/resume.py [--only kills ends workers settings speed] [--frames 30] [--size 192] [--json FILE]

The stack lies on disk (zarr, a few frames per chunk) and is read lazily. Cases:

* ``kills``: ten runs with ``store=`` killed (SIGKILL) once each, and one killed again and again, at random moments, and
  repeated until they end;
* ``ends``: killed at chosen lines: the first write, half a block, the join of the parts, the last rename, the cleaning;
* ``workers``: a worker of two of a dask.distributed cluster killed in the middle, lazy and eager, with ``store=`` and
  without;
* ``settings``: chunks, frames per block, batch, workers, torch threads, processes, cluster, file format;
* ``speed``: two workers against one, a thread each; on a busy machine ``by cpu time``, what the processes' own clocks
  say that it would be with a core for each.

``arrays`` is whether every byte of every array is that of the run that nothing stopped; where that is not promised,
``px`` is the largest distance of an atom from where it should be (``inf``: not the same atoms).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from throughput import lattice

ENDS = {
    # name: (where, attribute, call at which to die; before or after it)
    "no block yet": ("hs_deepatoms.engine.checkpoint", "Path.write_text", 1, "before"),
    "job written": ("hs_deepatoms.engine.checkpoint", "Path.write_text", 1, "after"),
    "half of block 3": ("hs_deepatoms.engine.checkpoint", "np.savez", 3, "half"),
    "block 5 written, not named": ("hs_deepatoms.engine.checkpoint", "np.savez", 5, "after"),
    "before the join": ("hs_deepatoms.methods.stored", "write_parts", 1, "before"),
    "second part of the join": ("xarray.Dataset", "to_zarr", 2, "before"),
    "third part joined": ("xarray.Dataset", "to_zarr", 3, "after"),
    "joined, not named": ("hs_deepatoms.methods.stored", "os.replace", 1, "before"),
    "named, not cleaned": ("hs_deepatoms.methods.stored", "os.replace", 1, "after"),
    "half cleaned": ("hs_deepatoms.engine.checkpoint", "Path.unlink", 4, "after"),
}


def write_stack(path: Path, frames: int, size: int, chunk: int) -> None:
    """A movie on disk: a square lattice with counting noise."""
    import zarr

    stack = zarr.create_array(path, shape=(frames, size, size), chunks=(chunk, size, size), dtype="f4")
    for k in range(frames):
        stack[k] = lattice((size, size), k)


def open_stack(path: str | Path, chunk: int | None = None):
    """The movie as a lazy signal."""
    import dask.array as da
    import hyperspy.api as hs

    if str(path).endswith(".hspy"):
        return hs.load(path, lazy=True)
    data = da.from_zarr(str(path))
    return hs.signals.Signal2D(data if chunk is None else data.rechunk((chunk, -1, -1))).as_lazy()


def arrays_of(folder: Path) -> dict[str, bytes]:
    """Every chunk of every array of a store, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("c/*")) if p.is_file()}


def apart(table, other) -> float:
    """Largest distance of an atom from the same atom of the other table in pixels."""
    if table.sizes != other.sizes or any((table[n].values != other[n].values).any() for n in ("atom", "nav_0_index")):
        return float("inf")
    return float(max(abs(table[name].values - other[name].values).max(initial=0) for name in ("y_px", "x_px")))


# ---------------------------------------------------------------------------------------------- in the child process


def die_at(name: str) -> None:
    """Let this process be killed at one of the ``ENDS``."""
    from importlib import import_module

    module, attribute, wanted, when = ENDS[name]
    owner = import_module("xarray").Dataset if module == "xarray.Dataset" else import_module(module)
    *path, last = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    whole, calls = getattr(owner, last), []

    def dying(*args, **options):
        if last == "replace" and not str(args[1]).endswith(".zarr"):  # os.replace also serves others
            return whole(*args, **options)
        calls.append(1)
        if len(calls) == wanted and when == "half":
            args[0].write(b"PK\x03\x04 half")
            args[0].flush()
        if len(calls) == wanted and when != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        done = whole(*args, **options)
        if len(calls) == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(owner, last, dying)


def child(task: dict) -> None:
    """One call of ``find_atoms`` with a store, in a process that may be killed."""
    import torch

    from hs_deepatoms import find_atoms
    from hs_deepatoms.atoms import filed

    filed.ROWS = 2000  # so that a short stack is joined from several parts
    if task.get("threads"):
        torch.set_num_threads(task["threads"])
    if task.get("die_at"):
        die_at(task["die_at"])
    find_atoms(open_stack(task["stack"]), store=task["store"], show_progressbar=False, **task["options"])


def start(task: dict) -> subprocess.Popen:
    """The child process of a task."""
    return subprocess.Popen([sys.executable, "-W", "ignore", __file__, "--child", json.dumps(task)])


# ------------------------------------------------------------------------------------------------------------ the cases


class Cases:
    """The cases, with what they have in common: a folder, a stack and the table that nothing stopped."""

    def __init__(self, folder: Path, options):
        self.folder, self.options = folder, options
        self.stack = folder / "stack.zarr"
        write_stack(self.stack, options.frames, options.size, 5)
        self.task = {"stack": str(self.stack), "options": {"navigation_chunks": 1, "num_workers": 1}}
        self.random = random.Random(options.seed)
        began = time.perf_counter()
        self.finish("whole")
        self.seconds = time.perf_counter() - began
        self.whole = arrays_of(folder / "whole.zarr")
        self.table = self.load("whole")
        print(f"uninterrupted: {self.table.sizes['atom']} atoms, {self.seconds:.1f} s, {len(self.whole)} chunks")

    def finish(self, name: str, **more) -> None:
        """Run a task to its end."""
        process = start({**self.task, "store": str(self.folder / f"{name}.zarr"), **more})
        if process.wait():
            raise RuntimeError(f"the run {name!r} failed")

    def load(self, name: str):
        import hs_deepatoms

        return hs_deepatoms.load(self.folder / f"{name}.zarr")

    def same(self, name: str) -> dict:
        """Whether a store is that of the uninterrupted run, and nothing else is left."""
        litter = [path.name for path in self.folder.glob(f"{name}.zarr.*")]
        done = {"arrays": arrays_of(self.folder / f"{name}.zarr") == self.whole, "left over": litter}
        shutil.rmtree(self.folder / f"{name}.zarr")
        return done

    def parts(self, name: str) -> int:
        """Blocks of an unfinished run that are on disk."""
        return len(list((self.folder / f"{name}.zarr.parts").glob("columns-*.npz")))

    def kills(self):
        """Killed at random moments."""
        for number in range(self.options.kills):
            process, began = start({**self.task, "store": str(self.folder / "killed.zarr")}), time.perf_counter()
            # every other one anywhere, the import and the survey included, which take most of a short run
            goal = self.random.randint(1, self.options.frames - 2) if number % 2 else 0
            self._wait(process, "killed", goal)
            blocks = self._kill(process, "killed", self.random.uniform(0, 0.1 if goal else 0.9 * self.seconds))
            after = round(time.perf_counter() - began, 1)
            self.finish("killed")
            yield f"kill {number + 1}", {"after s": after, "blocks then": blocks, **self.same("killed")}
        yield "killed again and again", self._again_and_again()

    def _again_and_again(self) -> dict:
        """Each time some blocks further on."""
        blocks, step = [], max(1, self.options.frames // (self.options.kills + 1))
        for _ in range(self.options.kills):
            process = start({**self.task, "store": str(self.folder / "often.zarr")})
            goal = (blocks[-1] if blocks else 0) + self.random.randint(1, step)
            self._wait(process, "often", goal)
            blocks.append(self._kill(process, "often", self.random.uniform(0, 0.05)))
        self.finish("often")
        return {"blocks then": blocks, **self.same("often")}

    def _wait(self, process: subprocess.Popen, name: str, goal: int) -> None:
        while process.poll() is None and self.parts(name) < goal:
            time.sleep(0.002)

    def _kill(self, process: subprocess.Popen, name: str, after: float) -> int:
        time.sleep(after)
        process.kill()
        process.wait()
        return self.parts(name)

    def ends(self):
        """Killed at chosen lines."""
        for name in ENDS:
            process = start({**self.task, "store": str(self.folder / "end.zarr"), "die_at": name})
            killed = process.wait() == -signal.SIGKILL
            blocks = self.parts("end")
            self.finish("end")
            yield name, {"killed": killed, "blocks then": blocks, **self.same("end")}

    def workers(self):
        """A worker of two killed in the middle."""
        from hs_deepatoms import find_atoms

        lazy = open_stack(self.stack)
        eager = lazy.data.compute()
        for kind, data in (("eager", eager), ("lazy", lazy)):
            for store in (True, False):
                where = {"store": self.folder / "cluster.zarr"} if store else {}
                with small_cluster(2) as client, killer(client, self.options.frames // 3) as killed:
                    table = find_atoms(data, navigation_chunks=1, show_progressbar=False, **where).load()
                done = {"killed": killed, "px": apart(self.table, table)}
                done |= self.same("cluster") if store else {}
                yield f"worker killed, {kind}{', store' if store else ''}", done

    def settings(self):
        """The same atoms however the work is cut up and shared out."""
        import dask

        from hs_deepatoms import find_atoms

        def run(data=None, **options):
            options = {"navigation_chunks": None, **options}
            return apart(self.table, find_atoms(data, show_progressbar=False, **options))

        lazy = open_stack(self.stack)
        lazy.save(self.folder / "stack.hspy", overwrite=True)
        for chunk in (1, 7, self.options.frames):
            yield f"dask chunks of {chunk}", {"px": run(open_stack(self.stack, chunk))}
        for n in (1, 4, 64):
            yield f"navigation_chunks={n}", {"px": run(lazy, navigation_chunks=n)}
            yield f"batch_size={n}", {"px": run(lazy, batch_size=n)}
            yield f"num_workers={n}", {"px": run(lazy, num_workers=n)}
        for threads in (1, 2, 4):
            self.finish("threads", threads=threads)
            yield f"torch threads {threads}", self.same("threads")
        yield "eager", {"px": run(lazy.data.compute())}
        yield "hspy file", {"px": run(open_stack(self.folder / "stack.hspy"))}
        for scheduler in ("synchronous", "processes"):
            with dask.config.set(scheduler=scheduler):
                yield scheduler, {"px": run(lazy, num_workers=2)}
        for n in (1, 2, 3):
            with small_cluster(n):
                yield f"cluster of {n}", {"px": run(lazy)}
        with small_cluster(2):
            yield "cluster, hspy file", {"px": run(open_stack(self.folder / "stack.hspy"))}

    def speed(self):
        """Two workers against one; alternating, because machines drift."""
        took: dict[int, list] = {1: [], 2: []}
        for number in range(self.options.pairs):
            for n in (1, 2) if number % 2 == 0 else (2, 1):
                took[n].append(timed(open_stack(self.stack), n))
        ratios = sorted(one["s"] / two["s"] for one, two in zip(took[1], took[2], strict=True))
        free = median(map(alone, took[1])) / median(map(alone, took[2]))
        result = {"speedups": [round(r, 2) for r in ratios], "by cpu time": round(free, 2)}
        yield "two workers / one", {**result, "one": took[1], "two": took[2]}


def timed(data, n_workers: int) -> dict:
    """Seconds of a run on warm workers, the cores that it had, and those that others had meanwhile."""
    import psutil

    from hs_deepatoms import find_atoms

    with small_cluster(n_workers) as client:
        # imports, the network and the compiled loops, of every worker
        find_atoms(data.inav[:8], navigation_chunks=1, show_progressbar=False)
        processes = [psutil.Process(), *map(psutil.Process, client.run(os.getpid).values())]

        def cpu():
            whole = psutil.cpu_times()
            all_ = sum(whole) - whole.idle - getattr(whole, "iowait", 0) - getattr(whole, "guest", 0)
            return [all_, *(sum(process.cpu_times()[:2]) for process in processes)]

        before, began = cpu(), time.perf_counter()
        find_atoms(data, navigation_chunks=1, show_progressbar=False)
        seconds = time.perf_counter() - began
        all_, client_cpu, *workers_cpu = (round(b - a, 2) for a, b in zip(before, cpu(), strict=True))
    others = round((all_ - client_cpu - sum(workers_cpu)) / seconds, 2)
    return {"s": round(seconds, 2), "client cpu s": client_cpu, "workers cpu s": workers_cpu, "cores of others": others}


def alone(run: dict) -> float:
    """Seconds that a run would take with a core for each process, if the client and the workers never overlapped."""
    return run["client cpu s"] + max(run["workers cpu s"])


def small_cluster(n_workers: int):
    """A client of a cluster on this machine: processes of one thread each."""
    from contextlib import contextmanager

    from distributed import Client, LocalCluster

    @contextmanager
    def opened():
        options = {"n_workers": n_workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            yield client

    return opened()


def killer(client, blocks: int):
    """Kill one worker once some blocks have been found; yields a list that then holds its number of blocks."""
    from contextlib import contextmanager

    from hs_deepatoms.engine import runners

    @contextmanager
    def watching():
        victim = next(iter(client.run(os.getpid).values()))
        killed, seen, whole = [], [], runners.ClusterRunner._run

        def run(self, parts, calls, tick):
            def counted():
                seen.append(1)
                if len(seen) >= blocks and not killed:
                    killed.append(len(seen))
                    os.kill(victim, signal.SIGKILL)
                tick()

            return whole(self, parts, calls, counted)

        runners.ClusterRunner._run = run
        try:
            yield killed
        finally:
            runners.ClusterRunner._run = whole

    return watching()


def main() -> None:
    names = ["kills", "ends", "workers", "settings", "speed"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--size", type=int, default=192, help="side of a frame")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3, help="of runs with one and two workers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    results: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(Path(folder), options)
        for only in options.only:
            for name, result in getattr(cases, only)():
                results[f"{only}: {name}"] = result
                print(f"{only + ': ' + name:44s} {result}", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"settings": vars(options), "cases": results}, file, indent=1)


if __name__ == "__main__":
    main()
