"""Frames of a stack that are not like the one its columns were measured in: looked at by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidImageError
from hs_deepatoms._core.progress import progress
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.methods import images
from hs_deepatoms.methods.column_job import planned
from hs_deepatoms.methods.look import SAME, Look, look_at

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.filed import Filed
    from hs_deepatoms.atoms.pile import Pile

STAGE = "alone"  # of a checkpoint: a frame by itself

# of what is found above probability 0.1, the share in doubt from which nothing is believed: where the survey has its
# doubts, and anywhere
TOO_UNDECIDED, HOPELESS = 0.25, 0.4
# a frame is odd whose share in doubt is over this, and so many times that of the frame whose columns were measured; or
# that has so many times fewer or more columns than that one; or columns that are wider or narrower by so many octaves
DECIDED, TIMES, FEWER, MORE, OTHER_WIDTH = 0.025, 1.7, 0.25, 1.5, 0.25
SAME_SHAPE = 0.15  # logarithm of long over short: shapes that are one
AS_DECIDED = 0.005  # a share in doubt that is higher by less is as low
SOON = 1.0  # seconds after which a progress bar is shown


@dataclass(frozen=True)
class Told:
    """The look at one frame by itself, as the provenance names it; no width where nothing is believed."""

    sigma: float = 0.0
    dark: bool = False
    oblong: float = 0.0
    ellipses: bool = False
    other_model: bool = False  # than the stack's

    @staticmethod
    def of(look: Look, stack: Look) -> Told:
        """Of a look from which something is believed, and that at the whole stack."""
        other = look.model.sha256 != stack.model.sha256
        return Told(look.sigma, look.dark, look.oblong or 0.0, look.ellipses, other)

    @staticmethod
    def from_row(row: np.ndarray) -> Told:
        return Told(float(row[0]), bool(row[1]), float(row[2]), bool(row[3]), bool(row[4]))

    def row(self) -> np.ndarray:
        """All in one array, float64, shape (5,)."""
        return np.array([self.sigma, self.dark, self.oblong, self.ellipses, self.other_model], float)

    @property
    def model(self) -> str | None:
        """Name of the shipped model that found the columns, where it is not the stack's."""
        return images.suited_model(self.dark).name if self.other_model else None


STAYS = {"told": np.empty(0)}  # what the stack had found in a frame
NOTHING = {"told": Told().row()}


@dataclass(frozen=True)
class LookAlone:
    """A look at one frame of a stack by itself. It travels with tasks.

    Attributes
    ----------
    look : Look
        That at the whole stack.
    signal : tuple of Axis
        Of a frame.
    options : mapping
        Of `look_at`, as for the stack.
    batch_size : int, optional
    """

    look: Look
    signal: tuple[Axis, ...]
    options: Mapping[str, Any]
    batch_size: int | None = None

    def __call__(self, frames: np.ndarray, block: Block, expected: float, doubt: float) -> dict[str, np.ndarray] | None:
        """In a task that holds the frame: what is told of it, as `found_in`; None if a task cannot hold the fit."""
        return self.found_in(Source(frames[0], (), self.signal), expected, doubt, None)

    def found_in(self, frame: Source, expected: float, doubt: float, how: dict | None) -> dict[str, np.ndarray] | None:
        """What is found in one frame by itself, as arrays of a checkpoint; `STAYS` where what was found may stay.

        A faint frame, which by itself tells nothing, is helped by the others; what is as undecided as noise is not.
        ``how`` holds the options of the engine for a frame that is tiled; None: nothing is told of such a frame.
        """
        try:
            own = look_at(frame, outside=self.look.masked, device=self.look.device, **self.options)
        except InvalidImageError:  # constant
            return STAYS
        if own.counts:
            return NOTHING
        if own.spacing_px is None:
            limit = TOO_UNDECIDED if own.doubtful else HOPELESS
        else:  # whoever gives a distance knows that there are columns
            limit = 1.0
        if own.confidence > 0 and not self.alike(own):
            pile = self._columns(frame, own, how)
            if pile is None:
                return None
            share = pile.indecision()
            hopeless = expected == 0 or doubt > limit
            # a small grain by itself may pass for one wide column, which nobody doubts
            fuller = pile.rows >= FEWER * expected and share < doubt + AS_DECIDED
            if pile.rows and share <= limit and (hopeless or fuller):
                points = self._in_terms_of_the_stack(pile.points(), own)
                return {"told": Told.of(own, self.look).row(), "sums": pile.sums.table(), **points.columns()}
            limit = min(limit, TOO_UNDECIDED if own.spacing_px is None else 1.0)  # nor does it convince by itself
        return NOTHING if doubt > limit else STAYS

    def alike(self, own: Look) -> bool:
        """Whether a look is that at the whole stack, as far as anybody could tell."""
        this = self.look
        shapes = np.subtract(own.ellipse or (0.0, 0.0), this.ellipse or (0.0, 0.0))
        same = own.dark == this.dark and own.rounded == this.rounded and np.hypot(*shapes) < SAME_SHAPE
        return bool(same and abs(np.log2(own.sigma / this.sigma)) < SAME)

    def _in_terms_of_the_stack(self, points: Points, own: Look) -> Points:
        """Probabilities of another model as the stack's would have to say them, by whose knots they will be mapped."""
        from hs_deepatoms.atoms.reliability import raw, reliable

        knots = own.model.reliability, self.look.model.reliability
        if knots[0] == knots[1]:
            return points
        return replace(points, probability=raw(reliable(points.probability, knots[0]), knots[1]).astype(np.float32))

    def _columns(self, frame: Source, own: Look, how: dict | None) -> Pile | None:
        from hs_deepatoms.atoms.block import columns_block
        from hs_deepatoms.atoms.passes import find_columns
        from hs_deepatoms.atoms.pile import Pile

        blocks, job = planned(frame, own, self.batch_size, None)
        pile = Pile(own.threshold)
        if len(blocks) == 1:
            pile.put("columns", 0, columns_block(np.asarray(frame.data)[None], blocks[0], job, own.method))
        elif how is None:
            return None
        else:
            find_columns(frame.data, blocks, job, own.method, pile, **(how | {"show_progressbar": False}))
        return pile


