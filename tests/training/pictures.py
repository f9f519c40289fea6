"""A small labelled data set and a small network, for the tests of this room."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.nets.catalogue import make_net


class Discs:
    """Images of bright discs in noise, and where they are: classes 0 and 1, shape (24, 32)."""

    def __init__(self, n=12, exclusive=False, seed=0):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:24, :32]
        y, x = rng.uniform(4, 20, (2, n)) * np.array([[1], [1.3]])
        disc = ((yy - y[:, None, None]) ** 2 + (xx - x[:, None, None]) ** 2 < 16).astype(np.float32)
        self.images = (disc + 0.3 * rng.standard_normal(disc.shape)).astype(np.float32)[:, None]
        self.targets = disc.astype(np.int64) if exclusive else disc[:, None]

    def __len__(self):
        return len(self.images)

    def get(self, index, rng):
        return self.images[index], self.targets[index]


def small_net(seed=0, **config):
    return make_net("unet", **{"filters": 4, "depth": 1, "seed": seed, **config})
