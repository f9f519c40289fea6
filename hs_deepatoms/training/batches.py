"""Batches of samples in an order that depends on the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch

Transform = Callable[[torch.Tensor, torch.Tensor, np.random.Generator], tuple[torch.Tensor, torch.Tensor]]


class Samples(Protocol):
    """Where samples come from."""

    def __len__(self) -> int:
        """How many samples make an epoch."""

    def get(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Image (c, h, w) and target of one sample; ``rng`` decides what is random about it."""


class Batches:
    """An endless series of shuffled batches, each a function of (seed, step).

    Batches are always full: the next epoch begins where the last one ends within a batch, so fewer samples than a batch
    are samples that come several times, each time with random numbers of their own.

    Parameters
    ----------
    samples : Samples
    batch_size : int
    seed : int
    transform : callable, optional
        ``transform(image, target, rng)`` on tensors of one sample, on ``device``: augmentation.
    device : str
    workers : int
        Processes that read samples ahead; 0 reads in this one. The batches are the same.

    Examples
    --------
    >>> import numpy as np
    >>> class Numbers:
    ...     def __len__(self): return 3
    ...     def get(self, index, rng): return np.full((1, 1, 1), index), np.zeros((1, 1))
    >>> image, _ = next(Batches(Numbers(), 6, seed=1).starting(0))
    >>> sorted(image.flatten().tolist())
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        *,
        seed: int = 0,
        transform: Transform | None = None,
        device: str = "cpu",
        workers: int = 0,
    ):
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.transform, self.device, self.workers = transform, device, workers

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.starting(0)

    def starting(self, step: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches from this step on; of ``share`` = (k, n) only every n-th sample, from the k-th."""
        places = _Places(step, self.batch_size, share)
        drawn = _Drawn(self.samples, self.seed)
        if self.workers:
            # its own generator: DataLoader would draw from torch's global random state
            loader = torch.utils.data.DataLoader(drawn, batch_sampler=places, num_workers=self.workers,
                                                 collate_fn=_together, generator=torch.Generator())  # fmt: skip
            source = iter(loader)
        else:
            source = (_together([drawn[place] for place in batch]) for batch in places)
        for batch, (image, target) in zip(places, source, strict=False):
            yield self._transformed(image.to(self.device), target.to(self.device), batch)

    def _transformed(self, image, target, places) -> tuple[torch.Tensor, torch.Tensor]:
        if self.transform is None:
            return image, target
        rngs = (np.random.default_rng([self.seed, place, 1]) for place in places)
        done = [self.transform(i, t, rng) for i, t, rng in zip(image, target, rngs, strict=True)]
        return torch.stack([i for i, _ in done]), torch.stack([t for _, t in done])


class _Places:
    """Lists of places in the endless series of samples."""

    def __init__(self, step: int, batch_size: int, share: tuple[int, int]):
        self.step, self.batch_size, self.share = step, batch_size, share

    def __iter__(self) -> Iterator[list[int]]:
        rank, size = self.share
        step = self.step
        while True:
            first = step * self.batch_size
            batch = list(range(first, first + self.batch_size))
            yield batch[rank::size] or [batch[rank % len(batch)]]
            step += 1


class _Drawn:
    """The sample at a place: which one by the epoch's permutation, and its random numbers by the place."""

    def __init__(self, samples: Samples, seed: int):
        self.samples, self.seed = samples, seed
        self._epoch: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, k = divmod(place, len(self.samples))
        if self._epoch[0] != epoch:
            order = np.random.default_rng([self.seed, epoch, 2]).permutation(len(self.samples))
            self._epoch = (epoch, order)
        return self.samples.get(int(self._epoch[1][k]), np.random.default_rng([self.seed, place]))


def _together(samples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))
