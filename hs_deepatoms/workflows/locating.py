"""Atoms in a segmenter's maps: positions, classes, and the same fit that ``find_atoms`` makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.agreement import locate_members_block
from hs_deepatoms.atoms.block import columns_block, noise_windows, residues_block
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.detect import GRID_SIGMA, Detection
from hs_deepatoms.atoms.joint import pooled
from hs_deepatoms.atoms.locate import locate_block, seen_around, spot_radius
from hs_deepatoms.atoms.pixelmaps import MapJob, maps_block
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.engine.mapping import map_blocks
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.methods import images
from hs_deepatoms.methods.labels import WIDTHS
from hs_deepatoms.prepare.scaling import apply_scaling, frame_scaling
from hs_deepatoms.workflows.mapping import planned

LOOK = 512  # pixels, side of the window in which the size of spots is measured
USUAL_RADIUS = 3.0  # pixels, where there is no spot to measure
RIM = 4  # column sigmas around a block whose columns shine in
SAID = ("agreement", "y_spread_px", "x_spread_px")  # what members of an ensemble say of an atom
TRIED = 8  # frames that are looked at until spots are found


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
) -> Points:  # fmt: skip
    """The joint fit of ``find_atoms`` from these positions on; classes and such go to the nearest."""
    kept = points.fitted
    plain = Points(*points.arrays())
    dark = contrast == "dark" or (contrast == "auto" and looks_dark(source, plain, job))
    sigma = max(radius / WIDTHS, images.NARROWEST)
    view = job.view
    fit = Detection(model="", sha256="", device=view.device, zoom=GRID_SIGMA / sigma, shape=view.shape, dark=dark,
                    masked=view.masked, skipped=view.skipped, refine=refine, certain=threshold)  # fmt: skip
    blocks, fit = images.plan(source, fit, **plan)
    if blocks and blocks[0].core_shape != view.shape:
        fit = replace(fit, noises=_noises(source.data, plain, fit, how.get("num_workers")))
    near = [(_around(plain, block, fit),) for block in blocks]
    parts = map_blocks(source.data, blocks, columns_block, arguments=(fit, "network"), each=near,
                       description="fit", **how)  # fmt: skip
    done = Points.join(parts).in_order()
    if len(done.y):
        nearest = cKDTree(_places(plain)).query(_places(done))[1]
        done.fitted |= {name: values[nearest] for name, values in kept.items()}
    return done


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
