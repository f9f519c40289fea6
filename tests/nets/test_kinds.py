"""The network that settles strengths."""

import pytest
import torch

from hs_deepatoms.nets.kinds import KindsNet


@pytest.fixture
def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return KindsNet(features=5, whole=2, width=8, rounds=2).eval()


def inputs(n=11, k=4):
    rng = torch.Generator().manual_seed(1)
    value = torch.randn(n, generator=rng)
    row = torch.randint(0, n, (n, k), generator=rng)
    there = torch.rand(n, k, generator=rng) < 0.7
    there[3] = False
    return value, row, there, torch.randn(n, k, 5, generator=rng), torch.full((n,), 0.5)


def test_values_stay_between_those_that_are_there(net):
    value, row, there, pair, spread = inputs()
    out = net(value, row, there, pair, spread)
    assert len(out) == 2 and out[-1].shape == (11,)
    assert out[-1].min() >= value.min() and out[-1].max() <= value.max()
    assert out[-1][3] == value[3]  # without neighbours


def test_offset_and_factor_go_through(net):
    value, row, there, pair, spread = inputs()
    out = net(value, row, there, pair, spread)[-1]
    moved = net(3 * value + 2, row, there, pair, 3 * spread)[-1]
    torch.testing.assert_close(moved, 3 * out + 2, atol=1e-4, rtol=1e-4)


def test_parts_of_a_long_table_give_the_same(net, monkeypatch):
    value, row, there, pair, spread = inputs()
    whole = net(value, row, there, pair, spread)[-1]
    monkeypatch.setattr("hs_deepatoms.nets.kinds.ROWS", 3)
    torch.testing.assert_close(net(value, row, there, pair, spread)[-1], whole)


def test_the_order_of_the_neighbours_does_not_matter(net):
    value, row, there, pair, spread = inputs()
    pair[..., -2:] = pair[:, :1, -2:]  # the same for all pairs
    order = torch.tensor([2, 0, 3, 1])
    out = net(value, row, there, pair, spread)[-1]
    torch.testing.assert_close(net(value, row[:, order], there[:, order], pair[:, order], spread)[-1], out)
