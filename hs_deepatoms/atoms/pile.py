"""Columns of millions of atoms gathered as the blocks come in, without keeping thousands of small arrays."""

from __future__ import annotations

import mmap

import numpy as np

from hs_deepatoms.atoms.decode import COLUMNS, Points
from hs_deepatoms.atoms.frame_sums import FrameSums, Replaced

ROWS = 2**20  # rows of one piece
INTEGER = np.int32  # of frame numbers


def indecision(probability: np.ndarray) -> float:
    """Share of the expected columns in doubt, sum p (1 - p) / sum p: 0 to 0.2 for columns, more for a film."""
    expected = float(probability.sum())
    return float((probability * (1 - probability)).sum()) / expected if expected else 0.0


class Rows:
    """Points copied into large pieces of memory.

    Small arrays that live as long as a whole job leave holes in the memory that is never given back.
    """

    def __init__(self):
        self.count = 0
        self._pieces: dict[str, list[np.ndarray]] = {}

    def append(self, points: Points) -> None:
        """Take in points; all have the same columns."""
        for name, array in points.columns().items():
            self._append(name, array.astype(INTEGER) if name == "frame" else array)
        self.count += len(points.y)

    def taken(self, keep: bool = True) -> Points:
        """All points in one (none, with ``keep=False``); nothing is left here."""
        n, self.count = self.count if keep else 0, 0
        joined = {name: self._taken(name, n) for name in list(self._pieces)}
        if not joined:
            return Points.none()
        return Points(*(joined.pop(name) for name in COLUMNS), joined)

    def _append(self, name: str, array: np.ndarray) -> None:
        pieces, start = self._pieces.setdefault(name, []), self.count
        if not pieces:
            pieces.append(_piece(array.dtype))
        while len(array):
            place = start % ROWS
            if start // ROWS == len(pieces):
                pieces.append(_piece(array.dtype))
            part = array[: ROWS - place]
            pieces[-1][place : place + len(part)] = part
            array, start = array[len(part) :], start + len(part)

    def _taken(self, name: str, n: int) -> np.ndarray:
        pieces = self._pieces.pop(name)
        out = np.empty(n, pieces[0].dtype)
        for k in range(0, n, ROWS):
            out[k : k + ROWS] = pieces[k // ROWS][: n - k]
            pieces[k // ROWS] = None
        return out


class Shelf:
    """Arrays of single frames in memory, with the methods of a checkpoint."""

    def __init__(self):
        self._arrays: dict[tuple[str, int], dict[str, np.ndarray]] = {}

    def missing(self, stage: str, count: int) -> list[int]:
        """Numbers below ``count`` that are not there yet."""
        return [k for k in range(count) if (stage, k) not in self._arrays]

    def put(self, stage: str, number: int, arrays: dict[str, np.ndarray]) -> None:
        self._arrays[stage, number] = arrays

    def get(self, stage: str, number: int) -> dict[str, np.ndarray]:
        """The arrays of one frame."""
        return dict(self._arrays[stage, number])


class Pile:
    """Points above a threshold, and how undecided all that came in were.

    Parameters
    ----------
    threshold : float
        Probability of the points to keep.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold
        self._sums: list[FrameSums] = []
        self._replaced: Replaced | None = None
        self._columns, self._candidates = Rows(), Rows()
        self.shelf = Shelf()  # for arrays of single frames

    @property
    def sums(self) -> FrameSums:
        """Of every frame: columns expected, in doubt and kept."""
        self._sums = [FrameSums.join(self._sums)]
        return self._sums[0]

    @property
    def rows(self) -> int:
        """Number of points kept."""
        return self.sums.rows

    def missing(self, stage: str, count: int) -> list[int]:
        """All blocks: nothing was done before."""
        return list(range(count))

    def put(self, stage: str, number: int, points: Points) -> None:
        """Take in the points of one block; all blocks of a stage have the same columns."""
        if stage == "candidates":
            self._candidates.append(points)
            return
        self._sums.append(FrameSums.of(points, self.threshold))
        self._columns.append(points.keep(points.probability >= self.threshold))

    def candidates(self) -> Points:
        """All points of the stage "candidates"."""
        return self._candidates.taken()

    def indecision(self) -> float:
        """That of all likely enough points that came in, kept or not."""
        return self.sums.indecision

    def replace(self, replaced: Replaced, sums: FrameSums) -> None:
        """Other points for some frames, once all blocks are in; ``sums`` are theirs."""
        self._sums = [self.sums.without(replaced.frames), sums]
        self._replaced = replaced

    def points(self, keep: bool = True) -> Points:
        """All points in one (none, with ``keep=False``); the pile is empty then."""
        points = self._columns.taken(keep)
        return points if self._replaced is None or not keep else self._replaced.into(points)


def _piece(dtype) -> np.ndarray:
    """Memory of its own, given back as soon as it is dropped, and not taken before it is written to."""
    return np.frombuffer(mmap.mmap(-1, ROWS * np.dtype(dtype).itemsize), dtype)
