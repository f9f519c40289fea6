"""Points of the blocks on disk, for jobs that may be stopped and for more atoms than memory holds."""

from __future__ import annotations

from collections.abc import Iterator

from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.frame_sums import FrameSums, Replaced
from hs_deepatoms.engine.checkpoint import Checkpoint

ROWS = 2**19  # atoms at a time on the way into the final table


class Filed:
    """Keeps points above a threshold in the files of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, threshold: float):
        self.checkpoint, self.threshold = checkpoint, threshold
        self._count: dict[str, int] = {}
        self._sums: dict[int, FrameSums] = {}  # by block; those of a run before are read when asked for
        self._replaced: tuple[Replaced, FrameSums] | None = None

    @property
    def shelf(self) -> Checkpoint:
        """For arrays of single frames."""
        return self.checkpoint

    def missing(self, stage: str, count: int) -> list[int]:
        """Numbers of the blocks that no run before this one finished."""
        self._count[stage] = count
        return self.checkpoint.missing(stage, count)

    def put(self, stage: str, number: int, points: Points) -> None:
        """Keep the points of one block."""
        self._count[stage] = max(self._count.get(stage, 0), number + 1)
        least = self.threshold if stage == "columns" else 0.0
        kept, sums = points.keep(points.probability >= least), FrameSums.of(points, least)
        self.checkpoint.put(stage, number, kept.columns() | {"sums": sums.table()})
        if stage == "columns":
            self._sums[number] = sums

    def candidates(self) -> Points:
        """All points of the stage "candidates"."""
        return Points.join([self._get("candidates", k) for k in range(self._count["candidates"])])

    @property
    def sums(self) -> FrameSums:
        """Of every frame: columns expected, in doubt and kept."""
        blocks = range(self._count.get("columns", 0))
        for k in set(blocks) - set(self._sums):
            self._sums[k] = FrameSums.from_table(self.checkpoint.get("columns", k, ["sums"])["sums"])
        found = FrameSums.join([self._sums[k] for k in blocks])
        if self._replaced is None:
            return found
        return FrameSums.join([found.without(self._replaced[0].frames), self._replaced[1]])

    @property
    def rows(self) -> int:
        """Number of columns kept."""
        return self.sums.rows

    def indecision(self) -> float:
        """Share of the expected columns in doubt, over all blocks."""
        return self.sums.indecision

    def replace(self, replaced: Replaced, sums: FrameSums) -> None:
        """Other points for some frames, once all blocks are there; ``sums`` are theirs."""
        self._replaced = replaced, sums

    def parts(self) -> Iterator[Points]:
        """All columns in order, some hundred thousand at a time; no frame is split."""
        if self._replaced is None:
            yield from self._found()
            return
        first, waiting = -1, None  # what is given out last takes in all frames that are left
        for points in self._found():
            if waiting is not None:
                last = int(waiting.frame[-1]) if len(waiting.y) else first
                yield self._replaced[0].into(waiting, first + 1, last)
                first = last
            waiting = points
        yield self._replaced[0].into(waiting, first + 1)

    def _found(self) -> Iterator[Points]:
        """As the blocks have them."""
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
