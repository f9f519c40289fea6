"""Gaussian columns on small windows of an image: values, and the moments that every derivative is made of.

The derivative of a Gaussian by any of its parameters is the Gaussian times a polynomial of second degree, so the
normal equations of a fit are moments, up to the fourth, of (weight x Gaussian x Gaussian). They are computed for all
columns at once and no derivative image is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from scipy.spatial import cKDTree
from torch.nn import functional as F

TAILS = 5.0  # sigmas: round columns that are farther apart touch with their tails only
RIM = 3.0  # sigmas of the product of two columns: nearer to the rim the image cuts some of it off
REACH = 3.7  # a column is drawn and weighed out to this many sigmas
# of what tilts an ellipse: where it is more nothing of an ellipse of 1 to 2 is left, and two of them are no number
STEEPEST = 1e12
AT_ONCE = 1024  # columns per pass: their windows stay in the processor's cache
PAIRS_AT_ONCE = 8192
# the polynomials 1, u, v, uu, uv, vv as powers of (u, v)
POWERS = torch.tensor([(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)])


@dataclass
class Columns:
    """Parameters of columns, each a float64 tensor of shape (n,), in pixels of the fitted window.

    The covariance of a column is ``exp(2 log_width) expm([[plus, cross], [cross, -plus]])``: round at zero, smooth
    everywhere, and a rotation without a jump.
    """

    y: torch.Tensor
    x: torch.Tensor
    height: torch.Tensor
    log_width: torch.Tensor
    plus: torch.Tensor
    cross: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index) -> Columns:
        return Columns.of(self.table[index])

    @cached_property
    def table(self) -> torch.Tensor:
        """All parameters, (n, 6); not to be written to."""
        return torch.stack([getattr(self, f.name) for f in fields(self)], 1)

    @staticmethod
    def of(table: torch.Tensor) -> Columns:
        columns = Columns(*table.unbind(1))
        columns.table = table
        return columns

    @staticmethod
    def join(*parts: Columns) -> Columns:
        return Columns.of(torch.cat([p.table for p in parts]))


def precision(c: Columns, elliptical: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse covariances (n, 2, 2) and their derivatives by log_width and, if ``elliptical``, plus and cross
    (n, 1 or 3, 2, 2)."""
    if not elliptical:
        q = torch.diag_embed(torch.exp(-2 * c.log_width)[:, None].expand(-1, 2))
        return q, -2 * q[:, None]
    e = torch.sqrt(c.plus**2 + c.cross**2).clamp(min=1e-6)
    scale, even, odd = torch.exp(-2 * c.log_width), torch.cosh(e), torch.sinh(e) / e
    unit = torch.eye(2, dtype=e.dtype, device=e.device)
    up = torch.diag(torch.tensor([1.0, -1.0], dtype=e.dtype, device=e.device))
    side = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=e.dtype, device=e.device)

    def times(a, b):
        return a[:, None, None] * b

    shape = times(c.plus, up) + times(c.cross, side)
    q = times(scale * even, unit) - times(scale * odd, shape)
    slope = (even - odd) / e**2  # of sinh(e) / e, by half the square of e
    by = [-2 * q]
    for part, axis in ((c.plus, up), (c.cross, side)):
        by.append(times(scale * odd * part, unit) - times(scale * slope * part, shape) - times(scale * odd, axis))
    return q, torch.stack(by, 1)


