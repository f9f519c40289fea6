"""Which part of the data each task gets: whole frames where a frame fits in a tile, else tiles with a halo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product

from hs_deepatoms._core.errors import InvalidArgumentError, explain

Box = tuple[int, int, int, int]
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Block:
    """What one task works on, in pixels of the source; all ranges are half open.

    Attributes
    ----------
    frames : tuple of int
        ``(first, stop)`` of the navigation positions, flattened in C order.
    core : tuple of int
        ``(y0, y1, x0, x1)``: the part of each frame that belongs to this block alone.
    padded : tuple of int
        ``(y0, y1, x0, x1)``: core and halo, clipped to the frame; what the task is given.
    """

    frames: tuple[int, int]
    core: Box
    padded: Box

    @property
    def n_frames(self) -> int:
        """How many frames."""
        return self.frames[1] - self.frames[0]

    @property
    def core_shape(self) -> tuple[int, int]:
        """Height and width of the core."""
        return self.core[1] - self.core[0], self.core[3] - self.core[2]

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Height and width of what the task is given."""
        return self.padded[1] - self.padded[0], self.padded[3] - self.padded[2]

    @property
    def inner(self) -> tuple[slice, slice]:
        """Slices that cut the core out of the padded array."""
        top, left = self.core[0] - self.padded[0], self.core[2] - self.padded[2]
        height, width = self.core_shape
        return slice(top, top + height), slice(left, left + width)


