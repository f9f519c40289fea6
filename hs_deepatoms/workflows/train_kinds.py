"""Train the head that settles the strengths of columns before they are classified, from one config and one seed.

    python -m hs_deepatoms.workflows.train_kinds kinds.safetensors

On tables alone (``hs_deepatoms/simulate/kinds.py``), no images. About ten minutes on one CPU core; the same seed and
number of threads give the same weights.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.atoms.kin import find_kin
from hs_deepatoms.simulate.kinds import FEWEST, STRAY_KIND, measured_kinds, random_recipe, simulate_kinds

if TYPE_CHECKING:
    import torch

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


def batch(samples: list[Sample]) -> list[torch.Tensor]:
    """Several tables as one."""
    import torch

    first = np.cumsum([0, *(s.size for s in samples[:-1])])
    parts = list(zip(*(s.arrays for s in samples), strict=True))
    parts[1] = [row + offset for row, offset in zip(parts[1], first, strict=True)]
    return [torch.from_numpy(np.concatenate(part)) for part in parts]


def loss_of(values: list[torch.Tensor], level, spread, gap, weight, far: float):
    """Errors of all rounds, the last one most, in spreads and in gaps between the kinds."""
    total = 0.0
    for k, value in enumerate(values):
        error = (value - level).abs()
        each = error / spread + (error / gap).clamp(max=far)
        total = total + (1.0 if k == len(values) - 1 else 0.3) * (each * weight).sum() / weight.sum()
    return total


def train(config: KindsConfig, *, verbose: bool = True):
    """The trained network, an exponential average of its weights."""
    import torch

    from hs_deepatoms.nets.kinds import KindsNet

    samples = [s for k in range(config.tables) if (s := sample(config.seed, k)) is not None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = KindsNet(width=config.width, rounds=config.rounds)
    kept, rng = copy.deepcopy(net), np.random.default_rng([config.seed, 8])
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps)
    seen = []
    for step in range(config.steps):
        value, row, there, pair, spread, level, gap, weight = batch(_drawn(rng, samples, config.columns))
        loss = loss_of(net(value, row, there, pair, spread), level, spread, gap, weight, config.far)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for a, b in zip(kept.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 1 - min(config.average, step / (step + 10)))
        seen.append(float(loss.detach()))
        if verbose and step % 100 == 99:
            print(step + 1, f"{np.mean(seen[-100:]):.4f}", flush=True)
    return kept.eval(), float(np.mean(seen[-200:]))


def _drawn(rng, samples: list[Sample], columns: int) -> list[Sample]:
    chosen, number = [], 0
    while number < columns:
        chosen.append(samples[rng.integers(len(samples))])
        number += chosen[-1].size
    return chosen


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
