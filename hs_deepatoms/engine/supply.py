"""Where the arrays of the blocks come from: slices of eager data, or dask chunks loaded wave by wave."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.engine.boxes import Assembly, assemble, block_boxes
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.engine.waves import Wave, make_waves, order_blocks, peak_bytes

Key = Hashable


@dataclass
class Supply:
    """Everything a runner needs: per block its assembly and the keys of its inputs, and the waves.

    ``graph`` gives, for some wanted keys, a low-level dask graph that makes them; ``sizes`` the bytes of the
    chunks (results of tasks before them, held because several waves need them, are in the waves only);
    ``at_once`` how many chunks may be loading at the same time.
    """

    assemblies: list[Assembly]
    needs: list[list[Key]]
    sizes: dict[Key, int]
    waves: list[Wave]
    graph: Callable[[Sequence[Key]], Mapping[Key, Any]] = dict
    ready: dict[Key, Any] = field(default_factory=dict)
    memory: int = 0
    at_once: int = 10**6


def is_lazy(data) -> bool:
    """Whether data is a dask array, without importing dask."""
    return hasattr(data, "__dask_graph__")


def check_blocks(data, blocks: Sequence[Block]) -> tuple[int, ...]:
    """The navigation shape, if every block lies inside the data.

    Raises
    ------
    InvalidArgumentError
        If the data has fewer than two axes, unknown chunk sizes, or a block reaches outside.
    """
    if getattr(data, "ndim", 0) < 2 or any(math.isnan(n) for n in data.shape):
        got = f"data of shape {getattr(data, 'shape', None)}"
        todo = "For dask arrays of unknown chunk sizes, call compute_chunk_sizes() first."
        raise InvalidArgumentError(explain(got, "arrays of shape (..., y, x) with known sizes", todo))
    *navigation, height, width = data.shape
    frames = math.prod(navigation)
    for block in blocks:
        y0, y1, x0, x1 = block.padded
        if not (
            0 <= block.frames[0] <= block.frames[1] <= frames and 0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width
        ):
            got = f"{block} for data of shape {data.shape}"
            raise InvalidArgumentError(explain(got, "blocks inside the data", "Plan the blocks for this shape."))
    return tuple(navigation)


def eager_supply(data: np.ndarray, blocks: Sequence[Block], *, most: int) -> Supply:
    """The whole array is the one input of every block."""
    navigation = check_blocks(data, blocks)
    chunks = [(n,) for n in data.shape]
    assemblies = [assemble(block, navigation, chunks)[0] for block in blocks]
    waves = make_waves(range(len(blocks)), [[] for _ in blocks], {}, most=most, most_bytes=1)
    return Supply(assemblies, [["data"] for _ in blocks], {}, waves, ready={"data": data})


def lazy_supply(data, blocks: Sequence[Block], *, most: int, memory: int) -> Supply:
    """Whole chunks, each loaded once and held as long as a block needs it, if that fits in the memory.

    Else (a chunk that spans all frames, say) slabs: the parts that some consecutive blocks need are cut out of
    every chunk as it comes, so that a chunk is loaded once per slab, and no chunk is held.
    """
    navigation = check_blocks(data, blocks)
    supply = _by_chunks(data, blocks, navigation, most, memory)
    largest = max(supply.sizes.values(), default=0)
    if peak_bytes(supply.waves, supply.sizes) > max(memory, 2 * largest):
        supply = _by_slabs(data, blocks, navigation, most, memory)
    return supply


def _by_chunks(data, blocks, navigation, most, memory) -> Supply:
    import dask

    (data,) = dask.optimize(data)
    assemblies, needs, sizes = _parts(data, blocks, navigation)
    waves = make_waves(order_blocks(needs, sizes), needs, sizes, most=most, most_bytes=memory // 4)
    graph = dict(data.__dask_graph__())
    return Supply(assemblies, needs, sizes, hold_shared(waves, graph), lambda keys: graph, memory=memory)


def hold_shared(waves: Sequence[Wave], graph: Mapping[Key, Any]) -> list[Wave]:
    """Add to the waves the tasks before the chunks that several waves need (what a ``rechunk`` cuts up, say)."""
    from dask.core import get_dependencies

    first: dict[Key, int] = {}
    last: dict[Key, int] = {}
    for number, wave in enumerate(waves):
        ahead = list(wave.load)
        while ahead:
            key = ahead.pop()
            last[key] = number
            if key not in first:
                first[key] = number
                ahead += get_dependencies(graph, key)
    chunks = {key for wave in waves for key in wave.load}
    shared = [key for key in first if last[key] > first[key] and key not in chunks]
    load, drop = [list(wave.load) for wave in waves], [list(wave.drop) for wave in waves]
    for key in shared:
        load[first[key]].append(key)
        drop[last[key]].append(key)
    return [Wave(w.blocks, tuple(a), tuple(b)) for w, a, b in zip(waves, load, drop, strict=True)]


def graph_of(keys: Sequence[Key], graph: Mapping[Key, Any], held: Mapping[Key, Any]) -> dict[Key, Any]:
    """The part of a graph that makes the keys, starting from what is held."""
    from dask.core import get_dependencies

    found: dict[Key, Any] = {}
    work = list(keys)
    while work:
        key = work.pop()
        if key in found:
            continue
        found[key] = held[key] if key in held else graph[key]
        if key not in held:
            work += get_dependencies(graph, key)
    return found


def _by_slabs(data, blocks, navigation, most, memory) -> Supply:
    assemblies, needs, sizes, slabs = [], [], {}, {}
    for group, hull in _slabs(blocks, navigation, data.dtype.itemsize, memory // 3):
        slab = data[hull].map_blocks(_own, dtype=data.dtype, meta=np.empty((0,) * data.ndim, data.dtype))
        parts = _parts(slab, group, navigation, [s.start for s in hull])
        assemblies += parts[0]
        needs += parts[1]
        sizes |= parts[2]
        slabs[slab.name] = slab
    waves = make_waves(range(len(blocks)), needs, sizes, most=most, most_bytes=memory // 3)
    largest = math.prod(max(axis) for axis in data.chunks) * data.dtype.itemsize
    at_once = max(1, memory // (2 * largest))
    graph = partial(_slab_graph, slabs)
    return Supply(assemblies, needs, sizes, waves, graph, memory=memory, at_once=at_once)


def _own(chunk: np.ndarray) -> np.ndarray:
    """A copy: a view would keep the whole chunk alive."""
    return np.array(chunk)


def _slab_graph(slabs: Mapping[str, Any], keys: Sequence[Key]) -> dict:
    """Optimised here, per slab, so that sources which can read a part (a memory map) read only that."""
    import dask

    graph: dict = {}
    for name in dict.fromkeys(key[0] for key in keys):
        (slab,) = dask.optimize(slabs[name])
        graph |= dict(slab.__dask_graph__())
    return graph


def _parts(data, blocks, navigation, origin=None):
    """Per block its assembly and the keys of the chunks it needs; the bytes of those chunks."""
    assemblies, needs, sizes = [], [], {}
    for block in blocks:
        assembly, indices = assemble(block, navigation, data.chunks, origin)
        keys = [(data.name, *index) for index in indices]
        for key, index in zip(keys, indices, strict=True):
            shape = [axis[i] for axis, i in zip(data.chunks, index, strict=True)]
            sizes[key] = math.prod(shape) * data.dtype.itemsize
        assemblies.append(assembly)
        needs.append(keys)
    return assemblies, needs, sizes


def _slabs(blocks, navigation, itemsize, most_bytes):
    """Consecutive blocks whose common bounding box stays small, with that box."""
    group, hull = [], None
    for block in blocks:
        boxes = block_boxes(block, navigation)
        grown = _hull(boxes if hull is None else [hull, *boxes])
        if group and math.prod(s.stop - s.start for s in grown) * itemsize > most_bytes:
            yield group, hull
            group, grown = [], _hull(boxes)
        group.append(block)
        hull = grown
    if group:
        yield group, hull


def _hull(boxes):
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
