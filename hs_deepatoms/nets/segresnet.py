"""SegResNet: a U-Net of residual blocks that adds its skips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.checks import check_image, check_layers, check_net
from hs_deepatoms.nets.padding import padded_call
from hs_deepatoms.nets.reach import encoder_decoder_halo
from hs_deepatoms.nets.residual import residual_stage
from hs_deepatoms.nets.upsampling import Upsampling


class SegResNet(nn.Module):
    """Encoder and decoder of residual blocks, with skips that are added (after Myronenko, arXiv:1810.11654).

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the image and of the result (logits).
    filters : int
        Feature channels at full size; twice as many at every coarser level.
    depth : int
        Number of poolings.
    layers : int or sequence of int
        Residual blocks per level, from the finest (``depth + 1`` of them).
    norm, dropout, upsampling
        As in :class:`~hs_deepatoms.nets.unet.UNet`.

    Attributes
    ----------
    multiple, halo
        As in :class:`~hs_deepatoms.nets.unet.UNet`.

    Notes
    -----
    Input (n, channels_in, h, w); output (n, channels_out, h, w). Residual blocks: He et al., CVPR 2016,
    doi:10.1109/CVPR.2016.90.

    Raises
    ------
    InvalidArgumentError
        A configuration that cannot be built; an image of another number of channels.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.nets.segresnet import SegResNet
    >>> SegResNet(filters=8, channels_out=2)(torch.zeros(1, 1, 30, 45)).shape
    torch.Size([1, 2, 30, 45])
    """

    def __init__(
        self,
        channels_in: int = 1,
        channels_out: int = 1,
        *,
        filters: int = 24,
        depth: int = 2,
        layers: int | Sequence[int] = 1,
        norm: str = "batch",
        dropout: float = 0.0,
        upsampling: str = "bilinear",
    ):
        super().__init__()
        check_net(channels_in=channels_in, channels_out=channels_out, filters=filters, depth=depth, norm=norm,
                  dropout=dropout, upsampling=upsampling)  # fmt: skip
        layers = check_layers(layers, depth)
        width = [filters * 2**k for k in range(depth + 1)]
        self.channels_in, self.multiple = channels_in, 2**depth
        self.halo = encoder_decoder_halo([2 * n for n in layers]) if norm in ("batch", "none") else None
        self.down = nn.ModuleList(
            residual_stage(channels_in if k == 0 else width[k - 1], width[k], layers[k], norm=norm,
                           dropout=dropout if k else 0.0)
            for k in range(depth + 1)
        )  # fmt: skip
        self.narrow = nn.ModuleList(nn.Conv2d(width[k + 1], width[k], 1) for k in range(depth))
        self.grow = nn.ModuleList(Upsampling(width[k], upsampling) for k in range(depth))
        self.up = nn.ModuleList(residual_stage(width[k], width[k], layers[k], norm=norm) for k in range(depth))
        self.head = nn.Conv2d(filters, channels_out, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_image(image, self.channels_in)
        return padded_call(self._forward, image, self.multiple)

    def _forward(self, image: torch.Tensor) -> torch.Tensor:
        skips, x = [], image
        for k, stage in enumerate(self.down):
            x = stage(x if k == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for k in reversed(range(len(self.up))):
            x = self.up[k](skips.pop() + self.grow[k](self.narrow[k](x)))
        return self.head(x)
