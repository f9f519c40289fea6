"""How a network for pairs of maps is trained: random tiles of the maps through the library's own loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hs_deepatoms.nets.catalogue import initialise
from hs_deepatoms.spectra.network import PairLoss, PairNet
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import Fitted, fit
from hs_deepatoms.training.recipe import Recipe

TILE = 24  # output pixels along the side of a tile
WIDE = 64  # of a tile that is only looked at


@dataclass(frozen=True, eq=False)
class PairedMaps:
    """Input and targets on one grid.

    Attributes
    ----------
    image : numpy.ndarray, float32, shape (c, (ny - 1) * step + window, (nx - 1) * step + window)
        Scaled, and padded so that the window of every output pixel is inside.
    targets : numpy.ndarray, float32, shape (k + p + 1, ny, nx)
        Targets, variance of noise in each of p spectra, and 1 where there is a measured target.
    window, step : int
    spectra : callable, optional
        ``spectra(y0, y1, x0, x1)`` gives whole spectra (h, w, n) of a tile, those of several one after the other.
    starts : list of numpy.ndarray, optional
        What each decoder of whole spectra says at first: the mean spectrum, or its logarithm.
    parts : int
        p.
    """

    image: np.ndarray
    targets: np.ndarray
    window: int
    step: int
    spectra: Callable[[int, int, int, int], np.ndarray] | None = None
    starts: list[np.ndarray] | None = None
    parts: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of output pixels."""
        return self.targets.shape[1:]

    def tile(self, y0: int, y1: int, x0: int, x1: int, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image and target of output pixels; ``use`` (ny, nx) says which count."""
        s, w = self.step, self.window
        image = self.image[:, y0 * s : (y1 - 1) * s + w, x0 * s : (x1 - 1) * s + w]
        target = self.targets[:, y0:y1, x0:x1].copy()
        target[-1] *= use[y0:y1, x0:x1]
        if self.spectra is not None:
            whole = self.spectra(y0, y1, x0, x1).transpose(2, 0, 1)
            k = len(target) - self.parts - 1
            target = np.concatenate([target[:k], whole, target[k:]])
        return np.ascontiguousarray(image), np.nan_to_num(target)


class Tiles:
    """Random tiles that hold at least one pixel that is trained on."""

    def __init__(self, maps: PairedMaps, use: np.ndarray, side: int):
        self.maps, self.use = maps, use
        self.places = np.flatnonzero((use & (maps.targets[-1] > 0)).ravel())
        self.sides = tuple(min(side, n) for n in maps.shape)

    def __len__(self) -> int:
        return len(self.places)

    def get(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The tile around a pixel, at a random offset."""
        place = np.unravel_index(self.places[index], self.maps.shape)
        start = [int(np.clip(p - rng.integers(side), 0, n - side))
                 for p, side, n in zip(place, self.sides, self.maps.shape, strict=True)]  # fmt: skip
        return self.maps.tile(start[0], start[0] + self.sides[0], start[1], start[1] + self.sides[1], self.use)


class Looked:
    """Tiles that cover all pixels that are looked at, for validation."""

    def __init__(self, maps: PairedMaps, use: np.ndarray, side: int = WIDE):
        self.maps, self.use, self.side = maps, use, side

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        ny, nx = self.maps.shape
        for y in range(0, ny, self.side):
            for x in range(0, nx, self.side):
                box = y, min(y + self.side, ny), x, min(x + self.side, nx)
                if self.use[box[0] : box[1], box[2] : box[3]].any():
                    image, target = self.maps.tile(*box, self.use)
                    yield torch.from_numpy(image)[None], torch.from_numpy(target)[None]

    def weight(self, target: torch.Tensor) -> float:
        """How many pixels count."""
        return float(target[:, -1].sum())


def train_pairs(net: PairNet, maps: PairedMaps, train: np.ndarray, look: np.ndarray, loss: PairLoss, recipe: Recipe, *,
                batch: int = 6, device: str = "cpu", checkpoint: Any = None,
                show_progressbar: bool | None = None) -> Fitted:  # fmt: skip
    """Train in place from weights that depend on the seed alone.

    Parameters
    ----------
    net : PairNet
    maps : PairedMaps
    train, look : numpy.ndarray of bool, shape (ny, nx)
        Pixels that are trained on, and those that choose the weights.
    loss : PairLoss
    recipe : Recipe
    batch : int
        Tiles in a batch.
    device : str
    checkpoint : path, optional
    show_progressbar : bool, optional

    Returns
    -------
    Fitted
    """
    initialise(net, recipe.seed)
    with torch.no_grad():
        for layer in (net.log_variance, net.mean, net.direct):
            layer.weight.mul_(0.1)
        net.log_variance.bias.fill_(-2.0)
        for decoder, start in zip(net.decoders, maps.starts or [], strict=False):
            decoder.head.weight.mul_(0.1)
            decoder.direct.weight.mul_(0.1)
            decoder.direct.bias.copy_(torch.from_numpy(start.astype(np.float32)))
    side = TILE if maps.spectra is None else max(4, TILE // 4)
    batches = Batches(Tiles(maps, train, side), batch, seed=recipe.seed, device=device)
    validation = Looked(maps, look, WIDE if maps.spectra is None else 16) if look.any() else None
    return fit(net, batches, loss, recipe, validation=validation, device=device, checkpoint=checkpoint,
               show_progressbar=show_progressbar)  # fmt: skip
