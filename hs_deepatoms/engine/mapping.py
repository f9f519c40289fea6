"""One task per block over numpy or dask data, in bounded waves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import numpy as np

from hs_deepatoms._core.progress import progress
from hs_deepatoms.engine.plan import Block


def map_blocks(
    data,
    blocks: Sequence[Block],
    function: Callable[..., Any],
    *,
    arguments: tuple = (),
    num_workers: int | None = None,
    show_progressbar: bool | None = None,
    description: str = "",
) -> list:
    """Call ``function(array, block, *arguments)`` once per block; results in block order."""
    flat = data.reshape((-1, *data.shape[-2:]))
    results = []
    wave = num_workers or 4
    with progress(len(blocks), description, show_progressbar, "block") as bar:
        for start in range(0, len(blocks), wave):
            part = blocks[start : start + wave]
            tasks = [dask.delayed(_call, pure=False)(function, _cut(flat, b), b, arguments) for b in part]
            results += dask.compute(*tasks, **({"num_workers": num_workers} if num_workers else {}))
            bar.update(len(part))
    return results


def _cut(flat, block: Block):
    y0, y1, x0, x1 = block.padded
    return flat[block.frames[0] : block.frames[1], y0:y1, x0:x1]


def _call(function, array, block, arguments):
    return function(np.asarray(array), block, *arguments)
