"""Noise on the weights that fades with time, and the seeds of whatever else is random in a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.nets.blocks import ChannelDropout, SeededNoise


@dataclass(frozen=True)
class Perturbation:
    """Gaussian noise of sigma ``scale / (1 + n) ** decay`` on all trained weights, the ``n``-th time every ``every``
    steps: it widens the search at first and fades away.

    The time dependence is that of annealed gradient noise (Neelakantan et al., arXiv:1511.06807).

    Raises
    ------
    InvalidArgumentError
        Values below 0; ``every`` that is no whole number of 1 or more.
    """

    scale: float = 0.01
    decay: float = 1.5
    every: int = 50

    def __post_init__(self):
        if not (self.scale >= 0 and self.decay >= 0 and self.every >= 1 and self.every == int(self.every)):
            got = f"Perturbation(scale={self.scale!r}, decay={self.decay!r}, every={self.every!r})"
            allowed = "scale and decay of 0 or more, every a whole number of 1 or more"
            raise InvalidArgumentError(explain(got, allowed, "Choose other values."))

    def sigma(self, step: int) -> float:
        """Noise added after this step (counted from 1); 0 for steps between."""
        return 0.0 if step % self.every else self.scale / step_count(step, self.every) ** self.decay


def step_count(step: int, every: int) -> int:
    """How often something that comes every so many steps has come."""
    return step // every


def perturb(module: nn.Module, sigma: float, seed: int) -> None:
    """Add noise to the trained weights in place; the same for the same seed on every device."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(noise.to(weight), alpha=sigma)


def step_seed(seed: int, step: int) -> int:
    """A seed for one step: neighbours in either number have nothing in common."""
    return (seed * 1_000_003 + step * 7_919 + 12_345) % 2**31


@contextmanager
def seeded_step(module: nn.Module, seed: int) -> Iterator[None]:
    """Dropout of the body from a seed. Modules of torch's own draw from its global state, which is put back after."""
    foreign = False
    for k, layer in enumerate(module.modules()):
        if isinstance(layer, ChannelDropout | SeededNoise):
            layer.seed = step_seed(seed, k)
        foreign |= isinstance(layer, nn.modules.dropout._DropoutNd)
    if not foreign:
        yield
        return
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(d.index or 0 for d in devices)):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        for device in devices:
            state = torch.Generator(device).manual_seed(seed).get_state()
            torch.cuda.set_rng_state(state, device)
        yield
