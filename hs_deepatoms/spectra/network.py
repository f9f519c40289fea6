"""The network that maps a window of one map to numbers of another, with the variance it leaves open."""

from __future__ import annotations

import math

import torch
from torch import nn

from hs_deepatoms.nets.blocks import SeededNoise
from hs_deepatoms.nets.patch_encoder import PatchEncoder
from hs_deepatoms.nets.spectrum_decoder import SpectrumDecoder

LEAST_LOG, MOST_LOG = -14.0, 4.0  # logarithm of a variance, of targets with standard deviation 1


class PairNet(nn.Module):
    """Windows of a map -> latents -> means and log variances of the targets.

    Parameters
    ----------
    channels : int
        Of the input map.
    window, step : int
        Side of the window, and input pixels per output pixel.
    outputs : int
        Targets per output pixel.
    latent_dim : int
    width : int
        Of hidden layers.
    spectrum : int
        Channels of a whole spectrum that is decoded by dilated convolutions, in front of the targets; 0: none.
    variational : bool
        Latents with a distribution (a variational encoder-decoder).
    spread : int
        Width of the layers of their own that the variances have; 0: none, a linear function of those of the means.

    Notes
    -----
    Input (n, channels, H, W), output (n, 2 * outputs + spectrum + 1, h, w): means, log variances, spectrum (log shares
    before their softmax), and the divergence of the latents from their prior.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        step: int,
        outputs: int,
        latent_dim: int,
        width: int = 48,
        spectrum: int = 0,
        variational: bool = False,
        spread: int = 0,
    ):
        super().__init__()
        self.config = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.outputs, self.latent_dim, self.spectrum, self.variational = outputs, latent_dim, spectrum, variational
        self.encoder = PatchEncoder(channels, window, (2 if variational else 1) * latent_dim, width, step)
        self.head = nn.Sequential(
            nn.Conv2d(latent_dim, 2 * width, 1), nn.SiLU(), nn.Conv2d(2 * width, 2 * width, 1), nn.SiLU()
        )
        self.mean = nn.Conv2d(2 * width, outputs, 1)
        self.direct = nn.Conv2d(latent_dim, outputs, 1)
        own = [nn.Conv2d(2 * width, spread, 1), nn.SiLU(), nn.Conv2d(spread, spread, 1), nn.SiLU()] if spread else []
        self.spread = nn.Sequential(*own)
        self.log_variance = nn.Conv2d(spread or 2 * width, outputs, 1)
        self.decoder = SpectrumDecoder(latent_dim, 1, spectrum) if spectrum else None
        self.noise = SeededNoise()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        z, divergence = self.sampled(image)
        return torch.cat([self.decode(z), divergence], 1)

    def latents(self, image: torch.Tensor) -> torch.Tensor:
        """Latents (n, d, h, w), without noise."""
        return self.encoder(image)[:, : self.latent_dim]

    def sampled(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents, drawn from their distribution while training, and the divergence (n, 1, h, w)."""
        found = self.encoder(image)
        if not self.variational:
            return found, torch.zeros_like(found[:, :1])
        z, log = found.chunk(2, 1)
        log = log.clamp(-10, 4)
        divergence = 0.5 * (z**2 + log.exp() - 1 - log).sum(1, keepdim=True)
        return z + (torch.exp(log / 2) * self.noise(z) if self.training else 0), divergence

    def deviations(self, image: torch.Tensor) -> torch.Tensor:
        """Standard deviations (n, d, h, w) of the latents of a variational encoder."""
        return torch.exp(self.encoder(image).chunk(2, 1)[1].clamp(-10, 4) / 2)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Means, log variances and spectrum (n, 2 * outputs + spectrum, h, w) of latents (n, d, h, w)."""
        x = self.head(z)
        # the variance must not pull at the features that the mean needs
        log = self.log_variance(self.spread(x.detach() if self.training else x))
        parts = [self.mean(x) + self.direct(z), log.clamp(LEAST_LOG, MOST_LOG)]
        if self.decoder is not None:
            n, d, h, w = z.shape
            flat = self.decoder(z.permute(0, 2, 3, 1).reshape(-1, d))[:, 0]
            parts.append(flat.reshape(n, h, w, -1).permute(0, 3, 1, 2))
        return torch.cat(parts, 1)


class PairLoss:
    """What a `PairNet` is trained with.

    Squared error of the means, weighted by what each target counts, plus the negative log likelihood of the residuals
    for the variances, plus (for whole spectra) the multinomial one, which is Poisson's with the total given.

    Parameters
    ----------
    weights : Tensor, shape (outputs,)
        What each target counts; their sum is 1.
    noise : Tensor, shape (outputs,)
        Variance of the measured targets from noise, over the last but one channel of the target.
    spectrum : int
        Channels of a whole spectrum.
    spread : Tensor, optional, shape (spectrum,)
        Variance of noise of each channel, where spectra are no counts: squared errors then.
    beta : float
        Weight of the divergence of the latents.

    Notes
    -----
    The target is (n, outputs + spectrum + 2, h, w): targets, spectrum, noise, weight of the pixel (0: not used).
    """

    def __init__(self, weights, noise, spectrum: int = 0, spread=None, beta: float = 0.0):
        self.weights, self.noise, self.spectrum, self.spread, self.beta = weights, noise, spectrum, spread, beta

    def __call__(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        k = len(self.weights)
        weights, noise = (one.to(out.device)[:, None, None] for one in (self.weights, self.noise))
        use, base = target[:, -1:], target[:, -2:-1]
        mean, log = out[:, :k], out[:, k : 2 * k]
        error = torch.where(use > 0, target[:, :k] - mean, 0)
        fit = (weights * error**2).sum(1, keepdim=True)
        variance = log.exp() + noise * base
        likelihood = 0.5 * (variance.log() + error.detach() ** 2 / variance).mean(1, keepdim=True)
        total = fit + 0.1 * likelihood + self.beta * out[:, -1:]
        if self.spectrum:
            total = total + self._spectral(out[:, 2 * k : -1], target[:, k:-2], use)
        return (total * use).sum() / use.sum().clamp(min=1)

    def _spectral(self, out: torch.Tensor, spectrum: torch.Tensor, use: torch.Tensor) -> torch.Tensor:
        spectrum = torch.where(use > 0, spectrum, 0)
        if self.spread is not None:
            spread = self.spread.to(out.device)[:, None, None]
            return ((out - spectrum) ** 2 / spread).mean(1, keepdim=True)
        share = spectrum / spectrum.sum(1, keepdim=True).clamp(min=1e-12)
        return -(share * torch.log_softmax(out, 1)).sum(1, keepdim=True) * math.sqrt(self.spectrum)
