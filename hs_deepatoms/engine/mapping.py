"""One task per block over numpy or dask data, in bounded waves."""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.progress import Share, progress
from hs_deepatoms.engine.boxes import Assembly, assemble, frame_boxes
from hs_deepatoms.engine.plan import MEBIBYTE, Block
from hs_deepatoms.engine.serial import on_cores
from hs_deepatoms.engine.supply import Supply, check_blocks, eager_supply, graph_of, is_lazy, lazy_supply

if TYPE_CHECKING:
    import dask.array as da

#: Bytes of loaded input alive at once per process; a wave takes about a quarter of it.
MEMORY = 384 * MEBIBYTE


def map_blocks(
    data: np.ndarray | da.Array,
    blocks: Sequence[Block],
    function: Callable[..., Any],
    *,
    arguments: tuple = (),
    each: Sequence[tuple] | None = None,
    num_workers: int | None = None,
    show_progressbar: bool | None = None,
    description: str = "",
    memory: int = MEMORY,
    collect: Callable[[int, Any], None] | None = None,
    share: Share | None = None,
    of: int | None = None,
) -> list:
    """Call ``function(array, block, *arguments)`` once per block; results in the order of the blocks.

    Each call is one dask task under the scheduler that is current: threads (default), processes, synchronous or a
    cluster. Lazy data is loaded in waves: while the blocks of one wave run (or of two, the first of which is nearly
    done), the chunks of the next are loaded beside them; a chunk is loaded once and dropped after its last block,
    whatever the order of the blocks. Blocks that run side by side on this machine share its cores.

    Parameters
    ----------
    data : numpy or dask array, shape (..., y, x)
        Any number of navigation axes; frames are counted in C order over them.
    blocks : sequence of Block
        From `plan_blocks`.
    function : callable
        Takes an array of shape (frames, height, width), the ``padded`` part of its block, and the block. The array
        may be a view of the data: read it only. Under processes it must be possible to pickle it (cloudpickle).
    arguments : tuple, optional
        Further positional arguments, the same for every block. Small ones: they travel with every task.
    each : sequence of tuple, optional
        Positional arguments after those, one tuple per block.
    num_workers : int, optional
        For local schedulers; a cluster has its own.
    show_progressbar : bool, optional
        None is HyperSpy's preference. The bar counts frames, or percent where these are tiled or there is only one.
    description : str, optional
        Text of the bar.
    memory : int, optional
        Bytes of loaded input to keep alive at once (per worker process on a cluster). A chunk larger than this is
        still loaded whole, unless it can be read in part.
    collect : callable, optional
        Called in this thread with the number of each block and what the function returned for it, as they come; nothing
        is kept then.
    share : Share, optional
        Of a bar over a longer job, which counts the blocks; no other bar is shown then.
    of : int, optional
        How many blocks the whole job has, if these are what is left of it: they get as many cores as in the whole.

    Returns
    -------
    list
        What the function returned, per block; None for each with ``collect``.

    Raises
    ------
    InvalidArgumentError
        If a block reaches outside the data, or the data has fewer than two axes or unknown chunk sizes.
    Exception
        Whatever the function raises, unchanged, from any scheduler.

    Examples
    --------
    >>> from hs_deepatoms.engine.plan import plan_blocks
    >>> stack = np.arange(3 * 20 * 30).reshape(3, 20, 30)
    >>> blocks = plan_blocks(3, (20, 30), tile=32, halo=0, frames_per_block=2)
    >>> map_blocks(stack, blocks, lambda array, block: array.shape, show_progressbar=False)
    [(2, 20, 30), (1, 20, 30)]
    """
    from hs_deepatoms.engine.runners import current_runner

    blocks = list(blocks)
    own = each if each is not None else [()] * len(blocks)
    total, unit = _counted(data, blocks)
    shown = show_progressbar if share is None else False
    with current_runner(num_workers) as runner, progress(total, description, shown, unit) as bar:
        cores = runner.cores_each(len(blocks) if of is None else of)
        calls = [_Call(function, block, (*arguments, *more), cores) for block, more in zip(blocks, own, strict=True)]
        share = share or Share(bar, len(blocks), total)
        return _run(_supply(data, blocks, runner, memory), runner, calls, share, collect)


def _counted(data, blocks: list[Block]) -> tuple[int, str]:
    """What a bar counts: frames where tasks hold several whole ones in all, else percent."""
    if not blocks:
        return 0, "%"
    frames = sum(block.n_frames for block in blocks)
    whole = all(block.core_shape == tuple(data.shape[-2:]) for block in blocks)
    return (frames, " frames") if whole and frames > 1 else (100, "%")


