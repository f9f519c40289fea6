"""Frames of a stack that are not like the one its columns were measured in: looked at by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidImageError
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.methods.look import SAME, Look

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.filed import Filed
    from hs_deepatoms.atoms.pile import Pile

# of what is found above probability 0.1, the share in doubt from which nothing is believed: where the survey has its
# doubts, and anywhere
TOO_UNDECIDED, HOPELESS = 0.25, 0.4
# a frame is odd whose share in doubt is over this, and so many times that of the frame whose columns were measured; or
# that has so many times fewer or more columns than that one; or columns that are wider or narrower by so many octaves
DECIDED, TIMES, FEWER, MORE, OTHER_WIDTH = 0.025, 1.7, 0.25, 1.5, 0.25
SAME_SHAPE = 0.15  # logarithm of long over short: shapes that are one
AS_DECIDED = 0.005  # a share in doubt that is higher by less is as low


@dataclass(frozen=True)
class OwnLooks:
    """How frames of a stack are looked at by themselves.

    Attributes
    ----------
    source : Source
        The whole stack.
    look : Look
        That at the whole stack.
    see : callable
        ``see(source)``: the look at another source with the same options.
    find : callable
        ``find(source, look)``: what is found in a source, a Pile.
    told : dict of int: Look or None
        The frames that were looked at by themselves, and how; None where nothing is believed.
    """

    source: Source
    look: Look
    see: Callable[[Source], Look]
    find: Callable[[Source, Look], Pile]
    told: dict[int, Look | None] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(np.prod(self.source.data.shape[:-2]))

    @property
    def oblong(self) -> list[Look]:
        """Looks at frames by themselves whose columns are fitted as ellipses."""
        return [one for one in self.told.values() if one is not None and one.oblong and one.ellipses]

    def give(self, found: Pile | Filed) -> None:
        """Replace, in what was found, frames that are odd and tell something by themselves."""
        from hs_deepatoms.atoms.frame_sums import FrameSums, Replaced

        if self.frames < 2 or self.look.method != "network":
            return
        expected, doubt, width = found.sums.over(self.frames)
        sums, points = [], []
        for frame in self.odd(expected, doubt, width):
            own = self.alone(frame, float(expected[frame]), float(doubt[frame]))
            if own is None:
                continue
            pile, self.told[int(frame)] = own
            if pile is not None:
                sums.append(replace(pile.sums, frame=np.full(len(pile.sums.frame), frame)))
                points.append(_of_frame(pile.points(), frame))
        if self.told:
            found.replace(Replaced(np.array([*self.told]), _joined(points)), FrameSums.join(sums))

    def odd(self, expected: np.ndarray, doubt: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Numbers of the frames that are not like the one that was measured."""
        like, limit, odd = self.look.measured, DECIDED, (expected < 1) | self.look.counts
        if like is not None:
            limit = max(limit, TIMES * doubt[like])
            odd |= (expected < FEWER * expected[like]) | (expected > MORE * max(expected[like], 1.0))
            ratio = np.maximum(width, 1e-9) / max(width[like], 1e-9)
            odd |= (expected > 0) & (np.abs(np.log2(ratio)) > OTHER_WIDTH)
        odd |= doubt > min(limit, TOO_UNDECIDED)
        if self.look.skipped is not None:
            odd &= ~self.look.skipped.ravel()
        return np.flatnonzero(odd)

    def alone(self, frame: int, expected: float, doubt: float) -> tuple[Pile | None, Look | None] | None:
        """What is found in one frame by itself, and the look at it; None where what was found may stay.

        A faint frame, which by itself tells nothing, is helped by the others; what is as undecided as noise is not.
        """
        source = _one_frame(self.source, frame)
        try:
            own = self.see(source)
        except InvalidImageError:  # constant
            return None
        if own.counts:
            return None, None
        if own.spacing_px is None:
            limit = TOO_UNDECIDED if own.doubtful else HOPELESS
        else:  # whoever gives a distance knows that there are columns
            limit = 1.0
        if own.confidence > 0 and not self.alike(own):
            pile = self.find(source, own)
            share = pile.indecision()
            hopeless = expected == 0 or doubt > limit
            # a small grain by itself may pass for one wide column, which nobody doubts
            fuller = pile.rows >= FEWER * expected and share < doubt + AS_DECIDED
            if pile.rows and share <= limit and (hopeless or fuller):
                return pile, own
            limit = min(limit, TOO_UNDECIDED if own.spacing_px is None else 1.0)  # nor does it convince by itself
        return (None, None) if doubt > limit else None

    def alike(self, own: Look) -> bool:
        """Whether a look is that at the whole stack, as far as anybody could tell."""
        this = self.look
        shapes = np.subtract(own.ellipse or (0.0, 0.0), this.ellipse or (0.0, 0.0))
        same = own.dark == this.dark and own.rounded == this.rounded and np.hypot(*shapes) < SAME_SHAPE
        return bool(same and abs(np.log2(own.sigma / this.sigma)) < SAME)


def _one_frame(source: Source, frame: int) -> Source:
    data = images.frame_of(source, frame)
    if data.dtype.itemsize * data.size <= images.WHOLE_FRAME_BYTES:
        data = np.asarray(data)  # of lazy data, once
    return replace(source, data=data, navigation=())


def _of_frame(points: Points, frame: int) -> Points:
    return replace(points, frame=np.full(len(points.y), frame, points.frame.dtype))


def _joined(parts: list[Points]) -> Points:
    from hs_deepatoms.atoms.decode import Points

    parts = [part for part in parts if len(part.y)]
    return Points.join(parts).in_order() if parts else Points.none()
