"""Changes of an image's intensities: blur, noise, contrast, background. Pure functions on (c, h, w) tensors.

Strengths are in units of the image's range: the distance from its 0.5th to its 99.5th percentile.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

END = 0.005  # share of the pixels beyond either end of the range


def image_range(image: torch.Tensor) -> tuple[float, float]:
    """Low end (0.5th percentile) and range of an image; range 1 where it is constant."""
    flat = image.flatten().float()
    low, high = _ends(flat[:: max(1, flat.numel() // 2**16)])
    return low, (high - low) or 1.0


def _ends(values: torch.Tensor) -> tuple[float, float]:
    """What torch.quantile gives for END and 1 - END; that one sorts everything, which took a tenth of a training."""
    last = values.numel() - 1
    ranks = torch.tensor([END, 1 - END]) * last
    below, above = ranks.long().tolist()
    lowest = values.topk(min(below + 2, last + 1), largest=False).values.cpu()
    highest = values.topk(last + 1 - above).values.cpu().flip(0)
    low = torch.lerp(lowest[below], lowest[-1], ranks[0] - below)
    high = torch.lerp(highest[0], highest[min(1, last - above)], ranks[1] - above)
    return float(low), float(high)


def blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur; sigma in pixels."""
    if sigma <= 0:
        return image
    reach = max(1, math.ceil(4 * sigma))
    place = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    weight = torch.exp(-0.5 * (place / sigma) ** 2)
    weight = weight / weight.sum()
    out = F.pad(image[:, None], [reach] * 4, mode="replicate")
    out = F.conv2d(F.conv2d(out, weight.view(1, 1, -1, 1)), weight.view(1, 1, 1, -1))
    return out[:, 0]


def gaussian_noise(image: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Add normal noise of sigma ``strength`` times the range."""
    _, span = image_range(image)
    return image + strength * span * _normal(image.shape, generator, image)


def poisson_noise(image: torch.Tensor, counts: float, generator: torch.Generator) -> torch.Tensor:
    """Count electrons: the image's range stands for ``counts`` of them on a ground of none."""
    low, span = image_range(image)
    expected = ((image - low) / span * counts).clamp(min=0)
    return torch.poisson(expected, generator=generator) / counts * span + low


def salt_and_pepper(image: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Set a share of the pixels to the ends of the range, half of them to each."""
    low, span = image_range(image)
    draw = torch.rand(image.shape, generator=generator, device=image.device)
    image = torch.where(draw < share / 2, torch.full_like(image, low), image)
    return torch.where(draw > 1 - share / 2, torch.full_like(image, low + span), image)


def contrast(image: torch.Tensor, factor: float, offset: float = 0.0) -> torch.Tensor:
    """Stretch around the mean by ``factor`` and shift by ``offset`` times the range."""
    mean = image.mean()
    return (image - mean) * factor + mean + offset * image_range(image)[1]


def gamma(image: torch.Tensor, exponent: float) -> torch.Tensor:
    """Bend the grey scale: 0 and 1 of the range stay, what is between is raised to a power."""
    low, span = image_range(image)
    scaled = (image - low) / span
    bent = torch.sign(scaled) * scaled.abs() ** exponent
    return torch.where((scaled > 0) & (scaled < 1), bent, scaled) * span + low


def background(image: torch.Tensor, strength: float, place: tuple[float, float], width: float) -> torch.Tensor:
    """Add a broad Gaussian bump (a hollow where negative) of ``strength`` times the range.

    ``place`` and ``width`` (sigma) are in units of the image's sides.
    """
    rows, columns = (torch.linspace(0, 1, n, device=image.device) for n in image.shape[-2:])
    squared = (rows[:, None] - place[0]) ** 2 + (columns - place[1]) ** 2
    return image + strength * image_range(image)[1] * torch.exp(-0.5 * squared / width**2)


def _normal(shape, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
