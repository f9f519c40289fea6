"""Spikes of a scan whose spectra come block by block: what the neighbours in the scan show, too, is no spike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from hs_deepatoms.spectra.spikes import Outstanding, Repairs, Spikes

SAME = 0.1  # of what stands out of a pixel: a neighbour that has as much of it shows the same
OFFSETS = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
OFTEN = 1e-3  # of all values: so many cosmic rays are not
IN_CHANNEL = 0.01  # of the pixels
FEW = 10


class Looked(NamedTuple):
    """A block of spectra: mended as far as the block itself can tell, and which of its spectra still have doubts.

    Attributes
    ----------
    rows : numpy.ndarray, shape (m, channels)
        The same array where there is no spike.
    doubted : numpy.ndarray, bool, shape (m,)
        Spectra that may have spikes, or lines that neighbours in other blocks show.
    repairs : Repairs
        What was mended.
    doubts, rim : Outstanding
        What stands out of these spectra, and of all that have neighbours in other blocks; rows are places.
    """

    rows: np.ndarray
    doubted: np.ndarray
    repairs: Repairs
    doubts: Outstanding
    rim: Outstanding


@dataclass(eq=False)
class Search:
    """Looks for the spikes of a scan.

    A cosmic ray hits one pixel: what stands out of a spectrum is a spike unless one of the eight neighbours (along the
    last two axes of the scan) has at least a tenth of it, too, in the same channel or the next. Which blocks the
    spectra come in changes nothing.

    Parameters
    ----------
    spikes : Spikes
        What stands out.
    scan : tuple of int
    """

    spikes: Spikes
    scan: tuple[int, ...]
    _looked: list[Looked] = field(default_factory=list, init=False)

    def look(self, index: np.ndarray, rows: np.ndarray) -> Looked:
        """Spectra (m, channels) of the places ``index`` (m,), rising; may be called in several threads."""
        found = self.spikes.find(rows)
        at = replace(found, row=index[found.row])
        spike = at.spike.copy()
        spike[spike] = ~_shown(at.of(at.spike), at, self.scan, len(self.spikes.mean))
        outer = self._has_neighbours_elsewhere(at.row, index)
        doubt, sure = spike & outer, spike & ~outer
        if sure.any():
            rows = rows.copy()
            rows[found.row[sure], found.channel[sure]] = found.value[sure]
        doubted = np.zeros(len(rows), bool)
        doubted[found.row[doubt]] = True
        return Looked(rows, doubted, _repairs(at.of(sure)), at.of(doubt), at.of(outer))

    def add(self, looked: Looked) -> None:
        """Keep what has been seen of a block; in one thread, in any order."""
        self._looked.append(looked._replace(rows=None, doubted=None))

    def doubts(self) -> Repairs:
        """After all blocks: what is mended of the spectra that were doubted."""
        doubts, rim = (Outstanding.joined([getattr(one, name) for one in self._looked]) for name in ("doubts", "rim"))
        return _repairs(doubts.of(~_shown(doubts, rim, self.scan, len(self.spikes.mean))))

    def repairs(self) -> Repairs:
        """After all blocks: everything that is mended."""
        parts = [*(one.repairs for one in self._looked), self.doubts()]
        names = ("places", "channels", "values")
        return _in_order(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _has_neighbours_elsewhere(self, places: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Which of the places have neighbours that are not in ``index``."""
        if not places.size:
            return np.zeros(0, bool)
        own, back = np.unique(places, return_inverse=True)
        near = neighbours(own, self.scan)
        at = np.searchsorted(index, near).clip(max=len(index) - 1)
        return ((near >= 0) & (index[at] != near)).any(1)[back]


def neighbours(places: np.ndarray, scan: tuple[int, ...]) -> np.ndarray:
    """The eight neighbours (m, 8) of places along the last two axes of the scan; -1 where there is none.

    Examples
    --------
    >>> neighbours(np.array([5]), (3, 4)).tolist(), neighbours(np.array([0]), (2, 3)).tolist()
    ([[0, 1, 2, 4, 6, 8, 9, 10]], [[-1, -1, -1, -1, 1, -1, 3, 4]])
    """
    ny, nx = (1, 1, *scan)[-2:]
    y, x = (one[:, None] + step for one, step in zip(((places // nx) % ny, places % nx), OFFSETS.T, strict=True))
    near = places[:, None] + OFFSETS @ (nx, 1)
    return np.where((y >= 0) & (y < ny) & (x >= 0) & (x < nx), near, -1)


def _shown(doubts: Outstanding, seen: Outstanding, scan: tuple[int, ...], n: int) -> np.ndarray:
    """Which of what stands out (k,) a neighbour shows, too; ``row`` are places in both."""
    if not doubts.row.size or not seen.row.size:
        return np.zeros(doubts.row.size, bool)
    width = n + 2  # a channel beside the last is none of the next spectrum
    keys = seen.row * width + seen.channel
    order = np.argsort(keys, kind="stable")
    keys, excess = keys[order], seen.excess[order]
    near = neighbours(doubts.row, scan)[:, :, None]
    wanted = np.where(near < 0, -1, near * width + doubts.channel[:, None, None] + np.arange(-1, 2))
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return ((keys[at] == wanted) & (excess[at] >= SAME * doubts.excess[:, None, None])).any((1, 2))


def _repairs(found: Outstanding) -> Repairs:
    return Repairs(found.row, found.channel, found.value)


def _in_order(places: np.ndarray, channels: np.ndarray, values: np.ndarray) -> Repairs:
    order = np.lexsort((channels, places))
    return Repairs(places[order], channels[order], values[order])


def many(repairs: Repairs | None, pixels: int, channels: int) -> str:
    """What to say where so much was taken for spikes that it may be none; empty where it was not.

    Examples
    --------
    >>> many(Repairs(np.arange(4), np.full(4, 7), np.zeros(4)), 1000, 500)
    ''
    """
    if repairs is None:
        return ""
    count = len(repairs.places)
    each = np.bincount(repairs.channels, minlength=channels)
    full = int((each > max(FEW, IN_CHANNEL * pixels)).sum())
    if count <= max(FEW, OFTEN * pixels * channels) and not full:
        return ""
    where = f" (in one channel {each.max()}; in {full} of more than 1 % of the spectra)" if full else ""
    size = pixels * channels
    return (f"{count} of {size} values were taken for spikes of cosmic rays and replaced{where}, more than "
            "is usual. If these are lines of single pixels, give spikes=False")  # fmt: skip
