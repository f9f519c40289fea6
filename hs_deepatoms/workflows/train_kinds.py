"""Train the head that settles the strengths of columns before they are classified, from one config and one seed.

    python -m hs_deepatoms.workflows.train_kinds kinds.safetensors

On tables alone (``hs_deepatoms/simulate/kinds.py``), no images. About ten minutes on one CPU core; the same seed and
number of threads give the same weights.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.atoms.kin import find_kin
from hs_deepatoms.simulate.kinds import FEWEST, STRAY_KIND, measured_kinds, random_recipe, simulate_kinds

if TYPE_CHECKING:
    import torch

RISE, LOW = 0.3, 0.04  # share of the training in which the learning rate rises, and from which factor on
EARLIER = 0.3  # weight of the errors after a round that is not the last
RARE, SINGLE = 0.3, 0.25  # power of the share of a kind in its weight; weight of tables of a single kind


@dataclass(frozen=True)
class KindsConfig:
    """Everything that decides the weights."""

    seed: int = 1
    tables: int = 4000
    steps: int = 3000
    columns: int = 1500  # of a step, about
    learning_rate: float = 5e-3
    width: int = 32
    rounds: int = 2
    average: float = 0.995
    far: float = 2.0  # errors in gaps between kinds count up to this


@dataclass(frozen=True)
class Sample:
    """One table: value, row, there, features, spread, and the truth: level, gap between the kinds (n,), weight."""

    arrays: tuple[np.ndarray, ...]

    @property
    def size(self) -> int:
        return len(self.arrays[0])


def sample(seed: int, index: int) -> Sample | None:
    """A function of the seed and the number alone; None where there are too few columns."""
    rng = np.random.default_rng([seed, 7, index])
    table = simulate_kinds(rng, random_recipe(rng))
    if len(table.y) < FEWEST:
        return None
    table, value = measured_kinds(rng, table)
    kin = find_kin(table.y, table.x, value)
    there = np.unique(table.kind[table.kind != STRAY_KIND])
    means = np.sort([np.median(table.level[table.kind == k]) for k in there])
    gap = np.diff(means).min() if len(means) > 1 else np.inf
    weight = _weights(table.kind)
    middle = np.median(value)
    arrays = (value - middle, kin.row, kin.there, kin.features, kin.spread, table.level - middle,
              np.full(len(value), max(gap, 0.03)), weight)  # fmt: skip
    return Sample(tuple(a if a.dtype.kind in "bi" else a.astype(np.float32) for a in arrays))


def _weights(kind: np.ndarray) -> np.ndarray:
    """Of columns: rare kinds count nearly as much as frequent ones, single kinds little, strays nothing."""
    kinds, where, number = np.unique(kind, return_inverse=True, return_counts=True)
    share = number[where] / kind.size
    several = (kinds != STRAY_KIND).sum() > 1
    weight = share**-RARE / np.sqrt(kind.size) * (1.0 if several else SINGLE)
    return np.where(kind == STRAY_KIND, 0.0, weight)


@dataclass(frozen=True)
class Given:
    """What the network is given of several tables as one: value, row, there, features of the pairs, spread."""

    tensors: tuple[torch.Tensor, ...]
    ndim = 1  # no image

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    def to(self, device: str) -> Given:
        return Given(tuple(t.to(device) for t in self.tensors))


class Tables:
    """Endless batches of about so many columns, each a function of (seed, step), as the trainer takes them."""

    def __init__(self, samples: list[Sample], columns: int, seed: int):
        self.samples, self.columns, self.seed = samples, columns, seed

    def __iter__(self) -> Iterator[tuple[Given, torch.Tensor]]:
        return self.starting(0)

    def starting(self, step: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Given, torch.Tensor]]:
        """From this step on; every one of several processes (``share``: the k-th of n) has tables of its own."""
        while True:
            rng = np.random.default_rng([self.seed, 8, step, share[0]])
            chosen, number = [], 0
            while number < self.columns:
                chosen.append(self.samples[rng.integers(len(self.samples))])
                number += chosen[-1].size
            yield batch(chosen)
            step += 1


def batch(samples: list[Sample]) -> tuple[Given, torch.Tensor]:
    """Several tables as one; and the truth (4, n): level, spread, gap between the kinds, weight."""
    import torch

    first = np.cumsum([0, *(s.size for s in samples[:-1])])
    parts = list(zip(*(s.arrays for s in samples), strict=True))
    parts[1] = [row + offset for row, offset in zip(parts[1], first, strict=True)]
    value, row, there, pair, spread, level, gap, weight = (torch.from_numpy(np.concatenate(part)) for part in parts)
    return Given((value, row, there, pair, spread)), torch.stack([level, spread, gap, weight])


def loss_of(values: torch.Tensor, truth: torch.Tensor, far: float) -> torch.Tensor:
    """Errors of all rounds (rounds, n), the last one most, in spreads and in gaps between the kinds."""
    level, spread, gap, weight = truth
    error = (values - level).abs()
    each = ((error / spread + (error / gap).clamp(max=far)) * weight).sum(1) / weight.sum()
    return each[-1] + EARLIER * each[:-1].sum()


def train(config: KindsConfig, *, show_progressbar: bool | None = True):
    """The trained network, an exponential average of its weights, and its loss at the end."""
    import torch

    from hs_deepatoms.nets.kinds import KindsNet
    from hs_deepatoms.training.fit import fit
    from hs_deepatoms.training.recipe import Recipe

    samples = [s for k in range(config.tables) if (s := sample(config.seed, k)) is not None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        rounds = _rounds(KindsNet(width=config.width, rounds=config.rounds))
    recipe = Recipe(steps=config.steps, learning_rate=config.learning_rate, schedule=slow_rise, weight_decay=1e-3,
                    gradient_clip=1.0, ema_decay=config.average, seed=config.seed)  # fmt: skip
    fitted = fit(rounds, Tables(samples, config.columns, config.seed), partial(loss_of, far=config.far), recipe,
                 show_progressbar=show_progressbar)  # fmt: skip
    return fitted.module.net, float(fitted.history.loss[-200:].mean())


def slow_rise(used: float) -> float:
    """Factor of the learning rate: up over the first third of the training, then down to nothing, both as a cosine.

    With a rate that is high at once the head learned less (Smith & Topin, arXiv:1708.07120, on such cycles).
    """
    if used < RISE:
        return LOW + (1 - LOW) * 0.5 * (1 - math.cos(math.pi * used / RISE))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (used - RISE) / (1 - RISE)))) + 1e-5


def _rounds(net):
    """The network as the trainer takes it: one thing in, one tensor (rounds, n) out."""
    import torch

    class Rounds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, given: Given) -> torch.Tensor:
            return torch.stack(self.net(*given.tensors))

    return Rounds()


def save(path: Path, net, config: KindsConfig, loss: float) -> str:
    """Write the model file; returns its sha256."""
    from hs_deepatoms.modelfile.files import save_module

    card = {
        "name": "kinds",
        "description": "Strengths of columns, settled with those around before they are classified.",
        "licence": "GPL-3.0-or-later",
        "data": "tables simulated by this package",
        "training": {**asdict(config), "loss": loss},
    }
    shape = {"width": config.width, "rounds": config.rounds}
    return save_module(path, net, architecture="KindsNet", config=shape, card=card)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="model file to write")
    parser.add_argument("--seed", type=int, default=KindsConfig.seed)
    parser.add_argument("--tables", type=int, default=KindsConfig.tables)
    parser.add_argument("--steps", type=int, default=KindsConfig.steps)
    o = parser.parse_args(arguments)
    config = KindsConfig(seed=o.seed, tables=o.tables, steps=o.steps)
    print(save(o.out, *_with_config(config)))


def _with_config(config: KindsConfig):
    net, loss = train(config)
    return net, config, loss


if __name__ == "__main__":
    main()
