"""Lines of a frame that were never recorded: the constant rim that alignment leaves, dead and saturated lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_BLANK = 0.9  # of a frame: else it is a picture of next to nothing, not a rim
RARE = 0.3  # a value that more of the other pixels have (counts of 0, a clipped background) says nothing about a line


@dataclass(frozen=True)
class LineRange:
    """Smallest and largest valid value of every row and column of a frame, or of a part of it.

    ``rows`` has the shape (2, h) and ``columns`` (2, w); NaN where nothing is valid.
    """

    rows: np.ndarray
    columns: np.ndarray

    @staticmethod
    def of(frame: np.ndarray) -> LineRange:
        low, high = (np.fmin, np.fmax) if frame.dtype.kind == "f" else (np.minimum, np.maximum)
        rows, columns = (np.stack([low.reduce(frame, axis=a), high.reduce(frame, axis=a)]) for a in (1, 0))
        return LineRange(rows.astype(float), columns.astype(float))

    @staticmethod
    def none(shape: tuple[int, int]) -> LineRange:
        """Of no pixel at all: to be merged into."""
        return LineRange(np.full((2, shape[0]), np.nan), np.full((2, shape[1]), np.nan))

    def merge(self, part: LineRange, top: int, left: int) -> None:
        """Take in a part whose first pixel is (top, left)."""
        for mine, other, start in ((self.rows, part.rows, top), (self.columns, part.columns, left)):
            here = slice(start, start + other.shape[1])
            mine[0, here] = np.fmin(mine[0, here], other[0])
            mine[1, here] = np.fmax(mine[1, here], other[1])


def blank_lines(lines: LineRange, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows and columns that hold one value which is rare elsewhere; None if there are none.

    Parameters
    ----------
    lines : LineRange
        Of the whole frame.
    pixels : ndarray
        The frame's pixels, or a regular subset of them.

    Returns
    -------
    rows, columns : ndarray of bool, shapes (h,) and (w,)
    """
    flat = [values[0] == values[1] for values in (lines.rows, lines.columns)]
    share = 1 - (1 - flat[0].mean()) * (1 - flat[1].mean())
    if share == 0 or share > MOST_BLANK:
        return None
    values = np.concatenate([v[0][f] for v, f in zip((lines.rows, lines.columns), flat, strict=True)])
    for value in np.unique(values):
        # of the pixels off these lines (about), those that have the value too
        common = (np.count_nonzero(pixels == value) / max(pixels.size, 1) - share) / (1 - share)
        if common > RARE:
            for k, line in enumerate((lines.rows, lines.columns)):
                flat[k] &= line[0] != value
    return (flat[0], flat[1]) if flat[0].any() or flat[1].any() else None
