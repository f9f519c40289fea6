"""Losses of the shipped networks. Pure functions on tensors."""

from __future__ import annotations

import torch
from torch.nn import functional as F

COUNT_WEIGHT = 0.02
POSITION_WEIGHT = 0.1


def column_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Presence, count, position and width of columns.

    Presence is a proper score (cross-entropy per cell) with DECODE's count term, log N(K; sum p, sum p (1 - p)), so
    that probabilities mean what they say on every kind of image; positions are a Gaussian likelihood whose sigma the
    network must predict (Speiser et al., Nat. Methods 18, 1082 (2021), doi:10.1038/s41592-021-01236-x).

    Parameters
    ----------
    out : tensor, shape (n, 6, h, w)
        Output of :class:`~hs_deepatoms.nets.detector.ColumnDetector`.
    target : tensor, shape (n, 6, h, w)
        Presence (0 or 1); weight of the presence; offset y, x (px); weight of the offset; log width ratio.
    """
    presence, care, offset, near, width = target[:, 0], target[:, 1], target[:, 2:4], target[:, 4], target[:, 5]
    cell = F.binary_cross_entropy_with_logits(out[:, 0], presence, reduction="none") * care
    found = cell.sum() / care.sum() * 20
    p = torch.sigmoid(out[:, 0]) * care
    variance = (p * (1 - p)).sum((1, 2)) + 1.0
    excess = (p.sum((1, 2)) - (presence * care).sum((1, 2))) ** 2 / variance
    count = 0.5 * (excess.clamp(max=50) + torch.log(variance)).mean()
    place = _position_loss(out, offset, near)
    size = (F.smooth_l1_loss(out[:, 5], width, reduction="none", beta=0.2) * near).sum() / near.sum().clamp(min=1)
    return found + COUNT_WEIGHT * count + POSITION_WEIGHT * (place + size)


def _position_loss(out: torch.Tensor, offset: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    log_sigma = out[:, 3:5]
    scaled = ((out[:, 1:3] - offset) * torch.exp(-log_sigma)) ** 2
    likelihood = 0.5 * scaled.clamp(max=200) + log_sigma
    # beta-NLL (Seitzer et al., ICLR 2022, arXiv:2203.09168): sharp columns must not be drowned by vague ones
    weight = torch.exp(log_sigma.detach())
    return ((likelihood * weight).sum(1) * near).sum() / near.sum().clamp(min=1) + (
        (likelihood.sum(1) * near).sum() / near.sum().clamp(min=1) * 0.3
    )


def survey_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against soft width classes, shape (n, classes) both."""
    return F.cross_entropy(out, target)
