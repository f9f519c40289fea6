"""Class averages that share one orientation: where the training of an invariant autoencoder begins.

Left to itself a decoder may learn the same motif twice, in two orientations. Here patches are first averaged as single
particles are in cryo-electron microscopy (alignment to the best of several references: van Heel & Frank,
Ultramicroscopy 6, 187 (1981), doi:10.1016/S0304-3991(81)80197-0); then the averages are turned to agree with each
other along the tree of the best matches, which is angular synchronisation (Singer, Appl. Comput. Harmon. Anal. 30, 20
(2011), doi:10.1016/j.acha.2010.02.001) on a tree.
"""

from __future__ import annotations

import math

import torch

from hs_deepatoms.latent.poses import Frame, disc, grid_of_size, sample, to_patch
from hs_deepatoms.latent.search import Lattice, distances, search


def class_averages(
    patches: torch.Tensor, frame: Frame, lattice: Lattice, n: int, generator: torch.Generator, rounds: int = 8
) -> torch.Tensor:
    """Up to n average motifs (m, c, *frame.size) in agreeing orientations, the most frequent first.

    Parameters
    ----------
    patches : tensor, shape (k, c, h, w)
    frame : Frame
    lattice : Lattice
    n : int
    generator : torch.Generator
        Chooses the patches to begin with.
    rounds : int
    """
    chosen = torch.randperm(len(patches), generator=generator)[: min(n, len(patches))]
    still = torch.zeros(len(chosen), 4)
    motifs = unrolled(patches[chosen], still.to(patches.device), frame)
    count = torch.ones(len(chosen))
    for _ in range(rounds):
        which, pose, _ = search_all(patches, motifs, frame, lattice)
        pose = centred(pose, which, len(motifs))
        motifs, count = _means(patches, which, pose, frame, motifs)
        motifs = motifs[count > 0]
        count = count[count > 0]
    motifs = motifs[torch.argsort(count, descending=True)]
    return agreeing(motifs, frame) if lattice.rotation else motifs


def search_all(patches, motifs, frame: Frame, lattice: Lattice, batch: int = 256):
    """`search`, batch by batch."""
    found = [search(patches[k : k + batch], motifs, frame, lattice) for k in range(0, len(patches), batch)]
    return tuple(torch.cat(one) for one in zip(*found, strict=True))


def centred(pose: torch.Tensor, which: torch.Tensor, n: int) -> torch.Tensor:
    """Poses about the place where each motif's own shift is 0 on average: no motif keeps an origin of chance."""
    cos, sin = torch.cos(pose[:, 0]), torch.sin(pose[:, 0])
    v, u = cos * pose[:, 1] - sin * pose[:, 2], cos * pose[:, 2] + sin * pose[:, 1]
    count = torch.bincount(which, minlength=n).clamp(min=1)
    v, u = (torch.zeros(n, device=pose.device).index_add_(0, which, one)[which] / count[which] for one in (v, u))
    moved = torch.stack([torch.zeros_like(v), cos * v + sin * u, cos * u - sin * v, torch.zeros_like(v)], 1)
    return pose - moved


def unrolled(patches: torch.Tensor, pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Patches as canonical images (n, c, *frame.size); the rim goes on where a patch ends."""
    v, u = grid_of_size(frame, patches.device)
    return sample(patches, *to_patch(v, u, pose))


def _means(patches, which, pose, frame: Frame, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total, count = torch.zeros_like(before), torch.bincount(which, minlength=len(before)).float()
    for k in range(0, len(patches), 256):
        total.index_add_(0, which[k : k + 256], unrolled(patches[k : k + 256], pose[k : k + 256], frame))
    return total / count.clamp(min=1)[:, None, None, None], count


def agreeing(motifs: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Motifs, each turned to match the most similar of those before it in the tree of best matches."""
    reach = min(frame.shape)
    whole = Frame((reach, reach), frame.size, frame.step, frame.round)
    crops = sample(motifs, *_crop_grid(motifs, whole), frame.step) * disc(whole, motifs.device)
    table = distances(crops, motifs, whole, Lattice(rotation=True))[0][:, 0]  # (m, m, angles): row = turned column
    least, place = table.min(2)
    turned = {0: 0.0}
    while len(turned) < len(motifs):
        inside = list(turned)
        outside = [k for k in range(len(motifs)) if k not in turned]
        block = least[outside][:, inside]
        at = int(block.argmin())
        k, j = outside[at // len(inside)], inside[at % len(inside)]
        turned[k] = turned[j] + 2 * math.pi * int(place[k, j]) / table.shape[2]
    angles = torch.tensor([turned[k] for k in range(len(motifs))], device=motifs.device)
    return turn(motifs, angles, frame)


def turn(motifs: torch.Tensor, angles: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Canonical images seen as if each were turned back by its angle (m,)."""
    pose = torch.zeros(len(motifs), 4, device=motifs.device)
    pose[:, 0] = angles
    return sample(motifs, *to_patch(*grid_of_size(frame, motifs.device), pose), frame.step)


def _crop_grid(motifs, frame: Frame) -> tuple[torch.Tensor, torch.Tensor]:
    from hs_deepatoms.latent.poses import pixel_grid

    y, x = pixel_grid(frame.shape, device=motifs.device)
    return y.expand(len(motifs), -1, -1), x.expand(len(motifs), -1, -1)
