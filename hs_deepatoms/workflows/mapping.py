"""How a segmenter looks at a signal: pixel size matched, frames scaled, blocks planned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms.atoms.detect import Detection
from hs_deepatoms.atoms.pixelmaps import MapJob
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.modelfile.handle import NetHandle
from hs_deepatoms.nets.members import Members

if TYPE_CHECKING:
    from hs_deepatoms.workflows.segmenter import Segmenter

SAME_SIZE = 0.02  # pixels that differ by less are not resampled
MULTIPLE = 32  # of a user's module that does not say what size it needs
LIVE = 14  # arrays of the widest full-size layer that are alive at a network's peak (measured on UNet and SegResNet)


def map_job(
    segmenter: Segmenter,
    source: Source,
    *,
    device: str = "auto",
    match_pixel_size: bool = True,
    signal_mask: Any = None,
    navigation_mask: Any = None,
    each: bool = False,
) -> MapJob:
    """What every task must know; ``each``: of an ensemble the maps of every member instead of their mean."""
    shape = tuple(source.data.shape[-2:])
    zoom = zoom_to(segmenter, source) if match_pixel_size else 1.0
    reach = getattr(segmenter.net, "halo", None)
    if reach is None:  # a norm over the image, or a module that does not say: whole frames
        reach = int(np.ceil(max(shape) * zoom))
    skipped = images.read_mask(navigation_mask, source.data.shape[:-2], "navigation_mask",
                               images.names(source.navigation))  # fmt: skip
    view = Detection(
        model="",
        sha256="",
        device=choose_device(device),
        zoom=zoom,
        shape=shape,
        halo=reach,
        multiple=getattr(segmenter.net, "multiple", MULTIPLE),
        batch_pixels=max(2**16, int(images.MEMORY / bytes_per_pixel(segmenter.net))),
        masked=images.read_mask(signal_mask, shape, "signal_mask", images.names(source.signal)),
        skipped=None if skipped is None else skipped.ravel(),
    )
    members = len(segmenter.net.nets) if each and isinstance(segmenter.net, Members) else 0
    return MapJob(view, NetHandle(segmenter.part), len(segmenter.classes), segmenter.exclusive, members)


def planned(source: Source, job: MapJob, *, margin: float = 0.0, batch_size: int | None, frames_per_block: int | None):
    """Blocks for the engine, and the job completed with what tiles need.

    ``margin`` (source pixels) is seen around a block beyond the network's reach, for cores that are widened by it.
    """
    wide = replace(job.view, halo=job.view.halo + int(np.ceil(margin * job.view.zoom)))
    blocks, view = images.plan(source, wide, batch_size=batch_size, frames_per_block=frames_per_block,
                               bytes_per_grid_pixel=bytes_per_pixel(job.net.part[2]))  # fmt: skip
    return blocks, replace(job, view=replace(view, halo=job.view.halo))


def zoom_to(segmenter: Segmenter, source: Source) -> float:
    """Pixels of the training images per pixel of the source; 1 where either is not calibrated."""
    size = images.pixel_size_nm(source.signal)
    if size is None or segmenter.pixel_nm is None:
        return 1.0
    zoom = size / segmenter.pixel_nm
    return 1.0 if abs(np.log(zoom)) < SAME_SIZE else float(zoom)


def bytes_per_pixel(net: Any) -> float:
    """What a network needs at its peak per full-size pixel, float32."""
    import torch

    first = next((m for m in net.modules() if isinstance(m, torch.nn.Conv2d)), None)
    return 4.0 * LIVE * (32 if first is None else first.out_channels)
