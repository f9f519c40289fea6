"""A convolutional encoder of the window around every pixel, evaluated for all pixels of a map at once."""

from __future__ import annotations

import torch
from torch import nn


class PatchEncoder(nn.Module):
    """Maps (n, c, (h - 1) * step + window, (w - 1) * step + window) -> features (n, features, h, w).

    Every output sees exactly ``window`` x ``window`` pixels. Convolutions are without padding, so that patches that
    overlap share their work: per patch this costs a hundredth of encoding patches one by one.

    Parameters
    ----------
    channels : int
        Of the input.
    window : int
        Side of the patch, pixels.
    features : int
        Numbers per patch that come out.
    width : int
        Channels of a hidden layer.
    step : int
        Input pixels from one output to the next.

    Notes
    -----
    Dilated convolutions widen what is seen without pooling (Yu & Koltun, ICLR 2016, arXiv:1511.07122); residual
    connections: He et al., CVPR 2016, arXiv:1512.03385.

    Examples
    --------
    >>> import torch
    >>> PatchEncoder(1, 8, 5)(torch.zeros(2, 1, 27, 17)).shape
    torch.Size([2, 5, 20, 10])
    """

    def __init__(self, channels: int, window: int, features: int, width: int = 48, step: int = 1):
        super().__init__()
        self.window, self.step = window, step
        first, dilations = layer_plan(window)
        self.first = nn.Conv2d(channels, width, first)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, dilation=d) for d in dilations)
        self.mixes = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in dilations)
        self.last = nn.Sequential(nn.Conv2d(width, 2 * width, 1), nn.SiLU(), nn.Conv2d(2 * width, features, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)
        for conv, mix in zip(self.convs, self.mixes, strict=True):
            d = conv.dilation[0]
            x = x[:, :, d:-d, d:-d] + mix(nn.functional.silu(conv(nn.functional.silu(x)))) / 2
        return self.last(nn.functional.silu(x[:, :, :: self.step, :: self.step]))


def layer_plan(window: int) -> tuple[int, list[int]]:
    """Side of the first kernel and the dilations of the 3 x 3 ones after it, which together see ``window`` pixels.

    Examples
    --------
    >>> layer_plan(8), layer_plan(16), layer_plan(9), layer_plan(1)
    ((4, [1, 1]), (4, [1, 1, 2, 2]), (3, [1, 1, 1]), (1, []))
    """
    first = min(window, 3 if window % 2 else 4)
    rest, dilations, wide = (window - first) // 2, [], 1
    while rest:
        for _ in range(2):
            if rest:
                dilations.append(min(wide, rest))
                rest -= dilations[-1]
        wide *= 2
    return first, dilations
