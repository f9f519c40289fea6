"""Which fitted columns are believed: those that the pixels show, that stayed near where they were seen, and apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.normal import Normal
from hs_deepatoms.atoms.peaks import Columns

if TYPE_CHECKING:
    from hs_deepatoms.atoms.state import State

FAINT = 3.5  # signal-to-noise ratio below which a fit knows less of a place than the detector
# believed fully and not at all: shares of the way that a column may go, sigmas between two columns, and sigmas that its
# place is known to; a jump at one limit would be one of the result at the least change of the image
AWAY, SEPARATE, VAGUE = (0.7, 0.95), (1.6, 1.3), (0.3, 0.5)
BLIND = 0.01  # of the usual weight of a column's pixels: hardly a pixel that is valid shows it


def near_pairs(columns: Columns, distance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of columns nearer than ``distance`` to each other."""
    return kernels(columns.y).near_pairs(columns, distance)


def unseen(columns: Columns, normal: Normal) -> torch.Tensor:
    """Columns (n,) of which the valid pixels show too little to place them."""
    known = normal.own[:, 2, 2]
    if not len(known):
        return torch.zeros(0, dtype=torch.bool, device=known.device)
    usual = known.kthvalue(int(0.9 * (len(known) - 1)) + 1)[0]
    return (columns.height * torch.sqrt(known) < FAINT) | (known < BLIND * usual)


def trust(state: State) -> torch.Tensor:
    """How far (n,) fitted places are believed, 1 to 0: not where columns would leave their neighbourhood or meet."""
    c, start = state.columns, state.start
    away = torch.hypot(c.y - start.y, c.x - start.x) / state.reach
    i, j = near_pairs(c, SEPARATE[0] * state.sigma)
    apart = torch.hypot(c.y[i] - c.y[j], c.x[i] - c.x[j]) / state.sigma
    nearest = torch.full_like(away, SEPARATE[0])
    nearest = nearest.scatter_reduce(0, torch.cat([i, j]), torch.cat([apart, apart]), "amin")
    return torch.minimum(_ramp(away, *AWAY), _ramp(nearest, *SEPARATE))


def known(variance: torch.Tensor, sigma: float) -> torch.Tensor:
    """How far (n,) places of these variances (n, 2) are those of the fit, 1, or the detector's, 0; without a jump."""
    return _ramp(torch.sqrt(variance.amax(1)) / sigma, *VAGUE)


def _ramp(value: torch.Tensor, one: float, zero: float) -> torch.Tensor:
    return ((value - zero) / (one - zero)).clamp(0, 1)
