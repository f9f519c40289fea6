"""The fit's kernels for the processor: compiled loops behind the same calls as those on tensors.

They are compiled when first called and kept by numba, beside the package or in the user's cache folder.
"""

from __future__ import annotations

import numpy as np
import torch

from hs_deepatoms._core.compiled.cells import neighbours
from hs_deepatoms._core.compiled.loops import in_parts
from hs_deepatoms.atoms.compiled import pairs as _pairs
from hs_deepatoms.atoms.compiled import pixels as _pixels
from hs_deepatoms.atoms.compiled import spread as _spread
from hs_deepatoms.atoms.compiled import strides as _strides
from hs_deepatoms.atoms.compiled import surface as _surface
from hs_deepatoms.atoms.compiled import system as _system
from hs_deepatoms.atoms.compiled import windows as _windows
from hs_deepatoms.atoms.compiled.splines import Numbers, Splines
from hs_deepatoms.atoms.covariance import FAINT, MOST
from hs_deepatoms.atoms.ground import Ground
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.normal import Normal
from hs_deepatoms.atoms.peaks import RIM, TAILS, Columns, Sums, Window

STRIP = 64  # rows of an image that are drawn together
ROWS = 32  # of pixels that are weighed together


def draw_on(image: torch.Tensor, c: Columns, window: Window, elliptical: bool = False, sign: float = 1.0) -> None:
    """Add the columns to an image, or take them off it."""
    if len(c):
        table, out = c.table.numpy(), image.numpy()
        order, ends = _windows.by_strip(table, window.half, STRIP, len(out))
        in_parts(_windows.draw, len(ends) - 1, out, table, order, ends, STRIP, window.half, float(sign), elliptical,
                 part=2)  # fmt: skip


def surface(ground: Ground, splines: torch.Tensor) -> torch.Tensor:
    out, numbers = np.empty(ground.shape, np.float32), _numbers(ground)
    row_starts, rows, column_starts, columns = numbers.fine
    across = np.empty((numbers.knots[0], len(column_starts)), np.float32)
    _surface.crossed(0, len(across), splines.view(numbers.knots).numpy(), column_starts, columns, across)
    in_parts(_surface.surface, len(out), across, row_starts, rows, out, part=2 * STRIP)
    return torch.from_numpy(out)


def project(ground: Ground, image: torch.Tensor) -> torch.Tensor:
    numbers = _numbers(ground)
    row_starts, rows, column_starts, columns = numbers.fine
    low = int(row_starts[0])
    parts, out = np.empty((int(row_starts[-1]) - low + 1, 4, len(column_starts)), np.float32), np.zeros(numbers.knots)
    in_parts(_surface.project, len(parts), image.numpy(), row_starts, rows, parts, part=8)
    _surface.together(parts, low, column_starts, columns, out)
    return torch.from_numpy(out.reshape(-1))


def hessian(ground: Ground, weight: torch.Tensor, stiffness: float) -> Splines:
    numbers = _numbers(ground)
    row_starts, rows, column_starts, columns = numbers.coarse
    parts = np.empty((numbers.knots[0], 4, weight.shape[1]), np.float32)
    values = stiffness * numbers.bending
    in_parts(_surface.products, len(parts), weight.numpy(), numbers.few, row_starts, rows, parts, part=8)
    in_parts(_surface.hessian, len(parts), parts, numbers.few, column_starts, columns, values, part=8)
    return Splines(values, numbers.knots[1])


def _numbers(ground: Ground) -> Numbers:
    if ground.numbers is None:
        ground.numbers = Numbers.of(ground)
    return ground.numbers


def weigh(noise: Noise, image, mean, valid, *, judged: bool = True) -> tuple[torch.Tensor, torch.Tensor, float]:
    weight, weighed, misfit = torch.empty_like(mean), torch.empty_like(mean), np.zeros(len(mean))
    arrays = (v.contiguous().numpy() for v in (image, mean, valid))
    in_parts(_pixels.weigh, len(mean), *arrays, _figures(noise), judged, weight.numpy(), weighed.numpy(), misfit,
             part=ROWS)  # fmt: skip
    return weight, weighed, float(misfit.sum())


