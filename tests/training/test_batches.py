from itertools import islice

import numpy as np
import torch

from hs_deepatoms.training.batches import Batches


class Numbered:
    """The sample's number, and a random one."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def get(self, index, rng):
        return np.full((1, 2, 3), index, np.float32), rng.random((2, 3)).astype(np.float32)


def noisy(image, target, rng):
    return image + float(rng.random()), target


def stacked(batches, n, start=0):
    parts = list(islice(batches.starting(start), n))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def test_every_sample_once_per_epoch_across_batches():
    images, targets = stacked(Batches(Numbered(5), 4, seed=2), 5)
    numbers = images[:, 0, 0, 0].reshape(4, 5)
    assert all(sorted(row.tolist()) == [0, 1, 2, 3, 4] for row in numbers)
    assert not all(torch.equal(numbers[0], row) for row in numbers)
    assert len(torch.unique(targets[:, 0, 0])) == 20


def test_any_start_shares_and_workers_give_the_same_samples():
    whole = stacked(Batches(Numbered(7), 4, seed=1, transform=noisy), 6)
    later = stacked(Batches(Numbered(7), 4, seed=1, transform=noisy), 2, start=4)
    state = torch.get_rng_state()
    workers = stacked(Batches(Numbered(7), 4, seed=1, transform=noisy, workers=1), 6)
    assert torch.equal(torch.get_rng_state(), state)
    for k in range(2):
        assert torch.equal(whole[k][16:], later[k]) and torch.equal(whole[k], workers[k])
    halves = [list(islice(Batches(Numbered(7), 4, seed=1, transform=noisy).starting(0, (r, 2)), 6)) for r in (0, 1)]
    joined = torch.cat([torch.stack([a[0], b[0]], 1).flatten(0, 1) for a, b in zip(*halves, strict=True)])
    assert torch.equal(joined, whole[0])
    assert not torch.equal(whole[1], stacked(Batches(Numbered(7), 4, seed=2), 6)[1])
