"""``KindsNet``: the value of every column, settled with the columns around it."""

from __future__ import annotations

import torch
from torch import nn

ROWS = 4096  # columns that a round looks at together


class KindsNet(nn.Module):
    """A few rounds in which every column chooses between its own value and weighted means of its neighbours'.

    In each round two means weigh the neighbours by what the pairs are to each other (attention; Velickovic et al., ICLR
    2018, arXiv:1710.10903), and two more also by how alike the values are; a gate mixes them with the column's own. So
    the result lies between values that are there, follows any offset and factor of the values, and the order of the
    neighbours does not matter.

    Parameters
    ----------
    features : int
        Of a pair.
    whole : int
        How many of these, the last ones, are the same for all pairs.
    width : int
        Of the hidden layers.
    rounds : int
    """

    def __init__(self, features: int = 9, whole: int = 3, width: int = 32, rounds: int = 2):
        super().__init__()
        self.rounds = nn.ModuleList(_Round(features, whole, width) for _ in range(rounds))

    def forward(self, value, row, there, pair, spread) -> list[torch.Tensor]:
        """Values (n,) after every round.

        Parameters
        ----------
        value, spread : tensor, shape (n,)
        row : tensor of int64, shape (n, k)
        there : tensor of bool, shape (n, k)
        pair : tensor, shape (n, k, features)
        """
        start, out = value, []
        parts = [slice(k, k + ROWS) for k in range(0, max(len(value), 1), ROWS)]  # so that long tables fit into memory
        for one in self.rounds:
            value = torch.cat([one(start[p], value[p], value[row[p]], there[p], pair[p], spread[p]) for p in parts])
            out.append(value)
        return out


class _Round(nn.Module):
    def __init__(self, features: int, whole: int, width: int):
        super().__init__()
        self.whole = whole
        self.by_place = _mlp(features, width, 2)
        self.by_value = _mlp(features + 4, width, 2)
        self.gate = _mlp(4 * 3 + 2 + whole, width, 6)

    def forward(self, start, value, around, there, pair, spread):
        first, weight = _means(self.by_place(pair), around, there)
        scale = spread[:, None, None]
        apart = torch.cat([(around - value[:, None])[..., None], (around - start[:, None])[..., None],
                           around[..., None] - first[:, None]], -1) / scale  # fmt: skip
        second, more = _means(self.by_value(torch.cat([pair, _tamed(apart)], -1)), around, there)
        means, weight = torch.cat([first, second], 1), torch.cat([weight, more], 2)
        width = (weight * (around[..., None] - means[:, None]).abs()).sum(1) / spread[:, None]
        number = 1 / (weight**2).sum(1).clamp(min=1e-3)
        offset = (means - start[:, None]) / spread[:, None]
        moved = _tamed((value - start) / spread)[:, None]
        whole = pair[:, 0, -self.whole :], moved, there.float().mean(1, keepdim=True)
        told = torch.cat([_tamed(offset), _tamed(width), number.log(), *whole], 1)
        choice = torch.softmax(self.gate(told), 1)
        candidates = torch.cat([start[:, None], value[:, None], means], 1)
        return torch.where(there.any(1), (choice * candidates).sum(1), start)


def _tamed(x: torch.Tensor) -> torch.Tensor:
    return 3 * torch.tanh(x / 3)


def _means(score: torch.Tensor, around: torch.Tensor, there: torch.Tensor):
    """Means (n, heads) of the neighbours' values (n, k), and the weights (n, k, heads)."""
    score = score.masked_fill(~there[..., None], -30.0)
    weight = torch.softmax(score, 1) * there[..., None]
    return (weight * around[..., None]).sum(1), weight


def _mlp(inside: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, out))
