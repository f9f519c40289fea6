"""Building blocks shared by the networks."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBlock(nn.Sequential):
    """``n`` times: 3 x 3 convolution, batch norm, ReLU. Size-preserving, zero padding."""

    def __init__(self, channels_in: int, channels_out: int, n: int = 2):
        layers: list[nn.Module] = []
        for i in range(n):
            layers += [
                nn.Conv2d(channels_in if i == 0 else channels_out, channels_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every batch norm of a module in eval mode into the convolution before it: same output, fewer passes.

    Works in place on :class:`ConvBlock` s (anything else is left as it is) and returns the module.
    """
    for block in module.modules():
        if isinstance(block, ConvBlock):
            _fold(block)
    return module


def _fold(block: ConvBlock) -> None:
    layers = list(block)
    for k, (conv, norm) in enumerate(pairwise(layers)):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[k], layers[k + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for k, layer in enumerate(layers):
        block[k] = layer


def _running_mean(image: torch.Tensor, radius: int, dim: int) -> torch.Tensor:
    """Mean over ``2 * radius + 1`` pixels along ``dim``, fewer at the rim; float64 sums, so that tiles agree."""
    n = image.shape[dim]
    total = F.pad(image.double().cumsum(dim), (1, 0) if dim == 3 else (0, 0, 1, 0))
    here = torch.arange(n, device=image.device)
    high, low = (here + radius + 1).clamp(max=n), (here - radius).clamp(min=0)
    count = (high - low).view((-1, 1) if dim == 2 else (1, -1))
    return ((total.index_select(dim, high) - total.index_select(dim, low)) / count).float()


class LocalContrast(nn.Module):
    """One scaled image -> two channels: the image softly clipped, and its contrast against the neighbourhood.

    The second channel is ``(image - mean) / sqrt(variance + floor**2)`` over a box of ``2 * radius + 1`` pixels, so
    that a thickness gradient, a bright support or a wrong exposure leave columns looking alike (divisive
    normalisation, Heeger, Visual Neuroscience 9, 181 (1992), doi:10.1017/S0952523800009640). The box is finite,
    hence tiles with a halo give the same as the whole image, which an instance norm would not.
    """

    def __init__(self, radius: int = 12, floor: float = 0.01):
        super().__init__()
        self.radius, self.floor = radius, floor

    def _box_mean(self, image: torch.Tensor) -> torch.Tensor:
        r = self.radius
        if image.device.type == "cpu":  # running sums: the cost does not grow with the box
            return _running_mean(_running_mean(image, r, 2), r, 3)
        image = F.avg_pool2d(image, (2 * r + 1, 1), 1, (r, 0), count_include_pad=False)
        return F.avg_pool2d(image, (1, 2 * r + 1), 1, (0, r), count_include_pad=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = image.float()  # variances need float32 also under mixed precision
        mean = self._box_mean(image)
        centred = image - mean
        variance = self._box_mean(centred * centred)
        contrast = centred / torch.sqrt(variance + self.floor**2)
        return torch.cat([image / (1 + image.abs() / 2), contrast / 2], dim=1)
