"""Batches that are neighbours on a grid, so that a loss can look at the map of their latents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.latent.physics import LOSSES

TERMS = 3  # columns of the model's output before the latents
COMBINE = ("add", "multiply")
FEWEST = 2  # patches of a block
CONTRACT = "loss(maps, mask=mask) -> tensor"


@dataclass(frozen=True, eq=False)
class Physics:
    """A loss of the map of latents.

    Attributes
    ----------
    loss : callable
        ``loss(maps, mask=mask)`` gives one number per map; maps (n, h, w).
    weight : float or tuple of float
        Of its mean beside the evidence lower bound per pixel, or one for each latent; below 0: maximised.
    latents : sequence of int, or None
        Which of them; None: all.
    block : (int, int)
        Height and width of a batch, nodes of the grid.
    layout : numpy.ndarray, int, shape (n, 3)
        Frame, row and column of every training row on the grid.
    combine : {"add", "multiply"}
        Whether the mean of the weighted losses is added to the bound, or the bound is multiplied by the geometric mean
        of the losses to the power ``weight`` (as published; for a bound that is never below 0).
    jitter : (int, int)
        Largest offset along y and x, pixels, of the origins of a block's patches: all of a block move together, drawn
        anew each time, but those that would have NaN stay. The rows must then have ``take(index, offset)``.
    """

    loss: Callable
    weight: float | tuple[float, ...]
    latents: Sequence[int] | None
    block: tuple[int, int]
    layout: np.ndarray
    combine: str = "add"
    jitter: tuple[int, int] = (0, 0)


class BlockBatches:
    """An endless series of blocks, each a function of (seed, step): rows (k, f) and their places (k, 2) in the block.

    Parameters
    ----------
    rows : Rows
    physics : Physics
    seed : int
    device : str

    Raises
    ------
    InvalidArgumentError
        If no block holds two rows: there is no map.
    """

    def __init__(self, rows, physics: Physics, *, seed: int = 0, device: str = "cpu"):
        self.rows, self.physics, self.seed, self.device = rows, physics, seed, device
        shape = physics.layout.max(0) + 1
        self.index = np.full(shape, -1)
        self.index[tuple(physics.layout.T)] = np.arange(len(physics.layout))
        self.block = tuple(int(min(one, n)) for one, n in zip(physics.block, shape[1:], strict=True))
        self.corners = np.argwhere(_counts(self.index >= 0, self.block) >= FEWEST)
        if not len(self.corners):
            got = f"a grid on which no block of {self.block[0]} x {self.block[1]} nodes has two patches without NaN"
            todo = "Give a larger physics_block, or leave physics out."
            raise InvalidArgumentError(explain(got, "blocks of at least two", todo))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.starting(0)

    def starting(self, step: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches from this step on; a block is not shared among processes: each has blocks of its own."""
        rank, size = share
        while True:
            rng = np.random.default_rng([self.seed, step * size + rank, 5])
            rows, places = self._block(rng)
            values = torch.from_numpy(self._taken(rows, rng)).to(self.device)
            yield values, torch.from_numpy(places).to(self.device)
            step += 1

    def _taken(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not any(self.physics.jitter):
            return self.rows.take(rows)
        return self.rows.take(rows, tuple(int(rng.integers(-one, one + 1)) for one in self.physics.jitter))

    def _block(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        frames, *grid = self.index.shape
        frame = rng.integers(frames)
        at = [int(rng.integers(n - one + 1)) for n, one in zip(grid, self.block, strict=True)]
        rows, places = self._rows_in(frame, *at)
        if len(rows) < FEWEST:
            return self._rows_in(*self.corners[rng.integers(len(self.corners))])
        return rows, places

    def _rows_in(self, frame: int, top: int, left: int) -> tuple[np.ndarray, np.ndarray]:
        part = self.index[frame, top : top + self.block[0], left : left + self.block[1]]
        places = np.argwhere(part >= 0)
        return part[tuple(places.T)], places


def _counts(there: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """How many nodes (frames, h, w) every block holds, by its upper left corner."""
    total = np.pad(there.astype(np.int64), ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    h, w = block
    return total[:, h:, w:] - total[:, :-h, w:] - total[:, h:, :-w] + total[:, :-h, :-w]


def map_losses(out: torch.Tensor, places: torch.Tensor, physics: Physics) -> torch.Tensor:
    """The losses (k,) of the maps of a batch, one per latent.

    Parameters
    ----------
    out : tensor, shape (n, 3 + d)
        What the model gives.
    places : tensor, int, shape (n, 2)
        Row and column of each in the block.
    physics : Physics
    """
    latents = out[:, TERMS:] if physics.latents is None else out[:, [TERMS + k for k in physics.latents]]
    h, w = (int(one) + 1 for one in places.amax(0))
    flat = places[:, 0] * w + places[:, 1]
    maps = torch.zeros(latents.shape[1], h * w, device=out.device).index_copy(1, flat, latents.T)
    mask = torch.zeros(h * w, device=out.device).index_fill(0, flat, 1.0)
    found = physics.loss(maps.unflatten(1, (h, w)), mask=mask.unflatten(0, (h, w)))
    _check_found(found, latents)
    return found.reshape(-1)


def _check_found(found: object, latents: torch.Tensor) -> None:
    """Refuse what a loss of the user's gives if nothing can be learned from it."""
    n = latents.shape[1]
    if not isinstance(found, torch.Tensor):
        got = f"a loss of maps that gives {type(found).__name__}"
    elif found.numel() not in (1, n) or not found.is_floating_point():
        got = f"a loss of maps that gives a tensor of {found.dtype} and shape {tuple(found.shape)}"
    elif latents.requires_grad and not found.requires_grad and bool((found != 0).any()):  # 0: nothing of this block
        got = "a loss of maps without a gradient"
    else:
        return
    todo = "Compute it by torch, without detach, item or NumPy."
    raise InvalidArgumentError(explain(got, f"{CONTRACT}: one number for each of {n} maps, or one", todo))


def together(own: torch.Tensor, found: torch.Tensor, physics: Physics) -> torch.Tensor:
    """The bound per pixel and the losses (k,) of the maps as one.

    Raises
    ------
    InvalidArgumentError
        A product with a loss below 0, which would reward a worse bound.
    """
    weight = torch.as_tensor(physics.weight, dtype=found.dtype, device=found.device)
    if physics.combine == "add":
        return own + (weight * found).mean()
    if not (found > 0).all():
        got = f'a loss of the maps of {float(found.min()):g} with combine="multiply"'
        raise InvalidArgumentError(explain(got, "a loss above 0", 'Choose "add", or another loss.'))
    return own * torch.exp((weight * torch.log(found)).mean())


def loss_named(loss: str | Callable) -> Callable:
    """A loss of maps by its name, or the function itself.

    Raises
    ------
    InvalidArgumentError
        If there is no such loss, or a function that cannot be called so.
    """
    if callable(loss):
        _check_call(loss)
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        allowed = f"{', '.join(map(repr, LOSSES))} or a function"
        raise InvalidArgumentError(explain(f"physics={loss!r}", allowed, "Choose one of these."))
    return LOSSES[loss]


def _check_call(loss: Callable) -> None:
    """Refuse a function without the keyword ``mask``."""
    try:
        signature = inspect.signature(loss)
    except ValueError:  # some built-in functions do not say
        return
    try:
        signature.bind(None, mask=None)
    except TypeError as error:
        got = f"physics={getattr(loss, '__name__', loss)!r} with the arguments {signature}"
        todo = "Add the keyword mask: 1 where there is a patch, 0 elsewhere."
        raise InvalidArgumentError(explain(got, CONTRACT, todo)) from error
