"""ResHedNet: edges seen at several scales at once (fibres, domain walls, steps)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.checks import check_image, check_layers, check_net
from hs_deepatoms.nets.padding import padded_call
from hs_deepatoms.nets.residual import residual_stage


class ResHedNet(nn.Module):
    """Holistically nested edge detection with residual blocks.

    Every level gives an edge map of its own, enlarged to the image; a 1 x 1 convolution fuses them (Xie & Tu, ICCV
    2015, doi:10.1109/ICCV.2015.164). Residual blocks: He et al., CVPR 2016, doi:10.1109/CVPR.2016.90.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the image and of the result (logits).
    filters : int
        Feature channels at full size; twice as many at every coarser level.
    depth : int
        Number of poolings; there are ``depth + 1`` edge maps.
    layers : int or sequence of int
        Residual blocks per level, from the finest.
    norm, dropout
        As in :class:`~hs_deepatoms.nets.unet.UNet`.
    upsampling : {"bilinear", "nearest"}
        How the coarse edge maps are enlarged.

    Attributes
    ----------
    multiple, halo
        As in :class:`~hs_deepatoms.nets.unet.UNet`.

    Notes
    -----
    Input (n, channels_in, h, w); output (n, channels_out, h, w): the fused map.

    Raises
    ------
    InvalidArgumentError
        A configuration that cannot be built; an image of another number of channels.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.nets.reshednet import ResHedNet
    >>> net = ResHedNet(filters=8)
    >>> net(torch.zeros(1, 1, 33, 40)).shape, len(net.sides(torch.zeros(1, 1, 32, 40)))
    (torch.Size([1, 1, 33, 40]), 3)
    """

    def __init__(
        self,
        channels_in: int = 1,
        channels_out: int = 1,
        *,
        filters: int = 24,
        depth: int = 2,
        layers: int | Sequence[int] = 2,
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
        self.mode = "nearest" if upsampling == "nearest" else "bilinear"
        reach = sum(2 * n * 2**k for k, n in enumerate(layers)) + 3 * 2**depth
        self.halo = -(-reach // self.multiple) * self.multiple if norm in ("batch", "none") else None
        self.down = nn.ModuleList(
            residual_stage(channels_in if k == 0 else width[k - 1], width[k], layers[k], norm=norm,
                           dropout=dropout if k else 0.0)
            for k in range(depth + 1)
        )  # fmt: skip
        self.side = nn.ModuleList(nn.Conv2d(w, channels_out, 1) for w in width)
        self.fuse = nn.Conv2d(channels_out * (depth + 1), channels_out, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_image(image, self.channels_in)
        return padded_call(lambda x: self.fuse(torch.cat(self.sides(x), 1)), image, self.multiple)

    def sides(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The edge map of every level, shape (n, channels_out, h, w) each; h and w multiples of ``multiple``."""
        maps, x = [], image
        for k, (stage, side) in enumerate(zip(self.down, self.side, strict=True)):
            x = stage(x if k == 0 else F.max_pool2d(x, 2))
            own = side(x)
            maps.append(own if k == 0 else self._enlarged(own, image.shape[-2:]))
        return maps

    def _enlarged(self, own: torch.Tensor, size) -> torch.Tensor:
        if self.mode == "nearest":
            return F.interpolate(own, size=tuple(size))
        return F.interpolate(own, size=tuple(size), mode="bilinear", align_corners=False)
