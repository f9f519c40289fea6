"""Probability maps of a network that classifies pixels, block by block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from hs_deepatoms.atoms.detect import Detection, batched, block_views, views_at_once
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.engine.resident import at_most, turn_of_network
from hs_deepatoms.prepare.resample import resample, resampled_size, resampling_matrix

if TYPE_CHECKING:
    from hs_deepatoms.modelfile.handle import NetHandle


@dataclass(frozen=True)
class MapJob:
    """Everything a task needs to know besides its pixels.

    Attributes
    ----------
    view : Detection
        How frames are scaled, repaired and resampled, and the reach of the network.
    net : NetHandle
    n_classes : int
        Without the background.
    exclusive : bool
        Whether channel 0 is the background and classes exclude each other (softmax); else a sigmoid per class.
    members : int
        Of an ensemble whose members' own maps are wanted, one after the other; 0: one set of maps.
    """

    view: Detection
    net: NetHandle
    n_classes: int
    exclusive: bool
    members: int = 0

    @property
    def n_maps(self) -> int:
        """Maps per frame."""
        return self.n_classes * max(1, self.members)


def maps_block(frames: np.ndarray, block: Block, job: MapJob) -> np.ndarray:
    """Probability of every class at every pixel of the block's core.

    Parameters
    ----------
    frames : ndarray, shape (f, h, w)
        Source pixels ``block.padded``.
    block : Block
    job : MapJob

    Returns
    -------
    ndarray, float32, shape (n_classes, f, core height, core width)
        Of an ensemble's members: (members * n_classes, ...). Zero in frames that are constant or left out, and on
        masked pixels.
    """
    view = job.view
    windows, views = block_views(frames, block, view)
    out = np.zeros((job.n_maps, len(frames), *block.core_shape), np.float32)
    back = [_to_pixels(block.core[2 * k : 2 * k + 2], windows[k], view.shape[k], view.zoom) for k in (0, 1)]
    with at_most(2, "detect"):
        for batch in batched(views, views_at_once(windows, view)):
            numbers, images = zip(*batch, strict=True)
            for number, maps in zip(numbers, probabilities(np.stack(images), job), strict=True):
                for k, own in enumerate(maps):
                    out[k, number] = np.clip(resample(own, *back), 0, 1)
    if view.masked is not None:
        y0, y1, x0, x1 = block.core
        out[:, :, view.masked[y0:y1, x0:x1]] = 0
    return out


def probabilities(views: np.ndarray, job: MapJob) -> np.ndarray:
    """Network and activation for a batch, shape (n, h, w) -> (n, n_maps, h, w); padded to the network's multiple."""
    pad = [-n % job.view.multiple for n in views.shape[1:]]
    tensor = torch.from_numpy(np.pad(views, [(0, 0), (0, pad[0]), (0, pad[1])], mode="edge"))[:, None]
    device = job.view.device
    with turn_of_network(device), torch.inference_mode():
        tensor = tensor.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=device.startswith("cuda")):
            net = job.net.on(device)
            out = (net.each(tensor) if job.members else net(tensor)[None]).float()
        out = torch.softmax(out, 2)[:, :, 1:] if job.exclusive else torch.sigmoid(out)
        out = out.transpose(0, 1).flatten(1, 2)
        return out[:, :, : views.shape[1], : views.shape[2]].cpu().numpy()


def around(block: Block, margin: int, shape: tuple[int, int]) -> Block:
    """The block with a core that reaches a few pixels into its neighbours'."""
    y0, y1, x0, x1 = block.core
    core = (max(0, y0 - margin), min(shape[0], y1 + margin), max(0, x0 - margin), min(shape[1], x1 + margin))
    return replace(block, core=core)


def _to_pixels(core, window, size, zoom):
    """Matrix from the grid of a window back to source pixels ``core``."""
    return resampling_matrix(core[0], core[1], 1 / zoom, (window.start, window.stop), resampled_size(size, zoom))
