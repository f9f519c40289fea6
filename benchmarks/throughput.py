"""Pixels per second: the bare network, the engine around it, and all of ``find_atoms``' work, on the same arrays.

    python benchmarks/throughput.py [--device cpu] [--size 512] [--frames 8] [--large 2048] [--pairs 5] [--json FILE]

Machines drift, so every engine run is paired with a bare run right before or after it, and the figure is the median of
the ratios inside the pairs. Cases:

* ``stack``: whole frames, eager and lazy (a dask chunk per frame, made when it is loaded);
* ``large``: one image cut into tiles with a halo, eager and lazy; the bare network meets it whole, without halo;
* ``pipeline``: the stack again, with scaling, resampling, decoding and the table's ownership included.

``bare`` is a loop that hands batches to the network and brings the output back; images are already scaled.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

import dask.array as da
import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms.atoms.block import columns_block
from hs_deepatoms.atoms.detect import GRID_SIGMA, Detection, run_detector
from hs_deepatoms.engine.mapping import map_blocks
from hs_deepatoms.engine.plan import choose_tile, plan_blocks
from hs_deepatoms.methods.images import MEMORY, find_model
from hs_deepatoms.simulate.columns import draw_columns


def lattice(shape, frame=0, spacing=10.0):
    """A square lattice with columns of the network's own size, and counting noise."""
    rng = np.random.default_rng(frame)
    y, x = (g.ravel() for g in np.mgrid[spacing / 2 : shape[0] : spacing, spacing / 2 : shape[1] : spacing])
    expected = draw_columns(shape, y, x, np.full(len(y), 40.0), GRID_SIGMA) + 10
    return rng.poisson(expected).astype(np.float32) / 50 - 0.5


def bare(frames, job, batch):
    """The network and nothing else."""
    for first in range(0, len(frames), batch):
        run_detector(frames[first : first + batch], job).cpu()


def network_only(array, block, job):
    """What the engine runs per block in the ratio that counts."""
    return run_detector(array, job).cpu().shape


def paired(one, other, pixels, pairs):
    """Median pixels/s of both and median ratio other / one, runs alternating in order."""
    one(), other()
    speeds = []
    for number in range(pairs):
        order = [one, other] if number % 2 == 0 else [other, one]
        took = {}
        for run in order:
            start = time.perf_counter()
            run()
            took[run] = time.perf_counter() - start
        speeds.append((pixels / took[one], pixels / took[other]))
    ratios = sorted(b / a for a, b in speeds)
    return {
        "bare_mpx_per_s": round(median(a for a, _ in speeds) / 1e6, 3),
        "engine_mpx_per_s": round(median(b for _, b in speeds) / 1e6, 3),
        "ratio": round(median(ratios), 3),
        "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
    }


def lazily(data, chunks):
    """A lazy twin whose chunks are copied out when they are loaded, as from a file."""
    return da.from_array(data, chunks=chunks, inline_array=True).map_blocks(np.array, dtype=data.dtype)


def cases(options, job):
    """Name -> (bare run, engine run, pixels)."""
    side, n, large = options.size, options.frames, options.large
    stack = np.stack([lattice((side, side), k) for k in range(n)])
    image = lattice((large, large))[None]
    batch = max(1, job.batch_pixels // side**2)
    whole = plan_blocks(n, (side, side), tile=side, halo=0, frames_per_block=batch)
    tile, _ = choose_tile((large, large), bytes_per_pixel=300, halo=job.source_halo, memory=MEMORY)
    tile = min(tile, large // 2)
    tiles = plan_blocks(1, (large, large), tile=tile, halo=job.source_halo)

    def engine(data, blocks, function=network_only):
        return lambda: map_blocks(data, blocks, function, arguments=(job,), show_progressbar=False)

    plain_stack, plain_image = (lambda: bare(stack, job, batch)), (lambda: bare(image, job, 1))
    lazy_stack, lazy_image = lazily(stack, (1, side, side)), lazily(image, (1, 1024, 1024))
    return {
        "stack eager": (plain_stack, engine(stack, whole), stack.size),
        "stack lazy": (plain_stack, engine(lazy_stack, whole), stack.size),
        f"large eager (tile {tile})": (plain_image, engine(image, tiles), image.size),
        f"large lazy (tile {tile})": (plain_image, engine(lazy_image, tiles), image.size),
        "pipeline eager": (plain_stack, engine(stack, whole, columns_block), stack.size),
        "pipeline lazy": (plain_stack, engine(lazy_stack, whole, columns_block), stack.size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, default=512, help="side of a frame of the stack")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--large", type=int, default=2048, help="side of the image that is cut into tiles")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="run only cases whose name holds this text")
    parser.add_argument("--json")
    options = parser.parse_args()
    model, device = find_model(None), choose_device(options.device)
    shape = (options.size, options.size)
    job = Detection(model.path, model.sha256, device, zoom=1.0, shape=shape)
    found = {}
    for name, (one, other, pixels) in cases(options, job).items():
        if options.only in name:
            found[name] = paired(one, other, pixels, options.pairs)
            print(f"{name:28s} {found[name]}", flush=True)
    result = {"device": device, "settings": vars(options), "cases": found}
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
