"""What a fit leaves over: the noise of an image, and columns that were missed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.noise import Noise, noise_of
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.state import State, expected, picked

# signal-to-noise ratio of what is left over where a column was missed, and the share of the pixels where that may be;
# where more are odd the model does not fit, and that is to be seen in the error bars
MISSED, FEW = 6.0, 0.05
FALSE = 0.1  # of the columns
FEW_SHAPES = 20  # columns that do not tell their common shape


def measured(state: State) -> State:
    """The state with its noise estimated anew, from its own residual."""
    return replace(state, noise=pooled([residue(state)], state.noise_kind), before=None, root=None)


@dataclass
class Residue:
    """What a fit leaves over: fitted and remaining intensity of every valid pixel, and the fit's parameters.

    ``state`` is kept for the ratio of column-sized remains to the noise, which is only known after pooling.
    """

    mean: torch.Tensor
    rest: torch.Tensor
    parameters: int
    state: State


def residue(state: State) -> Residue:
    mean = expected(state)
    # what travels between processes is small
    state = replace(
        state, before=None, last=None, drawn=None, root=None, ground=replace(state.ground, numbers=None, even=None)
    )
    return Residue(mean, state.image - mean, state.parameters, state)


def pooled(parts: list[Residue], kind: str = "auto") -> Noise:
    """The noise of a frame from fits to parts of it; a column that was missed here or there is none of it."""
    used = [p.state.valid for p in parts]
    noise, ratio = _noise_and_ratio(parts, used, kind)
    odd = [r > MISSED for r in ratio]
    if 0 < sum(int(o.sum()) for o in odd) < FEW * sum(o.numel() for o in odd):
        used = [u & ~o for u, o in zip(used, odd, strict=True)]
        noise, ratio = _noise_and_ratio(parts, used, kind)
    ratio = torch.cat([picked(r, u) for r, u in zip(ratio, used, strict=True)])
    excess = float((1.4826 * ratio.median()) ** 2) if len(ratio) else 1.0
    noise = replace(noise, excess=max(excess, 1.0))
    clear = torch.cat([_clearness(p, noise) for p in parts])
    if not len(clear):
        return noise
    faintest, usual = (float(clear.quantile(q)) for q in (0.05, 0.5))
    return replace(noise, faintest=faintest, usual=usual, peaks=_peaks(parts, clear), **_usual(parts))


def _peaks(parts: list[Residue], clear: torch.Tensor) -> float:
    """The least signal-to-noise ratio above which no more than ``FALSE`` of the columns would be peaks of the noise.

    Of these a smoothed white noise has, on an area and above a high level ``u``, about ``area / (2 sigma**2) /
    (2 pi)**1.5 * u * exp(-u**2 / 2)`` (Adler, The Geometry of Random Fields (1981), chapter 6,
    doi:10.1137/1.9780898718980).
    """
    area = sum(int(p.state.valid.sum()) / (2 * p.state.sigma**2) for p in parts)
    level = torch.arange(2.0, 4.01, 0.05, dtype=torch.float64, device=clear.device)
    expected = area / (2 * torch.pi) ** 1.5 * level * torch.exp(-0.5 * level**2)
    above = (clear[None] > level[:, None]).sum(1)
    few = torch.nonzero(expected <= FALSE * above)
    return float(level[few[0, 0]] if len(few) else level[-1])


def _usual(parts: list[Residue]) -> dict[str, float]:
    """Typical width and largest height of the columns of all parts."""
    columns = Columns.join(*(p.state.columns[~p.state.beyond] for p in parts))
    height = columns.height
    usual = {"log_width": columns.log_width.median(), "height": height.median(), "high": height.quantile(0.95)}
    return {name: float(value) for name, value in usual.items()}


def _noise_and_ratio(parts: list[Residue], used: list[torch.Tensor], kind: str):
    """Noise by the pixels used, and how far column-sized remains stand out of it at every pixel of each part."""
    mean, rest = (
        torch.cat([picked(getattr(p, n), u) for p, u in zip(parts, used, strict=True)]) for n in ("mean", "rest")
    )
    noise = noise_of(mean, rest, sum(p.parameters for p in parts), kind)
    return noise, [evidence(replace(p.state, noise=noise), p.mean)[0].abs() for p in parts]


def _clearness(part: Residue, noise: Noise) -> torch.Tensor:
    """Signal-to-noise ratio (n,) of columns as if each stood alone, by the noise at their centres."""
    c, (rows, columns) = part.state.columns[~part.state.beyond], part.mean.shape
    there = part.mean[c.y.round().long().clamp(0, rows - 1), c.x.round().long().clamp(0, columns - 1)]
    return c.height * torch.exp(c.log_width) * torch.sqrt(torch.pi / noise.variance(there))


def oblongness(remains: Residue) -> tuple[tuple[float, float], float]:
    """How far columns that were fitted as round ones are oblong, and how sure that is.

    Returns
    -------
    shape : tuple of float
        Plus and cross of most columns, to first order: their length is the logarithm of long over short width.
    sureness : float
        That length over its standard error.
    """
    c, window = remains.state.columns[remains.state.free], int(2 * remains.state.sigma) + 1
    if len(c) < FEW_SHAPES:
        return (0.0, 0.0), 0.0
    place = torch.arange(-window, window + 1, device=c.y.device)
    rows, columns = (p.round().long()[:, None, None] + place.view(s) for p, s in ((c.y, (1, -1, 1)), (c.x, (1, 1, -1))))
    height, width = remains.mean.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    at = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    rest = torch.where(inside & remains.state.valid[at], remains.rest[at].double(), 0.0)
    sigma = torch.exp(c.log_width)[:, None, None]
    dy, dx = (rows - c.y[:, None, None]) / sigma, (columns - c.x[:, None, None]) / sigma
    bell = c.height[:, None, None] * torch.exp(-0.5 * (dy**2 + dx**2))
    stretch = []  # of the long axis along y, and along the diagonal
    for pattern in (0.5 * bell * (dy**2 - dx**2), bell * dy * dx):
        each = (pattern * rest).sum((1, 2)) / (pattern**2).sum((1, 2)).clamp(min=1e-12)
        most = each.median()
        stretch.append((float(most), 1.86 * float((each - most).abs().median()) / len(each) ** 0.5))
    (plus, error), (cross, other) = stretch
    size = float(np.hypot(plus, cross))
    within = min(size, 1.0) / max(size, 1e-12)
    return (plus * within, cross * within), size / max(error, other, 1e-12)


def evidence(state: State, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Signal-to-noise ratio and height of one more column at every pixel of the residual, (h, w) both."""
    weight, rest, _ = kernels(mean).weigh(state.noise, state.image, mean, state.valid, judged=False)
    reach = int(3 * state.sigma) + 1
    place = torch.arange(-reach, reach + 1, device=mean.device)
    bell = torch.exp(-0.5 * (place / state.sigma) ** 2)
    work = kernels(mean)
    power, overlap = work.filtered(weight, bell**2).clamp(min=1e-12), work.filtered(rest, bell)
    return overlap / torch.sqrt(power), overlap / power