def _figures(noise: Noise) -> tuple[np.float32, ...]:
    return tuple(np.float32(v) for v in (noise.gain, noise.offset, noise.dark, noise.least, noise.excess))


def weigh_under(noise: Noise, c: Columns, window: Window, image, mean, valid, weight, weighed) -> None:
    """Weights and weighed residuals, which are written to, of what may have changed: the pixels under columns."""
    arrays = (v.numpy() for v in (image, mean, valid))
    _pixels.weigh_under(c.table.numpy(), window.half, *arrays, _figures(noise), weight.numpy(), weighed.numpy())


def beyond(noise: Noise, image, mean, valid, chance: float) -> tuple[torch.Tensor, torch.Tensor]:
    out, counts = np.empty(mean.shape, bool), np.empty(len(mean), np.int64)
    arrays = (v.contiguous().numpy() for v in (image, mean, valid))
    in_parts(_pixels.beyond, len(mean), *arrays, _figures(noise), np.float32(chance), out, counts, part=ROWS)
    rows = np.flatnonzero(counts)
    row, column = np.nonzero(out[rows])
    return torch.from_numpy(rows[row]), torch.from_numpy(column)


def totals(mean: torch.Tensor, rest: torch.Tensor) -> tuple[float, float, float]:
    return _pixels.totals(mean.numpy(), rest.numpy())


