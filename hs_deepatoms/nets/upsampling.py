"""The way from a coarse level back to the next finer one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Upsampling(nn.Module):
    """Twice as many rows and columns.

    Parameters
    ----------
    channels : int
        Channels in and out.
    mode : {"bilinear", "nearest", "transposed"}
        "transposed" is a learned 2 x 2 transposed convolution.
    """

    def __init__(self, channels: int, mode: str = "bilinear"):
        super().__init__()
        self.mode = mode
        self.learned = nn.ConvTranspose2d(channels, channels, 2, stride=2) if mode == "transposed" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.learned is not None:
            return self.learned(x)
        if self.mode == "nearest":
            return F.interpolate(x, scale_factor=2.0)
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
