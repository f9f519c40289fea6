"""The normal equations of all columns of a window and of the background under them, and their solution."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import cho_solve_banded

from hs_deepatoms.atoms.ground import Band, Ground
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.peaks import Columns, Sums

WELL = 0.1  # of the usual diagonal: columns that are seen less are not let loose
AT_ONCE = 8192  # columns whose products with the splines are alive at a time
RAISED = 1e-5  # of the diagonal, of what single precision left not positive: more than what is lost there


@dataclass
class Normal:
    """Symmetric system of n columns with k parameters each, pairs of near columns, and m spline coefficients."""

    own: torch.Tensor  # (n, k, k)
    pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # i, j, blocks (p, k, k)
    index: torch.Tensor  # (n, 16): the splines over each column
    ground: torch.Tensor  # (n, k, 16): its coupling to them
    splines: Band  # (m, m)
    raised: dict[float, Normal] = field(default_factory=dict)  # damped ones that were made of it

    @cached_property
    def eliminated(self) -> Elimination:
        """Nearly the inverse, made once."""
        return kernels(self.own).Elimination(self)

    def times(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The matrix times columns' part ``a`` (n, k) and splines' part ``b`` (m)."""
        i, j, block = self.pairs
        out = _times(self.own, a) + _times(self.ground, b[self.index])
        if len(i):
            out.index_add_(0, i, _times(block, a[j]))
            out.index_add_(0, j, _turned_times(block, a[i]))
        over = torch.zeros_like(b).index_add_(0, self.index.reshape(-1), _turned_times(self.ground, a).reshape(-1))
        return out, over + _like(self.splines.times(b.cpu().numpy()), b)


