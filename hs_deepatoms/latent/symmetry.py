"""Which rotation axis a motif has: its angle means nothing beyond that."""

from __future__ import annotations

import torch

from hs_deepatoms.latent.poses import Frame, sample
from hs_deepatoms.latent.search import polar_grid

FOLDS = (2, 3, 4, 5, 6, 8, 12)
SHARE = 0.02  # of what changes along circles: less is no deviation from an axis
ROUND = 0.01  # of the motif's contrast: what changes less along circles is round
TOLD_APART = 9.0  # squared distance of two orientations over the noise's variance: three standard deviations


def symmetry(motifs: torch.Tensor, frame: Frame, variance: float = 0.0) -> torch.Tensor:
    """n (m,) of the n-fold axis through the middle of canonical images (m, c, *frame.size); 0: round, 1: none.

    The power of the angular frequencies, summed over circles: of a motif with an n-fold axis it lies in the multiples
    of n. With the ``variance`` of a pixel's noise, an axis is also one that a patch cannot tell from a perfect one.

    Examples
    --------
    >>> from hs_deepatoms.latent.poses import make_frame
    >>> y, x = torch.meshgrid(torch.arange(13) - 6.0, torch.arange(13) - 6.0, indexing="ij")
    >>> angle, frame = torch.atan2(y, x), make_frame((9, 9), ("rotation",))
    >>> symmetry(torch.stack([torch.cos(3 * angle), y**2 + x**2])[:, None], frame).tolist()
    [3.0, 0.0]
    """
    y, x, area = polar_grid(frame, motifs.device)
    rings = sample(motifs, *(one.expand(len(motifs), -1, -1) for one in (y, x)), frame.step)
    power = torch.einsum("mcrf,r->mf", torch.fft.rfft(rings).abs().square(), area)
    power = power * (2 / rings.shape[3])  # the sum of squares over the pixels, by frequency
    turning = power[:, 1:].sum(1)
    least = torch.clamp(SHARE * turning, min=0.5 * TOLD_APART * variance)
    frequency = torch.arange(1, power.shape[1], device=motifs.device)
    found = torch.ones(len(motifs), device=motifs.device)
    for n in FOLDS:
        rest = power[:, 1:][:, frequency % n != 0].sum(1)
        found = torch.where(rest <= least, float(n), found)
    centred = rings - (rings * area[:, None]).sum((2, 3), keepdim=True) / (area.sum() * rings.shape[3])
    contrast = torch.einsum("mcra,r->m", centred.square(), area)
    return torch.where(turning < torch.clamp(ROUND * contrast, min=0.5 * TOLD_APART * variance), 0.0, found)