def plan_blocks(
    n_frames: int | Sequence[int],
    shape: tuple[int, int],
    *,
    tile: int | tuple[int, int],
    halo: int | tuple[int, int],
    frames_per_block: int = 1,
    chunks: Sequence[Sequence[int]] | None = None,
    align: int = 8,
) -> list[Block]:
    """Cut frames into blocks whose cores partition every frame exactly.

    Parameters
    ----------
    n_frames : int or sequence of int
        Number of frames, or the navigation shape: then no block straddles two rows of it without taking
        whole rows, so every block is a box on the navigation axes.
    shape : (int, int)
        Height and width of a frame in pixels.
    tile : int or (int, int)
        Largest side of a core in pixels. A frame that fits is never cut.
    halo : int or (int, int)
        Pixels around the core that a task sees but does not own; rounded up to a multiple of ``align``.
    frames_per_block : int, optional
        Largest number of frames in a block; only for frames that are not cut (a tile is of one frame).
    chunks : sequence of sequence of int, optional
        The dask chunks of the source (navigation, then y and x). Edges follow them where the number of
        blocks does not grow by it along y and x, and always along the navigation axes.
    align : int, optional
        Cores and padded parts start at multiples of this, so that a pooling network sees every tile on the
        same grid as the whole frame.

    Returns
    -------
    list of Block
        By frame, then row-major.

    Raises
    ------
    InvalidArgumentError
        If a size is not positive, the halo is negative, or the chunks do not add up to the shape.

    Examples
    --------
    >>> blocks = plan_blocks(1, (100, 60), tile=64, halo=8)
    >>> [block.core for block in blocks]
    [(0, 56, 0, 60), (56, 100, 0, 60)]
    >>> blocks[1].padded
    (48, 100, 0, 60)
    """
    navigation = tuple(n_frames) if isinstance(n_frames, Sequence) else (int(n_frames),)
    _check(navigation, shape, _pair(tile), _pair(halo), frames_per_block, align, chunks)
    nav_chunks, signal_chunks = _split_chunks(chunks, navigation)
    sides = [_cut(n, t, c, align) for n, t, c in zip(shape, _pair(tile), signal_chunks, strict=True)]
    whole = all(len(side) == 1 for side in sides)
    halos = [-(-h // align) * align for h in _pair(halo)]
    spans = [
        [(a, b, max(0, a - h), min(n, b + h)) for a, b in side] for side, h, n in zip(sides, halos, shape, strict=True)
    ]
    frames = _cut_navigation(navigation, frames_per_block if whole else 1, nav_chunks)
    return [
        Block(frames=f, core=(y[0], y[1], x[0], x[1]), padded=(y[2], y[3], x[2], x[3]))
        for f, y, x in product(frames, *spans)
    ]


def choose_tile(
    shape: tuple[int, int],
    *,
    bytes_per_pixel: float,
    halo: int,
    memory: int = 512 * MEBIBYTE,
    largest: int = 2048,
    most_frames: int = 64,
    align: int = 8,
) -> tuple[int, int]:
    """Tile side and frames per block such that one task stays inside a memory budget.

    Parameters
    ----------
    shape : (int, int)
        Height and width of a frame in pixels.
    bytes_per_pixel : float
        What the task needs at its peak per pixel of its padded array (for a network: the activations alive).
    halo : int
        Pixels around the core.
    memory : int, optional
        Budget of one task in bytes.
    largest : int, optional
        Largest tile side; larger ones gain nothing and make the progress bar coarse.
    most_frames : int, optional
        Largest number of frames in a block.
    align : int, optional
        The tile is a multiple of this.

    Returns
    -------
    tile : int
        For ``plan_blocks``.
    frames_per_block : int
        1 where the frame does not fit in the tile.

    Raises
    ------
    InvalidArgumentError
        If not even a tile as large as the halo fits into the budget.
    """
    side = math.isqrt(int(memory / bytes_per_pixel))
    pixels = shape[0] * shape[1]
    if pixels * bytes_per_pixel <= memory and max(shape) <= largest:
        return -(-max(shape) // align) * align, max(1, min(most_frames, int(memory / bytes_per_pixel / pixels)))
    tile = min(largest, side - 2 * halo) // align * align
    if tile < max(align, halo):
        need = (3 * halo + align) ** 2 * bytes_per_pixel / MEBIBYTE
        got = f"a budget of {memory / MEBIBYTE:.0f} MiB for tiles with a halo of {halo} px"
        raise InvalidArgumentError(explain(got, f"at least {need:.0f} MiB", "Raise the memory budget."))
    return tile, 1


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _check(navigation, shape, tile, halo, frames_per_block, align, chunks) -> None:
    sizes = (*navigation, *shape, *tile, frames_per_block, align)
    if len(shape) != 2 or min(sizes) < 1 or min(halo) < 0:
        got = f"frames {navigation} of {shape} px, tile={tile}, halo={halo}, {frames_per_block=}, {align=}"
        raise InvalidArgumentError(explain(got, "positive sizes and a halo of 0 or more", "Check the sizes."))
    if chunks is None:
        return
    totals = [sum(c) for c in chunks]
    fits = totals[-2:] == list(shape) and math.prod(totals[:-2]) == math.prod(navigation)
    if not fits:
        got = f"chunks that add up to {tuple(totals)}"
        raise InvalidArgumentError(explain(got, f"chunks of {(*navigation, *shape)}", "Give the chunks of the data."))


def _split_chunks(chunks, navigation):
    if chunks is None:
        return [None] * len(navigation), [None, None]
    nav = list(chunks[:-2])
    # A flattened stack of several navigation axes: only the fastest axis says where chunks end.
    if len(nav) != len(navigation):
        nav = [list(nav[-1]) * (math.prod(navigation) // sum(nav[-1]))] if nav else [None] * len(navigation)
    return nav, list(chunks[-2:])


def _cut(size: int, tile: int, chunks: Sequence[int] | None, align: int) -> list[tuple[int, int]]:
    """Even parts of one signal axis, or parts that follow the chunks if these are no more."""
    if size <= tile:
        return [(0, size)]
    tile = max(align, tile // align * align)
    even = _even(size, tile, align)
    if chunks is None or len(chunks) == 1:
        return even
    edges = [0]
    for part in _group(chunks, tile):
        start = edges[-1]
        edges += [start + b for _, b in _even(part, tile, align)]
    inner = {round(edge / align) * align for edge in edges[1:-1]}
    rounded = sorted({0, size, *(edge for edge in inner if 0 < edge < size)})
    snapped = list(pairwise(rounded))
    fits = max(b - a for a, b in snapped) <= tile
    return snapped if fits and len(snapped) <= len(even) else even


def _even(size: int, largest: int, align: int = 1) -> list[tuple[int, int]]:
    parts = -(-size // largest)
    step = min(largest, -(-size // (parts * align)) * align)
    edges = [*range(0, size, step), size]
    return list(pairwise(edges))


def _group(chunks: Sequence[int], largest: int) -> list[int]:
    """Join neighbouring chunks while they fit."""
    groups: list[int] = []
    for chunk in chunks:
        if groups and groups[-1] + chunk <= largest:
            groups[-1] += chunk
        else:
            groups.append(chunk)
    return groups


def _cut_navigation(navigation, frames_per_block, chunks) -> list[tuple[int, int]]:
    """Flat frame ranges, each a box on the navigation axes: parts of a row, or whole rows of the axis before."""
    if not navigation:
        return [(0, 1)]
    below = 1
    axis = len(navigation) - 1
    while axis > 0 and below * navigation[axis] <= frames_per_block // 2:
        below *= navigation[axis]
        axis -= 1
    parts = _cut_frames(navigation[axis], max(1, frames_per_block // below), chunks[axis])
    row = below * navigation[axis]
    rows = math.prod(navigation[:axis])
    return [(r * row + a * below, r * row + b * below) for r in range(rows) for a, b in parts]


def _cut_frames(size: int, most: int, chunks: Sequence[int] | None) -> list[tuple[int, int]]:
    edges = [0]
    for part in _group(chunks or [size], most):
        start = edges[-1]
        edges += [start + b for _, b in _even(part, most)]
    return list(pairwise(edges))


def starts(chunks: Sequence[int]) -> list[int]:
    """First index of every chunk, and the end."""
    return [0, *accumulate(chunks)]