def map_to_array(
    data: np.ndarray | da.Array,
    blocks: Sequence[Block],
    function: Callable[..., np.ndarray],
    *,
    arguments: tuple = (),
    leading: tuple[int, ...] = (),
    dtype: np.dtype | type | str = np.float32,
) -> da.Array:
    """A lazy array on the same axes as the data, each block of it made by one call when it is computed.

    Parameters
    ----------
    data, blocks, function, arguments
        As for `map_blocks`, except that the function returns an array of shape
        ``(*leading, frames, core height, core width)``: the core of its block, halo cut off (``block.inner``).
    leading : tuple of int, optional
        Sizes of the new first axes (classes, say).
    dtype : dtype, optional
        Of the result; what the function returns is converted.

    Returns
    -------
    dask array, shape (*leading, ..., y, x)
        Its chunks are the cores of the blocks.

    Raises
    ------
    InvalidArgumentError
        If the blocks are not the grid that `plan_blocks` makes for this data. When computed: if the function
        returns another shape.

    Examples
    --------
    >>> from hs_deepatoms.engine.plan import plan_blocks
    >>> image = np.arange(20.0 * 30).reshape(20, 30)
    >>> blocks = plan_blocks((), (20, 30), tile=16, halo=8)
    >>> half = map_to_array(image, blocks, lambda array, block: array[:, *block.inner] / 2, dtype=float)
    >>> bool((half.compute() == image / 2).all())
    True
    """
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    navigation = check_blocks(data, blocks)
    on_axes = _grid(blocks, navigation)
    grid = on_axes or _grid(blocks, (math.prod(navigation),))
    if grid is None:
        allowed = "the blocks plan_blocks makes for this data"
        raise InvalidArgumentError(explain(f"{len(blocks)} blocks that are no grid", allowed, "Use plan_blocks."))
    chunks, indices = grid
    name = f"deepatoms-{uuid.uuid4().hex}"
    lead = (0,) * len(leading)
    graph = {}
    for block, index in zip(blocks, indices, strict=True):
        shape = tuple(axis[i] for axis, i in zip(chunks, index, strict=True))
        call = _Cut(
            _Call(function, block, tuple(arguments)), (*leading, *shape), (*leading, *_core_shape(block)), dtype
        )
        graph[(name, *lead, *index)] = _array_task(data, block, navigation, call)
    dependencies = [data] if is_lazy(data) else []
    layers = HighLevelGraph.from_collections(name, graph, dependencies=dependencies)
    out = da.Array(layers, name, (*((n,) for n in leading), *chunks), dtype=np.dtype(dtype))
    return out if on_axes else out.reshape((*leading, *data.shape))


class _Call:
    """The function with everything but its array, as one object that dask does not look into."""

    def __init__(self, function: Callable, block: Block, arguments: tuple, cores: int | None = None):
        self.function, self.block, self.arguments, self.cores = function, block, arguments, cores

    def __call__(self, array: np.ndarray):
        if self.cores is None:
            return self.function(array, self.block, *self.arguments)
        return on_cores(self.cores, self.function, array, self.block, *self.arguments)


class _Cut:
    """A call whose result becomes one chunk."""

    def __init__(self, call: _Call, shape: tuple[int, ...], returned: tuple[int, ...], dtype):
        self.call, self.shape, self.returned, self.dtype = call, shape, returned, dtype

    def __call__(self, array: np.ndarray) -> np.ndarray:
        result = np.asarray(self.call(array), dtype=self.dtype)
        if result.shape != self.returned:
            got = f"an array of shape {result.shape} for {self.call.block}"
            raise InvalidArgumentError(explain(got, f"shape {self.returned}", "Return the core of the block."))
        return result.reshape(self.shape)


def _core_shape(block: Block) -> tuple[int, int, int]:
    return (block.n_frames, *block.core_shape)


def _array_task(data, block: Block, navigation: tuple[int, ...], call: Callable) -> tuple:
    if not is_lazy(data):
        assembly, _ = assemble(block, navigation, [(n,) for n in data.shape])
        return (partial(_joined_cuts, assembly, call, assembly.cut([data])),)
    assembly, indices = assemble(block, navigation, data.chunks)
    return (partial(_joined_inputs, assembly, call), [(data.name, *index) for index in indices])


def _joined_cuts(assembly: Assembly, call: Callable, cuts: list[np.ndarray]):
    return call(assembly.join(cuts))


def _joined_inputs(assembly: Assembly, call: Callable, inputs: list[np.ndarray]):
    return call(assembly.join(assembly.cut(inputs)))


