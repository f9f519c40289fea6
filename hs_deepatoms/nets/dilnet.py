"""DilNet: one pooling, then cascades of ever wider convolutions instead of further poolings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.blocks import ConvBlock
from hs_deepatoms.nets.checks import check_image, check_net
from hs_deepatoms.nets.padding import padded_call
from hs_deepatoms.nets.upsampling import Upsampling


class DilatedCascade(nn.Module):
    """Convolutions of growing dilation, one after the other; the outputs of all are summed.

    Dilation widens the view without losing resolution (Yu & Koltun, ICLR 2016, arXiv:1511.07122); the sum keeps
    every scale (Chen et al., IEEE TPAMI 40, 834 (2018), doi:10.1109/TPAMI.2017.2699184).
    """

    def __init__(self, channels_in: int, channels_out: int, dilations: Sequence[int], **block):
        super().__init__()
        self.stages = nn.ModuleList(
            ConvBlock(channels_in if k == 0 else channels_out, channels_out, 1, dilation=dilation, **block)
            for k, dilation in enumerate(dilations)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = None
        for stage in self.stages:
            x = stage(x)
            total = x if total is None else total + x
        return total


class DilNet(nn.Module):
    """A network of one pooling with dilated cascades: small objects keep their place, the view stays wide.

    Dilated convolutions: Yu & Koltun, ICLR 2016, arXiv:1511.07122.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the image and of the result (logits).
    filters : int
        Feature channels at full size, twice as many at half size.
    depth : int
        Number of dilated cascades at half size.
    dilations : sequence of int
        Of every cascade, pixels of the half-size image.
    layers : int
        Convolutions at full size, before and after.
    norm, dropout, upsampling
        As in :class:`~hs_deepatoms.nets.unet.UNet`.

    Attributes
    ----------
    multiple, halo
        As in :class:`~hs_deepatoms.nets.unet.UNet`.

    Notes
    -----
    Input (n, channels_in, h, w); output (n, channels_out, h, w).

    Raises
    ------
    InvalidArgumentError
        A configuration that cannot be built; an image of another number of channels.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.nets.dilnet import DilNet
    >>> DilNet(filters=8)(torch.zeros(2, 1, 31, 32)).shape
    torch.Size([2, 1, 31, 32])
    """

    def __init__(
        self,
        channels_in: int = 1,
        channels_out: int = 1,
        *,
        filters: int = 24,
        depth: int = 2,
        dilations: Sequence[int] = (2, 4, 6),
        layers: int = 2,
        norm: str = "batch",
        dropout: float = 0.0,
        upsampling: str = "bilinear",
    ):
        super().__init__()
        check_net(channels_in=channels_in, channels_out=channels_out, filters=filters, depth=depth, layers=layers,
                  widest_dilation=max(dilations, default=0), norm=norm, dropout=dropout,
                  upsampling=upsampling)  # fmt: skip
        self.channels_in, self.multiple = channels_in, 2
        self.halo = 2 * (layers + depth * sum(dilations) + 2) if norm in ("batch", "none") else None
        self.first = ConvBlock(channels_in, filters, layers, norm=norm)
        self.cascades = nn.Sequential(
            *(DilatedCascade(filters if k == 0 else 2 * filters, 2 * filters, dilations, norm=norm, dropout=dropout)
              for k in range(depth))
        )  # fmt: skip
        self.grow = Upsampling(2 * filters, upsampling)
        self.last = ConvBlock(3 * filters, filters, layers, norm=norm)
        self.head = nn.Conv2d(filters, channels_out, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_image(image, self.channels_in)
        return padded_call(self._forward, image, self.multiple)

    def _forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.first(image)
        coarse = self.cascades(F.max_pool2d(fine, 2))
        return self.head(self.last(torch.cat([fine, self.grow(coarse)], 1)))
