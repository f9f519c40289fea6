"""Where the pixels of a block lie in chunked data, and how they come together again."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hs_deepatoms.engine.plan import Block, starts

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Piece:
    """A part of one input (a chunk) and its place in one box of the block."""

    input: int
    source: Slices
    box: int
    target: Slices


@dataclass(frozen=True)
class Assembly:
    """How a block of shape (frames, height, width) is put together from pieces of its inputs.

    A box is a run of frames that is rectangular on the navigation axes: (first, stop, navigation shape).
    """

    shape: tuple[int, int, int]
    boxes: tuple[tuple[int, int, tuple[int, ...]], ...]
    pieces: tuple[Piece, ...]

    def cut(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Views into the inputs, one per piece."""
        return [np.asarray(inputs[piece.input])[piece.source] for piece in self.pieces]

    def join(self, cuts: Sequence[np.ndarray]) -> np.ndarray:
        """The block; a view where it is one piece."""
        if len(cuts) == 1:
            return cuts[0].reshape(self.shape)
        out = np.empty(self.shape, dtype=cuts[0].dtype)
        for piece, cut in zip(self.pieces, cuts, strict=True):
            first, stop, navigation = self.boxes[piece.box]
            out[first:stop].reshape((*navigation, *self.shape[1:]))[piece.target] = cut
        return out


def frame_boxes(first: int, stop: int, navigation: Sequence[int]) -> list[Slices]:
    """Rectangular boxes on the navigation axes that make up a range of flattened frames, in order.

    Examples
    --------
    >>> frame_boxes(3, 7, (4, 5))
    [(slice(0, 1, None), slice(3, 5, None)), (slice(1, 2, None), slice(0, 2, None))]
    """
    if len(navigation) == 0:
        return [()]
    if len(navigation) == 1:
        return [(slice(first, stop),)]
    inner = navigation[1:]
    row = math.prod(inner)
    (i, head), (j, tail) = divmod(first, row), divmod(stop, row)
    if i == j:
        return [(slice(i, i + 1), *box) for box in frame_boxes(head, tail, inner)]
    boxes: list[Slices] = []
    if head:
        boxes += [(slice(i, i + 1), *box) for box in frame_boxes(head, row, inner)]
        i += 1
    if i < j:
        boxes.append((slice(i, j), *(slice(0, n) for n in inner)))
    if tail:
        boxes += [(slice(j, j + 1), *box) for box in frame_boxes(0, tail, inner)]
    return boxes


def block_boxes(block: Block, navigation: Sequence[int]) -> list[Slices]:
    """The slices of the data (navigation, y, x) that a block is cut from."""
    y0, y1, x0, x1 = block.padded
    return [(*box, slice(y0, y1), slice(x0, x1)) for box in frame_boxes(*block.frames, navigation)]


def assemble(
    block: Block, navigation: Sequence[int], chunks: Sequence[Sequence[int]], origin: Sequence[int] | None = None
) -> tuple[Assembly, list[tuple[int, ...]]]:
    """How to build a block from chunked data, and the indices of the chunks it needs.

    ``origin`` is where the chunked data starts in the source, one number per axis.
    """
    edges = [starts(axis) for axis in chunks]
    origin = origin or (0,) * len(edges)
    boxes, pieces, inputs, first = [], [], {}, 0
    for number, box in enumerate(block_boxes(block, navigation)):
        shape = tuple(s.stop - s.start for s in box[: len(navigation)])
        boxes.append((first, first + math.prod(shape), shape))
        first += math.prod(shape)
        parts = [_overlaps(s, axis, o) for s, axis, o in zip(box, edges, origin, strict=True)]
        for combination in product(*parts):
            index, source, target = (tuple(field) for field in zip(*combination, strict=True))
            pieces.append(Piece(inputs.setdefault(index, len(inputs)), source, number, target))
    return Assembly((first, *block.padded_shape), tuple(boxes), tuple(pieces)), list(inputs)


def _overlaps(wanted: slice, edges: Sequence[int], origin: int) -> list[tuple[int, slice, slice]]:
    """Per chunk that a slice of one axis touches: its index, the part of the chunk, the part of the slice."""
    start, stop = wanted.start - origin, wanted.stop - origin
    found = []
    index = bisect_right(edges, start) - 1
    while index < len(edges) - 1 and edges[index] < stop:
        a, b = max(start, edges[index]), min(stop, edges[index + 1])
        if a < b:
            found.append((index, slice(a - edges[index], b - edges[index]), slice(a - start, b - start)))
        index += 1
    return found
