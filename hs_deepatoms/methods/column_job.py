"""What a block's task is told to find columns: of the look at the images, and of how they are divided."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images

if TYPE_CHECKING:
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.engine.plan import Block
    from hs_deepatoms.methods.look import Look

UNCERTAIN = 0.1  # probability from which candidates tell how undecided they are as a whole
CANDIDATE = 0.01  # probability from which the crystal around is asked


def detection_job(source: Source, look: Look) -> Detection:
    """What every block's task needs to know."""
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.modelfile.cache import cached_module

    network, rounding = cached_module(look.model.path, look.model.sha256, look.device, name="detector"), look.rounding
    return Detection(
        model=look.model.path,
        sha256=look.model.sha256,
        device=look.device,
        zoom=network.sigma / look.sigma / (1.0 if rounding is None else rounding.stretch),
        halo=network.halo,
        multiple=network.multiple,
        shape=tuple(source.data.shape[-2:]),
        dark=look.dark,
        threshold=look.threshold,
        calibration=look.model.calibration,
        masked=look.masked,
        skipped=None if look.skipped is None else look.skipped.ravel(),
        apart=None if look.spacing_px is None else 0.5 * look.spacing_px,
        refine=look.refine,
        knot=look.knot,
        elliptical=look.ellipses,
        ellipse=look.ellipse,
        rounding=rounding,
        certain=look.threshold,
    )


def planned(
    source: Source, look: Look, batch_size: int | None, navigation_chunks: int | None
) -> tuple[list[Block], Detection]:
    """The blocks of a source, and what each block's task needs to know to find columns."""
    job = detection_job(source, look)
    if look.method == "network":  # the uncertain ones are needed to judge the whole
        job = replace(job, reported=min(look.threshold, UNCERTAIN), order=look.model.order)
        job = replace(job, threshold=CANDIDATE if job.order else job.reported)
        if job.order and look.refine != "none":
            job = replace(job, heights=look.model.heights)
    return images.plan(source, job, batch_size=batch_size, frames_per_block=navigation_chunks)
