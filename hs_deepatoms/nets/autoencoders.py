"""Encoders and decoders of the variational autoencoders."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from hs_deepatoms._core.errors import InvalidArgumentError, explain

ENCODERS = ("dense", "conv")
DECODERS = ("dense", "conv", "spatial")


class DenseEncoder(nn.Module):
    """Images (n, c, h, w) and further numbers (n, k) -> features (n, width).

    Parameters
    ----------
    channels : int
    shape : (int, int)
    extra : int
        How many further numbers.
    width : int
        Units of a hidden layer.
    """

    def __init__(self, channels: int, shape: tuple[int, int], extra: int = 0, width: int = 128):
        super().__init__()
        self.width = width
        inputs = channels * shape[0] * shape[1] + extra
        self.body = nn.Sequential(nn.Linear(inputs, 2 * width), nn.SiLU(), nn.Linear(2 * width, width), nn.SiLU())

    def forward(self, image: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([image.flatten(1), extra], 1))


class ConvEncoder(nn.Module):
    """As `DenseEncoder`, with strided 3 x 3 convolutions first: fewer weights for large patches."""

    def __init__(self, channels: int, shape: tuple[int, int], extra: int = 0, width: int = 128, filters: int = 16):
        super().__init__()
        self.width = width
        stride = [2 if n > 1 else 1 for n in shape]
        sizes = [math.ceil(math.ceil(n / s) / s) for n, s in zip(shape, stride, strict=True)]
        self.front = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1),
            nn.SiLU(),
            nn.Conv2d(filters, 2 * filters, 3, stride, 1),
            nn.SiLU(),
        )
        self.body = nn.Sequential(nn.Linear(2 * filters * sizes[0] * sizes[1] + extra, width), nn.SiLU())

    def forward(self, image: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([self.front(image).flatten(1), extra], 1))


class DenseDecoder(nn.Module):
    """Codes (n, k) -> images (n, c, *size)."""

    def __init__(self, inputs: int, channels: int, size: tuple[int, int], width: int = 128):
        super().__init__()
        self.shape = (channels, *size)
        self.body = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, 2 * width), nn.SiLU(),
                                  nn.Linear(2 * width, math.prod(self.shape)))  # fmt: skip

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        return self.body(code).unflatten(1, self.shape)

    @torch.no_grad()
    def absorb(self, linear: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """From now on make what a linear filter of images (n, c, *size) would make of the images."""
        last = self.body[-1]
        last.weight.copy_(linear(last.weight.T.unflatten(1, self.shape)).flatten(1).T)
        last.bias.copy_(linear(last.bias[None].unflatten(1, self.shape)).flatten())


class ConvDecoder(nn.Module):
    """As `DenseDecoder`, with a dense image of a quarter of the resolution and two 3 x 3 convolutions after it."""

    def __init__(self, inputs: int, channels: int, size: tuple[int, int], width: int = 128, filters: int = 16):
        super().__init__()
        self.size, self.filters = tuple(size), filters
        self.coarse = tuple(max(1, -(-n // 4)) for n in size)
        self.body = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(),
                                  nn.Linear(width, 2 * filters * math.prod(self.coarse)), nn.SiLU())  # fmt: skip
        self.first = nn.Conv2d(2 * filters, filters, 3, padding=1)
        self.last = nn.Conv2d(filters, channels, 3, padding=1)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        half = tuple(max(1, -(-n // 2)) for n in self.size)
        image = self.body(code).unflatten(1, (2 * self.filters, *self.coarse))
        image = nn.functional.silu(self.first(_resized(image, half)))
        return self.last(_resized(image, self.size))


class SpatialDecoder(nn.Module):
    """Codes (n, k) -> images (n, c, *size), every pixel from its coordinates and the code.

    The coordinate network of spatial-VAE (Bepler et al., NeurIPS 2019, arXiv:1909.11663) with Fourier features (Tancik
    et al., NeurIPS 2020, arXiv:2006.10739): smooth, with few weights, and many times slower than the others.
    """

    def __init__(self, inputs: int, channels: int, size: tuple[int, int], width: int = 64, waves: int = 4):
        super().__init__()
        self.size, self.channels, self.waves = tuple(size), channels, waves
        self.place = nn.Linear(2 + 4 * waves, width)
        self.code = nn.Linear(inputs, width, bias=False)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, channels))

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        features = self.place(self._features(code.device)) + self.code(code)[:, None]
        return self.body(features).transpose(1, 2).unflatten(2, self.size)

    def _features(self, device) -> torch.Tensor:
        y, x = (torch.linspace(-1, 1, n, device=device) if n > 1 else torch.zeros(1, device=device) for n in self.size)
        place = torch.stack([one.ravel() for one in torch.meshgrid(y, x, indexing="ij")], 1)
        turns = place[:, :, None] * (math.pi * torch.arange(1, self.waves + 1, device=device))
        return torch.cat([place, torch.sin(turns).flatten(1), torch.cos(turns).flatten(1)], 1)


def _resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return nn.functional.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)


def make_encoder(kind: str, channels: int, shape: tuple[int, int], extra: int) -> nn.Module:
    """An encoder by its name.

    Raises
    ------
    InvalidArgumentError
        If there is no such encoder.
    """
    made = {"dense": DenseEncoder, "conv": ConvEncoder}.get(kind)
    if made is None:
        raise InvalidArgumentError(explain(f"encoder={kind!r}", ", ".join(map(repr, ENCODERS)), "Choose one of these."))
    return made(channels, shape, extra)


def make_decoder(kind: str, inputs: int, channels: int, size: tuple[int, int]) -> nn.Module:
    """A decoder by its name.

    Raises
    ------
    InvalidArgumentError
        If there is no such decoder.
    """
    made = {"dense": DenseDecoder, "conv": ConvDecoder, "spatial": SpatialDecoder}.get(kind)
    if made is None:
        raise InvalidArgumentError(explain(f"decoder={kind!r}", ", ".join(map(repr, DECODERS)), "Choose one of these."))
    return made(inputs, channels, size)
