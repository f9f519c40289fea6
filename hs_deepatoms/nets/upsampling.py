"""The way from a coarse level back to the next finer one."""

from __future__ import annotations

from collections.abc import Callable

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
        out = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if out.requires_grad:
            out.register_hook(_laid_out_as(x))
        return out


def _laid_out_as(x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The gradient in the layout of ``x``: of one that is a slice, as behind a ``cat``, the way back takes eight times
    as long on a processor."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return lambda gradient: gradient.contiguous(memory_format=layout)
