"""Residual blocks: what a level adds to its input."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.blocks import ChannelDropout, norm_layers


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with norm, added to the input (He et al., CVPR 2016, doi:10.1109/CVPR.2016.90).

    A 1 x 1 convolution fits the input where the number of channels changes.
    """

    def __init__(self, channels_in: int, channels_out: int, *, norm: str = "batch", dropout: float = 0.0):
        super().__init__()
        bias = norm == "none"
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias),
            *norm_layers(norm, channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=bias),
            *norm_layers(norm, channels_out),
        )
        self.fit = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        self.drop = ChannelDropout(dropout) if dropout else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(F.relu(self.body(x) + self.fit(x)))


def residual_stage(channels_in: int, channels_out: int, n: int, **block) -> nn.Sequential:
    """``n`` residual blocks, the first of which changes the number of channels."""
    return nn.Sequential(*(ResidualBlock(channels_in if k == 0 else channels_out, channels_out, **block)
                           for k in range(n)))  # fmt: skip
