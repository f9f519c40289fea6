"""Which frame of a stack its columns are measured in: a typical one among those that show them best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods.sight import columns_of, middle, middle_residue

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.methods.look import Look

CANDIDATES = 3  # frames that the detector looks at: those in which the survey sees columns most clearly
MORE_DOUBT = 1.5, 0.02  # so many times the least share in doubt of several frames, and so much more, is not more


@dataclass(frozen=True)
class SeenFrame:
    """What the detector sees in the middle of one frame."""

    frame: int
    window: np.ndarray
    masked: np.ndarray | None
    found: Points
    job: Detection

    @property
    def width(self) -> float:
        """Median column sigma (pixels) of a fit to the middle; as the detector says it where nothing can be fitted."""
        from hs_deepatoms.atoms.block import widths

        if not len(self.found.y):
            return 0.0
        fitted = widths(middle_residue(self.found, self.window, self.job))
        return float(np.median(fitted if len(fitted) else self.found.width))


def seen_in(source: Source, look: Look, frame: int) -> SeenFrame:
    """What the detector sees in the middle of one frame at the width of a look."""
    window, masked = middle(source, look, frame)
    return SeenFrame(frame, window, masked, *columns_of(source, look, look.sigma, window, masked))


def typical_frame(source: Source, look: Look, frames: tuple[int, ...]) -> SeenFrame:
    """That with the median width, of the frames that are neither emptier nor less decided than others: the crystal may
    have left the field for some, or a film have come into it.

    ``frames`` are those first that show columns most clearly, so that what they show decides, not their order in time.
    """
    from hs_deepatoms.atoms.pile import indecision

    seen = [seen_in(source, look, frame) for frame in frames[:CANDIDATES]]
    doubts = [indecision(one.found.probability) if len(one.found.y) else 1.0 for one in seen]
    decided = [one for one, doubt in zip(seen, doubts, strict=True)
               if doubt <= MORE_DOUBT[0] * min(doubts) + MORE_DOUBT[1]]  # fmt: skip
    most = max(len(one.found.y) for one in decided)
    full = [one for one in decided if 2 * len(one.found.y) >= most]
    if len(full) < 3:
        return full[0]
    return sorted(full, key=lambda one: one.width)[len(full) // 2]
