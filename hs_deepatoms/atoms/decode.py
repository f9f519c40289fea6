"""From the detector's maps to points: local maxima of presence, sharpened by the predicted offsets."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn import functional as F

FLOOR = 0.008  # cells below this presence are not looked at
AGREE = 1.6  # pixels of the grid: cells whose predicted positions are nearer than this mean the same column
APART = 1.9  # pixels of the grid: two detections nearer than this (one sigma) are one column


COLUMNS = ("frame", "y", "x", "y_std", "x_std", "width", "probability")


def _take(values: dict, name: str) -> np.ndarray:
    array, values[name] = values[name], None
    return array


@dataclass
class Points:
    """Columns found in a batch of frames, on the network's grid; every array has shape (n,).

    ``frame`` counts within the batch; ``y``, ``x`` and their one-sigma uncertainties ``y_std``, ``x_std`` are in grid
    pixels, ``width`` is the column sigma in grid pixels, ``probability`` between 0 and 1. ``fitted`` holds what a
    refinement adds, by the names of the positions table.
    """

    frame: np.ndarray
    y: np.ndarray
    x: np.ndarray
    y_std: np.ndarray
    x_std: np.ndarray
    width: np.ndarray
    probability: np.ndarray
    fitted: dict[str, np.ndarray] = field(default_factory=dict)

    def arrays(self) -> list[np.ndarray]:
        return [getattr(self, name) for name in COLUMNS]

    def columns(self) -> dict[str, np.ndarray]:
        """All arrays by name, those of the fit after the others."""
        return {name: getattr(self, name) for name in COLUMNS} | self.fitted

    @staticmethod
    def of(columns: dict[str, np.ndarray]) -> Points:
        """From what ``columns`` gives."""
        rest = {name: values for name, values in columns.items() if name not in COLUMNS}
        return Points(*(columns[name] for name in COLUMNS), rest)

    def keep(self, rows: np.ndarray) -> Points:
        """The points of a boolean mask, or of indices in their order."""
        return Points(*(a[rows] for a in self.arrays()), {name: a[rows] for name, a in self.fitted.items()})

    def in_order(self) -> Points:
        """By frame, then row-major, as a table has them."""
        return self.keep(np.lexsort((self.x, self.y, self.frame)))

    @staticmethod
    def join(parts: list[Points]) -> Points:
        """All points in one. Takes the parts' arrays away as it goes: of millions of points two copies are too many."""
        names = list(parts[0].fitted)
        joined = [np.concatenate([_take(vars(p), name) for p in parts]) for name in COLUMNS]
        return Points(*joined, {name: np.concatenate([_take(p.fitted, name) for p in parts]) for name in names})

    @staticmethod
    def none() -> Points:
        return Points(np.empty(0, np.int64), *(np.empty(0) for _ in range(6)))


def decode(
    out: torch.Tensor,
    threshold: float,
    *,
    apart: float = APART,
    calibration: tuple[float, float] = (1.0, 0.0),
    stride: int = 2,
    sigma: float = 2.0,
) -> Points:
    """Points from the detector's output.

    A column's presence is the sum over the 3 x 3 cells around a local maximum whose predicted positions agree (the
    network was taught that exactly one cell holds it), so a column on the border of two cells counts once and whole,
    and two columns in neighbouring cells stay two.

    Parameters
    ----------
    out : tensor, float32, shape (n, 6, h, w)
        See :class:`~hs_deepatoms.nets.detector.ColumnDetector`.
    threshold : float
        Smallest probability to report.
    apart : float
        Of two points nearer than this (grid pixels) the less probable is dropped.
    calibration : tuple of float
        Slope and offset that turn the logit of a presence into that of a probability (Platt scaling).
    stride, sigma : float
        Pixels per cell, and the column sigma for a width output of 0.

    Returns
    -------
    Points
    """
    p = torch.sigmoid(out[:, 0])
    frame, i, j = _maxima(p)
    if len(frame) == 0:
        return Points.none()
    py, px, p9, spread, width = _neighbourhood(out, p, frame, i, j, stride)
    agree = (torch.hypot(py - py[:, 4:5], px - px[:, 4:5]) < AGREE) * p9
    total = agree.sum(1)
    share = agree / total[:, None]
    y, x = (share * py).sum(1), (share * px).sum(1)
    std = torch.sqrt((share[:, None] * spread**2).sum(2))
    probability = calibrated(total, calibration)
    points = torch.stack([y, x, std[:, 0], std[:, 1], sigma * torch.exp(width), probability])
    keep = probability >= threshold
    values = points[:, keep].double().cpu().numpy()
    return without_doubles(Points(frame[keep].cpu().numpy(), *values), apart)


def calibrated(presence: torch.Tensor, calibration: tuple[float, float]) -> torch.Tensor:
    """Presence -> probability, by the model file's calibration."""
    slope, offset = calibration
    # in double precision: in single the last bit of a value depends on where in the array it stands
    return torch.sigmoid(slope * torch.logit(presence.double().clamp(1e-6, 1 - 1e-6)) + offset).float()


def _maxima(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cells that are the largest of their 3 x 3 neighbourhood (of equal ones, both: doubles are dropped later)."""
    best = F.max_pool2d(p[:, None], 3, 1, 1)[:, 0]
    return torch.nonzero((p == best) & (p > FLOOR), as_tuple=True)


def _neighbourhood(out, p, frame, i, j, stride):
    """Predicted positions, presences, spreads of the 9 cells around each maximum, and the maximum's own width."""
    h, w = p.shape[1:]
    step = torch.arange(-1, 2, device=p.device)
    di, dj = step.repeat_interleave(3), step.repeat(3)
    ii, jj = i[:, None] + di, j[:, None] + dj
    inside = (ii >= 0) & (jj >= 0) & (ii < h) & (jj < w)
    ic, jc, f = ii.clamp(0, h - 1), jj.clamp(0, w - 1), frame[:, None]
    centre = (stride - 1) / 2
    py = stride * ic + centre + out[f, 1, ic, jc]
    px = stride * jc + centre + out[f, 2, ic, jc]
    spread = torch.exp(torch.stack([out[f, 3, ic, jc], out[f, 4, ic, jc]], 1))
    return py, px, p[f, ic, jc] * inside, spread, out[frame, 5, i, j]


def without_doubles(points: Points, distance: float) -> Points:
    """Of two points of a frame nearer than ``distance`` (pixels) keep the more probable."""
    if len(points.y) < 2:
        return points
    far = 1e6 * points.frame  # frames apart, so that one tree serves the batch
    pairs = cKDTree(np.column_stack([points.y + far, points.x])).query_pairs(distance, output_type="ndarray")
    if not len(pairs):
        return points
    keep = np.ones(len(points.y), bool)
    strength = points.probability
    order = np.argsort(-np.maximum(strength[pairs[:, 0]], strength[pairs[:, 1]]))
    for a, b in pairs[order]:  # doubles are rare
        if keep[a] and keep[b]:
            keep[b if strength[a] >= strength[b] else a] = False
    return points.keep(keep)
