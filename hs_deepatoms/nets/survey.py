"""The network that looks at an image before the detector does: width and contrast of its columns."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.blocks import ConvBlock, LocalContrast


class SurveyNet(nn.Module):
    """Crops -> probabilities of column width and contrast.

    Parameters
    ----------
    channels : tuple of int
    bins : int
        Number of width classes per contrast.

    Notes
    -----
    Input: (n, 1, 128, 128), scaled crops. Output: (n, 2 * bins + 1) logits: bright columns of width bin 0 ..
    ``bins - 1``, the same for dark columns, and "no column, or outside these widths". Bin k is a sigma of
    ``first * 2 ** (k * step)`` pixels.
    """

    first = 0.5
    step = 0.25
    crop = 128

    def __init__(self, channels: tuple[int, int, int, int] = (24, 40, 64, 96), bins: int = 17):
        super().__init__()
        a, b, c, d = channels
        self.bins = bins
        self.contrast = LocalContrast()
        self.stages = nn.ModuleList([ConvBlock(8, a), ConvBlock(a, b), ConvBlock(b, c), ConvBlock(c, d, n=1)])
        self.head = nn.Sequential(nn.Linear(3 * d, 128), nn.ReLU(inplace=True), nn.Linear(128, 2 * bins + 1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        x = F.pixel_unshuffle(self.contrast(crops), 2)
        for i, stage in enumerate(self.stages):
            x = stage(x if i == 0 else F.max_pool2d(x, 2))
        pooled = [x.mean((2, 3)), x.amax((2, 3)), x.std((2, 3))]
        return self.head(torch.cat(pooled, 1).float())