def binned(mean: torch.Tensor, rest: torch.Tensor, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    out = np.zeros((3, len(edges) + 1))
    _pixels.binned(mean.numpy(), rest.numpy(), edges, *out)
    return tuple(out)


def filtered(image: torch.Tensor, bell: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(image)
    in_parts(_pixels.filtered, len(image), image.numpy(), bell.float().numpy(), out.numpy(), part=STRIP)
    return out


def sums(c: Columns, weighed, weight, window: Window, unit: float, elliptical: bool) -> Sums:
    n, k = len(c), 6 if elliptical else 4
    out = [np.empty((n, *shape)) for shape in ((k, k), (k,), (k, 6))]
    in_parts(_windows.sums, n, c.table.numpy(), weighed.numpy(), weight.numpy(), window.half, float(unit),
             elliptical, *out)  # fmt: skip
    return Sums(*map(torch.from_numpy, out))


def slopes(c: Columns, weighed, window: Window, unit: float, elliptical: bool) -> torch.Tensor:
    out = np.empty((len(c), 6 if elliptical else 4))
    in_parts(_windows.slopes, len(c), c.table.numpy(), weighed.numpy(), window.half, float(unit), elliptical, out)
    return torch.from_numpy(out)


def local_heights(c: Columns, image, valid, window: Window) -> torch.Tensor:
    out = np.empty(len(c))
    in_parts(_windows.local_heights, len(c), c.table.numpy(), image.numpy(), valid.numpy(), window.half, out)
    return torch.from_numpy(out)


def near_pairs(c: Columns, distance: float) -> tuple[torch.Tensor, torch.Tensor]:
    found = neighbours(c.y.contiguous().numpy(), c.x.contiguous().numpy(), float(distance))
    i, j = torch.from_numpy(np.ascontiguousarray(found.T))
    return i, j


def within(c: Columns, i, j, reach: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    one, two = np.empty(len(i), np.int64), np.empty(len(i), np.int64)
    n = _pairs.within(c.table.numpy(), i.numpy(), j.numpy(), reach.numpy(), one, two)
    return torch.from_numpy(one[:n]), torch.from_numpy(two[:n])


def blocks(c: Columns, i, j, weight, window: Window, unit: float, elliptical: bool):
    if elliptical:
        return i, j, pair_blocks(c, i, j, weight, window, unit, True)
    one, two = np.empty(len(i), np.int64), np.empty(len(i), np.int64)
    n = _pairs.parted(c.table.numpy(), i.numpy(), j.numpy(), float(unit), TAILS, RIM, tuple(weight.shape), one, two)
    i, j, out = torch.from_numpy(one), torch.from_numpy(two), torch.empty(len(one), 4, 4)
    pair_blocks(c, i[:n], j[:n], weight, window, unit, False, out[:n])
    far_blocks(c, i[n:], j[n:], weight, window, unit, out[n:])
    return i, j, out


def pair_blocks(c: Columns, i, j, weight, window: Window, unit: float, elliptical: bool, out=None) -> torch.Tensor:
    k = 6 if elliptical else 4
    out = torch.empty(len(i), k, k) if out is None else out
    in_parts(_pairs.near_blocks, len(i), c.table.numpy(), i.numpy(), j.numpy(), weight.numpy(), window.half,
             float(unit), elliptical, out.numpy())  # fmt: skip
    return out


def far_blocks(c: Columns, i, j, weight, window: Window, unit: float, out=None) -> torch.Tensor:
    out = torch.empty(len(i), 4, 4) if out is None else out
    in_parts(_pairs.far_blocks, len(i), c.table.numpy(), i.numpy(), j.numpy(), weight.numpy(), float(unit),
             out.numpy(), part=1024)  # fmt: skip
    return out


def assemble(total: Sums, pairs, columns: Columns, ground: Ground, splines: Splines, unit: float) -> Normal:
    n, numbers = len(columns), _numbers(ground)
    index, out = np.empty((n, 16), np.int64), np.empty((n, total.ground.shape[1], 16), np.float32)
    in_parts(_system.coupling, n, columns.y.contiguous().numpy(), columns.x.contiguous().numpy(), total.ground.numpy(),
             ground.shape, ground.origin, ground.first, numbers.knots, float(ground.knot), float(unit), index,
             out)  # fmt: skip
    return Normal(total.hessian, pairs, torch.from_numpy(index), torch.from_numpy(out), splines)


def level(ground: Ground, splines: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    out = np.empty(len(y))
    in_parts(_system.levels, len(y), y.contiguous().numpy(), x.contiguous().numpy(), ground.shape, ground.origin,
             ground.first, _numbers(ground).knots, float(ground.knot), splines.numpy(), out)  # fmt: skip
    return torch.from_numpy(out)


def pulled(table, first, leeway, held, typical: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor, float]:
    n, k = len(table), 3 + len(typical)
    precision, gradient, middle = np.empty((n, k)), np.empty((n, k)), np.array([0.0, 0.0, 0.0, *typical])
    arrays = (v.numpy() for v in (table, first, leeway, held))
    misfit = _strides.pulled(*arrays, middle, precision, gradient)
    return torch.from_numpy(precision), torch.from_numpy(gradient), misfit


def hold(hessian: torch.Tensor, precision: torch.Tensor) -> None:
    _strides.hold(hessian.numpy(), precision.numpy())


def in_equations(table, first, reach, free, placed, gradient: torch.Tensor | None, k: int) -> torch.Tensor:
    out, none = np.empty((len(table), k)), gradient is None
    arrays = (v.numpy() for v in (table, first, reach, free, placed))
    _strides.in_equations(*arrays, np.empty((0, k)) if none else gradient.numpy(), not none, out)
    return torch.from_numpy(out)


def changes(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    out = np.empty(len(old))
    _strides.changes(old.numpy(), new.numpy(), out)
    return torch.from_numpy(out)


def stride(table, first, reach, beyond, placed, own, da, last, small: bool, shape: tuple[int, int], sigma: float):
    (n, k), last = da.shape, np.empty((0, da.shape[1])) if last is None else last.numpy()
    new, taken, settled, share = np.empty((n, 6)), np.empty((n, k)), np.empty(n, bool), np.empty(n)
    arrays = (v.contiguous().numpy() for v in (table, first, reach, beyond, placed, own, da))
    _strides.stride(*arrays, last, small, shape, float(np.log(sigma)), new, taken, settled, share)
    return tuple(torch.from_numpy(v) for v in (new, taken, settled, share))


def raised(own: torch.Tensor, least: torch.Tensor, damping: float) -> torch.Tensor:
    out = np.empty(own.shape)
    _strides.raised(own.contiguous().numpy(), least.numpy(), damping, out)
    return torch.from_numpy(out)


def majorant(own: torch.Tensor, pairs) -> torch.Tensor:
    return own if not len(pairs[0]) else own * torch.from_numpy(_inverses(own, pairs)[1])[:, None, None]


def _inverses(own: torch.Tensor, pairs) -> tuple[np.ndarray, np.ndarray]:
    """Of own blocks, and by how much neighbours raise these."""
    own, n = own.contiguous().numpy(), len(own)
    roots, inverses, share = np.empty_like(own), np.empty_like(own), np.empty(n)
    in_parts(_system.invert, n, own, roots, inverses, part=1024)
    if not np.isfinite(inverses).all():
        raise torch.linalg.LinAlgError("the normal equations of a column are not positive")
    i, j, blocks = (v.numpy() for v in pairs)
    strength = np.empty(len(i))
    in_parts(_system.strengths, len(i), i, j, blocks, roots, strength, part=1024)
    _system.shares(i, j, strength, share)
    return inverses, share


class Elimination:
    """Solve with the columns apart from each other but not from the background: nearly the whole system, and direct."""

    def __init__(self, normal: Normal):
        # raised, or the columns of a dense lattice would take more from the background than there is
        inverses, share = _inverses(normal.own, normal.pairs)
        self.inverse = inverses / share[:, None, None]
        self.schur, self._safe, self._root = normal.splines.copy(), normal.splines, None
        index, nx, values = normal.index.numpy(), self.schur.nx, self.schur.values
        order = _system.by_row(index, nx, len(values) // nx)
        in_parts(_system.taken, len(values) // nx, *order, self.inverse, index, normal.ground.numpy(), nx, values,
                 part=16)  # fmt: skip

    @property
    def root(self) -> np.ndarray:
        """Factor of the splines' matrix, (m, width), made when first asked for."""
        if self._root is None:
            self._root, self._safe = self.schur.root(self._safe), None
        return self._root


def solve(normal: Normal, a, b, *, root: np.ndarray | None = None, accuracy: float = 1e-3, most: int = 40):
    """Preconditioned conjugate gradients; ``accuracy`` is relative, in the norm of the preconditioner. The ``root`` of
    a system much like this one, if given, saves the factorisation of its own."""
    x, y, inverse = np.zeros(a.shape), np.zeros(b.shape), normal.eliminated
    _system.solve(normal.own.contiguous().numpy(), *(v.numpy() for v in normal.pairs), normal.index.numpy(),
                  normal.ground.numpy(), inverse.schur.values, normal.splines.nx, inverse.inverse,
                  inverse.root if root is None else root, a.contiguous().numpy(), b.contiguous().numpy(), accuracy,
                  most, x, y)  # fmt: skip
    return torch.from_numpy(x), torch.from_numpy(y)


def covariances(normal: Normal, wanted: torch.Tensor | None = None) -> torch.Tensor:
    n, own, out = len(normal.own), normal.own.contiguous().numpy(), np.zeros(normal.own.shape)
    wanted = np.ones(n, bool) if wanted is None else wanted.numpy()
    i, j, blocks = (v.numpy() for v in normal.pairs)
    index, ground, schur = normal.index.numpy(), normal.ground.numpy(), normal.eliminated.schur
    coupling = np.empty(len(i))
    in_parts(_spread.couplings, len(i), own, i, j, blocks, coupling, part=1024)
    firsts, cell = _numbered(index[:, 0], wanted, len(schur.values))
    factors = np.empty((len(firsts), 16, 16))
    in_parts(_spread.grounds, len(firsts), schur.values, schur.nx, firsts, factors)
    in_parts(_spread.covariances, n, own, *_spread.adjacency(n, i, j), coupling, i, blocks, index, ground, cell,
             factors, MOST, FAINT, wanted, out, part=256)  # fmt: skip
    return torch.from_numpy(out)


def _numbered(values: np.ndarray, wanted: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which integers below ``most`` there are among those wanted, and the place of each of these."""
    there = np.zeros(most, bool)
    there[values[wanted]] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[values]
