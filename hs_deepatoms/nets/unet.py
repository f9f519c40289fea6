"""U-Net: an encoder, a decoder, and skips between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.blocks import ConvBlock, merge
from hs_deepatoms.nets.checks import check_image, check_layers, check_net
from hs_deepatoms.nets.padding import padded_call
from hs_deepatoms.nets.reach import encoder_decoder_halo
from hs_deepatoms.nets.upsampling import Upsampling


class UNet(nn.Module):
    """U-Net for images of any size (Ronneberger et al., MICCAI 2015, doi:10.1007/978-3-319-24574-4_28).

    Parameters
    ----------
    channels_in : int
        Channels of the image.
    channels_out : int
        Channels of the result (logits).
    filters : int
        Feature channels at full size; twice as many at every coarser level.
    depth : int
        Number of poolings.
    layers : int or sequence of int
        Convolutions per level, from the finest (``depth + 1`` of them). By default one, two, ..., at most three.
    norm : {"batch", "instance", "group", "none"}
        See :class:`~hs_deepatoms.nets.blocks.ConvBlock`.
    dropout : float
        Share of the channels dropped at the end of every coarser level, while training.
    upsampling : {"bilinear", "nearest", "transposed"}

    Attributes
    ----------
    multiple : int
        Inside, sides are made multiples of this; any size goes in.
    halo : int or None
        Pixels around an output pixel that it depends on; None: on the whole image (norms over the image).

    Notes
    -----
    Input (n, channels_in, h, w), float; output (n, channels_out, h, w).

    On the way up feature channels are halved, as in the paper, by a 1 x 1 convolution: before the upsampling, where it
    gives the same (interpolation is linear, and its weights sum to one) for a quarter of the work.

    Raises
    ------
    InvalidArgumentError
        A configuration that cannot be built; an image of another number of channels.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.nets.unet import UNet
    >>> UNet(channels_out=3, filters=8, depth=2)(torch.zeros(1, 1, 37, 50)).shape
    torch.Size([1, 3, 37, 50])
    """

    def __init__(
        self,
        channels_in: int = 1,
        channels_out: int = 1,
        *,
        filters: int = 16,
        depth: int = 3,
        layers: int | Sequence[int] | None = None,
        norm: str = "batch",
        dropout: float = 0.0,
        upsampling: str = "bilinear",
    ):
        super().__init__()
        check_net(channels_in=channels_in, channels_out=channels_out, filters=filters, depth=depth, norm=norm,
                  dropout=dropout, upsampling=upsampling)  # fmt: skip
        layers = check_layers([min(k + 1, 3) for k in range(depth + 1)] if layers is None else layers, depth)
        width = [filters * 2**k for k in range(depth + 1)]
        self.channels_in, self.multiple = channels_in, 2**depth
        self.halo = encoder_decoder_halo(layers) if norm in ("batch", "none") else None
        self.down = nn.ModuleList(
            ConvBlock(channels_in if k == 0 else width[k - 1], width[k], layers[k], norm=norm,
                      dropout=dropout if k else 0.0)
            for k in range(depth + 1)
        )  # fmt: skip
        self.narrow = nn.ModuleList(nn.Conv2d(width[k + 1], width[k], 1) for k in range(depth))
        self.grow = nn.ModuleList(Upsampling(width[k], upsampling) for k in range(depth))
        self.up = nn.ModuleList(ConvBlock(2 * width[k], width[k], layers[k], norm=norm) for k in range(depth))
        self.head = nn.Conv2d(filters, channels_out, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_image(image, self.channels_in)
        return padded_call(self._forward, image, self.multiple)

    def _forward(self, image: torch.Tensor) -> torch.Tensor:
        skips, x = [], image
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for k in reversed(range(len(self.up))):
            skip, x = skips.pop(), self.narrow[k](x)
            nearest = self.grow[k].mode == "nearest"
            x = merge(self.up[k], skip, x) if nearest else self.up[k](torch.cat([skip, self.grow[k](x)], 1))
        return self.head(x)
