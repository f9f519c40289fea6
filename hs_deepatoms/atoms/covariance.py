"""How sure a fit is of every column: Fisher information of the column, its neighbours and the background together."""

from __future__ import annotations

import numpy as np
import torch

from hs_deepatoms.atoms.normal import Normal

# neighbours that count in a column's error bar: at most so many; how strongly coupled, which counts as the square
MOST, FAINT = 6, 0.03
AT_ONCE = 4096


def covariances(normal: Normal, wanted: torch.Tensor | None = None) -> torch.Tensor:
    """Covariance (n, k, k) of each column's parameters, neighbours and background free.

    Parameters
    ----------
    normal : Normal
        Undamped.
    wanted : Tensor, bool, shape (n,), optional
        The columns of which it is asked, zero for others; by default all.

    Notes
    -----
    With the columns eliminated from the background (Schur complement S), a column's block of the inverse is
    ``G + L S^-1 L^T``: ``G`` from itself and its neighbours, ``L`` their response to the splines over the column.
    """
    n = len(normal.own)
    if n == 0:
        return normal.own
    members = _members(normal)
    spread, which = _ground_covariance(normal)
    out = torch.zeros_like(normal.own)
    alone = (members[:, 1:] < 0).all(1)
    asked = torch.ones_like(alone) if wanted is None else wanted
    for group, size in ((alone & asked, 1), (~alone & asked, members.shape[1])):
        if not group.any():
            continue
        for rows in torch.nonzero(group)[:, 0].split(AT_ONCE):
            out[rows] = _own_block(normal, members[rows, :size], spread[which[rows]])
    return out


def _own_block(normal: Normal, members: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    k = normal.own.shape[1]
    matrix = _gathered(normal, members)
    unit = torch.eye(matrix.shape[1], k, dtype=matrix.dtype, device=matrix.device)
    # for each matrix: one for all is taken for vectors where there happen to be as many matrices as parameters
    own = torch.linalg.solve(matrix, unit.expand(len(matrix), -1, -1))
    there = (members >= 0)[:, :, None, None]
    index = normal.index[members[:, 0]]
    # neighbours stand on nearly the same splines; those that differ say little about the column
    same = normal.index[members.clamp(min=0)] == index[:, None]
    ground = torch.where(there & same[:, :, None, :], normal.ground[members.clamp(min=0)], 0.0).flatten(1, 2)
    response = own.mT @ ground
    return own[:, :k] + response @ spread @ response.mT


def _ground_covariance(normal: Normal) -> tuple[torch.Tensor, torch.Tensor]:
    """Covariance (c, 16, 16) of the splines over each occupied knot cell, and the cell of each column.

    From these splines alone: the freedom of those around them changes error bars by a few thousandths.
    """
    schur, device = normal.eliminated.schur, normal.own.device
    index = normal.index.cpu().numpy()
    starts, which = np.unique(index[:, 0], return_inverse=True)
    block = torch.from_numpy(schur.blocks(starts, index[0] - index[0, 0]))
    # where no pixel is valid, nothing but the penalty holds a spline
    block = block + torch.diag_embed(1e-9 * block.diagonal(dim1=1, dim2=2))
    return torch.linalg.inv(block).to(device), torch.from_numpy(which).to(device)


def _members(normal: Normal) -> torch.Tensor:
    """Each column and its most strongly coupled neighbours, (n, 1 + MOST), -1 where there are fewer."""
    n = len(normal.own)
    i, j, block = normal.pairs
    size = torch.sqrt(normal.own.diagonal(dim1=1, dim2=2))
    out = torch.full((n, 1 + MOST), -1, dtype=torch.long, device=normal.own.device)
    out[:, 0] = torch.arange(n, device=out.device)
    if not len(i):
        return out
    strength = (block.abs() / (size[i][:, :, None] * size[j][:, None, :])).amax((1, 2))
    strong = strength > FAINT
    i, j, strength = i[strong], j[strong], strength[strong]
    a, b, s = torch.cat([i, j]), torch.cat([j, i]), torch.cat([strength, strength])
    order = torch.argsort(s, descending=True, stable=True)
    order = order[torch.argsort(a[order], stable=True)]
    a, b = a[order], b[order]
    rank = torch.arange(len(a), device=a.device) - torch.searchsorted(a, a, right=False)
    few = rank < MOST
    out[a[few], 1 + rank[few]] = b[few]
    return out


def _gathered(normal: Normal, members: torch.Tensor) -> torch.Tensor:
    """Normal matrices (r, m k, m k) of groups; missing members are unit blocks."""
    n, k = normal.own.shape[:2]
    r, m = members.shape
    there = members >= 0
    safe = members.clamp(min=0)
    matrix = torch.zeros(r, m, k, m, k, dtype=torch.float64, device=members.device)
    unit = torch.eye(k, dtype=torch.float64, device=members.device)
    for p in range(m):
        matrix[:, p, :, p, :] = torch.where(there[:, p, None, None], normal.own[safe[:, p]], unit)
    i, j, block = normal.pairs
    key, order = torch.sort(i * n + j)
    for p in range(m):
        for q in range(p):
            both = there[:, p] & there[:, q]
            for a, b in ((p, q), (q, p)):
                if not len(key):
                    continue
                wanted = safe[:, a] * n + safe[:, b]
                place = torch.searchsorted(key, wanted).clamp(max=len(key) - 1)
                hit = torch.nonzero(both & (key[place] == wanted))[:, 0]
                found = block[order[place[hit]]]
                matrix[hit, a, :, b, :] = found
                matrix[hit, b, :, a, :] = found.mT
    return matrix.reshape(r, m * k, m * k)
