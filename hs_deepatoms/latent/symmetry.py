"""Which rotation axis a motif has: its angle means nothing beyond that."""

from __future__ import annotations

import torch

from hs_deepatoms.latent.poses import Frame, sample
from hs_deepatoms.latent.search import polar_grid

FOLDS = (2, 3, 4, 5, 6, 8, 12)
SHARE = 0.9  # of what changes along circles must be what such an axis leaves
ROUND = 0.01  # of the motif's contrast: what changes less along circles is round


def symmetry(motifs: torch.Tensor, frame: Frame) -> torch.Tensor:
    """n (m,) of the n-fold axis through the middle of canonical images (m, c, *frame.size); 0: round, 1: none.

    The power of the angular frequencies, summed over circles: of a motif with an n-fold axis it lies in the multiples
    of n.

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
    turning = power[:, 1:].sum(1)
    frequency = torch.arange(1, power.shape[1], device=motifs.device)
    found = torch.ones(len(motifs), device=motifs.device)
    for n in FOLDS:
        share = power[:, 1:][:, frequency % n == 0].sum(1) / turning.clamp(min=1e-30)
        found = torch.where(share >= SHARE, float(n), found)
    centred = rings - (rings * area[:, None]).sum((2, 3), keepdim=True) / (area.sum() * rings.shape[3])
    contrast = torch.einsum("mcra,r->m", centred.square(), area) * rings.shape[3]
    return torch.where(2 * turning < ROUND * contrast, 0.0, found)
