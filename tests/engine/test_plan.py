from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms._core.errors import InvalidArgumentError
from hs_deepatoms.engine.boxes import frame_boxes
from hs_deepatoms.engine.plan import choose_tile, plan_blocks

small = settings(max_examples=60, deadline=None)


@st.composite
def splits(draw, size):
    cuts = sorted(draw(st.sets(st.integers(1, max(1, size - 1)), max_size=4)))
    edges = [0, *[c for c in cuts if c < size], size]
    return tuple(b - a for a, b in pairwise(edges))


@st.composite
def cases(draw):
    navigation = tuple(draw(st.lists(st.integers(1, 5), min_size=0, max_size=3)))
    shape = (draw(st.integers(1, 90)), draw(st.integers(1, 70)))
    chunks = draw(st.none() | st.tuples(*(splits(n) for n in (*navigation, *shape))))
    options = {
        "tile": (draw(st.integers(8, 64)), draw(st.integers(8, 64))),
        "halo": draw(st.integers(0, 20)),
        "frames_per_block": draw(st.integers(1, 12)),
        "align": draw(st.sampled_from([1, 4, 8])),
        "chunks": chunks,
    }
    return navigation, shape, options


@small
@given(cases())
def test_cores_partition_every_frame_exactly(case):
    navigation, shape, options = case
    seen = np.zeros((int(np.prod(navigation)), *shape), dtype=int)
    for block in plan_blocks(navigation, shape, **options):
        y0, y1, x0, x1 = block.core
        seen[slice(*block.frames), y0:y1, x0:x1] += 1
    assert (seen == 1).all()


@small
@given(cases())
def test_padded_holds_core_and_halo_on_the_grid_of_the_frame(case):
    navigation, shape, options = case
    halo, align = options["halo"], options["align"]
    for block in plan_blocks(navigation, shape, **options):
        for a, b, p, q, n in zip(
            block.core[::2], block.core[1::2], block.padded[::2], block.padded[1::2], shape, strict=True
        ):
            assert p <= max(0, a - halo) and q >= min(n, b + halo) and 0 <= p and q <= n
            assert p % align == 0 and a % align == 0
        array = np.zeros(block.padded_shape)[block.inner]
        assert array.shape == block.core_shape


@small
@given(cases())
def test_sizes_stay_inside_what_was_asked_and_blocks_are_boxes(case):
    navigation, shape, options = case
    blocks = plan_blocks(navigation, shape, **options)
    cut = any(n > t for n, t in zip(shape, options["tile"], strict=True))
    for block in blocks:
        assert block.n_frames <= (1 if cut else options["frames_per_block"])
        assert all(c <= t for c, t in zip(block.core_shape, options["tile"], strict=True))
        assert len(frame_boxes(*block.frames, navigation)) == 1
    assert blocks == sorted(blocks, key=lambda b: (b.frames, b.core))


def test_a_frame_that_fits_is_not_cut():
    blocks = plan_blocks(7, (100, 60), tile=128, halo=16, frames_per_block=3)
    assert [b.frames for b in blocks] == [(0, 3), (3, 6), (6, 7)]
    assert all(b.core == b.padded == (0, 100, 0, 60) for b in blocks)


def test_edges_follow_the_chunks():
    blocks = plan_blocks(1, (2900, 300), tile=1024, halo=32, chunks=((1,), (1000, 1000, 900), (300,)))
    assert [b.core[:2] for b in blocks] == [(0, 1000), (1000, 2000), (2000, 2900)]
    blocks = plan_blocks(1, (4096, 300), tile=1536, halo=32, chunks=((1,), (1024,) * 4, (300,)))
    assert len(blocks) == len(plan_blocks(1, (4096, 300), tile=1536, halo=32))
    frames = [
        b.frames
        for b in plan_blocks(100, (64, 48), tile=64, halo=0, frames_per_block=8, chunks=((50, 50), (64,), (48,)))
    ]
    assert 50 in {stop for _, stop in frames}
    assert max(b - a for a, b in frames) <= 8


def test_edges_ignore_chunks_that_would_make_more_tiles():
    free = plan_blocks(1, (1000, 1000), tile=500, halo=8, align=1)
    tied = plan_blocks(1, (1000, 1000), tile=500, halo=8, align=1, chunks=((1,), (300, 300, 400), (1000,)))
    assert len(tied) == len(free) == 4


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((0, (10, 10)), {"tile": 8, "halo": 0}),
        ((1, (10, 0)), {"tile": 8, "halo": 0}),
        ((1, (10, 10)), {"tile": 0, "halo": 0}),
        ((1, (10, 10)), {"tile": 8, "halo": -1}),
        ((1, (10, 10)), {"tile": 8, "halo": 0, "frames_per_block": 0}),
        ((1, (10, 10)), {"tile": 8, "halo": 0, "chunks": ((1,), (5,), (10,))}),
    ],
)
def test_impossible_sizes_are_named(arguments, options):
    with pytest.raises(InvalidArgumentError, match="Allowed"):
        plan_blocks(*arguments, **options)


@pytest.mark.parametrize("shape", [(8192, 8192), (1000, 3000), (256, 200), (40, 5000)])
def test_tiles_stay_inside_the_budget(shape):
    memory, per_pixel, halo = 200 * 2**20, 150, 48
    tile, frames = choose_tile(shape, bytes_per_pixel=per_pixel, halo=halo, memory=memory)
    for block in plan_blocks(1000, shape, tile=tile, halo=halo, frames_per_block=frames)[:50]:
        assert block.n_frames * np.prod(block.padded_shape) * per_pixel <= memory


def test_a_budget_too_small_for_the_halo_is_named():
    with pytest.raises(InvalidArgumentError, match="budget"):
        choose_tile((4096, 4096), bytes_per_pixel=1000, halo=64, memory=10 * 2**20)
