"""Points of the blocks on disk, for jobs that may be stopped and for more atoms than memory holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.pile import judged
from hs_deepatoms.engine.checkpoint import Checkpoint

ROWS = 2**19  # atoms at a time on the way into the final table


class Filed:
    """Keeps points above a threshold in the files of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, threshold: float):
        self.checkpoint, self.threshold = checkpoint, threshold
        self._count: dict[str, int] = {}

    def missing(self, stage: str, count: int) -> list[int]:
        """Numbers of the blocks that no run before this one finished."""
        self._count[stage] = count
        return self.checkpoint.missing(stage, count)

    def put(self, stage: str, number: int, points: Points) -> None:
        """Keep the points of one block."""
        self._count[stage] = max(self._count.get(stage, 0), number + 1)
        least = self.threshold if stage == "columns" else 0.0
        kept, expected, doubt = judged(points, least)
        self.checkpoint.put(stage, number, kept.columns() | {"sums": np.array([expected, doubt])})

    def candidates(self) -> Points:
        """All points of the stage "candidates"."""
        return Points.join([self._get("candidates", k) for k in range(self._count["candidates"])])

    @property
    def rows(self) -> int:
        """Number of columns kept."""
        count = self._count.get("columns", 0)
        return sum(len(self.checkpoint.get("columns", k, ["frame"])["frame"]) for k in range(count))

    def indecision(self) -> float:
        """Share of the expected columns in doubt, over all blocks."""
        sums = [self.checkpoint.get("columns", k, ["sums"])["sums"] for k in range(self._count["columns"])]
        expected, doubt = np.sum(sums, axis=0)
        return float(doubt / expected) if expected else 0.0

    def parts(self) -> Iterator[Points]:
        """All columns in order, some hundred thousand at a time; no frame is split."""
        waiting: list[Points] = []
        for k in range(self._count["columns"]):
            new = self._get("columns", k)
            rows = sum(len(part.y) for part in waiting)
            if rows >= ROWS and len(new.y) and new.frame[0] > max(part.frame[-1] for part in waiting if len(part.y)):
                yield Points.join(waiting).in_order()
                waiting = []
            waiting.append(new)
        yield Points.join(waiting).in_order()

    def _get(self, stage: str, number: int) -> Points:
        arrays = self.checkpoint.get(stage, number)
        del arrays["sums"]
        return Points.of(arrays)
