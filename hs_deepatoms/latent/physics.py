"""How smooth, or how periodic, maps of latents are: losses with gradients. Pure functions on tensors.

Biswas, Ziatdinov & Kalinin, Mach. Learn.: Sci. Technol. 4, 045004 (2023), doi:10.1088/2632-2153/acf6a9: latents that
minimise the length of discontinuities in their map. There the loss has no gradient; here it does, on true neighbours.

A map is (h, w) or (n, h, w), one latent each; ``mask`` (h, w) says where there is a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from hs_deepatoms._core.errors import InvalidArgumentError, explain

OPERATORS = ("forward", "scharr")
SMALL = 1e-6


def standardised(maps: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Maps with mean 0 and standard deviation 1 each: a loss on values as they are would shrink them to nothing."""
    maps, mask = _whole(maps, mask)
    count = mask.sum()
    mean = (maps * mask).sum((1, 2), keepdim=True) / count
    variance = ((maps - mean) ** 2 * mask).sum((1, 2), keepdim=True) / count
    return (maps - mean) / torch.sqrt(variance + SMALL) * mask


def bilateral(maps: torch.Tensor, sigma: float = 1.0, width: float = 0.5, mask: torch.Tensor | None = None):
    """Maps (n, h, w) whose pixels are means of near pixels with a like value; differentiable.

    Tomasi & Manduchi, ICCV 1998, doi:10.1109/ICCV.1998.710815.

    Parameters
    ----------
    maps : tensor
    sigma : float
        Of the distance, pixels of the map.
    width : float
        Of the difference in value.
    mask : tensor, optional
    """
    maps, mask = _whole(maps, mask)
    reach = max(1, round(2 * sigma))
    padded = F.pad(maps[:, None], (reach,) * 4, mode="replicate")[:, 0]
    there = F.pad(mask, (reach,) * 4)
    h, w = maps.shape[1:]
    total, weights = torch.zeros_like(maps), torch.zeros_like(maps)
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            near = padded[:, i : i + h, j : j + w]
            distance = ((i - reach) ** 2 + (j - reach) ** 2) / sigma**2
            weight = torch.exp(-0.5 * (distance + ((near - maps) / width) ** 2)) * there[i : i + h, j : j + w]
            total, weights = total + weight * near, weights + weight
    return total / weights.clamp(min=SMALL) * mask


def edge_loss(
    maps: torch.Tensor, mask: torch.Tensor | None = None, *, operator: str = "forward", sigma: float | None = 1.0
) -> torch.Tensor:
    """SL1 (n,): mean magnitude of the edges of standardised, denoised maps; the length of their discontinuities.

    Parameters
    ----------
    maps : tensor, shape (h, w) or (n, h, w)
    mask : tensor, shape (h, w), optional
    operator : {"forward", "scharr"}
        Differences of neighbours, or Scharr's operator as published, which does not see a checkerboard.
    sigma : float or None
        Of the bilateral filter before, pixels of the map; None: no filter.

    Examples
    --------
    >>> flat, rough = torch.zeros(8, 8), torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    >>> flat[:, 4:] = 1.0
    >>> bool(edge_loss(flat) < edge_loss(rough))
    True
    """
    if operator not in OPERATORS:
        raise InvalidArgumentError(explain(f"operator={operator!r}", ", ".join(map(repr, OPERATORS)), "Choose one."))
    maps, mask = _whole(maps, mask)
    maps = standardised(maps, mask)
    if sigma is not None:
        maps = bilateral(maps, sigma, mask=mask)
    along_y, along_x, valid = (_differences if operator == "forward" else _scharr)(maps, mask)
    magnitude = torch.sqrt(along_y**2 + along_x**2 + SMALL) * valid
    return magnitude.sum((1, 2)) / valid.sum().clamp(min=1)


def spectrum_loss(maps: torch.Tensor, mask: torch.Tensor | None = None, *, radius: float = 1.0) -> torch.Tensor:
    """SL2 (n,): share of the logarithmic Fourier magnitude farther than ``radius`` from the central peak.

    ``radius`` in steps of the transform: 1 keeps the mean and the longest waves.
    """
    maps, mask = _whole(maps, mask)
    found = torch.log1p(torch.fft.fft2(standardised(maps, mask)).abs())
    return (found * (_distance(maps) > radius)).sum((1, 2)) / found.sum((1, 2)).clamp(min=SMALL)


