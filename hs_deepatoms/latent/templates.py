"""Class averages that share one orientation: where the training of an invariant autoencoder begins.

Left to itself a decoder may learn the same motif twice, in two orientations. Here patches are first averaged as single
particles are in cryo-electron microscopy (alignment to the best of several references: van Heel & Frank,
Ultramicroscopy 6, 187 (1981), doi:10.1016/S0304-3991(81)80197-0); then the averages are turned to agree with each
other along the tree of the best matches, which is angular synchronisation (Singer, Appl. Comput. Harmon. Anal. 30, 20
(2011), doi:10.1016/j.acha.2010.02.001) on a tree.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from hs_deepatoms.latent.poses import Frame, disc, grid_of_size, pixel_grid, sample, to_patch
from hs_deepatoms.latent.refine import prior_of, refine
from hs_deepatoms.latent.search import Lattice, distances, search

MEMBERS = 20  # patches per average, at least: of fewer the average says nothing about where its middle is


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
    n = min(n, max(2, len(patches) // MEMBERS), len(patches))
    chosen = torch.randperm(len(patches), generator=generator)[:n]
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
    far = lattice if lattice.rotation else replace(lattice, shift=tuple(2 * one for one in lattice.shift))
    motifs = agreeing(motifs, frame, far)
    return motifs if lattice.rotation else balanced(patches, motifs, frame, far)


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


def agreeing(motifs: torch.Tensor, frame: Frame, lattice: Lattice) -> torch.Tensor:
    """Motifs, each moved to match the most similar of those before it in the tree of best matches."""
    inner = Frame(frame.shape, frame.shape, 1.0, frame.round)
    crops = sample(motifs, *_of_all(pixel_grid(frame.shape, device=motifs.device), len(motifs)), frame.step)
    crops = crops * disc(inner, motifs.device)
    table = distances(crops, motifs, frame, lattice)[0]  # (k, shifts, j, angles)
    least = table.amin((1, 3))
    done = {0: motifs[0]}
    while len(done) < len(motifs):
        inside = list(done)
        outside = [k for k in range(len(motifs)) if k not in done]
        at = int(least[outside][:, inside].argmin())
        k, j = outside[at // len(inside)], inside[at % len(inside)]
        done[k] = _moved(motifs[k], crops[k], done[j], frame, lattice)
    return torch.stack([done[k] for k in range(len(motifs))])


def _moved(motif, crop, parent, frame: Frame, lattice: Lattice) -> torch.Tensor:
    """A motif in the pose in which it matches another one best."""
    _, pose, _ = search(crop[None], parent[None], frame, lattice)
    variance = float(parent.var()) * 0.1 + 1e-6
    pose = refine(crop[None], pose, parent[None], frame, prior_of(lattice), variance=variance, steps=6).pose
    return sample(motif[None], *to_patch(*grid_of_size(frame, motif.device), pose), frame.step)[0]


def groups(motifs: torch.Tensor, k: int, frame: Frame) -> torch.Tensor:
    """Class (m,) of each motif: k groups by average linkage of the distances in their common orientation."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(motifs) <= k:
        return torch.arange(len(motifs))
    grid = _of_all(pixel_grid(frame.shape, device=motifs.device), len(motifs))
    inside = sample(motifs, *grid, frame.step) * disc(frame, motifs.device)
    tree = linkage(inside.flatten(1).cpu().numpy(), "average")
    return torch.from_numpy(fcluster(tree, k, "maxclust").astype("int64") - 1)


def balanced(patches: torch.Tensor, motifs: torch.Tensor, frame: Frame, lattice: Lattice) -> torch.Tensor:
    """Motifs, all moved by one shift, so that the shifts of the patches are 0 on average."""
    pose = search_all(patches, motifs, frame, lattice)[1].mean(0, keepdim=True)
    return sample(motifs, *_of_all(to_patch(*grid_of_size(frame, motifs.device), -pose), len(motifs)), frame.step)


def _of_all(grid: tuple[torch.Tensor, torch.Tensor], n: int) -> tuple[torch.Tensor, ...]:
    return tuple(one.expand(n, *one.shape[-2:]) for one in grid)
