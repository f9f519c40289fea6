"""How an autoencoder is trained: class averages first, then the library's own loop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from hs_deepatoms.latent.blocks import TERMS, BlockBatches, Physics, map_losses, together
from hs_deepatoms.latent.kinds import kinds_of
from hs_deepatoms.latent.model import BANK, VAE
from hs_deepatoms.latent.smoothing import widths
from hs_deepatoms.latent.templates import class_averages
from hs_deepatoms.nets.catalogue import initialise
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import Fitted, fit
from hs_deepatoms.training.recipe import Recipe

if TYPE_CHECKING:
    import xarray as xr

Watch = Callable[[VAE, int], None]
FOR_AVERAGES = 1024  # patches that class averages are made of
OWN_MOTIFS = 0.25  # share of the training after which poses are refined against the decoder's own motifs


class Rows(Protocol):
    """Rows (n, f) of numbers: patches, conditions, labels."""

    def __len__(self) -> int:
        """How many."""

    def take(self, index: np.ndarray) -> np.ndarray:
        """Rows (k, f), float32."""


@dataclass(frozen=True, eq=False)
class _Counted:
    """Batches that tell the model at which step they begin: a training that goes on from a checkpoint knows where."""

    batches: Batches | BlockBatches
    model: VAE

    def __iter__(self):
        return self.starting(0)

    def starting(self, step: int, share: tuple[int, int] = (0, 1)):
        self.model.rounds = step
        return self.batches.starting(step, share)


class _Loss:
    """The bound per pixel, with the loss of the maps where there is one, which it keeps step by step."""

    def __init__(self, pixels: int, physics: Physics | None):
        self.pixels, self.physics, self.maps = pixels, physics, []

    def __call__(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        own = negative_bound(out) / self.pixels
        if self.physics is None:
            return own
        found = map_losses(out, target, self.physics)
        self.maps.append(found.detach().mean())
        return together(own, found, self.physics)

    def history(self, own: xr.Dataset) -> xr.Dataset:
        """With ``physics``; NaN for steps before a checkpoint that the training went on from."""
        if self.physics is None:
            return own
        values = np.full(own.sizes["step"], np.nan)
        values[len(values) - len(self.maps) :] = torch.stack(self.maps).cpu().numpy() if self.maps else []
        return own.assign(physics=("step", values, {"long_name": "loss of the maps of a block, before its weight"}))


@dataclass(frozen=True, eq=False)
class _OneByOne:
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.rows.take(np.array([index]))[0], np.zeros(1, np.float32)


def negative_bound(out: torch.Tensor) -> torch.Tensor:
    """Mean over a batch of the negative evidence lower bound, whose terms are the first columns of the output."""
    return out[:, :TERMS].sum(1).mean()


def train(model: VAE, rows: Rows, recipe: Recipe, *, batch_size: int = 128, device: str = "cpu",
          physics: Physics | None = None, checkpoint: str | Path | None = None, job: dict | None = None,
          watch: Watch | None = None, show_progressbar: bool | None = True) -> Fitted:  # fmt: skip
    """Train in place, from initial weights that depend on the seed alone.

    Parameters
    ----------
    model : VAE
    rows : Rows
    recipe : Recipe
    batch_size : int
    device : str
    physics : Physics, optional
        A loss of the map of latents; batches are then blocks of neighbours.
    checkpoint, job
        As for :func:`~hs_deepatoms.training.fit.fit`.
    watch : callable, optional
        ``watch(model, step)`` every ``recipe.checkpoint_every`` steps, with a copy of the averaged model.
    show_progressbar : bool, optional

    Returns
    -------
    Fitted
    """
    initialise(model, recipe.seed)
    model.noise_variance.fill_(1.0)
    model.rounds, model.length, model.alone_after = 0, recipe.steps, round(OWN_MOTIFS * recipe.steps)
    model.to(device)
    begin(model, rows, recipe, device)
    batches = Batches(_OneByOne(rows), batch_size, seed=recipe.seed, device=device)
    if physics is not None:
        batches = BlockBatches(rows, physics, seed=recipe.seed, device=device)
    loss = _Loss(model.channels * model.shape[0] * model.shape[1], physics)

    def look(average: VAE, step: int) -> None:
        watch(settle(copy.deepcopy(average), rows, recipe.seed, device), step)

    fitted = fit(model, _Counted(batches, model), loss, recipe, device=device, checkpoint=checkpoint, job=job,
                 watch=None if watch is None else look, show_progressbar=show_progressbar)  # fmt: skip
    settle(fitted.module, rows, recipe.seed, device)
    return replace(fitted, history=loss.history(fitted.history))


@torch.no_grad()
def settle(model: VAE, rows: Rows, seed: int, device: str) -> VAE:
    """The model, with codes that stand for all patches in its bank: the decoder's own motifs are searched now."""
    from sklearn.cluster import KMeans

    model.eval()
    model.absorb_blur()
    chosen = np.sort(np.random.default_rng([seed, 4]).permutation(len(rows))[:FOR_AVERAGES])
    patches, condition, _ = model.split(torch.from_numpy(rows.take(chosen)).to(device))
    codes = model.encode(patches, model.find(patches)[1], condition).cpu().numpy()
    k = min(BANK, len(np.unique(codes, axis=0)))
    nearest = KMeans(k, n_init=3, random_state=seed).fit(codes).transform(codes).argmin(0)
    model.bank = torch.from_numpy(codes[nearest]).to(device)
    model.bank = model.bank.repeat(-(-BANK // k), 1)[:BANK]
    model.known, model.kinds = model.known[:0], model.kinds[:0]
    return model


def begin(model: VAE, rows: Rows, recipe: Recipe, device: str) -> None:
    """Measure how fine the patches are; class averages of some, as what the first patches are compared with."""
    chosen = np.random.default_rng([recipe.seed, 3]).permutation(len(rows))[:FOR_AVERAGES]
    patches, _, labels = model.split(torch.from_numpy(rows.take(np.sort(chosen))).to(device))
    if model.config["blur"] is None:
        model.set_blur(widths(patches))
    if not model.moves and not model.classes:
        return
    generator = torch.Generator().manual_seed(recipe.seed)
    model.known = class_averages(patches, model.frame, model.lattice, BANK, generator, blur=model.blur[0])
    if model.classes and labels is None:
        kinds = kinds_of(patches, model.known, model.classes, model.frame, model.lattice, recipe.seed,
                         blur=model.blur[0])  # fmt: skip
        model.kinds = kinds.to(device)


def best_of(make: Callable[[], VAE], rows: Rows, recipe: Recipe, restarts: int, **options) -> tuple[Fitted, float]:
    """The training with the least negative evidence lower bound of several, and that bound per pixel.

    Parameters
    ----------
    make : callable
        Makes the model.
    rows, recipe
        As for `train`; the k-th training has the seed ``recipe.seed + k``.
    restarts : int
    **options
        Of `train`.
    """
    best: tuple[Fitted, float] | None = None
    for k in range(restarts):
        fitted = train(make(), rows, replace(recipe, seed=recipe.seed + k), **options)
        found = bound(fitted.module, rows, options.get("device", "cpu"))
        if best is None or found < best[1]:
            best = fitted, found
    return best


@torch.no_grad()
def bound(model: VAE, rows: Rows, device: str = "cpu") -> float:
    """Negative evidence lower bound per pixel, mean over at most 1024 rows."""
    model.eval()
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), FOR_AVERAGES)).astype(int))
    parts = [
        model(torch.from_numpy(rows.take(some[k : k + 128])).to(device))[:, :TERMS].sum(1)
        for k in range(0, len(some), 128)
    ]
    return float(torch.cat(parts).mean()) / (model.channels * model.shape[0] * model.shape[1])