@dataclass
class Window:
    """Squares of one size around columns, in an image padded by ``pad`` pixels on every side."""

    half: int
    pad: int
    width: int  # of the padded image

    @staticmethod
    def around(sigma: float, shape: tuple[int, int]) -> Window:
        half = max(3, int(-(-REACH * sigma // 1)))
        return Window(half, 3 * half + 2, shape[1] + 2 * (3 * half + 2))

    @property
    def side(self) -> int:
        return 2 * self.half + 1

    def padded(self, image: torch.Tensor) -> torch.Tensor:
        return F.pad(image, [self.pad] * 4)

    def cut(self, padded: torch.Tensor) -> torch.Tensor:
        return padded[self.pad : padded.shape[0] - self.pad, self.pad : padded.shape[1] - self.pad]

    def corners(self, c: Columns, height: int):
        """First row and column of each window in the padded image, and offsets (n, side) of its pixels from the column.

        Columns far outside the image are given the nearest window; they are worth nothing there.
        """
        row, column = torch.round(c.y), torch.round(c.x)
        step = torch.arange(-self.half, self.half + 1, device=c.y.device, dtype=torch.float32)
        u, v = step - (c.y - row).float()[:, None], step - (c.x - column).float()[:, None]
        first = (row.long() - self.half + self.pad).clamp(0, height - self.side)
        return first, (column.long() - self.half + self.pad).clamp(0, self.width - self.side), u, v

    def cut_out(self, padded: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Windows (..., n, side, side) of padded images (..., h, w)."""
        return padded.unfold(-2, self.side, 1).unfold(-2, self.side, 1)[..., row, column, :, :]


@dataclass
class Bells:
    """Unit Gaussians on windows: a row factor times a column factor times, for tilted ellipses, the rest."""

    rows: torch.Tensor  # (n, side)
    columns: torch.Tensor  # (n, side)
    tilt: torch.Tensor | None  # (n, side, side)

    def images(self) -> torch.Tensor:
        flat = self.rows[:, :, None] * self.columns[:, None, :]
        return flat if self.tilt is None else flat * self.tilt

    def times(self, other: Bells) -> Bells:
        tilt = self.tilt if other.tilt is None else other.tilt if self.tilt is None else self.tilt * other.tilt
        return Bells(self.rows * other.rows, self.columns * other.columns, tilt)

    def moments(self, weight: torch.Tensor, u: torch.Tensor, v: torch.Tensor, order: int) -> torch.Tensor:
        """``sum weight bell u^a v^b`` for a, b = 0 .. order - 1, shape (n, order, order)."""
        if self.tilt is not None:
            weight = weight * self.tilt
        return (_powers(u, order) * self.rows[:, None]) @ weight @ (_powers(v, order) * self.columns[:, None]).mT


def _powers(u: torch.Tensor, order: int) -> torch.Tensor:
    """1, u, uu, ... on a new axis, (n, order, side)."""
    out = [torch.ones_like(u)]
    for _ in range(order - 1):
        out.append(out[-1] * u)
    return torch.stack(out, 1)


def bells(q: torch.Tensor, u: torch.Tensor, v: torch.Tensor, elliptical: bool) -> Bells:
    """Unit Gaussians with inverse covariances ``q`` (n, 2, 2) at offsets ``u`` (rows), ``v`` (columns) of (n, side)."""
    q = q.float()
    rows, columns = torch.exp(-0.5 * q[:, 0, 0, None] * u * u), torch.exp(-0.5 * q[:, 1, 1, None] * v * v)
    tilt = torch.exp((-q[:, 0, 1, None] * u)[:, :, None] * v[:, None, :]).clamp(max=STEEPEST) if elliptical else None
    return Bells(rows, columns, tilt)


def draw(c: Columns, window: Window, shape: tuple[int, int], elliptical: bool = False) -> torch.Tensor:
    """Sum of the columns on the padded image, float32."""
    height, side = shape[0] + 2 * window.pad, window.side
    out = torch.zeros(height * window.width, device=c.y.device)
    step = torch.arange(side, device=c.y.device)
    square = (step[:, None] * window.width + step).reshape(-1).int()
    for k in range(0, len(c), AT_ONCE):
        part = c[k : k + AT_ONCE]
        row, column, u, v = window.corners(part, height)
        shape_of = bells(precision(part, elliptical)[0], u, v, elliptical)
        shape_of.rows *= part.height.float()[:, None]
        index = (row * window.width + column).int()[:, None] + square
        out.index_add_(0, index.reshape(-1), shape_of.images().reshape(-1))
    return out.view(height, window.width)


def draw_on(image: torch.Tensor, c: Columns, window: Window, elliptical: bool = False, sign: float = 1.0) -> None:
    """Add the columns to an image, or take them off it."""
    image += sign * window.cut(draw(c, window, tuple(image.shape), elliptical))


def near_pairs(c: Columns, distance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of columns nearer than ``distance`` to each other."""
    points = torch.stack([c.y, c.x], 1).cpu().numpy()
    if len(points) < 2:
        none = torch.zeros(0, dtype=torch.long, device=c.y.device)
        return none, none
    found = cKDTree(points).query_pairs(distance, output_type="ndarray")
    i, j = torch.as_tensor(found.T.copy(), dtype=torch.long, device=c.y.device)
    return i, j


def within(c: Columns, i: torch.Tensor, j: torch.Tensor, reach: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of pairs (p,), (p,) those that are nearer than what both reach (n,) together."""
    near = torch.hypot(c.y[i] - c.y[j], c.x[i] - c.x[j]) < reach[i] + reach[j]
    return i[near], j[near]


def filtered(image: torch.Tensor, bell: torch.Tensor) -> torch.Tensor:
    """An image filtered by a bell along both axes; zeros around it."""
    half = len(bell) // 2
    out = F.conv2d(image[None, None], bell.view(1, 1, -1, 1).float(), padding=(half, 0))
    return F.conv2d(out, bell.view(1, 1, 1, -1).float(), padding=(0, half))[0, 0]


def quadratic(m: torch.Tensor) -> torch.Tensor:
    """Moments (n, 5, 5) -> products of the six polynomials, (n, 6, 6)."""
    both = (POWERS[:, None] + POWERS[None]).to(m.device)
    return m.flatten(1).index_select(1, (5 * both[..., 0] + both[..., 1]).flatten()).view(-1, 6, 6)


def derivatives(c: Columns, unit: float, elliptical: bool) -> torch.Tensor:
    """Coefficients (n, k, 6) of the polynomials (offsets over ``unit``) in the derivatives by the k parameters."""
    q, by = precision(c, elliptical)
    h = c.height[:, None]
    zero = torch.zeros_like(c.y)
    one = torch.ones_like(c.y)
    qy, qx = h * q[:, 0] * unit, h * q[:, 1] * unit
    rows = [
        torch.stack([zero, qy[:, 0], qy[:, 1], zero, zero, zero], 1),
        torch.stack([zero, qx[:, 0], qx[:, 1], zero, zero, zero], 1),
        torch.stack([one, zero, zero, zero, zero, zero], 1),
    ]
    for k in range(3 if elliptical else 1):
        b = -0.5 * h * unit**2 * torch.stack([by[:, k, 0, 0], 2 * by[:, k, 0, 1], by[:, k, 1, 1]], 1)
        rows.append(torch.cat([torch.zeros(len(c), 3, dtype=b.dtype, device=b.device), b], 1))
    return torch.stack(rows, 1)


@dataclass
class Sums:
    """What the normal equations need of every column."""

    hessian: torch.Tensor  # (n, k, k)
    gradient: torch.Tensor  # (n, k)
    ground: torch.Tensor  # (n, k, 6): with a background that is one of the six polynomials


def sums(
    c: Columns, weighed: torch.Tensor, weight: torch.Tensor, window: Window, unit: float, elliptical: bool
) -> Sums:
    """Own blocks of the normal equations, from weighed residuals and weights of pixels (h, w)."""
    parts, both = [], torch.stack([window.padded(weighed), window.padded(weight)])
    for part, (row, column, u, v), bell in _passes(c, window, both.shape[1], elliptical):
        u, v = u / unit, v / unit
        pixels = window.cut_out(both, row, column)
        square = quadratic(bell.times(bell).moments(pixels[1], u, v, 5)).double()
        linear = quadratic(bell.moments(pixels[1], u, v, 5)).double()
        t = derivatives(part, unit, elliptical)
        parts.append((t @ square @ t.mT, _slopes(t, bell, pixels[0], u, v), t @ linear))
    if not parts:
        n = 6 if elliptical else 4
        return Sums(*(torch.zeros(0, *d, dtype=torch.float64, device=c.y.device) for d in ((n, n), (n,), (n, 6))))
    return Sums(*(torch.cat(p) for p in zip(*parts, strict=True)))


def local_heights(c: Columns, image: torch.Tensor, valid: torch.Tensor, window: Window) -> torch.Tensor:
    """Height of each round column over an even background of its own, (n,); an image and which pixels are valid."""
    both = torch.stack([window.padded(valid.to(image.dtype)), window.padded(torch.where(valid, image, 0.0))])
    parts = [torch.zeros(0, dtype=torch.float64, device=image.device)]
    for _, (row, column, u, v), bell in _passes(c, window, both.shape[1], False):
        pixels = window.cut_out(both, row, column)
        powers = [bell, bell.times(bell)]
        powers.append(bell.times(powers[1]))
        # least squares weighed by the column itself: its neighbours hardly count
        one, two, three = (b.moments(pixels[0], u, v, 1)[:, 0, 0].double() for b in powers)
        level, peak = (b.moments(pixels[1], u, v, 1)[:, 0, 0].double() for b in powers[:2])
        det = three * one - two**2
        known = det > 1e-3 * three * one  # a pixel or two do not tell a column from its background
        parts.append(torch.where(known, (one * peak - two * level) / torch.where(known, det, 1.0), 0.0))
    return torch.cat(parts)


def slopes(c: Columns, rest: torch.Tensor, window: Window, unit: float, elliptical: bool) -> torch.Tensor:
    """The gradient of :func:`sums` alone, (n, k)."""
    rest = window.padded(rest)
    parts = [torch.zeros(0, 6 if elliptical else 4, dtype=torch.float64, device=rest.device)]
    for part, (row, column, u, v), bell in _passes(c, window, rest.shape[0], elliptical):
        pixels = window.cut_out(rest, row, column)
        parts.append(_slopes(derivatives(part, unit, elliptical), bell, pixels, u / unit, v / unit))
    return torch.cat(parts)


def _passes(c: Columns, window: Window, height: int, elliptical: bool):
    """A few columns at a time: they, their windows' corners and offsets, their bells."""
    for k in range(0, len(c), AT_ONCE):
        part = c[k : k + AT_ONCE]
        corners = window.corners(part, height)
        yield part, corners, bells(precision(part, elliptical)[0], *corners[2:], elliptical)


def _slopes(t: torch.Tensor, bell: Bells, rest: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    low = POWERS.to(rest.device)
    first = bell.moments(rest, u, v, 3)[:, low[:, 0], low[:, 1]].double()
    return (t @ first[:, :, None])[:, :, 0]


def blocks(c: Columns, i, j, weight, window: Window, unit: float, elliptical: bool):
    """Pairs (i, j), those of round columns that touch with their tails only, all of these within the image, after all
    others; and their blocks."""
    if elliptical:
        return i, j, pair_blocks(c, i, j, weight, window, unit, True)
    widest = torch.exp(torch.maximum(c.log_width[i], c.log_width[j])).clamp(min=unit)
    near = torch.hypot(c.y[i] - c.y[j], c.x[i] - c.x[j]) < TAILS * widest
    near |= _at_rim(c[i], c[j], weight.shape)
    i, j, n = torch.cat([i[near], i[~near]]), torch.cat([j[near], j[~near]]), int(near.sum())
    close = pair_blocks(c, i[:n], j[:n], weight, window, unit, False)
    return i, j, torch.cat([close, far_blocks(c, i[n:], j[n:], weight, window, unit)])


def pair_blocks(
    c: Columns, i: torch.Tensor, j: torch.Tensor, weight: torch.Tensor, window: Window, unit: float, elliptical: bool
) -> torch.Tensor:
    """Blocks (pairs, k, k) of the normal equations between columns ``i`` and ``j``."""
    blocks, weight = [], window.padded(weight)
    for s in range(0, len(i), AT_ONCE):
        a, b = c[i[s : s + AT_ONCE]], c[j[s : s + AT_ONCE]]
        row, column, u, v = window.corners(a, weight.shape[0])
        dy, dx = (b.y - a.y).float()[:, None], (b.x - a.x).float()[:, None]
        bell = bells(precision(a, elliptical)[0], u, v, elliptical).times(
            bells(precision(b, elliptical)[0], u - dy, v - dx, elliptical)
        )
        m = quadratic(bell.moments(window.cut_out(weight, row, column), u / unit, v / unit, 5)).double()
        tb = derivatives(b, unit, elliptical) @ shifted(dy[:, 0] / unit, dx[:, 0] / unit).double()
        blocks.append(derivatives(a, unit, elliptical) @ m @ tb.mT)
    if not blocks:
        n = 6 if elliptical else 4
        return torch.zeros(0, n, n, dtype=torch.float64, device=weight.device)
    return torch.cat(blocks)


def far_blocks(c: Columns, i: torch.Tensor, j: torch.Tensor, weight: torch.Tensor, window: Window, unit: float):
    """Blocks (pairs, 4, 4) as of :func:`pair_blocks` for round columns that touch with their tails only.

    The product of two Gaussians is one in between, over which the weight hardly varies.
    """
    parts, weight = [torch.zeros(0, 4, 4, dtype=torch.float64, device=weight.device)], window.padded(weight)
    for s in range(0, len(i), PAIRS_AT_ONCE):
        parts.append(_far_blocks(c[i[s : s + PAIRS_AT_ONCE]], c[j[s : s + PAIRS_AT_ONCE]], weight, window, unit))
    return torch.cat(parts)


def _at_rim(a: Columns, b: Columns, shape) -> torch.Tensor:
    """Whether the image cuts off some of the product of two round columns (n,), which is a Gaussian between them."""
    one, two = torch.exp(-2 * a.log_width), torch.exp(-2 * b.log_width)
    y, x = (p + two / (one + two) * (q - p) for p, q in ((a.y, b.y), (a.x, b.x)))
    nearest = torch.stack([y, x, shape[0] - 1 - y, shape[1] - 1 - x]).amin(0)
    return nearest < RIM / torch.sqrt(one + two)


def _far_blocks(a: Columns, b: Columns, weight: torch.Tensor, window: Window, unit: float) -> torch.Tensor:
    one, two = torch.exp(-2 * a.log_width), torch.exp(-2 * b.log_width)
    dy, dx = b.y - a.y, b.x - a.x
    spread = 1 / (one + two)
    share = two * spread
    row, column = (torch.round(p + share * d).long() + window.pad for p, d in ((a.y, dy), (a.x, dx)))
    at = weight[row.clamp(0, weight.shape[0] - 1), column.clamp(0, window.width - 1)].double()
    size = at * 2 * torch.pi * spread * torch.exp(-0.5 * share * one * (dy**2 + dx**2))
    my, mx = (_shared_moments(share * d / unit, d / unit, spread / unit**2) for d in (dy, dx))
    # of u, v, 1, uu + vv about one column with those about the other
    block = [my[1, 1], my[1, 0] * mx[0, 1], my[1, 0], my[1, 2] + my[1, 0] * mx[0, 2],
             my[0, 1] * mx[1, 0], mx[1, 1], mx[1, 0], mx[1, 2] + mx[1, 0] * my[0, 2],
             my[0, 1], mx[0, 1], torch.ones_like(size), my[0, 2] + mx[0, 2],
             my[2, 1] + my[0, 1] * mx[2, 0], mx[2, 1] + mx[0, 1] * my[2, 0], my[2, 0] + mx[2, 0],
             my[2, 2] + my[2, 0] * mx[0, 2] + my[0, 2] * mx[2, 0] + mx[2, 2]]  # fmt: skip
    left, right = _round_factors(a, one, unit) * size[:, None], _round_factors(b, two, unit)
    return torch.stack(block, 1).view(-1, 4, 4) * left[:, :, None] * right[:, None, :]


def _round_factors(c: Columns, precision: torch.Tensor, unit: float) -> torch.Tensor:
    """Of u, v, 1 and uu + vv (offsets over ``unit``) in the derivatives of round columns, (n, 4)."""
    slope = c.height * precision * unit
    return torch.stack([slope, slope, torch.ones_like(slope), slope * unit], 1)


def _shared_moments(mean: torch.Tensor, apart: torch.Tensor, variance: torch.Tensor) -> dict:
    """Mean of u^k (u - apart)^l over a normal distribution of u, by (k, l) up to (2, 2)."""
    a, b = mean, mean - apart
    aa, bb = a * a, b * b
    return {
        (1, 0): a, (0, 1): b, (2, 0): aa + variance, (0, 2): bb + variance, (1, 1): a * b + variance,
        (2, 1): b * (aa + variance) + 2 * a * variance, (1, 2): a * (bb + variance) + 2 * b * variance,
        (2, 2): aa * bb + variance * (aa + bb + 4 * a * b + 2 * variance) + variance**2,
    }  # fmt: skip


def shifted(dy: torch.Tensor, dx: torch.Tensor) -> torch.Tensor:
    """The six polynomials of (u - dy, v - dx) in those of (u, v), shape (n, 6, 6)."""
    t = torch.zeros(len(dy), 6, 6, dtype=dy.dtype, device=dy.device)
    t[:, range(6), range(6)] = 1.0
    t[:, 1, 0], t[:, 2, 0] = -dy, -dx
    t[:, 3, 0], t[:, 3, 1] = dy * dy, -2 * dy
    t[:, 4, 0], t[:, 4, 1], t[:, 4, 2] = dy * dx, -dx, -dy
    t[:, 5, 0], t[:, 5, 2] = dx * dx, -2 * dx
    return t