def _grid(blocks: Sequence[Block], navigation: tuple[int, ...]):
    """Chunks per axis (navigation, y, x) and every block's index in them; None if the cores are no grid of boxes."""
    cores = []
    for block in blocks:
        boxes = frame_boxes(*block.frames, navigation)
        if len(boxes) != 1:
            return None
        y0, y1, x0, x1 = block.core
        cores.append((*((s.start, s.stop) for s in boxes[0]), (y0, y1), (x0, x1)))
    axes = [sorted(set(spans)) for spans in zip(*cores, strict=True)]
    exact = all(a[1] == b[0] for axis in axes for a, b in pairwise(axis))
    if not exact or math.prod(map(len, axes)) != len(cores):
        return None
    places = [{span: i for i, span in enumerate(axis)} for axis in axes]
    indices = [tuple(place[span] for place, span in zip(places, core, strict=True)) for core in cores]
    return tuple(tuple(b - a for a, b in axis) for axis in axes), indices


def _supply(data, blocks: list[Block], runner, memory: int) -> Supply:
    most = runner.n_workers * (1 if runner.side_by_side > 1 else 2)  # of the blocks that run at once, or wait to
    if is_lazy(data):
        return lazy_supply(data, blocks, most=most, memory=memory * runner.n_memories)
    most = max(1, len(blocks)) if runner.whole_eager else most
    return eager_supply(np.asanyarray(data), blocks, most=most)


def _run(supply: Supply, runner, calls: list[_Call], bar, collect) -> list:
    """The waves, each run while the inputs of the next are loaded if both fit in the memory."""
    results: list = [None] * len(calls)
    held, running = dict(supply.ready), deque()
    pending, count, alone = None, _Count(bar), len(supply.waves) == 1

    def finish() -> None:
        wave, done = running.popleft()
        for i, value in zip(wave.blocks, done.result(), strict=True):
            results[i] = value if collect is None else collect(i, value)
        for key in wave.drop:
            held.pop(key, None)
        # A scheduler that is not dask's own reports nothing while it runs.
        count.at_least(len(wave.blocks))

    for number, wave in enumerate(supply.waves):
        while running and pending is None and _too_much(supply, held, number):
            finish()
        held |= (pending or _load(supply, runner, number, held)).result()
        _trim(held, supply)
        pending = _load(supply, runner, number + 1, held) if runner.ahead and _fits(supply, held, number + 1) else None
        parts = [(supply.assemblies[i], [held[key] for key in supply.needs[i]]) for i in wave.blocks]
        running.append((wave, runner.start(parts, [calls[i] for i in wave.blocks], count.tick, alone)))
        del parts
        while len(running) >= runner.side_by_side:
            finish()
    while running:
        finish()
    return results


class _Count:
    """Blocks that are done, told to a bar; waves that run side by side tell of theirs from threads of their own."""

    def __init__(self, bar: Share):
        self.bar, self.told, self.known, self.lock = bar, 0, 0, Lock()

    def tick(self) -> None:
        with self.lock:
            self.told += 1
            self.bar.update(1)

    def at_least(self, more: int) -> None:
        """So many more are known to be done, whatever was told of them."""
        with self.lock:
            self.known += more
            missing = max(0, self.known - self.told)
            self.told += missing
            self.bar.update(missing)


def _load(supply: Supply, runner, number: int, held: dict):
    keys = supply.waves[number].load
    # On a cluster the scheduler itself knows which keys it holds.
    graph = graph_of(keys, supply.graph(keys), held if runner.holds_arrays else {}) if keys else {}
    return runner.load(graph, keys, supply.at_once)


def _fits(supply: Supply, held: dict, number: int) -> bool:
    if number >= len(supply.waves):
        return False
    return bool(supply.waves[number].load) and not _too_much(supply, held, number)


def _too_much(supply: Supply, held: dict, number: int) -> bool:
    """Whether what is held and what a wave loads are more than the memory, were it loaded now."""
    fresh = supply.waves[number].load
    return bool(fresh) and sum(supply.sizes.get(key, 0) for key in [*held, *fresh]) > supply.memory


def _trim(held: dict, supply: Supply) -> None:
    """Give up results before the chunks if they are too many: they are made again when needed."""
    extra = [key for key, value in held.items() if key not in supply.sizes and key not in supply.ready]
    over = sum(getattr(held[key], "nbytes", 0) for key in extra) - supply.memory
    for key in extra if supply.memory else ():
        if over > 0:
            over -= getattr(held.pop(key), "nbytes", 0)
