"""The background under columns: a smooth cubic spline on knots that are the same however the frame is tiled."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import LinAlgError, cholesky_banded
from scipy.linalg.blas import dsbmv
from torch.nn import functional as F

KNOT = 8.0  # knots of the background in column sigmas: smooth over a column, bent over a few spacings
FINE = 6  # samples per knot that a product of splines is summed on
STRIP = 6  # knots: rows of pixels that are drawn together, rather than with splines that are zero there


@dataclass
class Ground:
    """Cubic B-splines over the pixels of a window; coefficients are a flat float64 tensor of ``ny * nx`` values."""

    rows: torch.Tensor  # (h, ny) basis
    columns: torch.Tensor  # (w, nx)
    knot: float
    first: tuple[int, int]  # knots before the first one, per axis
    origin: tuple[int, int]  # of the window in its frame, pixels
    # as compiled kernels want them, and the factor of its own matrix were all pixels alike, once asked for
    numbers: object = field(default=None, repr=False, compare=False)
    even: np.ndarray | None = field(default=None, repr=False, compare=False)

    @staticmethod
    def over(shape: tuple[int, int], knot: float, origin: tuple[int, int], device) -> Ground:
        bases, firsts = [], []
        for n, start in zip(shape, origin, strict=True):
            place = (torch.arange(n, dtype=torch.float64, device=device) + start) / knot
            first, last = int(place[0].floor()) - 1, int(place[-1].floor()) + 2
            bases.append(_basis(place, first, last - first + 1))
            firsts.append(first)
        return Ground(*bases, knot, tuple(firsts), origin)

    @property
    def size(self) -> int:
        return self.rows.shape[1] * self.columns.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the window, pixels."""
        return len(self.rows), len(self.columns)

    def image(self, c: torch.Tensor) -> torch.Tensor:
        """Background on the window's pixels, float32."""
        across = (c.view(self.rows.shape[1], -1) @ self.columns.T).float()
        return torch.cat([basis @ across[knots] for _, knots, basis in self._strips])

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Sum of the image times every spline, flat."""
        across = image.new_zeros(self.rows.shape[1], image.shape[1])
        for rows, knots, basis in self._strips:
            across[knots].addmm_(basis.T, image[rows])
        return (across.double() @ self.columns).reshape(-1)

    @cached_property
    def _strips(self) -> list[tuple[slice, slice, torch.Tensor]]:
        """A few rows of pixels at a time, the knots that they see, and the splines of these on those, float32."""
        few, strips = max(1, int(STRIP * self.knot)), []
        for k in range(0, len(self.rows), few):
            part = self.rows[k : k + few]
            seen = torch.nonzero((part != 0).any(0))[:, 0]
            knots = slice(int(seen[0]), int(seen[-1]) + 1)
            strips.append((slice(k, k + few), knots, part[:, knots].float()))
        return strips

    def at(self, y: torch.Tensor, x: torch.Tensor, unit: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The sixteen splines over each point: flat indices (n, 16), and (n, 6, 16) their coefficients in the
        polynomials 1, u, v, uu, uv, vv of the distance from the point over ``unit``."""
        parts = []
        for k, p in enumerate((y, x)):
            start, t = self._place(k, p)
            parts.append((start[:, None] + torch.arange(4, device=y.device), _series(t, unit / self.knot)))
        (iy, wy), (ix, wx) = parts
        index = iy[:, :, None] * self.columns.shape[1] + ix[:, None, :]
        # slopes with what terms of third degree add to them under a Gaussian of that unit
        wy[1], wx[1] = wy[1] + 3 * wy.pop(), wx[1] + 3 * wx.pop()
        across = wy[0] + wy[2], wx[0] + wx[2]
        terms = ((wy[0], wx[0]), (wy[1], across[1]), (across[0], wx[1]), (wy[2], wx[0]), (wy[1], wx[1]), (wy[0], wx[2]))
        value = torch.stack([a[:, :, None] * b[:, None, :] for a, b in terms], 1)
        return index.flatten(1), value.flatten(2)

    def level(self, c: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Background of coefficients ``c`` at points, (n,); at the rim for those beyond."""
        near = (p.clamp(-0.5, len(b) - 0.5) for p, b in ((y, self.rows), (x, self.columns)))
        (iy, ty), (ix, tx) = (self._place(k, p) for k, p in enumerate(near))
        index = (iy[:, None] + torch.arange(4, device=y.device))[:, :, None] * self.columns.shape[1]
        near = c[index + (ix[:, None] + torch.arange(4, device=x.device))[:, None, :]]
        return ((near * _cubic(tx)[:, None, :]).sum(2) * _cubic(ty)).sum(1)

    def _place(self, axis: int, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The first of the four splines over each point, along one axis, and the fraction of the interval it is at.

        Beyond the window it is that of the last interval: what a column there shares with the background lies on its
        own side of the rim.
        """
        basis = (self.rows, self.columns)[axis]
        inside = (p.clamp(-0.5, len(basis) - 0.5) + self.origin[axis]) / self.knot
        start = (inside.floor().long() - 1 - self.first[axis]).clamp(0, basis.shape[1] - 4)
        return start, (p + self.origin[axis]) / self.knot - (start + self.first[axis] + 1)

    def hessian(self, weight: torch.Tensor, stiffness: float) -> Band:
        """Normal equations of the splines with the penalty of a bending surface, in units of weight per pixel.

        Weights are summed over a few pixels first, over which splines hardly bend.
        """
        few = fewest(self.knot)
        weight = F.avg_pool2d(F.pad(weight, [0, -weight.shape[1] % few, 0, -weight.shape[0] % few])[None], few)[0]
        rows, columns, first, second, p, q, crossed = self._products
        block = ((rows.T @ (weight * few**2)).double() @ columns).cpu().numpy()
        band = Band(stiffness * self.bending.lower, self.columns.shape[1])
        band.add(first, second, block)
        band.add(*crossed, block[np.ix_(p, q)])
        return band

    @cached_property
    def _products(self) -> tuple:
        """Products of rows that overlap, and of columns; which splines of the window these are of; and, by the numbers
        of both, the other diagonal of the same four splines, where rows are apart and columns apart."""
        nx = self.columns.shape[1]
        (rows, i), (columns, j) = (_products(coarse(basis, fewest(self.knot))) for basis in (self.rows, self.columns))
        row, column = i.cpu().numpy(), j.cpu().numpy()
        first, second = (row[k][:, None] * nx + column[k][None] for k in (0, 1))
        p, q = np.flatnonzero(row[0] != row[1]), np.flatnonzero(column[0] != column[1])
        crossed = row[0][p][:, None] * nx + column[1][q][None], row[1][p][:, None] * nx + column[0][q][None]
        return rows.float(), columns, first, second, p, q, crossed

    @cached_property
    def bending(self) -> Band:
        """The penalty of a bending surface at unit stiffness."""
        ny, nx = self.rows.shape[1], self.columns.shape[1]
        band, scale = Band.zeros(ny, nx), self.knot**2
        flat = np.arange(ny * nx).reshape(ny, nx)
        for n, line in ((ny, flat.T), (nx, flat)):
            d = np.diff(np.eye(n), n=2, axis=0)
            bend = d.T @ d
            for k in range(min(3, n)):
                band.add(
                    line[:, : n - k], line[:, k:], np.broadcast_to(scale * np.diagonal(bend, k), (len(line), n - k))
                )
        band.add(flat, flat, np.full((ny, nx), 1e-6 * scale))
        return band

    def smoothness(self, c: torch.Tensor, stiffness: float) -> torch.Tensor:
        """Slope of half the penalty at coefficients ``c``, flat."""
        surface = c.view(self.rows.shape[1], -1)
        out = 1e-6 * surface
        for axis in (0, 1):
            bend = torch.diff(surface, n=2, dim=axis)
            zero = torch.zeros_like(bend.narrow(axis, 0, 2) if bend.shape[axis] >= 2 else surface.narrow(axis, 0, 2))
            out = out + torch.diff(torch.cat([zero, bend, zero], axis), n=2, dim=axis)
        return stiffness * self.knot**2 * out.reshape(-1)


@dataclass
class Band:
    """A symmetric matrix over the splines, of which only those that overlap touch: the lower diagonals, (w + 1, n).

    In the order of LAPACK, column by column, or every call would copy it.
    """

    lower: np.ndarray
    nx: int

    def __post_init__(self):
        self.lower = np.asfortranarray(self.lower)

    @staticmethod
    def zeros(ny: int, nx: int) -> Band:
        return Band(np.zeros((min(3 * nx + 4, ny * nx), ny * nx), order="F"), nx)

    def copy(self) -> Band:
        return Band(self.lower.copy(order="F"), self.nx)

    def raised(self, share: float) -> Band:
        """With a diagonal that is larger by a share of itself."""
        new = self.copy()
        new.lower[0] *= 1 + share
        return new

    def factor(self) -> np.ndarray:
        """Cholesky factor as LAPACK has it, (w + 1, n)."""
        return self.root(self)

    def add(self, first: np.ndarray, second: np.ndarray, value: np.ndarray) -> None:
        """Add ``value`` at (second, first); pairs may come in either order, and a pair may come more than once."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        flat = self.lower.T.reshape(-1)
        place = (low * (len(self.lower) - 1) + high).ravel()
        if place.size < flat.size // 4:
            np.add.at(flat, place, np.ravel(value))
        else:
            flat += np.bincount(place, np.ravel(value), minlength=flat.size)

    def times(self, vector: np.ndarray) -> np.ndarray:
        return dsbmv(len(self.lower) - 1, 1.0, self.lower, vector, lower=1)

    def root(self, safe: Band) -> np.ndarray:
        """Cholesky factor; where the matrix is not positive, of one as near to it as is, on the way to ``safe``."""
        for share in (1.0, 0.9, 0.7, 0.4, 0.1):
            near = self.lower if share == 1 else share * self.lower + (1 - share) * safe.lower
            try:
                return cholesky_banded(near, lower=True, check_finite=False)
            except LinAlgError:
                continue
        held = safe.lower.copy(order="F")
        held[0] += 1e-5 * held[0].max()  # single precision: where the penalty is weak even that one may not be positive
        return cholesky_banded(held, lower=True, check_finite=False)

    def blocks(self, starts: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Dense blocks (r, k, k) between the splines ``starts[r] + offsets`` (k, ascending); zero where they
        do not overlap. What lies outside the matrix is arbitrary."""
        apart = np.abs(offsets[:, None] - offsets)
        near, width = apart < len(self.lower), len(self.lower)
        place = np.where(near, apart, 0) + width * np.minimum(offsets[:, None], offsets)
        block = self.lower.T.reshape(-1).take(width * starts[:, None, None] + place, mode="clip")
        return block if near.all() else np.where(near, block, 0.0)


def fewest(knot: float) -> int:
    """Pixels over which splines hardly bend."""
    return max(1, int(knot / FINE))


def coarse(basis: torch.Tensor, few: int) -> torch.Tensor:
    """Splines at the middle of every ``few`` pixels; the last ones may be fewer."""
    whole = torch.cat([basis, basis[-1:].expand(-len(basis) % few, -1)])
    return whole.view(-1, few, basis.shape[1]).mean(1)


def _products(basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Products (pixels, p) of all splines that overlap, and which two they are, (2, p)."""
    n = basis.shape[1]
    i, j = torch.triu_indices(n, n, device=basis.device)
    near = j - i < 4
    return basis[:, i[near]] * basis[:, j[near]], torch.stack([i[near], j[near]])


def _cubic(t: torch.Tensor) -> torch.Tensor:
    """The four cubic B-splines over the fraction ``t`` of a knot interval, (n, 4)."""
    return torch.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1
    ) / 6  # fmt: skip


def _series(t: torch.Tensor, unit: float) -> list[torch.Tensor]:
    """Taylor coefficients of the four cubic B-splines, degree 0 to 3, in units of ``unit`` knot intervals."""
    slope = torch.stack([-3 * (1 - t) ** 2, 9 * t**2 - 12 * t, -9 * t**2 + 6 * t + 3, 3 * t**2], 1) / 6
    bend = torch.stack([6 * (1 - t), 18 * t - 12, -18 * t + 6, 6 * t], 1) / 12
    twist = torch.tensor([-1.0, 3.0, -3.0, 1.0], dtype=t.dtype, device=t.device).expand(len(t), -1) / 6
    return [_cubic(t), unit * slope, unit**2 * bend, unit**3 * twist]


def _basis(place: torch.Tensor, first: int, n: int) -> torch.Tensor:
    start = place.floor().long() - 1 - first
    out = torch.zeros(len(place), n, dtype=torch.float64, device=place.device)
    index = start[:, None] + torch.arange(4, device=place.device)
    return out.scatter_(1, index, _cubic(place - place.floor()))
