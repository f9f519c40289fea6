"""Several processes that train one network: torch's own distributed data parallel, when ``torchrun`` started us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Group:
    """Which of how many processes this is, and its device."""

    rank: int
    size: int
    device: str

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch; never empty."""
        if self.size == 1:
            return batch
        part = batch[self.rank :: self.size]
        return part if len(part) else batch[self.rank % len(batch)][None]

    def weight(self, total: int) -> float:
        """What this process's mean over its part counts in the mean over all processes, for a batch of ``total``.

        1 where all parts are of one size; 0 for a sample that only repeats another process's.
        """
        return len(range(self.rank, total, self.size)) * self.size / total

    def agreed(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device="cpu" if "cpu" in self.device else self.device)
        distributed.broadcast(told, 0)
        return float(told)

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the processes."""
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module)


def local_device(device: str) -> str:
    """This process's own GPU, where ``torchrun`` started several processes; else the device itself."""
    if device == "cuda" and distributed.is_available() and distributed.is_torchelastic_launched():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device


@contextmanager
def process_group(device: str) -> Iterator[Group]:
    """The group of processes: those of ``torchrun``, or this one alone."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield Group(0, 1, device)
        return
    ours, device = not distributed.is_initialized(), local_device(device)
    if ours:
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        if ours:
            distributed.destroy_process_group()
