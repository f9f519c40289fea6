"""Atoms in a segmenter's maps: positions, classes, and the same fit that ``find_atoms`` makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.agreement import locate_members_block
from hs_deepatoms.atoms.block import (
    PLAIN_NOISE,
    columns_block,
    noise_windows,
    residues_block,
    unexplained,
    unfitted,
    whole_residue,
    widths,
)
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.detect import GRID_SIGMA, Detection
from hs_deepatoms.atoms.ground import KNOT
from hs_deepatoms.atoms.locate import locate_block, seen_around, spot_radius
from hs_deepatoms.atoms.pixelmaps import MapJob, maps_block
from hs_deepatoms.atoms.residue import Residue, pooled
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.engine.mapping import map_blocks
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.methods import images
from hs_deepatoms.methods.labels import WIDTHS
from hs_deepatoms.methods.look import KNOT_RUNGS, on_the_ladder
from hs_deepatoms.prepare.scaling import apply_scaling, frame_scaling
from hs_deepatoms.workflows.mapping import planned

LOOK = 512  # pixels, side of the window in which the size of spots is measured
USUAL_RADIUS = 3.0  # pixels, where there is no spot to measure
RIM = 4  # column sigmas around a block whose columns shine in
SAID = ("agreement", "y_spread_px", "x_spread_px")  # what members of an ensemble say of an atom
TRIED = 8  # frames that are looked at until spots are found
WINDOW_SIGMAS, WINDOW_PIXELS = 80, 160  # side of the window in which columns are measured
# fits from one width to the next at most, relative change with which they are done, columns that they need, the factor
# that they stay within, and factors of the first guess from which they begin
ROUNDS, ARRIVED, FEWEST, WITHIN = 8, 0.01, 3, 4.0
TRIES = (1.0, 1.5, 1 / 1.5, 2.25, 1 / 2.25)


def measured_radius(source: Source, job: MapJob, threshold: float) -> float:
    """Radius of a typical spot in pixels, from the middle of the first frames."""
    shape = job.view.shape
    spans = [(max(0, n // 2 - LOOK // 2), min(n, n // 2 + LOOK // 2)) for n in shape]
    core = (*spans[0], *spans[1])
    for frame in images.spread_out(images.frames_to_use(_n_frames(source), job.view.skipped))[:TRIED]:
        whole = np.asarray(images.frame_of(source, frame))[core[0] : core[1], core[2] : core[3]]
        masked = None if job.view.masked is None else job.view.masked[core[0] : core[1], core[2] : core[3]]
        view = replace(job.view, shape=whole.shape, masked=masked, skipped=None)
        box = (0, whole.shape[0], 0, whole.shape[1])
        radius = spot_radius(maps_block(whole[None], Block((0, 1), box, box), replace(job, view=view))[:, 0], threshold)
        if radius is not None:
            return radius
    return USUAL_RADIUS


def located(source: Source, job: MapJob, threshold: float, radius: float, how: dict, **plan: Any) -> Points:
    """All positions of the signal; ``fitted`` holds their class as "kind"."""
    blocks, job = planned(source, job, margin=seen_around(radius), **plan)
    one = locate_members_block if job.members else locate_block
    parts = map_blocks(source.data, blocks, one, arguments=(job, threshold, radius), description="find_atoms", **how)
    none = Points.none()
    none.fitted |= {"kind": np.empty(0, int), **({name: np.empty(0) for name in SAID} if job.members else {})}
    return Points.join([none, *parts]).in_order()


def refined(
    source: Source, points: Points, job: MapJob, *, radius: float, threshold: float, refine: str, contrast: str,
    how: dict, **plan: Any,
) -> tuple[Points, dict[str, Any]]:  # fmt: skip
    """The joint fit of ``find_atoms`` from these positions on; classes and such go to the nearest.

    Also what was measured for it. Without a position the table has the same columns, and no row.
    """
    kept = points.fitted
    plain = Points(*points.arrays())
    if not len(plain.y):
        return Points(*plain.arrays(), {**unfitted(plain).fitted, **kept}), {}
    dark = contrast == "dark" or (contrast == "auto" and looks_dark(source, plain, job))
    view, guess = job.view, max(radius / WIDTHS, images.NARROWEST)
    fit = Detection(model="", sha256="", device=view.device, zoom=GRID_SIGMA / guess, shape=view.shape, dark=dark,
                    masked=view.masked, skipped=view.skipped, refine=refine, certain=threshold)  # fmt: skip
    width = column_sigma(source, plain, fit)
    fit = replace(fit, zoom=GRID_SIGMA / on_the_ladder(width), knot=KNOT * on_the_ladder(width, rungs=KNOT_RUNGS))
    blocks, fit = images.plan(source, fit, **plan)
    if blocks and blocks[0].core_shape != view.shape:
        fit = replace(fit, noises=_noises(source.data, plain, fit, how.get("num_workers")))
    near = [(_around(plain, block, fit),) for block in blocks]
    parts = map_blocks(source.data, blocks, columns_block, arguments=(fit, "network"), each=near,
                       description="fit", **how)  # fmt: skip
    done = Points.join(parts).in_order()
    nearest = cKDTree(_places(plain)).query(_places(done))[1] if len(done.y) else np.empty(0, int)
    done.fitted |= {name: values[nearest] for name, values in kept.items()}
    return done, {"column_sigma_px": round(fit.column_sigma, 4), "dark_columns": dark}


def column_sigma(source: Source, points: Points, job: Detection) -> float:
    """Typical column sigma in pixels, measured where most of the columns of a frame are.

    The radius of labels is what somebody chose, or what a network made of it: only a first guess, from which fits to
    one window go on until they find the sigma that they began with. A fit from too far away may stay where it is; what
    it leaves over is then more than noise, and other guesses are tried. ``job`` has the guess.
    """
    guess, frame = job.column_sigma, int(np.bincount(points.frame).argmax())
    where = _surroundings(source, points.keep(points.frame == frame), frame, replace(job, refine="quick"))
    ends = []
    for factor in TRIES:
        sigma, remains = _fixed_point(*where, max(factor * guess, images.NARROWEST), WITHIN * guess)
        if remains is None:
            continue
        if pooled([remains]).excess < PLAIN_NOISE:
            return sigma
        ends.append((unexplained(remains), sigma))
    return min(ends)[1] if ends else guess


def _fixed_point(
    near: Points, window: np.ndarray, job: Detection, sigma: float, most: float
) -> tuple[float, Residue | None]:
    """The sigma that a fit finds where it begins with it, and what it leaves over; None with too few columns."""
    remains, least = None, max(most / WITHIN**2, images.NARROWEST)
    for _ in range(ROUNDS):
        remains = whole_residue(near, window, replace(job, zoom=GRID_SIGMA / sigma)) if len(near.y) else None
        found = np.empty(0) if remains is None else widths(remains)
        if len(found) < FEWEST:
            return sigma, None
        # what is no column at all would have any width, and the wider it is the more of the image is fitted at once
        before, sigma = sigma, float(np.clip(np.median(found), least, most))
        if abs(np.log(sigma / before)) < ARRIVED:
            break
    return sigma, remains


def _surroundings(source: Source, points: Points, frame: int, job: Detection) -> tuple[Points, np.ndarray, Detection]:
    """The columns around the middle of all of a frame, the pixels there, and the job on nothing but these."""
    half = int(max(WINDOW_SIGMAS * job.column_sigma, WINDOW_PIXELS)) // 2
    middle = [int(np.median(p)) for p in (points.y, points.x)]
    starts = [int(np.clip(m - half, 0, max(n - 2 * half, 0))) for m, n in zip(middle, job.shape, strict=True)]
    rows, columns = (slice(start, min(start + 2 * half, n)) for start, n in zip(starts, job.shape, strict=True))
    window = np.asarray(images.frame_of(source, frame)[rows, columns])
    masked = None if job.masked is None else job.masked[rows, columns]
    near = replace(points, frame=np.zeros_like(points.frame), y=points.y - rows.start, x=points.x - columns.start)
    inside = (near.y > -0.5) & (near.x > -0.5) & (near.y < window.shape[0] - 0.5) & (near.x < window.shape[1] - 0.5)
    return near.keep(inside), window, replace(job, shape=window.shape, masked=masked, skipped=None)


def looks_dark(source: Source, points: Points, job: MapJob) -> bool:
    """Whether atoms are darker than the rest of their image."""
    if not len(points.y):
        return False
    frame = int(np.bincount(points.frame).argmax())
    image = np.asarray(images.frame_of(source, frame))
    scaled = apply_scaling(image, frame_scaling(image, job.view.masked))
    here = points.frame == frame
    y, x = (np.clip(np.rint(p[here]).astype(int), 0, n - 1) for p, n in zip((points.y, points.x), image.shape,
                                                                            strict=True))  # fmt: skip
    return bool(np.nanmean(scaled[y, x]) < np.nanmean(scaled))


def _n_frames(source: Source) -> int:
    return int(np.prod(source.data.shape[:-2], dtype=np.int64))


def _places(points: Points) -> np.ndarray:
    return np.column_stack([points.y + 1e6 * points.frame, points.x])


def _around(points: Points, block: Block, job: Detection) -> Points:
    """The columns on a block's pixels and those beside it."""
    y0, y1, x0, x1 = block.padded
    rim = RIM * job.column_sigma
    here = (points.frame >= block.frames[0]) & (points.frame < block.frames[1])
    here &= (points.y > y0 - rim) & (points.y < y1 + rim) & (points.x > x0 - rim) & (points.x < x1 + rim)
    return points.keep(np.flatnonzero(here))


def _noises(data, points: Points, job: Detection, num_workers: int | None) -> list:
    """Noise of every frame that is too large for one task, from windows of it."""
    found = []
    for frame in range(int(np.prod(data.shape[:-2], dtype=np.int64))):
        blocks = [Block((frame, frame + 1), core, core) for core in noise_windows(job.shape, job.column_sigma)]
        near = [(_around(points, block, job),) for block in blocks]
        parts = map_blocks(data, blocks, residues_block, arguments=(job,), each=near, num_workers=num_workers,
                           show_progressbar=False)  # fmt: skip
        known = [part[0] for part in parts if part[0] is not None]
        found.append(pooled(known) if known else None)
    return found
