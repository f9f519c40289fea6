"""What holds each column by itself, and how far it goes in a step, on tensors: of all columns at once."""

from __future__ import annotations

import numpy as np
import torch

LONGEST = (0.6, 0.6, np.inf, 0.25, 0.15, 0.15)  # of a step: y, x in sigmas, height, log width, plus, cross
LONGEST_SHAPE = 0.7  # of an ellipse: axes as 1 to 2
WIDEST = 0.9  # of a log width from the usual one: no column becomes a pixel or a cloud
FADE = 0.2  # least share of a height that a step leaves: a column may fade, not turn into a hole
SWING = 0.5  # of the step before: a step back as long as this is more than a correction
SHRINKING = 2 / 3  # of a step to the next one, at most: then twice the last step is left of the way
SETTLED = 0.005  # standard deviations: a smaller step changes nothing
AT_END = 1 - 1e-6  # of a reach
WIDTH_SPREAD, SHAPE_SPREAD = 0.3, 0.15  # weak priors: log width and ellipticity around the frame's own
ROUNDING = 1e-6  # moments are of single precision
LEAST = 1e-12, 1e-9  # of what is known of a height, and in shares of the usual: where hardly a pixel is valid


def pulled(table, first, leeway, held, typical: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Precision (n, k) with which columns are held, how they are pulled (n, k), and twice what that costs.

    By their places ``first`` (n, 6) to within the leeway (n,), by heights of nothing with the precision ``held`` (n,),
    and by the ``typical`` log width and, of ellipses, plus and cross.
    """
    one, known = torch.ones_like(leeway), 1 / leeway**2
    middle = [first[:, 0], first[:, 1], 0 * one, *(value * one for value in typical)]
    precision = [known, known, held, one / WIDTH_SPREAD**2, *[one / SHAPE_SPREAD**2] * (len(typical) - 1)]
    away, precision = torch.stack(middle, 1) - table[:, : len(middle)], torch.stack(precision, 1)
    gradient = away * precision
    return precision, gradient, float((gradient * away).sum())


def hold(hessian: torch.Tensor, precision: torch.Tensor) -> None:
    """Add what holds columns (n, k) to their blocks (n, k, k), and enough for these to be positive."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += precision
    diagonal *= 1 + ROUNDING
    if len(diagonal):
        diagonal[:, 2] += LEAST[0] + LEAST[1] * diagonal[:, 2].mean()


def in_equations(table, first, reach, free, placed, gradient: torch.Tensor | None, k: int) -> torch.Tensor:
    """1 for parameters (n, k) in the equations, 0 for others: shapes of ``free`` columns, places of those ``placed``
    (both (n,)), all heights. With a ``gradient`` (n, k) no places of those that have gone as far as they may, and that
    it would take farther."""
    if gradient is not None:
        way = table[:, :2] - first[:, :2]
        placed = placed & ~((way.norm(dim=1) > AT_END * reach) & ((way * gradient[:, :2]).sum(1) > 0))
    keep = free[:, None].double().repeat(1, k)
    keep[:, :2], keep[:, 2] = placed[:, None].double(), 1.0
    return keep


def changes(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """How much columns (n,) have changed between two tables (n, 6), relative to their size."""
    width, one = torch.exp(new[:, 3]), torch.ones_like(new[:, 0])
    size = torch.stack([width, width, new[:, 2], one, one, one], 1)
    return ((new - old) / size).abs().amax(1).nan_to_num(1.0)


def stride(table, first, reach, beyond, placed, own, da, last, small: bool, shape: tuple[int, int], sigma: float):
    """A bounded step.

    Parameters
    ----------
    table, first : tensor, float64, shape (n, 6)
        Columns, and where they came from.
    reach : tensor, shape (n,)
        How far from there they may go, pixels.
    beyond, placed : tensor, bool, shape (n,)
        Which stand beyond the rim, and which have their places fitted.
    own : tensor, shape (n, k, k)
        Blocks of the normal equations.
    da, last : tensor, shape (n, k)
        The step, and the one before in standard deviations or None.
    small : bool
        Whether that one was small.
    shape : tuple of int
        Of the image.
    sigma : float
        Usual width, pixels.

    Returns
    -------
    table : tensor, shape (n, 6)
    taken : tensor, shape (n, k)
        The step without swinging, in standard deviations.
    settled : tensor, bool, shape (n,)
        Whether it changes next to nothing.
    share : tensor, shape (n,)
        How long it is in shares of the last one.
    """
    scale = torch.sqrt(own.diagonal(dim1=1, dim2=2).contiguous())
    da = da * _against_swinging(da * scale, last, small)[:, None]
    taken = da * scale
    share = torch.full_like(reach, SHRINKING)
    if last is not None:
        share = (taken.norm(dim=1) / last.norm(dim=1).clamp(min=1e-30)).clamp(max=SHRINKING)
    new = _moved(table, first, reach, beyond, placed, da, shape, sigma)
    return new, taken, (taken[:, :2].abs() < SETTLED).all(1), share


def _against_swinging(step: torch.Tensor, last: torch.Tensor | None, small: bool) -> torch.Tensor:
    """A factor (n,) for columns that would go back where they just came from: to where the slope is zero in between.

    A large step back that is much shorter than the one before is a correction, and taken whole.
    """
    if last is None:
        return torch.ones_like(step[:, 0])
    now, then = step.norm(dim=1), last.norm(dim=1)
    back = (step * last).sum(1) < -0.5 * now * then
    if not small:
        back &= now > SWING * then
    return torch.where(back, then / (then + now), 1.0)


def _moved(table, first, reach, beyond, placed, da, shape, sigma: float) -> torch.Tensor:
    """The columns after a bounded step."""
    k = da.shape[1]
    limit = torch.tensor(LONGEST[:k], dtype=da.dtype, device=da.device).repeat(len(table), 1)
    limit[:, :2] *= torch.exp(table[:, 3:4])
    new = table.clone()
    new[:, :k] += torch.minimum(torch.maximum(da, -limit), limit)
    new[:, 2] = _flank_kept(table, new, beyond, shape)
    new[:, 2] = torch.where(placed, torch.maximum(new[:, 2], FADE * table[:, 2]), new[:, 2])
    way = new[:, :2] - first[:, :2]
    share = (reach / torch.hypot(way[:, 0], way[:, 1]).clamp(min=1e-9)).clamp(max=1.0)
    new[:, :2] = first[:, :2] + share[:, None] * way
    new[:, 3].clamp_(np.log(sigma) - WIDEST, np.log(sigma) + WIDEST)
    if k > 4:
        long = torch.hypot(new[:, 4], new[:, 5]).clamp(min=LONGEST_SHAPE) / LONGEST_SHAPE
        new[:, 4:] /= long[:, None]
    return new


def _flank_kept(table, new, beyond, shape) -> torch.Tensor:
    """Heights (n,) of moved columns; of those beyond the rim as high as their flanks at the rim were to become.

    Of a flank, all that is seen of them, place and height are told apart by its bend alone: along a step as it is the
    flank would grow by the exponential of what the step meant, and the next one would go back.
    """
    y, x = (table[:, a].clamp(-0.5, shape[a] - 0.5) for a in (0, 1))
    out = beyond & ((y != table[:, 0]) | (x != table[:, 1]))
    if not out.any():
        return new[:, 2]
    narrow = torch.exp(-2 * table[:, 3])
    dy, dx = y - table[:, 0], x - table[:, 1]
    there, then = dy**2 + dx**2, (y - new[:, 0]) ** 2 + (x - new[:, 1]) ** 2
    along = dy * (new[:, 0] - table[:, 0]) + dx * (new[:, 1] - table[:, 1])
    meant = new[:, 2] + table[:, 2] * along * narrow
    return torch.where(out, meant * torch.exp(0.5 * (then - there) * narrow), new[:, 2])
