"""Latents -> spectra, by dilated one-dimensional convolutions."""

from __future__ import annotations

import torch
from torch import nn


class SpectrumDecoder(nn.Module):
    """Latents (n, d) -> spectra (n, outputs, length).

    Parameters
    ----------
    latent_dim, outputs, length : int
    width : int
        Channels of the convolutions.
    depth : int
        Dilated convolutions; the k-th reaches 2 ** k channels of the coarse axis.
    coarse : int
        Channels of the energy axis per step of the axis that the convolutions run on; 1 is as fine as the spectrum.

    Notes
    -----
    A fully connected layer, a block of convolutions with growing dilation whose outputs are added, and a convolution
    to the outputs, as the decoder of ImSpec: Ziatdinov et al., Nat. Mach. Intell. 4, 1101 (2022),
    doi:10.1038/s42256-022-00555-8.

    Examples
    --------
    >>> import torch
    >>> SpectrumDecoder(4, 1, 101)(torch.zeros(3, 4)).shape
    torch.Size([3, 1, 101])
    """

    def __init__(self, latent_dim: int, outputs: int, length: int, width: int = 32, depth: int = 4, coarse: int = 4):
        super().__init__()
        self.length, self.width, self.coarse = length, width, coarse
        self.steps = -(-length // coarse)
        self.spread = nn.Linear(latent_dim, width * self.steps)
        self.dilated = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2**k, padding=2**k) for k in range(depth))
        self.head = nn.Conv1d(width, outputs * coarse, 3, padding=1)
        self.direct = nn.Linear(latent_dim, outputs * length)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.spread(z).unflatten(1, (self.width, self.steps))
        total = x
        for conv in self.dilated:
            x = nn.functional.silu(conv(x))
            total = total + x
        fine = self.head(total).unflatten(1, (-1, self.coarse)).transpose(2, 3).flatten(2)[..., : self.length]
        return fine + self.direct(z).unflatten(1, (-1, self.length))