def _like(array: np.ndarray, tensor: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(array).to(tensor.device)


def _times(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return (matrix @ vector[:, :, None])[:, :, 0]


def _turned_times(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """The transposed matrices times vectors: a sum of products is faster than batched products of turned matrices."""
    return (matrix * vector[:, :, None]).sum(1)


def assemble(total: Sums, pairs, columns: Columns, ground: Ground, splines: Band, unit: float) -> Normal:
    index, series = ground.at(columns.y, columns.x, unit)
    return Normal(total.hessian, pairs, index, total.ground @ series, splines)


def damped(normal: Normal, damping: float, usual: tuple[float, ...] | None = None) -> Normal:
    """The system with its diagonal raised by a share (Levenberg-Marquardt); the last one is kept for chord steps.

    ``usual`` is the diagonal of most columns of the frame, by default that of the window's.
    """
    if not damping:
        return normal
    if damping in normal.raised:
        return normal.raised[damping]
    own, k = normal.own, normal.own.shape[1]
    if len(own):
        most = own.diagonal(dim1=1, dim2=2).median(0).values if usual is None else own.new_tensor(usual[:k])
        own = kernels(own).raised(own, WELL * most, damping)
    normal.raised.clear()
    normal.raised[damping] = replace(normal, own=own, splines=normal.splines.raised(damping), raised={})
    return normal.raised[damping]


def raised(own: torch.Tensor, least: torch.Tensor, damping: float) -> torch.Tensor:
    """Blocks (n, k, k) whose diagonals are larger by a share of themselves, or of the least (k,) if that is more."""
    new = own.clone()
    new.diagonal(dim1=1, dim2=2).add_(torch.maximum(own.diagonal(dim1=1, dim2=2), least), alpha=damping)
    return new


def majorant(own: torch.Tensor, pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Own blocks, raised by as much as neighbours couple to them: block by block above the columns' whole matrix."""
    i, j, block = pairs
    if not len(i):
        return own
    root = _factor(own)
    inner = torch.linalg.solve_triangular(root[i], block, upper=False)
    inner = torch.linalg.solve_triangular(root[j], inner.mT, upper=False).abs()
    # no less than the largest singular value
    strength = torch.sqrt(inner.sum(1).amax(1) * inner.sum(2).amax(1)).minimum(torch.linalg.matrix_norm(inner))
    share = torch.ones(len(own), dtype=own.dtype, device=own.device)
    share.index_add_(0, i, strength).index_add_(0, j, strength)
    return own * share[:, None, None]


def _factor(own: torch.Tensor) -> torch.Tensor:
    """Cholesky factors (n, k, k); where single precision left a block not positive its diagonal is raised."""
    root, failed = torch.linalg.cholesky_ex(own)
    if not failed.any():
        return root
    raised = own + RAISED * torch.diag_embed(own.diagonal(dim1=1, dim2=2) * (failed > 0)[:, None])
    return torch.linalg.cholesky(raised)


class Elimination:
    """Solve with the columns apart from each other but not from the background: nearly the whole system, and direct."""

    def __init__(self, normal: Normal):
        # parts of it, not itself: that would be a cycle, and its memory not given back at once
        self.index, self.ground = normal.index, normal.ground
        # raised, or the columns of a dense lattice would take more from the background than there is
        self.inverse = torch.cholesky_inverse(_factor(majorant(normal.own, normal.pairs)))
        self.lean = self.inverse @ normal.ground
        self.schur = normal.splines.copy()
        index, outer = self._by_cell()
        first, second = np.triu_indices(index.shape[1])
        self.schur.add(index[:, first], index[:, second], -outer[:, first, second])
        self._safe = normal.splines

    @cached_property
    def root(self) -> np.ndarray:
        """Factor of the splines' matrix, made when first asked for."""
        return self.schur.root(self._safe)

    def over(self, root: np.ndarray | None) -> Elimination:
        """With the factor of a splines' matrix much like this one."""
        if root is None:
            return self
        other = copy(self)
        other.root = root
        return other

    def _by_cell(self) -> tuple[np.ndarray, np.ndarray]:
        """What the columns over the same splines take from these together: splines (c, 16) and matrices (c, 16, 16)."""
        cells, which = torch.unique(self.index[:, 0], return_inverse=True)
        total = torch.zeros(len(cells), 16, 16, dtype=self.ground.dtype, device=which.device)
        for rows in torch.arange(len(which), device=which.device).split(AT_ONCE):
            total.index_add_(0, which[rows], self.ground[rows].mT @ self.lean[rows])
        index = cells[:, None] + (self.index[:1] - self.index[:1, :1])  # the sixteen lie alike everywhere
        return index.cpu().numpy(), total.cpu().numpy()

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = _turned_times(self.inverse, a)
        right = b.index_add(0, self.index.reshape(-1), -_turned_times(self.ground, first).reshape(-1))
        under = _like(cho_solve_banded((self.root, True), right.cpu().numpy(), check_finite=False), b)
        return first - _times(self.lean, under[self.index]), under


def solve(normal: Normal, a, b, *, root: np.ndarray | None = None, accuracy: float = 1e-3, most: int = 40):
    """Preconditioned conjugate gradients; ``accuracy`` is relative, in the norm of the preconditioner. The ``root`` of
    a system much like this one, if given, saves the factorisation of its own."""
    inverse = normal.eliminated.over(root)
    x, y = torch.zeros_like(a), torch.zeros_like(b)
    r, s = a.clone(), b.clone()
    z, w = inverse(r, s)
    p, q = z, w
    rz = first = (r * z).sum() + (s * w).sum()
    least, best = torch.inf, (z, w)
    for k in range(most):
        if 0 < k and rz < least:
            least, best = rz, (x, y)
        if not rz > accuracy**2 * first:
            break
        hp, hq = normal.times(p, q)
        curve = (p * hp).sum() + (q * hq).sum()
        if not curve > 0:  # not positive along here: on the way there steps grow without bounds
            return best
        alpha = rz / curve
        x, y = x + alpha * p, y + alpha * q
        r, s = r - alpha * hp, s - alpha * hq
        z, w = inverse(r, s)
        last, rz = rz, (r * z).sum() + (s * w).sum()
        beta = rz / last
        p, q = z + beta * p, w + beta * q
    return x, y