def periodicity_loss(
    maps: torch.Tensor, peaks: Sequence[tuple[float, float]] | None = None, mask: torch.Tensor | None = None, *,
    width: float = 1.0,
) -> torch.Tensor:  # fmt: skip
    """Minus the share (n,) of the Fourier intensity, mean taken off, at lattice peaks: minimised, maps are periodic.

    Parameters
    ----------
    maps : tensor
    peaks : sequence of (float, float), optional
        Frequencies along y and x, cycles per pixel of the map; the opposite ones are added. None: the two strongest
        of the maps as they are.
    mask : tensor, optional
    width : float
        Sigma of a peak, steps of the transform.
    """
    maps, mask = _whole(maps, mask)
    h, w = maps.shape[1:]
    power = torch.fft.fft2(standardised(maps, mask)).abs().square()
    power = power * (_distance(maps) > 0)
    fy, fx = torch.fft.fftfreq(h, device=maps.device)[:, None], torch.fft.fftfreq(w, device=maps.device)
    weight = torch.zeros(h, w, device=maps.device)
    for y, x in found_peaks(maps * mask) if peaks is None else peaks:
        for sign in (1, -1):
            dy, dx = ((one + 0.5) % 1 - 0.5 for one in (fy - sign * y, fx - sign * x))
            weight = torch.maximum(weight, torch.exp(-0.5 * ((dy * h) ** 2 + (dx * w) ** 2) / width**2))
    return -(power * weight).sum((1, 2)) / power.sum((1, 2)).clamp(min=SMALL)


def found_peaks(maps: torch.Tensor, n: int = 2) -> list[tuple[float, float]]:
    """The n strongest frequencies (y, x), cycles per pixel, of the mean spectrum of maps; of opposite ones one."""
    maps, _ = _whole(maps, None)
    h, w = maps.shape[1:]
    power = torch.fft.fft2(standardised(maps)).abs().square().mean(0).detach()
    power[:, w // 2 + 1 :] = 0
    power[_distance(maps) <= 1] = 0
    fy, fx = torch.fft.fftfreq(h), torch.fft.fftfreq(w)
    peaks: list[tuple[float, float]] = []
    for place in torch.argsort(power.ravel(), descending=True).tolist():
        at = float(fy[place // w]), float(fx[place % w])
        opposite = [(-y, -x) for y, x in peaks]
        if all(max(abs(at[0] - y) * h, abs(at[1] - x) * w) > 1.5 for y, x in [*peaks, *opposite]):
            peaks.append(at)
        if len(peaks) == n:
            break
    return peaks


LOSSES: dict[str, Callable] = {"edges": edge_loss, "scharr": partial(edge_loss, operator="scharr"),
                               "spectrum": spectrum_loss, "periodicity": periodicity_loss}  # fmt: skip


def _differences(maps, mask):
    """To the next pixel down and to the right; 0 at the last ones, as at the rim of the mask."""
    down = F.pad(maps[:, 1:] - maps[:, :-1], (0, 0, 0, 1)) * F.pad(mask[1:] * mask[:-1], (0, 0, 0, 1))
    right = F.pad(maps[:, :, 1:] - maps[:, :, :-1], (0, 1)) * F.pad(mask[:, 1:] * mask[:, :-1], (0, 1))
    return down, right, mask


def _scharr(maps, mask):
    weight = torch.tensor([3.0, 10.0, 3.0], device=maps.device) / 16
    slope = torch.tensor([-0.5, 0.0, 0.5], device=maps.device)
    padded = F.pad(maps[:, None], (1, 1, 1, 1), mode="replicate")
    found = [F.conv2d(padded, one.to(maps)[None, None])[:, 0] for one in (slope[:, None] * weight,
                                                                       weight[:, None] * slope)]  # fmt: skip
    inside = -F.max_pool2d(-F.pad(mask, (1, 1, 1, 1), value=1.0)[None, None], 3, 1)[0, 0]
    return found[0] * inside, found[1] * inside, inside


def _distance(maps: torch.Tensor) -> torch.Tensor:
    """Distance (h, w) of every coefficient from the mean, in steps of the transform."""
    h, w = maps.shape[1:]
    y, x = (torch.fft.fftfreq(n, 1 / n, device=maps.device) for n in (h, w))
    return torch.hypot(*torch.meshgrid(y, x, indexing="ij"))


def _whole(maps: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    maps = maps[None] if maps.ndim == 2 else maps
    return maps, torch.ones(maps.shape[1:], device=maps.device) if mask is None else mask.to(maps)