@dataclass(frozen=True)
class OwnLooks:
    """The frames of a stack that are looked at by themselves.

    Attributes
    ----------
    source : Source
        The whole stack.
    look : Look
        That at the whole stack.
    alone : LookAlone
    told : dict of int: Told
        The frames that tell something by themselves.
    """

    source: Source
    look: Look
    alone: LookAlone
    told: dict[int, Told] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(np.prod(self.source.data.shape[:-2]))

    @property
    def oblong(self) -> list[Told]:
        """Of frames whose columns are fitted as ellipses."""
        return [one for one in self.told.values() if one.oblong and one.ellipses]

    def give(self, found: Pile | Filed, tiled: bool, how: dict) -> None:
        """Replace, in what was found, frames that are odd and tell something by themselves.

        ``tiled`` says that a task of the stack holds a part of a frame; ``how`` are the options of the engine.
        """
        from hs_deepatoms.atoms.frame_sums import FrameSums, Replaced

        if self.frames < 2 or self.look.method != "network":
            return
        expected, doubt, width = found.sums.over(self.frames)
        odd = [int(k) for k in self.odd(expected, doubt, width)]
        self._look_at(odd, expected, doubt, found.shelf, tiled, how)
        sums, points = [], []
        for frame in odd:
            arrays = found.shelf.get(STAGE, frame)
            told = arrays.pop("told")
            if not len(told):
                continue
            self.told[frame] = Told.from_row(told)
            if arrays:
                sums.append(replace(FrameSums.from_table(arrays.pop("sums")), frame=np.array([frame])))
                points.append(_of_frame(arrays, frame))
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

    def _look_at(self, odd: list[int], expected, doubt, shelf, tiled: bool, how: dict) -> None:
        """Look at the frames that no run before has, one to a task, and put what they tell on a shelf."""
        from hs_deepatoms.engine.mapping import map_blocks

        missing = set(shelf.missing(STAGE, self.frames)) if odd else ()
        todo = [frame for frame in odd if frame in missing]
        each = [(float(expected[k]), float(doubt[k])) for k in todo]
        height, width = self.source.data.shape[-2:]
        whole, silent = (0, height, 0, width), how | {"show_progressbar": False}
        large = list(range(len(todo))) if tiled else []
        with progress(len(todo), "find_atoms, odd frames", how.get("show_progressbar"), "frames", delay=SOON) as bar:

            def take(i: int, arrays: dict | None) -> None:
                if arrays is None:
                    large.append(i)
                    return
                shelf.put(STAGE, todo[i], arrays)
                bar.update()

            if todo and not tiled:
                blocks = [Block((k, k + 1), whole, whole) for k in todo]
                map_blocks(self.source.data, blocks, self.alone, each=each, collect=take, **silent)
            for i in sorted(large):
                take(i, self.alone.found_in(_one_frame(self.source, todo[i]), *each[i], silent))


def _one_frame(source: Source, frame: int) -> Source:
    data = images.frame_of(source, frame)
    if data.dtype.itemsize * data.size <= images.WHOLE_FRAME_BYTES:
        data = np.asarray(data)  # of lazy data, once
    return replace(source, data=data, navigation=())


def _of_frame(columns: dict[str, np.ndarray], frame: int) -> Points:
    from hs_deepatoms.atoms.decode import Points

    return Points.of(columns | {"frame": np.full_like(columns["frame"], frame)})


def _joined(parts: list[Points]) -> Points:
    from hs_deepatoms.atoms.decode import Points

    parts = [part for part in parts if len(part.y)]
    return Points.join(parts).in_order() if parts else Points.none()
