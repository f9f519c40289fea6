"""What the detector sees in the middle of a frame at one width of columns, and how well these explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.methods.column_job import UNCERTAIN, detection_job

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.atoms.residue import Residue
    from hs_deepatoms.methods.look import Look

WIDTH_COLUMNS = 5  # fewer tell no width
WIDTH_WINDOW = 320  # grid pixels in the middle of a frame in which the width is measured
FIT_WINDOW = 128  # grid pixels in the middle of it that are fitted in any case: a tenth of the time of a frame
# whiteness of what a fit leaves over below which it is no noise, and the share of the variance from which that matters;
# finer widths to try then; how undecided columns may be there, and the share of what was unexplained that may be left
PURE_NOISE, LITTLE, FINER, CLEAR, EXPLAINED = 0.7, 0.02, (2**-0.5, 0.5), 0.1, 0.7
POOR = 0.25  # unexplained, and no noise: there is more in the image than the columns found


@dataclass(frozen=True)
class Sight:
    """The columns that the detector sees in a small frame at one width, and what a fit of them leaves over.

    The fit takes longer than the detector, and is made where it is asked for: few columns, or columns in doubt, are
    often turned down without it.
    """

    sigma: float
    columns: Points
    fit: Callable[[], Residue]

    @cached_property
    def remains(self) -> Residue:
        """What the fit leaves over."""
        return self.fit()

    @property
    def unexplained(self) -> float:
        """Share of the variance that the columns do not explain."""
        from hs_deepatoms.atoms.block import unexplained

        return unexplained(self.remains)

    @property
    def indecision(self) -> float:
        """Share of the columns that is in doubt."""
        from hs_deepatoms.atoms.pile import indecision

        return indecision(self.columns.probability)

    @property
    def poor(self) -> bool:
        """Much is left over that is no noise."""
        return not self.explains and self.unexplained > POOR

    @property
    def explains(self) -> bool:
        """Little but noise is left over."""
        from hs_deepatoms.atoms.block import whiteness

        white = whiteness(self.remains)
        return white > PURE_NOISE or (1 - white) * self.unexplained < LITTLE


def sight_at(source: Source, look: Look, sigma: float, window: np.ndarray, masked) -> Sight:
    """What the detector sees in a small frame at one width."""
    from hs_deepatoms.atoms.block import whole_residue

    found, job = columns_of(source, look, sigma, window, masked)
    return Sight(sigma, found, partial(whole_residue, found, window, job))


def best_sight(source: Source, look: Look, found: Points, job: Detection, window, masked) -> Sight:
    """Of what was found in a window its middle, or that at a finer width where it explains the image much better."""
    rows, columns = (inner(n, FIT_WINDOW / job.zoom) for n in window.shape)
    here = (found.y > rows.start) & (found.y < rows.stop) & (found.x > columns.start) & (found.x < columns.stop)
    coarse = Sight(look.sigma, found.keep(here), partial(middle_residue, found, window, job))
    masked = None if masked is None else masked[rows, columns]
    return resolved(source, look, coarse, window[rows, columns], masked)


def middle_residue(found: Points, window: np.ndarray, job: Detection) -> Residue:
    """What a fit to the middle of a window leaves over."""
    from hs_deepatoms.atoms.block import whole_residue

    rows, columns = (inner(n, FIT_WINDOW / job.zoom) for n in window.shape)
    return whole_residue(found, window, job, (rows.start, rows.stop, columns.start, columns.stop))


def resolved(source: Source, look: Look, coarse: Sight, window: np.ndarray, masked) -> Sight:
    """The sight at a finer width, where columns turn out to be several; else the one that was.

    Two columns that just touch look like a wide one, but a fit of that leaves over what is no noise. Finer ones, seen
    clearly, that explain the image much better are right; wide columns that are no Gaussians gain little by it.
    """
    best = coarse
    for share in FINER:
        sigma = share * coarse.sigma
        if best.explains or sigma < images.NARROWEST:
            break
        one = sight_at(source, look, sigma, window, masked)
        if len(one.columns.y) < WIDTH_COLUMNS or one.indecision > CLEAR:
            continue
        if one.unexplained < min(EXPLAINED * coarse.unexplained, best.unexplained):
            best = one
    return best


def inner(n: int, size: float) -> slice:
    """The middle of ``n`` pixels, of at most some size."""
    size = int(min(n, size))
    return slice((n - size) // 2, (n - size) // 2 + size)


def middle(source: Source, look: Look, frame: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The middle of a frame, and the mask there."""
    zoom = detection_job(source, look).zoom
    shape = source.data.shape[-2:]
    half = [int(min(n, WIDTH_WINDOW / zoom)) // 2 for n in shape]
    rows, columns = (slice(n // 2 - h, n // 2 + h) for n, h in zip(shape, half, strict=True))
    masked = None if look.masked is None else look.masked[rows, columns]
    return np.asarray(images.frame_of(source, frame)[rows, columns]), masked


def columns_of(source: Source, look: Look, sigma: float, window: np.ndarray, masked) -> tuple[Points, Detection]:
    """What the detector sees in a small frame at one width, and the job that it did."""
    from hs_deepatoms.atoms.detect import detect
    from hs_deepatoms.engine.plan import Block

    look = replace(look, sigma=sigma, skipped=None, masked=None, threshold=UNCERTAIN, refine="quick")
    job = replace(detection_job(source, look), shape=window.shape, masked=masked, certain=look.model.threshold)
    whole = (0, window.shape[0], 0, window.shape[1])
    return detect(window[None], Block((0, 1), whole, whole), job), job
