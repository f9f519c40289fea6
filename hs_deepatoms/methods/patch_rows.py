"""Patches as the rows of numbers that an autoencoder reads: scaled, with what else is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.methods.patch_set import PatchSet, load_rows
from hs_deepatoms.patches.normalise import ROUNDINGS, normalise, rounding_of

MEMORY = 256 * 2**20  # bytes of float32 patches that a training keeps
BATCH = 32 * 2**20  # bytes of float32 patches that are read together
QUANTILES = {0.001: "lower", 0.999: "higher"}  # values that are there: a mask stays 0 and 1


@dataclass(frozen=True)
class Scaling:
    """``(value - offset) / scale``, and where it is clipped."""

    offset: float = 0.0
    scale: float = 1.0
    clip: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale of the network, float32."""
        scaled = ((values - self.offset) / self.scale).astype(np.float32)
        return np.clip(scaled, 0, 1) if self.clip else scaled

    def undo(self, values: np.ndarray) -> np.ndarray:
        """And back."""
        return values * self.scale + self.offset


@dataclass(frozen=True, eq=False)
class PatchRows:
    """All patches of a set, read batch by batch.

    Attributes
    ----------
    found : PatchSet
    condition : numpy.ndarray, float32, shape (n, k)
    labels : numpy.ndarray, shape (n,), or None
        Class numbers, -1 unknown; or a quantity, NaN unknown.
    """

    found: PatchSet
    condition: np.ndarray
    labels: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number, channels, height, width."""
        channels, n, h, w = self.found.data.shape
        return n, channels, h, w

    def raw(self, start: int, stop: int) -> np.ndarray:
        """Patches (k, c, h, w) as they are, float."""
        part = np.moveaxis(load_rows(self.found, start, stop), 0, 1)
        return part.astype(np.float64 if part.dtype == np.float64 else np.float32, copy=False)

    def batches(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Place and patches of all, in order."""
        n = self.shape[0]
        step = self._step()
        for start in range(0, n, step):
            yield slice(start, min(start + step, n)), self.raw(start, min(start + step, n))

    def rows(self, place, patches: np.ndarray, scaling: Scaling) -> np.ndarray:
        """Rows (k, f), float32."""
        parts = [scaling.apply(patches).reshape(len(patches), -1), self.condition[place]]
        if self.labels is not None:
            parts.append(self.labels[place, None])
        return np.concatenate(parts, 1, dtype=np.float32)

    def valid(self, place, patches: np.ndarray) -> np.ndarray:
        """Which patches, with their conditions, have only finite numbers."""
        return np.isfinite(patches).all((1, 2, 3)) & np.isfinite(self.condition[place]).all(1)

    def some(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices and patches without NaN, evenly spread, at most 256 MB of them."""
        n = self.shape[0]
        step = self._step()
        starts = np.arange(0, n, step)
        most = max(1, MEMORY // BATCH)
        starts = starts[np.unique(np.linspace(0, starts.size - 1, min(most, starts.size)).astype(int))]
        index, kept = [], []
        for start in starts:
            place = slice(int(start), min(int(start) + step, n))
            patches = self.raw(place.start, place.stop)
            good = self.valid(place, patches)
            index.append(np.arange(place.start, place.stop)[good])
            kept.append(patches[good])
        return np.concatenate(index), np.concatenate(kept)

    def _step(self) -> int:
        n, channels, h, w = self.shape
        return int(np.clip(BATCH // (4 * channels * h * w), 1, n))


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows (n, f) in memory."""

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Rows (k, f)."""
        return self.values[index]


@dataclass(frozen=True, eq=False)
class Movable:
    """Rows (n, f) in memory whose patches can be taken a few pixels beside their places.

    Attributes
    ----------
    wide : numpy.ndarray, shape (n, c, h + 2 y, w + 2 x)
        Patches with a margin, as they are.
    reach : (int, int)
        The margin.
    more : numpy.ndarray, float32, shape (n, k)
        Conditions and labels.
    scaling : Scaling
    normalisation : str or None
    """

    wide: np.ndarray
    reach: tuple[int, int]
    more: np.ndarray
    scaling: Scaling
    normalisation: str | None

    def __len__(self) -> int:
        return len(self.wide)

    def take(self, index: np.ndarray, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Rows (k, f), the patches moved by ``offset`` (y, x), pixels; those that would have NaN then stay in place."""
        wide = self.wide[index]
        patches = self._window(wide, offset)
        lost = ~np.isfinite(patches).all((1, 2, 3))
        if lost.any():
            patches = np.where(lost[:, None, None, None], self._window(wide, (0, 0)), patches)
        patches = normalise(patches, self.normalisation)
        return np.concatenate([self.scaling.apply(patches).reshape(len(patches), -1), self.more[index]], 1)

    def _window(self, wide: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
        y, x = (slice(reach + one, size - reach + one)
                for reach, one, size in zip(self.reach, offset, wide.shape[2:], strict=True))  # fmt: skip
        return wide[..., y, x]


def kept_rows(rows: PatchRows, index: np.ndarray, patches: np.ndarray, scaling: Scaling, jitter: tuple[int, int]):
    """The rows that a training keeps in memory: `Movable` where their origins are to be jittered."""
    values = rows.rows(index, patches, scaling)
    if not any(jitter):
        return Kept(values)
    from dataclasses import replace

    found, shape = rows.found, patches.shape[2:]
    size = tuple(n + 2 * one for n, one in zip(shape, jitter, strict=True))
    wide = PatchRows(replace(found, data=found.recut(size)), rows.condition, rows.labels)
    parts = [wide.raw(int(one[0]), int(one[-1]) + 1)[one - one[0]] for one in _runs(index)]
    more = values[:, int(np.prod(patches.shape[1:])) :]
    return Movable(np.concatenate(parts), jitter, more, scaling, found.notes.get("normalisation"))


def _runs(index: np.ndarray) -> list[np.ndarray]:
    """Rising indices in pieces without large gaps, of at most 4096."""
    breaks = np.flatnonzero(np.diff(index) > 64) + 1
    return [part for run in np.split(index, breaks) for part in np.split(run, range(4096, len(run), 4096))]


def scaling_of(patches: np.ndarray, likelihood: str) -> Scaling:
    """Mean 0 and standard deviation 1; from 0 to 1 for the Bernoulli likelihood.

    Raises
    ------
    InvalidArgumentError
        If all values are the same.
    """
    if likelihood == "bernoulli":
        low, high = (float(np.quantile(patches, share, method=how)) for share, how in QUANTILES.items())
        if not high > low:  # a mask of few ones
            low, high = float(patches.min()), float(patches.max())
        scaling = Scaling(low, high - low, True)
    else:
        scaling = Scaling(float(patches.mean()), float(patches.std()))
    if not scaling.scale > ROUNDINGS * rounding_of(patches.dtype) * float(np.abs(patches).max()):
        todo = "There is nothing to learn; check the image and the normalisation."
        raise InvalidArgumentError(
            explain(f"{len(patches)} patches that are all the same", "patches that differ", todo)
        )
    return scaling


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of some patches.

    Attributes
    ----------
    values : numpy.ndarray, shape (n,), or None
        Class numbers, -1 unknown; or a standardised quantity, NaN unknown.
    names : list
        What the classes are called; of a quantity none.
    moments : list of float
        Mean and standard deviation of the quantity.
    """

    values: np.ndarray | None = None
    names: list = field(default_factory=list)
    moments: list = field(default_factory=list)

    @property
    def quantity(self) -> int:
        """1 for a quantity, 0 for classes or nothing."""
        return int(bool(self.moments))

    def amounts(self) -> np.ndarray:
        """The quantity (n,) as it was given, NaN unknown."""
        mean, deviation = self.moments
        return self.values.astype(float) * deviation + mean


def read_labels(labels: Any, found: PatchSet) -> Labels:
    """Classes or a quantity, known of some patches.

    ``labels`` is the name of a column, or one value per patch. Numbers of which some are not whole are a quantity, of
    which NaN and None are unknown; of all else NaN, None, "" and negative numbers are unknown.

    Raises
    ------
    InvalidArgumentError
        If the length differs, fewer than two classes or values are known, or text and numbers are mixed.
    """
    if labels is None:
        return Labels()
    values = _plain_values(_column(found, labels) if isinstance(labels, str) else labels)
    check_length(values, found.data.shape[1], "labels")
    amount = _quantity(values)
    if amount is not None:
        return amount
    plain = [None if _unknown(value) else value.item() if hasattr(value, "item") else value for value in values]
    names = class_names([value for value in plain if value is not None], "labels")
    if len(names) < 2:
        todo = "Label some patches of every class; the others are NaN, None or -1."
        raise InvalidArgumentError(explain(f"labels of the classes {names}", "two or more classes", todo))
    return Labels(np.array([-1 if value is None else names.index(value) for value in plain]), names)


def _plain_values(labels: Any) -> list:
    values = list(labels) if isinstance(labels, Iterable) and np.ndim(labels) != 0 else None
    if values is None or any(isinstance(value, list | tuple | set | dict | np.ndarray) for value in values):
        got = f"labels={labels!r}" if values is None else "labels that are lists"
        raise InvalidArgumentError(explain(got, "a column, or one value per patch", "Give one value for each."))
    return values


def class_names(known: list, name: str) -> list:
    """What the classes are called, in order.

    Raises
    ------
    InvalidArgumentError
        If text and numbers are mixed.
    """
    try:
        return sorted(set(known))
    except TypeError as error:
        kinds = ", ".join(sorted({type(value).__name__ for value in known}))
        got = f"{name} of several types ({kinds})"
        raise InvalidArgumentError(explain(got, "all of them text, or all numbers", "Convert them.")) from error


def _quantity(values: list) -> Labels | None:
    """Values standardised; None if they are classes."""
    if not all(value is None or isinstance(value, float | int | np.floating | np.integer) for value in values):
        return None
    numbers = np.array([np.nan if value is None else value for value in values], float)
    known = numbers[np.isfinite(numbers)]
    if not (known != np.round(known)).any():
        return None
    mean, deviation = float(known.mean()), float(known.std())
    if not deviation > 0:
        todo = "Give the quantity of some patches in which it differs; of the others NaN or None."
        raise InvalidArgumentError(explain(f"labels that are all {known[0]:g}", "two or more values", todo))
    return Labels(((numbers - mean) / deviation).astype(np.float32), [], [mean, deviation])


def _unknown(value: Any) -> bool:
    if value is None or value == "":
        return True
    return not isinstance(value, str) and (value != value or value < 0)


def _column(found: PatchSet, name: str) -> np.ndarray:
    if name not in found.table.variables:
        known = ", ".join(map(str, found.table.variables))
        raise InvalidArgumentError(explain(f"the column {name!r}", f"a column of the table: {known}", "Choose one."))
    return found.table[name].values


def check_length(values: Any, n: int, name: str) -> None:
    """Refuse another number of values than of patches.

    Raises
    ------
    InvalidArgumentError
    """
    if len(values) != n:
        got = f"{name} for {len(values)} patches"
        todo = "Give the name of a column of the table: atoms that are dropped at the edge take their values along."
        raise InvalidArgumentError(explain(got, f"{n} of them", todo))
