"""The faint candidates of a frame, and what the pixels show once the plain columns are taken off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from hs_deepatoms.atoms.alike import UNDECIDED
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.peaks import Columns, Window

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.refine import FrameFit

FAINT = 0.6  # of the frame's high columns, at most
COVERED = 0.49  # of a column's height: nearer to a strong one nothing is told
WIDE = 5.0  # column sigmas over which the level of the ground is taken
NEAR = 1.5  # column sigmas over which brightness says how noisy pixels are
MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@dataclass(frozen=True)
class Faint:
    """The faint ones among the fitted candidates of a frame.

    Attributes
    ----------
    done : FrameFit
    which : ndarray of bool, shape (k,)
        Which of the k fitted candidates are faint, and undecided.
    sigma : float
        Column sigma, pixels.
    """

    done: FrameFit
    which: np.ndarray
    sigma: float

    @staticmethod
    def of(points: Points, done: FrameFit, sigma: float) -> Faint:
        undecided = points.probability[done.rows] < UNDECIDED
        if done.noise.high is None:
            return Faint(done, np.zeros(len(undecided), bool), sigma)
        return Faint(done, undecided & (done.fit.height[done.known] < FAINT * done.noise.high), sigma)

    @cached_property
    def ground(self) -> np.ndarray:
        """Brightness (h, w), over the size of a column and above its surroundings, of what the plain columns leave."""
        others = np.ones(len(self.done.fit.y), bool)
        others[np.flatnonzero(self.done.known)[self.which]] = False
        return ground_of(self.done, others, self.sigma)

    @cached_property
    def clearness(self) -> np.ndarray:
        """The same (h, w) over the noise: the signal-to-noise ratio of a column that stood there."""
        image, valid = np.asarray(self.done.image, np.float32), (~self.done.bad).astype(np.float32)
        near = gaussian_filter(np.where(valid > 0, image, 0), NEAR * self.sigma)
        near /= np.maximum(gaussian_filter(valid, NEAR * self.sigma), 1e-3)
        # of a mean over the size of a column
        spread = np.sqrt(self.done.noise.variance(torch.from_numpy(near)).numpy()) / (2 * np.sqrt(np.pi) * self.sigma)
        ratio = self.ground / spread
        # noise that is correlated, as of a blurred image, or what a model that does not fit leaves, averages out less
        some = ratio[valid > 0]
        typical = MAD * float(np.median(np.abs(some - np.median(some)))) if len(some) else 1.0
        return ratio / max(1.0, typical)


def ground_of(done: FrameFit, others: np.ndarray, sigma: float) -> np.ndarray:
    """Brightness (h, w), over the size of a column and above its surroundings, of what is left without some columns."""
    fit = done.fit
    width = np.log(np.sqrt(fit.width_y * fit.width_x))
    table = [fit.y, fit.x, fit.height, width, 0 * width, 0 * width]
    table = torch.from_numpy(np.stack([v[others] for v in table], 1).astype(np.float64))
    image = torch.from_numpy(np.array(done.image, np.float32))
    window, shade = Window.around(sigma, tuple(image.shape)), torch.zeros_like(image)
    kernels(image).draw_on(image, Columns.of(table), window, False, -1.0)
    table = table.clone()
    table[:, 2] = 1.0
    kernels(image).draw_on(shade, Columns.of(table), window)
    open_ = ((shade.numpy() < COVERED) & ~done.bad).astype(np.float32)

    def mean_over(values: np.ndarray, size: float, least: float) -> np.ndarray:
        return gaussian_filter(open_ * values, size) / np.maximum(gaussian_filter(open_, size), least)

    rest = np.where(open_ > 0, image.numpy(), 0.0)
    return mean_over(rest - mean_over(rest, WIDE * sigma, 1e-3), sigma, 0.2)


def at(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The image at places (..., 2); NaN outside."""
    y, x = np.moveaxis(place, -1, 0)
    inside = (y >= 0) & (x >= 0) & (y <= image.shape[0] - 1) & (x <= image.shape[1] - 1)
    values = map_coordinates(image, [np.where(inside, y, 0), np.where(inside, x, 0)], order=1)
    return np.where(inside, values, np.nan)
