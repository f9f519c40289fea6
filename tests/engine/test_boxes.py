from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.engine.boxes import assemble, frame_boxes
from hs_deepatoms.engine.plan import Block, starts
from tests.engine.test_plan import splits

small = settings(max_examples=60, deadline=None)


@st.composite
def cases(draw):
    shape = (
        *draw(st.lists(st.integers(1, 5), min_size=0, max_size=3)),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 9)),
    )
    chunks = draw(st.tuples(*(splits(n) for n in shape)))
    spans = []
    for n in (math.prod(shape[:-2]), *shape[-2:]):
        a = draw(st.integers(0, n - 1))
        spans.append((a, draw(st.integers(a + 1, n))))
    return shape, chunks, Block(spans[0], (*spans[1], *spans[2]), (*spans[1], *spans[2]))


@small
@given(cases())
def test_a_block_from_chunks_equals_the_slice_of_the_whole(case):
    shape, chunks, block = case
    data = np.arange(math.prod(shape)).reshape(shape)
    y0, y1, x0, x1 = block.padded
    wanted = data.reshape(-1, *shape[-2:])[slice(*block.frames), y0:y1, x0:x1]
    assembly, indices = assemble(block, shape[:-2], chunks)
    edges = [starts(axis) for axis in chunks]
    inputs = [data[tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, index, strict=True))] for index in indices]
    assert len(set(indices)) == len(indices)
    np.testing.assert_array_equal(assembly.join(assembly.cut(inputs)), wanted)


@small
@given(cases())
def test_boxes_cover_the_frames_in_order(case):
    shape, _, block = case
    frames = np.arange(math.prod(shape[:-2])).reshape(shape[:-2])
    found = np.concatenate([frames[box].ravel() for box in frame_boxes(*block.frames, shape[:-2])])
    np.testing.assert_array_equal(found, np.arange(*block.frames))


def test_a_block_of_whole_rows_is_a_view():
    data = np.zeros((3, 5, 20, 14))
    block = Block((5, 15), (4, 12, 0, 14), (2, 14, 0, 14))
    assembly, _ = assemble(block, (3, 5), [(n,) for n in data.shape])
    array = assembly.join(assembly.cut([data]))
    assert array.shape == (10, 12, 14)
    assert np.shares_memory(array, data)
