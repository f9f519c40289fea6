"""Samples x features, in memory where they fit, else read again batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.progress import progress

MEMORY = 256 * 2**20  # bytes of float64 samples that are kept
BATCH = 64 * 2**20  # bytes of float64 samples that are read together
SOME = 32 * 2**20  # bytes of float64 samples that stand for all of them
ROUNDINGS = 8  # errors of rounding by which rows differ that are the same


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows without NaN of a set of samples.

    Attributes
    ----------
    load : callable
        ``load(start, stop)`` gives rows (stop - start, n_features) of real numbers.
    batch : int
        Rows that are read together.
    valid : numpy.ndarray, bool, shape (n,)
        Rows that have only finite numbers; the others are left out.
    mean : numpy.ndarray, float64, shape (n_features,)
    minimum : float
        The smallest number of all.
    total_variance : float
        Sum of the variances of all columns.
    some : numpy.ndarray, float64
        Evenly spaced valid rows, at most 32 MB of them.
    whole : numpy.ndarray, float64, shape (n_valid, n_features), or None
        All valid rows, where they fit into memory.
    show_progressbar : bool or None
        Of each pass over rows that are not kept.
    """

    load: Callable[[int, int], np.ndarray]
    batch: int
    valid: np.ndarray
    mean: np.ndarray
    minimum: float
    total_variance: float
    some: np.ndarray
    whole: np.ndarray | None
    show_progressbar: bool | None = False

    @property
    def n(self) -> int:
        """Number of valid rows."""
        return int(self.valid.sum())

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.mean.size

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Valid rows as (place among the valid rows, float64 rows); in random order with ``rng``."""
        starts = np.arange(0, self.valid.size, self.batch)
        before = np.concatenate([[0], np.cumsum(self.valid)])
        with _bar(self.valid.size, False if self.whole is not None else self.show_progressbar) as bar:
            for start in starts if rng is None else rng.permutation(starts):
                stop = min(int(start) + self.batch, self.valid.size)
                place = slice(int(before[start]), int(before[stop]))
                if place.stop > place.start:
                    yield place, self._rows(int(start), stop, place)
                bar.update(stop - int(start))

    def mapped(self, function: Callable[[np.ndarray], np.ndarray], width: int) -> np.ndarray:
        """``function`` of all valid rows, (n_valid, width) float64, batch by batch."""
        out = np.empty((self.n, width))
        for place, rows in self.batches():
            out[place] = function(rows)
        return out

    def spread(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Values per valid row (n_valid, ...) as values per row (n, ...)."""
        out = np.full((self.valid.size, *values.shape[1:]), fill, values.dtype)
        out[self.valid] = values
        return out

    def _rows(self, start: int, stop: int, place: slice) -> np.ndarray:
        if self.whole is not None:
            return self.whole[place]
        return np.asarray(self.load(start, stop), float)[self.valid[start:stop]]


def _bar(n: int, show_progressbar: bool | None):
    return progress(n, "patches", show_progressbar, unit="patch")


def survey_samples(
    load: Callable[[int, int], np.ndarray],
    n: int,
    n_features: int,
    *,
    incremental: bool | None = None,
    show_progressbar: bool | None = False,
    rounding: float = 0.0,
) -> Samples:
    """One pass over the rows: which are valid, their mean and minimum; kept where they fit into memory.

    Parameters
    ----------
    load : callable
        ``load(start, stop)`` gives rows (stop - start, n_features).
    n, n_features : int
        Shape of all rows together.
    incremental : bool, optional
        True: nothing is kept. None: where all rows take more than 256 MB.
    show_progressbar : bool, optional
        Of this pass and of those to come over rows that are not kept; None as HyperSpy.
    rounding : float
        Relative error of a value: rows that differ by less than a few of them are the same.

    Returns
    -------
    Samples

    Raises
    ------
    InvalidArgumentError
        If no row is free of NaN, or all rows are the same.

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, 5.0]])
    >>> samples = survey_samples(lambda start, stop: rows[start:stop], 3, 2)
    >>> samples.n, samples.mean.tolist(), samples.minimum
    (2, [2.0, 3.5], 1.0)
    """
    keep = n * n_features * 8 <= MEMORY if incremental is None else not incremental
    batch = int(np.clip(BATCH // (8 * n_features), 1, n))
    every = 1 if keep else max(1, -(-n * n_features * 8 // SOME))
    valid, total, squares, minimum, kept, first = np.zeros(n, bool), np.zeros(n_features), 0.0, np.inf, [], None
    largest = 0.0
    with _bar(n, False if keep else show_progressbar) as bar:
        for start in range(0, n, batch):
            rows = np.asarray(load(start, min(start + batch, n)), float)
            bar.update(len(rows))
            good = np.isfinite(rows).all(axis=1)
            valid[start : start + batch] = good
            if not good.any():
                continue
            kept.append(rows[good & ((start + np.arange(len(rows))) % every == 0)])
            rows = rows[good]
            first = rows[0].copy() if first is None else first
            minimum, largest = min(minimum, float(rows.min())), max(largest, float(np.abs(rows).max()))
            rows = rows - first  # sums of small numbers lose less
            total += rows.sum(axis=0)
            squares += float(np.vdot(rows, rows))
    if not valid.any():
        todo = 'Give images without NaN, or cut with edge="reflect".'
        raise InvalidArgumentError(explain(f"{n} patches, all with NaN", "patches of finite numbers", todo))
    count = int(valid.sum())
    if squares <= count * n_features * (ROUNDINGS * rounding * largest) ** 2 and count > 1:
        todo = "There is nothing to decompose; check the image and the normalisation."
        raise InvalidArgumentError(explain(f"{n} patches that are all the same", "patches that differ", todo))
    variance = max(0.0, squares - float(total @ total) / count) / max(1, count - 1)
    rows = np.concatenate(kept)
    mean, whole = first + total / count, rows if keep else None
    return Samples(load, batch, valid, mean, minimum, variance, rows, whole, show_progressbar)
