"""How an autoencoder is trained: class averages first, then the library's own loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from hs_deepatoms.latent.model import BANK, VAE
from hs_deepatoms.latent.templates import class_averages
from hs_deepatoms.nets.catalogue import initialise
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import Fitted, fit
from hs_deepatoms.training.recipe import Recipe

FOR_AVERAGES = 1024  # patches that class averages are made of
AVERAGES = 24
OWN_BANK = 0.5  # share of the training after which the decoder's own motifs are searched


class Rows(Protocol):
    """Rows (n, f) of numbers: patches, conditions, labels."""

    def __len__(self) -> int:
        """How many."""

    def take(self, index: np.ndarray) -> np.ndarray:
        """Rows (k, f), float32."""


@dataclass(frozen=True, eq=False)
class _OneByOne:
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.rows.take(np.array([index]))[0], np.zeros(1, np.float32)


def negative_bound(terms: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over a batch of the negative evidence lower bound, whose terms (n, k) the model gives."""
    return terms.sum(1).mean()


def train(model: VAE, rows: Rows, recipe: Recipe, *, batch_size: int = 128, device: str = "cpu",
          show_progressbar: bool | None = True) -> Fitted:  # fmt: skip
    """Train in place, from initial weights that depend on the seed alone.

    Parameters
    ----------
    model : VAE
    rows : Rows
    recipe : Recipe
    batch_size : int
    device : str
    show_progressbar : bool, optional

    Returns
    -------
    Fitted
    """
    initialise(model, recipe.seed)
    model.noise_variance.fill_(1.0)
    model.to(device)
    begin(model, rows, recipe, device)
    batches = Batches(_OneByOne(rows), batch_size, seed=recipe.seed, device=device)
    pixels = model.channels * model.shape[0] * model.shape[1]
    return fit(model, batches, lambda terms, target: negative_bound(terms, target) / pixels, recipe, device=device,
               show_progressbar=show_progressbar)  # fmt: skip


def begin(model: VAE, rows: Rows, recipe: Recipe, device: str) -> None:
    """Class averages of some patches, as what the first patches are compared with."""
    if not model.moves:
        return
    chosen = np.random.default_rng([recipe.seed, 3]).permutation(len(rows))[:FOR_AVERAGES]
    patches = model.split(torch.from_numpy(rows.take(np.sort(chosen))).to(device))[0]
    generator = torch.Generator().manual_seed(recipe.seed)
    model.known = class_averages(patches, model.frame, model.lattice, AVERAGES, generator)[:BANK]
