from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.engine.waves import make_waves, order_blocks, peak_bytes

needs_of = st.lists(st.lists(st.integers(0, 12), unique=True, max_size=4), min_size=1, max_size=30)


@settings(max_examples=80, deadline=None)
@given(needs_of, st.integers(1, 5), st.integers(1, 40))
def test_every_block_runs_once_with_its_inputs_there(needs, most, most_bytes):
    sizes = {key: key + 1 for key in range(13)}
    waves = make_waves(order_blocks(needs, sizes), needs, sizes, most=most, most_bytes=most_bytes)
    assert sorted(b for wave in waves for b in wave.blocks) == list(range(len(needs)))
    held: set = set()
    loads: list = []
    for wave in waves:
        assert 1 <= len(wave.blocks) <= most
        held |= set(wave.load)
        loads += wave.load
        assert all(set(needs[b]) <= held for b in wave.blocks)
        held -= set(wave.drop)
    assert not held
    assert len(loads) == len(set(loads))


def test_strips_are_walked_along_themselves():
    # 8 x 8 tiles over 32 upright strips; every tile sees half a strip more on each side.
    needs = [[s for s in range(4 * x - 1, 4 * x + 5) if 0 <= s < 32] for _ in range(8) for x in range(8)]
    sizes = dict.fromkeys(range(32), 1)
    order = order_blocks(needs, sizes)
    assert order[:8] == [8 * y for y in range(8)]
    assert peak_bytes(make_waves(order, needs, sizes, most=4, most_bytes=100), sizes) <= 12


def test_order_is_that_of_the_blocks_where_nothing_is_shared():
    needs = [[i] for i in range(10)]
    assert order_blocks(needs, dict.fromkeys(range(10), 1)) == list(range(10))
