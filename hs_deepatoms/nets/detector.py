"""The network that finds columns: where there is one, and exactly where inside its cell."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.nets.blocks import ConvBlock, LocalContrast, MatchedFilter, bounded, merge


class ColumnDetector(nn.Module):
    """A small U-Net that predicts, per cell of 2 x 2 pixels, presence and sub-pixel position of a column.

    Presence and offset with its uncertainty in one pass follow DECODE (Speiser et al., Nat. Methods 18, 1082 (2021),
    doi:10.1038/s41592-021-01236-x); the trunk is a U-Net (Ronneberger et al., MICCAI 2015,
    doi:10.1007/978-3-319-24574-4_28). Two poolings after a first space-to-depth step, no instance norm: the
    receptive field is finite and known (:attr:`halo`).

    Parameters
    ----------
    channels : tuple of int
        Feature channels at strides 2, 4 and 8.
    matched : bool
        Hand the network matched-filter maps besides the image.
    deep : bool
        Two more convolutions, of twice the channels, at the coarsest level: more to tell a lattice in noise by.

    Notes
    -----
    Input: (n, 1, h, w), scaled images with columns of about 2 px sigma, h and w multiples of 8.
    Output: (n, 6, h / 2, w / 2): presence logit; offset y, x from the cell's centre (px); log of the one-sigma
    uncertainty of y, x (px); log of the column's sigma over 2 px.
    """

    stride = 2
    multiple = 8
    halo = 80  # (96 if deep) pixels of the input on each side that an output cell depends on, rounded up to `multiple`
    sigma = 2.0

    def __init__(self, channels: tuple[int, int, int] = (32, 48, 64), matched: bool = False, deep: bool = False):
        super().__init__()
        a, b, c = channels
        self.contrast = LocalContrast()
        self.matched = MatchedFilter() if matched else None
        self.down0 = ConvBlock(10 if matched else 8, a)
        self.down1 = ConvBlock(a, b)
        self.down2 = ConvBlock(b, c, n=3)
        self.deep = None
        if deep:  # starts as nothing, so that a trained network can be deepened
            self.deep = nn.Sequential(ConvBlock(c, 2 * c, n=1), nn.Conv2d(2 * c, c, 3, padding=1))
            nn.init.zeros_(self.deep[1].weight)
            nn.init.zeros_(self.deep[1].bias)
            self.halo = 96
        self.up1 = ConvBlock(b + c, b)
        self.up0 = ConvBlock(a + b, a)
        self.head = nn.Conv2d(a, 6, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():  # about one cell in fifty holds a column; offsets start at zero, 0.6 px uncertain
            self.head.bias.copy_(torch.tensor([-4.0, 0.0, 0.0, -0.5, -0.5, 0.0]))

    def forward(self, image: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """The output, above; with ``size`` (even numbers) only the first so many rows and columns of an image are its
        own, the others filled up to a multiple. For inference."""
        at = [None if size is None else tuple(-(-n // stride) for n in size) for stride in (2, 4, 8)]
        fine = bounded(self.down0, self._seen(image, size), at[0])
        middle = bounded(self.down1, F.max_pool2d(fine, 2), at[1])
        coarse = bounded(self.down2, F.max_pool2d(middle, 2), at[2])
        if self.deep is not None:
            coarse = coarse + bounded(self.deep, coarse, at[2])
        middle = merge(self.up1, middle, coarse, at[1])
        del coarse
        fine = merge(self.up0, fine, middle, at[0])
        with torch.autocast(fine.device.type, enabled=False):  # bfloat16 would round offsets to a hundredth of a pixel
            out = self._last(fine.float())
        offset, spread = 3.0 * torch.tanh(out[:, 1:3] / 3.0), out[:, 3:5].clamp(-4.0, 2.0)
        return torch.cat([out[:, :1], offset, spread, out[:, 5:]], 1)

    def _seen(self, image: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
        """What the first convolution is given (n, 8 or 10, h / 2, w / 2), of the image's own pixels alone."""
        own = image if size is None else image[:, :, : size[0], : size[1]]
        cells = F.pixel_unshuffle(self.contrast(own), 2)
        if self.matched is not None:
            cells = torch.cat([cells, self.matched(own)], 1)
        fill = [n // 2 - m for n, m in zip(image.shape[2:], cells.shape[2:], strict=True)]
        return F.pad(cells, [0, fill[1], 0, fill[0]])

    def _last(self, fine: torch.Tensor) -> torch.Tensor:
        """The head, by the same kernel whatever the number of threads, so that a table is the same to the last bit.

        torch takes another kernel for 1 x 1 convolutions where it has one thread only, but not for dilated ones; one
        tap has nothing to dilate.
        """
        dilation = 2 if fine.device.type == "cpu" else 1
        return F.conv2d(fine, self.head.weight, self.head.bias, dilation=dilation)
