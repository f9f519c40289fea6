"""How fine the detail of patches is, and a Gaussian that leaves out what is finer. Pure functions on tensors."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

LARGEST = 3.0  # sigma in pixels
SMALLEST = 0.3  # below it the filter does nothing
SURE = 4.0  # standard deviations
FAR = 0.02  # share of the noise's power at which the average motif has no more detail


def smooth(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Images (n, c, h, w) convolved with a Gaussian; the rim goes on."""
    if sigma < SMALLEST:
        return images
    across, down = (_matrix(n, sigma).to(images) for n in (images.shape[3], images.shape[2]))
    if images.shape[3] > 1:
        images = images @ across.T
    return down @ images if images.shape[2] > 1 else images


@lru_cache(maxsize=16)
def _matrix(n: int, sigma: float) -> torch.Tensor:
    """The convolution of a line of n samples as a matrix: for lines this short faster than a convolution."""
    reach = math.ceil(3 * sigma)
    matrix = torch.zeros(n, n)
    for k in range(-reach, reach + 1):
        column = (torch.arange(n) + k).clamp(0, n - 1)
        matrix[torch.arange(n), column] += math.exp(-((k / sigma) ** 2) / 2)
    return matrix / matrix.sum(1, keepdim=True)


def widths(patches: torch.Tensor) -> tuple[float, float]:
    """Sigma (pixels) for the encoder's input and for the decoder's output.

    The mean power spectrum of the patches is that of their motifs plus that of white noise, which is what is left at
    the highest frequencies. One patch shows detail up to where the motifs' part is as large as the noise; the average
    of many shows more of it. There the Gaussian falls to a half.

    Parameters
    ----------
    patches : tensor, shape (n, c, h, w)
    """
    h, w = patches.shape[2:]
    window = (torch.hann_window(h, False) if h > 1 else torch.ones(1))[:, None] * torch.hann_window(w, False)
    window = (window / window.square().mean().sqrt()).to(patches)
    centred = (patches - patches.mean((2, 3), keepdim=True)) * window
    power = torch.fft.rfft2(centred).abs().square().mean((0, 1)) / (h * w)
    k = torch.hypot(*torch.meshgrid(torch.fft.fftfreq(h), torch.fft.rfftfreq(w), indexing="ij")).to(power.device)
    noise = power[k > 0.42 if h > 1 else k > 0.45].mean()
    step = 1 / max(h, w)
    ring = (k / step).round().long()
    count = torch.bincount(ring.ravel())
    rings = torch.bincount(ring.ravel(), power.ravel()) / count.clamp(min=1)
    inside = slice(1, math.ceil(0.42 / step))
    # a mean over this many coefficients is that uncertain: what is less above the noise may be none
    doubt = SURE / torch.sqrt(0.5 * len(patches) * patches.shape[1] * count[inside].clamp(min=1))
    return tuple(_sigma((rings[inside] - noise) / noise, doubt.clamp(min=share), step) for share in (1.0, FAR))


def _sigma(excess: torch.Tensor, least: torch.Tensor, step: float) -> float:
    """Of the Gaussian that is a half where the spectrum falls below ``least`` for good.

    Between the harmonics of a lattice there is nothing: the last ring above it counts, not the first below.
    """
    above = (excess >= least).nonzero()
    last = int(above[-1]) + 1 if len(above) else 0
    if last == len(excess):
        return 0.0
    frequency = 2 * math.pi * step * max(last + 0.5, 1.0)
    return min(LARGEST, math.sqrt(2 * math.log(2)) / frequency)
