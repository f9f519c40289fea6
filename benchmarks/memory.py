"""Peak resident memory of ``find_atoms`` above the import, each case in a fresh process.

    python benchmarks/memory.py [--cases eager lazy-image ...] [--frames 500] [--folder FOLDER] [--json FILE]

Above the import means above what the process holds after ``import hyperspy.api, hs_deepatoms``; torch, which comes
with the first call, is in the figure, and its share is given beside it. Lazy data are simulated lattices, made when a
chunk is loaded: nothing of them lies in memory or on disk before. Linux and macOS (``resource``).

``disk-stack`` is a stack of counts in a zarr store, written before chunk by chunk by another process, with ``store=``:
``--cases disk-stack --frames 4096`` is 8.6 GB of 16 bits, ``--frames 1024 --dtype f8`` as many of 64. The table comes
to the same disk. ``disk-stack-eager`` is the first frames
of the same, at most 40, in memory and without ``store=``: what ``mpx_per_s`` of the other compares with.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = {
    "eager-512": ((512, 512), None),
    "eager-1024": ((1024, 1024), None),
    "eager-2048": ((2048, 2048), None),
    "eager-4096": ((4096, 4096), None),
    "lazy-image-tiles": ((8192, 8192), (2048, 2048)),
    "lazy-image-strips": ((8192, 8192), (8192, 64)),
    "lazy-image-one-chunk": ((8192, 8192), (8192, 8192)),
    "lazy-stack-frames": ((500, 1024, 1024), (1, 1024, 1024)),
    "lazy-stack-50": ((500, 1024, 1024), (50, 1024, 1024)),
    "lazy-stack-cubes": ((500, 1024, 1024), (250, 256, 256)),
    "disk-stack": ((4096, 1024, 1024), (8, 1024, 1024)),
    "disk-stack-eager": ((40, 1024, 1024), (8, 1024, 1024)),
}


def peak() -> float:
    """Peak resident memory of this process so far, in MiB; of its own: ``ru_maxrss`` begins with that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 1024)


def lattice(spans, spacing=10.0, sigma=2.0):
    """Columns of a square lattice with noise in part of an image; ``spans`` are (start, stop) per axis."""
    import numpy as np

    rng = np.random.default_rng([start for start, _ in spans])
    profiles = []
    for start, stop in spans[-2:]:
        distance = (np.arange(start, stop, dtype=np.float32) + spacing / 2) % spacing - spacing / 2
        profiles.append(np.exp(-0.5 * (distance / sigma) ** 2).astype(np.float32))
    out = rng.standard_normal([stop - start for start, stop in spans], dtype=np.float32)
    out *= 3
    for row, height in zip(out.swapaxes(0, -2), 40 * profiles[0], strict=True):
        row += 10 + height * profiles[1]
    return out


def lazy_lattice(shape, chunks):
    """The same as a dask array."""
    import dask.array as da
    import numpy as np

    def load(block_info=None):
        return lattice(block_info[None]["array-location"])

    chunks = da.core.normalize_chunks(chunks, shape, dtype=np.float32)
    return da.map_blocks(load, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * len(shape), np.float32))


def write_stack(path: Path, shape, chunks, dtype) -> None:
    """Counts on disk, a chunk at a time, not compressed."""
    import zarr

    stack = zarr.create_array(path, shape=shape, chunks=chunks, dtype=dtype, compressors=None)
    for first in range(0, shape[0], chunks[0]):
        frames = (first, min(first + chunks[0], shape[0]))
        stack[slice(*frames)] = lattice([frames, (0, shape[1]), (0, shape[2])]).clip(0).round().astype(dtype)


def signal_of(name: str, shape, chunks, folder: Path):
    """The data of a case, as HyperSpy has them."""
    import dask.array as da
    import hyperspy.api as hs

    if name.startswith("disk"):
        data = da.from_zarr(str(folder / "stack.zarr"))[: shape[0]]
        eager = name.endswith("eager")
        return hs.signals.Signal2D(data.compute()) if eager else hs.signals.Signal2D(data).as_lazy()
    if chunks is None:
        return hs.signals.Signal2D(lattice([(0, n) for n in shape]))
    return hs.signals.Signal2D(lazy_lattice(shape, chunks)).as_lazy()


def shape_of(name: str, frames: int) -> tuple[int, ...]:
    """Shape of the data of a case; stacks have at most so many frames."""
    shape = CASES[name][0]
    return (min(frames, shape[0]), *shape[1:]) if len(shape) == 3 else shape


def measure(name: str, frames: int, num_workers: int | None, folder: Path) -> dict:
    """In the fresh process: import, run, and look at the peak."""
    import hyperspy.api as hs  # noqa: F401
    import numpy as np

    import hs_deepatoms

    imported = peak()
    shape, chunks = shape_of(name, frames), CASES[name][1]
    signal = signal_of(name, shape, chunks, folder)
    import torch

    with_torch = peak()
    options = {"num_workers": num_workers, "show_progressbar": False}
    if name.startswith("disk"):  # speeds are compared: without the first call's imports
        hs_deepatoms.find_atoms(signal.inav[:2], **options)
    start, cpu = time.perf_counter(), time.process_time()
    store = {"store": folder / "atoms.zarr"} if name == "disk-stack" else {}
    atoms = hs_deepatoms.find_atoms(signal, **options, **store)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "shape": shape,
        "chunks": chunks,
        "atoms": int(atoms.sizes["atom"]),
        "above_import_mib": round(peak() - imported),
        "above_torch_and_data_mib": round(peak() - with_torch),
        "import_mib": round(imported),
        "seconds": round(seconds, 1),
        "mpx_per_s": round(float(np.prod(shape)) / 1e6 / seconds, 3),
        "mpx_per_cpu_s": round(float(np.prod(shape)) / 1e6 / cpu, 3),  # on a busy machine the steadier figure
        "threads": torch.get_num_threads(),
    }


def run_case(name: str, options) -> dict:
    """Measure a case in a process of its own."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if name.startswith("disk"):
            write_stack(Path(folder) / "stack.zarr", shape_of(name, options.frames), CASES[name][1], options.dtype)
        command = [sys.executable, __file__, "--child", name, "--frames", str(options.frames), "--folder", folder]
        if options.num_workers:
            command += ["--num-workers", str(options.num_workers)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", nargs="*", default=list(CASES), help=f"names, or their beginnings: {', '.join(CASES)}"
    )
    parser.add_argument("--frames", type=int, default=500, help="frames of the stacks")
    parser.add_argument("--dtype", default="u2", help="of the stacks on disk")
    parser.add_argument("--num-workers", type=int)
    parser.add_argument("--folder", help="where stacks are written; the system's temporary folder")
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.frames, options.num_workers, Path(options.folder))))
        return
    results = {}
    for name in (name for name in CASES if name.startswith(tuple(options.cases))):
        results[name] = run_case(name, options)
        print(f"{name:22s} {results[name]}", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
