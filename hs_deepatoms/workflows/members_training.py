"""How the members of an ensemble are trained: each from scratch, from a common baseline, or drawn by SWAG."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hs_deepatoms.training.fit import STATISTICS
from hs_deepatoms.training.freezing import frozen
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.swag import RANK, WeightGaussian

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.workflows.training_job import Ready

BRANCH = 0.25  # length of a member's own training in baselines, and of the path that SWAG follows
PATH_RATE = 0.3  # constant learning rate on that path, in units of the largest one


@dataclass(frozen=True)
class Trained:
    """Members in eval mode, and the histories of their trainings."""

    nets: list[nn.Module]
    histories: list[xr.Dataset]


def from_scratch(ready: Ready, nets: list[nn.Module], recipe: Recipe, seed: int, how: dict[str, Any]) -> Trained:
    """Every member by itself: other initial weights, other batches, another augmentation."""
    done = [ready.train(net, replace(recipe, seed=recipe.seed + k), seed=seed + k, **how)
            for k, net in enumerate(nets)]  # fmt: skip
    return Trained([fitted.module for fitted in done], [fitted.history for fitted in done])


def from_baseline(ready: Ready, nets: list[nn.Module], recipe: Recipe, seed: int, how: dict[str, Any]) -> Trained:
    """One training, from whose result every member goes on for a quarter of its length on batches of its own."""
    base = ready.train(nets[0], recipe, seed=seed, **how)
    short = replace(recipe, steps=max(1, round(BRANCH * recipe.steps)), validate_every=None)
    copies = [copy.deepcopy(base.module) for _ in nets]
    trained = from_scratch(ready, copies, replace(short, seed=recipe.seed + 1), seed + 1, how)
    return Trained(trained.nets, [base.history, *trained.histories])


def by_swag(ready: Ready, nets: list[nn.Module], recipe: Recipe, seed: int, how: dict[str, Any]) -> Trained:
    """One training that goes on at a constant rate, and members drawn from the Gaussian of the weights on its path."""
    base = ready.train(nets[0], recipe, seed=seed, **how)
    steps = max(2, round(BRANCH * recipe.steps))
    path = replace(recipe, steps=steps, learning_rate=PATH_RATE * recipe.learning_rate, schedule="constant",
                   averaging=None, patience=None, seed=recipe.seed + 1,
                   checkpoint_every=max(1, steps // (2 * RANK)))  # fmt: skip
    seen = WeightGaussian()
    walked = ready.train(copy.deepcopy(base.module), path, seed=seed + 1, validate=False,
                         watch=lambda module, step: seen.collect(module), **how)  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    batches = [image for (image, _), _ in zip(ready.batches(seed + 2), range(min(STATISTICS, steps)), strict=False)]
    with frozen(walked.module, how.get("freeze", ())):
        drawn = [seen.draw(walked.module, generator, batches) for _ in nets]
    return Trained(drawn, [base.history, walked.history])


METHODS = {"scratch": from_scratch, "baseline": from_baseline, "swag": by_swag}
