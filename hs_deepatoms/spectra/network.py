"""The network that maps a window of one map to numbers of another, with the variance it leaves open."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    spectrum : int or list of int
        Channels of a whole spectrum that is decoded by dilated convolutions, behind the targets; 0: none. Of several
        spectra, each with a decoder of its own, a list.
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
        spectrum: int | list[int] = 0,
        variational: bool = False,
        spread: int = 0,
    ):
        super().__init__()
        self.config = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.outputs, self.latent_dim, self.variational = outputs, latent_dim, variational
        self.encoder = PatchEncoder(channels, window, (2 if variational else 1) * latent_dim, width, step)
        self.head = nn.Sequential(
            nn.Conv2d(latent_dim, 2 * width, 1), nn.SiLU(), nn.Conv2d(2 * width, 2 * width, 1), nn.SiLU()
        )
        self.mean = nn.Conv2d(2 * width, outputs, 1)
        self.direct = nn.Conv2d(latent_dim, outputs, 1)
        own = [nn.Conv2d(2 * width, spread, 1), nn.SiLU(), nn.Conv2d(spread, spread, 1), nn.SiLU()] if spread else []
        self.spread = nn.Sequential(*own)
        self.log_variance = nn.Conv2d(spread or 2 * width, outputs, 1)
        self.decoder = _decoder(latent_dim, spectrum)
        self.noise = SeededNoise()

    @property
    def decoders(self) -> list[SpectrumDecoder]:
        """Those of whole spectra."""
        return [self.decoder] if isinstance(self.decoder, SpectrumDecoder) else list(self.decoder or [])

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
        n, d, h, w = z.shape
        for decoder in self.decoders:
            flat = decoder(z.permute(0, 2, 3, 1).reshape(-1, d))[:, 0]
            parts.append(flat.reshape(n, h, w, -1).permute(0, 3, 1, 2))
        return torch.cat(parts, 1)


def _decoder(latent_dim: int, spectrum: int | list[int]) -> nn.Module | None:
    if isinstance(spectrum, int):
        return SpectrumDecoder(latent_dim, 1, spectrum) if spectrum else None
    return nn.ModuleList(SpectrumDecoder(latent_dim, 1, length) for length in spectrum)


class PairLoss:
    """What a `PairNet` is trained with.

    Squared error of the means, weighted by what each target counts, plus the negative log likelihood of the residuals
    for the variances, plus (for whole spectra) the multinomial one, which is Poisson's with the total given.

    Parameters
    ----------
    weights : Tensor, shape (outputs,)
        What each target counts; their sum is 1.
    noise : Tensor, shape (outputs,)
        Variance of the measured targets from noise, over the one in the target that is its spectrum's.
    spectrum : int or list of int
        Channels of whole spectra, as in `PairNet`.
    spread : Tensor, shape (spectrum,), optional; or a list
        Variance of noise of each channel, where spectra are no counts: squared errors then.
    beta : float
        Weight of the divergence of the latents.
    owner : list of int, optional
        Of several spectra, the one that each target is of.

    Notes
    -----
    The target is (n, outputs + spectrum + p + 1, h, w): targets, spectra, noise of each of p spectra, and the weight of
    the pixel (0: not used).
    """

    def __init__(self, weights, noise, spectrum: int | Sequence[int] = 0, spread=None, beta: float = 0.0, owner=None):
        self.weights, self.noise, self.beta = weights, noise, beta
        self.owner = [0] * len(weights) if owner is None else list(owner)
        self.lengths = [spectrum] if isinstance(spectrum, int) else list(spectrum)
        self.spreads = list(spread) if isinstance(spread, list | tuple) else [spread]

    def __call__(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        k, parts = len(self.weights), max(self.owner) + 1
        weights, noise = (one.to(out.device)[:, None, None] for one in (self.weights, self.noise))
        use, base = target[:, -1:], target[:, -1 - parts : -1][:, self.owner]
        mean, log = out[:, :k], out[:, k : 2 * k]
        error = torch.where(use > 0, target[:, :k] - mean, 0)
        fit = (weights * error**2).sum(1, keepdim=True)
        variance = log.exp() + noise * base
        likelihood = 0.5 * (variance.log() + error.detach() ** 2 / variance).mean(1, keepdim=True)
        total = fit + 0.1 * likelihood + self.beta * out[:, -1:]
        if sum(self.lengths):
            said, wanted = (one.split(self.lengths, 1) for one in (out[:, 2 * k : -1], target[:, k : -1 - parts]))
            for each in zip(said, wanted, self.spreads, strict=True):
                total = total + self._spectral(*each, use) / len(self.lengths)
        return (total * use).sum() / use.sum().clamp(min=1)

    def _spectral(self, out: torch.Tensor, spectrum: torch.Tensor, spread, use: torch.Tensor) -> torch.Tensor:
        spectrum = torch.where(use > 0, spectrum, 0)
        if spread is not None:
            return ((out - spectrum) ** 2 / spread.to(out.device)[:, None, None]).mean(1, keepdim=True)
        share = spectrum / spectrum.sum(1, keepdim=True).clamp(min=1e-12)
        return -(share * torch.log_softmax(out, 1)).sum(1, keepdim=True) * math.sqrt(out.shape[1])
