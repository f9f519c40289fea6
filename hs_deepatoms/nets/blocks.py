"""Building blocks shared by the networks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

NORMS = ("batch", "instance", "group", "none")


class ConvBlock(nn.Sequential):
    """``n`` times: 3 x 3 convolution, norm, ReLU. Size-preserving, zero padding.

    Parameters
    ----------
    channels_in, channels_out : int
    n : int
        Number of convolutions.
    norm : {"batch", "instance", "group", "none"}
        Batch norm (Ioffe & Szegedy, arXiv:1502.03167), instance norm, or group norm of eight channels per group
        (Wu & He, arXiv:1803.08494). Only "batch" and "none" give the same on a tile as on the whole image.
    dropout : float
        Share of the channels dropped at the end, while training.
    dilation : int
        Distance of the taps, pixels.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        n: int = 2,
        *,
        norm: str = "batch",
        dropout: float = 0.0,
        dilation: int = 1,
    ):
        layers: list[nn.Module] = []
        for i in range(n):
            channels = channels_in if i == 0 else channels_out
            layers.append(nn.Conv2d(channels, channels_out, 3, padding=dilation, dilation=dilation,
                                    bias=norm == "none"))  # fmt: skip
            layers += [*norm_layers(norm, channels_out), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(ChannelDropout(dropout))
        super().__init__(*layers)


def norm_layers(norm: str, channels: int) -> list[nn.Module]:
    """The norm of this name as a list of one layer, or of none."""
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    if norm == "group":
        return [nn.GroupNorm(max(1, channels // 8) if channels % 8 == 0 else 1, channels)]
    return []


class ChannelDropout(nn.Module):
    """Whole channels set to zero while training, from a seed of its own instead of torch's global random state.

    The trainer sets ``seed`` before every step, so that a run that goes on after a stop drops the same channels.
    Tompson et al., CVPR 2015, doi:10.1109/CVPR.2015.7298664.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate, self.seed = rate, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        # drawn on the CPU: a few numbers, and the same ones on every device
        draw = torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(self.seed))
        return x * ((draw >= self.rate).float() / (1 - self.rate)).to(x)[:, :, None, None]


class SeededNoise(nn.Module):
    """Standard normal numbers from a seed of its own; the trainer sets ``seed`` before every step."""

    def __init__(self):
        super().__init__()
        self.seed = 0

    def forward(self, like: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(like.shape, generator=generator).to(like)


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


def bounded(layers: Iterable[nn.Module], x: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """``x`` through layers, of which only the first ``size`` rows and columns are of the image: zeros beyond them
    before every convolution, as there are before the first ones. For inference; without a size all of it is."""
    for layer in layers:
        x = bounded(layer, x, size) if isinstance(layer, nn.Sequential) else cut(layer(x), size)
    return x


def cut(x: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Zeros, in place, beyond the first ``size`` rows and columns."""
    if size is not None:
        x[:, :, size[0] :] = 0
        x[:, :, :, size[1] :] = 0
    return x


def merge(
    block: ConvBlock, skip: torch.Tensor, coarse: torch.Tensor, size: tuple[int, int] | None = None
) -> torch.Tensor:
    """``block(cat([skip, upsampled coarse]))``, the step up of a U-Net; ``size`` as of `bounded`.

    With folded batch norms (inference) the first convolution is taken apart: neither the upsampled nor the joined
    tensor is made, which saves a third of the time and half of the memory of the widest layer.
    """
    if block.training or isinstance(block[1], nn.BatchNorm2d):
        return bounded(block, torch.cat([skip, cut(F.interpolate(coarse, scale_factor=2.0), size)], 1), size)
    first, own = block[0], skip.shape[1]
    out = F.conv2d(skip, first.weight[:, :own], first.bias, padding=1)
    add_conv_of_upsampled(out, coarse, first.weight[:, own:])
    return bounded(list(block)[1:], cut(out, size), size)


def add_conv_of_upsampled(out: torch.Tensor, coarse: torch.Tensor, weight: torch.Tensor) -> None:
    """Add the 3 x 3 convolution of ``coarse``, doubled in size by repetition, to ``out`` in place.

    Each of the four pixels that stem from one coarse pixel sees only 2 x 2 coarse ones, with kernel taps summed.
    """
    h, w = coarse.shape[2:]
    padded = F.pad(coarse, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
    for a, rows in enumerate(_phases(weight.transpose(2, 3))):
        for b, taps in enumerate(_phases(rows.transpose(2, 3))):
            window = padded[:, :, a : a + h + 1, b : b + w + 1]
            out[:, :, a::2, b::2] += F.conv2d(window, taps.contiguous(memory_format=torch.channels_last))


def _phases(kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two-tap kernels (last dim) of the even and the odd pixels of a repeated line, from a three-tap one."""
    before, here, after = kernel.unbind(-1)
    return torch.stack([before, here + after], -1), torch.stack([before + here, after], -1)


def _box_mean(image: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean over a box of ``2 * radius + 1`` pixels, of fewer at the rim."""
    if image.device.type == "cpu":  # running sums: the cost does not grow with the box
        return _running_mean(_running_mean(image, radius, 2), radius, 3)
    side = 2 * radius + 1
    image = F.avg_pool2d(image, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(image, (1, side), 1, (0, radius), count_include_pad=False)


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

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = image.float()  # variances need float32 also under mixed precision
        mean = _box_mean(image, self.radius)
        centred = image - mean
        variance = _box_mean(centred * centred, self.radius)
        contrast = centred / torch.sqrt(variance + self.floor**2)
        return torch.cat([image / (1 + image.abs() / 2), contrast / 2], dim=1)


class MatchedFilter(nn.Module):
    """One scaled image -> signal-to-noise of column-sized blobs, one channel per width, at half the resolution.

    A difference of Gaussians around the width of a column, over the noise of the neighbourhood (what is left when the
    narrowest Gaussian is taken away): near the noise this is the best linear statistic there is (Turin, IRE Trans. Inf.
    Theory 6, 311 (1960), doi:10.1109/TIT.1960.1057571), and a network that is handed it need not learn it.

    Parameters
    ----------
    widths : tuple of (float, float)
        Sigma of the inner and of the outer Gaussian, pixels.
    radius : int
        Half the side of the noise's neighbourhood, in cells of 2 x 2 pixels.
    """

    def __init__(self, widths: tuple[tuple[float, float], ...] = ((1.3, 3.2), (2.0, 5.0)), radius: int = 8):
        super().__init__()
        self.radius, self.floor = radius, 0.003
        self.reach = 3 * int(max(outer for _, outer in widths))
        # by numpy: they are no weights, and must be there where a network is made on the meta device to be filled
        kernels = np.stack([_gaussian(sigma, self.reach) for pair in widths for sigma in pair])
        gain = np.array([sigma * np.sqrt(np.pi) for sigma, _ in widths]).reshape(1, -1, 1, 1)
        self.register_buffer("kernels", torch.from_numpy(kernels.astype(np.float32)), persistent=False)
        self.register_buffer("gain", torch.from_numpy(gain.astype(np.float32)), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = image.float()
        n = len(self.kernels)
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 would be coarser than the noise
            padded = F.pad(image, [self.reach - 1] * 4, mode="replicate")
            smooth = F.conv2d(padded, self.kernels.view(n, 1, -1, 1), stride=(2, 1))
            smooth = F.conv2d(smooth, self.kernels.view(n, 1, 1, -1), stride=(1, 2), groups=n)
            rest = F.avg_pool2d(image, 2) - smooth[:, :1]
            noise = _box_mean(rest * rest, self.radius)
            ratio = self.gain * (smooth[:, 0::2] - smooth[:, 1::2]) / torch.sqrt(noise + self.floor**2)
        return ratio / (3 + ratio.abs() / 4)


def _gaussian(sigma: float, reach: int) -> np.ndarray:
    """Gaussian weights around a point midway between two pixels."""
    place = np.arange(-reach, reach) + 0.5
    weight = np.exp(-0.5 * (place / sigma) ** 2)
    return weight / weight.sum()
