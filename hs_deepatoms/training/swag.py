"""SWAG: a Gaussian over weights from the path of a training, and networks drawn from it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from hs_deepatoms._core.errors import TrainingError, explain
from hs_deepatoms.training.statistics import measure_statistics

RANK = 20  # of the covariance's low-rank part, as published


class WeightGaussian:
    """Mean, diagonal and low-rank covariance of the weights that a training passes through.

    Parameters
    ----------
    rank : int
        Largest number of deviations kept, the last ones.

    Notes
    -----
    Maddox et al., NeurIPS 2019, arXiv:1902.02476: a sample is
    ``mean + sqrt(diagonal / 2) * z1 + D @ z2 / sqrt(2 (K - 1))`` with standard normal z1, z2 and D the K last
    deviations from the running mean. Kept in float64 on the CPU: the diagonal is a small difference of large numbers.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.training.swag import WeightGaussian
    >>> line, seen = torch.nn.Linear(1, 1, bias=False), WeightGaussian()
    >>> for value in (1.0, 2.0, 3.0):
    ...     _ = line.weight.data.fill_(value)
    ...     seen.collect(line)
    >>> round(float(seen.mean), 3), round(float(seen.diagonal), 3)
    (2.0, 0.667)
    """

    def __init__(self, rank: int = RANK):
        self.rank, self.count = rank, 0
        self.mean = self.square = torch.zeros(0, dtype=torch.float64)
        self.deviations: list[torch.Tensor] = []

    def collect(self, module: nn.Module) -> None:
        """Take in the module's weights as they are now."""
        # reshape, not view: weights may lie channels-last in memory
        weights = torch.cat([p.detach().reshape(-1).cpu().double() for p in module.parameters()])
        if not self.count:
            self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.count += 1
        self.mean = self.mean + (weights - self.mean) / self.count
        self.square = self.square + (weights**2 - self.square) / self.count
        self.deviations = [*self.deviations, weights - self.mean][-self.rank :]

    @property
    def diagonal(self) -> torch.Tensor:
        """Variance of every weight, shape (n,)."""
        return (self.square - self.mean**2).clamp(min=0)

    def draw(self, module: nn.Module, generator: torch.Generator, batches: Iterable[torch.Tensor]) -> nn.Module:
        """A copy of the module with weights drawn from the Gaussian, and batch-norm statistics that belong to them.

        Parameters
        ----------
        module : torch.nn.Module
            Parameters that need no gradient are frozen: they and the statistics of their norms stay bit by bit.
        generator : torch.Generator
            On the CPU.
        batches : iterable of Tensor
            Training images, (n, c, h, w), on the module's device.

        Returns
        -------
        torch.nn.Module
            In eval mode.

        Raises
        ------
        TrainingError
            If fewer than two sets of weights were collected.
        """
        if self.count < 2:
            got = f"{self.count} sets of weights for a covariance"
            raise TrainingError(explain(got, "two or more", "Train for more steps."))
        noise = torch.randn(len(self.mean), generator=generator, dtype=torch.float64)
        weights = self.mean + torch.sqrt(self.diagonal / 2) * noise
        kept = torch.stack(self.deviations)
        along = torch.randn(len(kept), generator=generator, dtype=torch.float64)
        weights += (along @ kept) / (2 * max(len(kept) - 1, 1)) ** 0.5
        made = copy.deepcopy(module)
        parameters = list(made.parameters())
        with torch.no_grad():
            for own, values in zip(parameters, weights.split([p.numel() for p in parameters]), strict=True):
                if own.requires_grad:
                    own.copy_(values.view(own.shape))
        measure_statistics(made, batches, parameters[0].device)
        return made.eval()
