"""All columns of a signal: one task per block, or, where frames are tiled, candidates first and the fit afterwards.

What the crystal says about a column (:mod:`~hs_deepatoms.atoms.order`) and how noisy a frame is are known only when all
of the frame's candidates are. A task that holds whole frames finds that out by itself; tiles meet in between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hs_deepatoms._core.progress import Share, progress
from hs_deepatoms.atoms.block import candidates_block, columns_block, in_light_of_crystal, noise_windows, residues_block
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.detect import Detection, in_frame
from hs_deepatoms.atoms.residue import pooled
from hs_deepatoms.engine.heap import trim_heap
from hs_deepatoms.engine.mapping import map_blocks
from hs_deepatoms.engine.plan import Block

if TYPE_CHECKING:
    from hs_deepatoms.atoms.pile import Shelf
    from hs_deepatoms.engine.checkpoint import Checkpoint

RIM = 4  # column sigmas
TIDY = 8  # blocks after which freed memory is given back
SEEN = 40  # percent of the time that finding takes, where columns are fitted afterwards


class Keeper(Protocol):
    """Who takes the points of the blocks: in memory (:class:`~hs_deepatoms.atoms.pile.Pile`) or on disk."""

    @property
    def shelf(self) -> Shelf | Checkpoint:
        """For arrays of single frames."""

    def missing(self, stage: str, count: int) -> list[int]:
        """Numbers of the blocks of a stage that are still to be done."""

    def put(self, stage: str, number: int, points: Points) -> None:
        """Take the points of one block."""

    def candidates(self) -> Points:
        """All points of the stage "candidates"."""


def find_columns(data, blocks: list[Block], job: Detection, method: str, keeper: Keeper, **how) -> None:
    """Columns of the whole signal, in parts; within a frame they hardly depend on how it is tiled.

    Positions agree to a few thousandths of a pixel; probabilities of doubtful columns, which what stands at their
    equivalents decides on, to a few hundredths, so that one at the threshold may come or go.

    Parameters
    ----------
    data : numpy or dask array, shape (..., ny, nx)
    blocks : list of Block
    job : Detection
    method : {"network", "log", "max"}
    keeper : Keeper
        Is given the points of each part of the stage "columns": source pixels; ``frame`` counts over the whole signal.
        Where frames are tiled there is a stage "candidates" before it.
    **how
        ``num_workers`` and ``show_progressbar`` of :func:`~hs_deepatoms.engine.mapping.map_blocks`.
    """
    if all(block.core_shape == tuple(job.shape) for block in blocks):
        _stage("columns", keeper, data, blocks, columns_block, (job, method), description="find_atoms", **how)
        return
    fit = job.refine != "none"
    with progress(100, "find_atoms", how.pop("show_progressbar", None), "%") as bar:
        here = Share(bar, len(keeper.missing("candidates", len(blocks))), SEEN if fit else 100)
        _stage("candidates", keeper, data, blocks, candidates_block, (job, method), share=here, **how)
        bar.update(here.total - bar.n)  # what a run before had found
        points = in_light_of_crystal(keeper.candidates().in_order(), job)
        if not fit:
            keeper.put("columns", 0, points.keep(in_frame(points, job.shape)))
            return
        todo = keeper.missing("columns", len(blocks))
        if todo:
            job = replace(job, noises=_noises(data, points, job, how.get("num_workers")))
            near, points = [_around(points, block, job) for block in blocks], None
            here = Share(bar, len(todo), 100 - SEEN)
            _stage("columns", keeper, data, blocks, columns_block, (job, method), near, share=here, **how)
        bar.update(100 - bar.n)


def _stage(stage: str, keeper: Keeper, data, blocks, function, arguments, near=None, **how) -> None:
    """What is missing of a stage, block by block; ``near`` holds a further argument for every block."""
    todo = keeper.missing(stage, len(blocks))
    each = None if near is None else [(near[k],) for k in todo]

    def collect(i: int, points: Points) -> None:
        keeper.put(stage, todo[i], points)
        if i % TIDY == TIDY - 1:
            trim_heap()

    map_blocks(data, [blocks[k] for k in todo], function, arguments=arguments, each=each, collect=collect,
               of=len(blocks), **how)  # fmt: skip
    if len(todo) >= TIDY:
        trim_heap()


def _around(points: Points, block: Block, job: Detection) -> Points:
    """The columns that a task needs: those on its pixels and those beside them that shine in."""
    first, stop = np.searchsorted(points.frame, block.frames)
    y, x = points.y[first:stop], points.x[first:stop]
    y0, y1, x0, x1 = block.padded
    rim = RIM * job.column_sigma
    here = (y > y0 - rim) & (y < y1 + rim) & (x > x0 - rim) & (x < x1 + rim)
    return points.keep(first + np.flatnonzero(here))


def _noises(data, points: Points, job: Detection, num_workers: int | None) -> list:
    """Noise of every frame that is too large for one task, from windows of it."""
    windows, found = noise_windows(job.shape, job.column_sigma), []
    for frame in range(int(np.prod(data.shape[:-2]))):
        blocks = [Block((frame, frame + 1), core, core) for core in windows]
        near = [(_around(points, block, job),) for block in blocks]
        parts = map_blocks(data, blocks, residues_block, arguments=(job,), each=near, num_workers=num_workers,
                           show_progressbar=False)  # fmt: skip
        known = [part[0] for part in parts if part[0] is not None]
        found.append(pooled(known) if known else None)
    return found
