"""Batches are blocks of neighbours, and the loss sees the map that they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.latent.blocks import BlockBatches, Physics, loss_named, map_losses, together
from hs_deepatoms.latent.physics import edge_loss

LAYOUT = np.stack([one.ravel() for one in np.indices((2, 7, 9))], 1)


class Numbers:
    """A row is its frame, row and column."""

    def __len__(self):
        return len(LAYOUT)

    def __init__(self, layout=LAYOUT):
        self.layout = layout

    def take(self, index):
        return self.layout[index].astype(np.float32)


def physics(**options):
    return Physics(**({"loss": edge_loss, "weight": 2.0, "latents": None, "block": (4, 5), "layout": LAYOUT} | options))


def test_blocks_are_neighbours_and_depend_on_seed_and_step():
    source = BlockBatches(Numbers(), physics(), seed=3)
    batches = source.starting(0)
    first, second = next(batches), next(batches)
    for rows, places in (first, second):
        assert rows.shape == (20, 3) and len(rows[:, 0].unique()) == 1
        corner = rows[0, 1:]
        np.testing.assert_array_equal(rows[:, 1:] - corner, places)
    again = next(BlockBatches(Numbers(), physics(), seed=3).starting(1))
    np.testing.assert_array_equal(again[0], second[0])
    assert next(BlockBatches(Numbers(), physics(block=(50, 50))).starting(0))[0].shape == (63, 3)


def test_missing_nodes_are_masked():
    layout = np.delete(LAYOUT, [4, 30, 63 + 8], 0)
    rows, places = next(BlockBatches(Numbers(layout), physics(layout=layout, block=(7, 9)), seed=0).starting(0))
    assert len(rows) == len(places) == (61, 62)[int(rows[0, 0])]


def test_few_nodes_far_apart():
    """Of a sparse grid blocks with two nodes are found, each step has one, and where there is none it is said."""
    pair = np.array([[0, 0, 0], [0, 59, 59], [1, 30, 31], [1, 33, 30]])
    source = BlockBatches(Numbers(pair), physics(layout=pair, block=(4, 5)), seed=0)
    batches = source.starting(0)
    found = [next(batches) for _ in range(6)]
    for rows, places in found:
        np.testing.assert_array_equal(rows, pair[2:])
        np.testing.assert_array_equal(places[1] - places[0], [3, -1])
    np.testing.assert_array_equal(next(source.starting(4))[1], found[4][1])
    starts = {tuple(places[0].tolist()) for _, places in found}
    assert len(starts) > 1  # (0, 1), (0, 2), (0, 3)
    with pytest.raises(InvalidArgumentError, match="no block of 4 x 5 nodes has two patches"):
        BlockBatches(Numbers(pair[:2]), physics(layout=pair[:2], block=(4, 5)))


def test_loss_of_the_map():
    places = torch.from_numpy(LAYOUT[:63, 1:])
    latents = torch.rand(63, 2, generator=torch.Generator().manual_seed(0))
    out = torch.cat([torch.zeros(63, 3), latents], 1).requires_grad_()
    expected = edge_loss(latents.T.reshape(2, 7, 9)).mean()
    found = map_losses(out, places, physics()).mean()
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5)
    found.backward()
    assert (out.grad[:, 3:] != 0).any() and (out.grad[:, :3] == 0).all()
    one = map_losses(out, places, physics(latents=[1]))
    np.testing.assert_allclose(one.detach(), edge_loss(latents[:, 1].reshape(7, 9))[0], rtol=1e-5)


def test_sum_and_product():
    own, found = torch.tensor(3.0), torch.tensor([0.25])
    assert float(together(own, found, physics())) == 3.5
    assert float(together(own, found, physics(combine="multiply", weight=0.5))) == 1.5
    two = torch.tensor([0.25, 4.0])
    assert float(together(own, two, physics(weight=(2.0, -1.0)))) == 3 + (0.5 - 4) / 2
    assert float(together(own, two, physics(combine="multiply", weight=(1.0, 0.0)))) == pytest.approx(1.5)
    with pytest.raises(InvalidArgumentError, match="above 0"):
        together(own, -found, physics(combine="multiply"))


def test_blocks_move_together():
    class Moved(Numbers):
        def take(self, index, offset):
            return self.layout[index].astype(np.float32) + np.array([0, *offset], np.float32)

    batches = BlockBatches(Moved(), physics(jitter=(3, 0)), seed=0).starting(0)
    offsets = set()
    for _ in range(20):
        rows, _ = next(batches)
        assert (rows[:, 2] >= 0).all() and len((rows[:, 1].unique() * 2 % 2).unique()) == 1
        offsets.add(float(rows[:, 1].max()))
    assert max(offsets) > 6 or min(offsets) < 3


def test_names():
    assert loss_named("edges") is edge_loss and loss_named(max) is max
    board = (torch.arange(8)[:, None] + torch.arange(9)) % 2.0
    seen, blind = (loss_named(name)(board) for name in ("edges", "scharr"))
    assert blind < 0.5 * seen
    with pytest.raises(InvalidArgumentError, match="periodicity"):
        loss_named("entropy")
