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
from hs_deepatoms.latent.smoothing import smooth

FEWEST = 5  # patches of an average; a single one fits its own noise
LINKED = 0.35  # of a motif's own contrast: two motifs nearer than this are of one kind
MEMBERS = 20  # patches per average, at least: of fewer the average says nothing about where its middle is


def class_averages(
    patches: torch.Tensor, frame: Frame, lattice: Lattice, n: int, generator: torch.Generator, rounds: int = 3,
    blur: float = 0.0,
) -> torch.Tensor:  # fmt: skip
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
        How often new averages are begun with patches that fit none, and the least needed ones are dropped.
    blur : float
        Sigma in pixels of a Gaussian through which averages are compared with each other: finer detail is noise.
    """
    n = min(n, max(2, len(patches) // MEMBERS), len(patches))
    far = replace(lattice, shift=tuple(2 * one for one in lattice.shift))
    chosen = torch.randperm(len(patches), generator=generator)[:n]
    still = torch.zeros(len(patches), 4, device=patches.device)
    motifs = averaged(patches, unrolled(patches[chosen], still[chosen], frame), frame, lattice, 3)[0]
    for _ in range(rounds):
        odd = unfitting(patches, motifs, frame, lattice, n, generator)
        motifs = torch.cat([motifs, unrolled(patches[odd], still[odd], frame)])
        motifs = averaged(patches, motifs, frame, lattice, 2)[0]
        motifs = motifs[needed(patches, motifs, frame, lattice, n)]
        # an average that is off its middle does not reach the patches that are shifted the other way
        motifs, count = averaged(patches, motifs, frame, far, 1)
    motifs = motifs[torch.argsort(count, descending=True)]
    # averages of turned patches are about their middles already: looked for farther off, some match amiss
    motifs = agreeing(motifs, frame, lattice if lattice.rotation else far, blur)
    if not lattice.movable:
        return motifs
    which, pose, _ = search_all(patches, motifs, frame, lattice)  # what was moved in from beyond the rim is not there
    motifs = _means(patches, which, pose, frame, motifs)[0]
    # turned every way, the patches of each average say where its middle is; without turns only all of them do
    group = torch.arange(len(motifs)) if lattice.rotation else torch.zeros(len(motifs), dtype=torch.long)
    for _ in range(2):
        motifs = balanced(patches, motifs, group.to(motifs.device), frame, far)
    return motifs


def averaged(patches, motifs, frame: Frame, lattice: Lattice, rounds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds of assignment and averaging: motifs that are left, and how many patches each has."""
    count = torch.ones(len(motifs))
    for _ in range(rounds):
        which, pose, _ = search_all(patches, motifs, frame, lattice)
        pose = centred(pose, which, len(motifs))
        motifs, count = _means(patches, which, pose, frame, motifs)
        enough = count >= min(FEWEST, int(count.max()))
        motifs, count = motifs[enough], count[enough]
    return motifs, count


def unfitting(patches, motifs, frame: Frame, lattice: Lattice, n: int, generator: torch.Generator) -> torch.Tensor:
    """Indices of n patches that are far from every motif, drawn as k-means++ does.

    Arthur & Vassilvitskii, SODA 2007.
    """
    distance = search_all(patches, motifs, frame, lattice)[2].cpu()
    excess = (distance - distance.median()).clamp(min=0) + 1e-9
    return torch.multinomial(excess, min(n, len(patches)), generator=generator)


def needed(patches, motifs, frame: Frame, lattice: Lattice, n: int) -> torch.Tensor:
    """Indices of n motifs: one by one, that goes whose patches have nearly as good a place elsewhere.

    An average of several kinds, or of one kind in several orientations, is such a one; a rare kind is not.
    """
    parts = [distances(part, motifs, frame, lattice)[0].amin((1, 3)) for part in patches.split(256)]
    table = torch.cat(parts)
    left = list(range(len(motifs)))
    while len(left) > n:
        near, place = table[:, left].topk(2, 1, largest=False)
        place, loss = place[:, 0], torch.zeros(len(left), device=table.device)
        loss.index_add_(0, place, near[:, 1] - near[:, 0])
        members = torch.bincount(place, minlength=len(left))
        left.pop(int((loss / members.clamp(min=1)).argmin()))
    return torch.tensor(left, device=motifs.device)


def search_all(patches, motifs, frame: Frame, lattice: Lattice, batch: int = 256):
    """`search`, batch by batch."""
    found = [search(part, motifs, frame, lattice) for part in patches.split(batch)]
    return tuple(torch.cat(one) for one in zip(*found, strict=True))


def centred(pose: torch.Tensor, which: torch.Tensor, n: int) -> torch.Tensor:
    """Poses about the place where each motif's own shift is 0 on average: no motif keeps an origin of chance."""
    v, u = (one[which] for one in _own_shift(pose, which, n))
    cos, sin = torch.cos(pose[:, 0]), torch.sin(pose[:, 0])
    moved = torch.stack([torch.zeros_like(v), cos * v + sin * u, cos * u - sin * v, torch.zeros_like(v)], 1)
    return pose - moved


def unrolled(patches: torch.Tensor, pose: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Patches as canonical images (n, c, *frame.size); the rim goes on where a patch ends."""
    v, u = grid_of_size(frame, patches.device)
    return sample(patches, *to_patch(v, u, pose))


def _means(patches, which, pose, frame: Frame, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over the patches that show a sample; where none does, over what their rims go on with."""
    total, rims = torch.zeros_like(before), torch.zeros_like(before)
    seen = torch.zeros_like(before[:, :1])
    count = torch.bincount(which, minlength=len(before)).float()
    v, u = grid_of_size(frame, patches.device)
    for k in range(0, len(patches), 256):
        part = which[k : k + 256]
        y, x = to_patch(v, u, pose[k : k + 256])
        images = sample(patches[k : k + 256], y, x)
        there = ((y.abs() <= frame.shape[0] / 2) & (x.abs() <= frame.shape[1] / 2)).float()[:, None]
        rims.index_add_(0, part, images)
        total.index_add_(0, part, images * there)
        seen.index_add_(0, part, there)
    enough = seen >= 0.25 * count[:, None, None, None].clamp(min=1)
    return torch.where(enough, total / seen.clamp(min=1), rims / count.clamp(min=1)[:, None, None, None]), count


def agreeing(motifs: torch.Tensor, frame: Frame, lattice: Lattice, blur: float = 0.0) -> torch.Tensor:
    """Motifs, each moved to match the most similar of its kind.

    Of one kind are those that a chain of good matches links; kinds have nothing to agree on.
    """
    from scipy.sparse.csgraph import connected_components

    clear = smooth(motifs, blur / frame.step)
    crops = inside(clear, frame)
    least = distances(crops, clear, frame, lattice)[0].amin((1, 3))  # (k, j): k moved onto j
    energy = (crops - crops.mean((2, 3), keepdim=True)).square().sum((1, 2, 3))
    linked = least < LINKED * torch.minimum(energy[:, None], energy)
    kind = torch.from_numpy(connected_components(linked.cpu().numpy(), directed=False)[1]).long().to(motifs.device)
    done: dict[int, torch.Tensor] = {}
    for one in kind.unique().tolist():
        members = (kind == one).nonzero()[:, 0].tolist()
        done[members[0]] = motifs[members[0]]
        while outside := [k for k in members if k not in done]:
            near = [k for k in members if k in done]
            at = int(least[outside][:, near].argmin())
            k, j = outside[at // len(near)], near[at % len(near)]
            done[k] = _moved(motifs[k], crops[k], smooth(done[j][None], blur / frame.step)[0], frame, lattice)
    return torch.stack([done[k] for k in range(len(motifs))])


def inside(motifs: torch.Tensor, frame: Frame) -> torch.Tensor:
    """What a patch in pose 0 shows of motifs, (m, c, h, w)."""
    grid = _of_all(pixel_grid(frame.shape, device=motifs.device), len(motifs))
    return sample(motifs, *grid, frame.step) * disc(frame, motifs.device)


def _moved(motif, crop, parent, frame: Frame, lattice: Lattice) -> torch.Tensor:
    """A motif in the pose in which it matches another one best."""
    _, pose, _ = search(crop[None], parent[None], frame, lattice)
    variance = float(parent.var()) * 0.1 + 1e-6
    pose = refine(crop[None], pose, parent[None], frame, prior_of(lattice), variance=variance, steps=6).pose
    return sample(motif[None], *to_patch(*grid_of_size(frame, motif.device), pose), frame.step)[0]


def balanced(patches, motifs, group: torch.Tensor, frame: Frame, lattice: Lattice) -> torch.Tensor:
    """Motifs, those of a group (m,) moved together, so that the shifts of their patches are 0 on average."""
    which, pose, _ = search_all(patches, motifs, frame, lattice)
    v, u = _own_shift(pose, group[which], int(group.max()) + 1)
    shift = torch.zeros(len(motifs), 4, device=motifs.device)
    shift[:, 1], shift[:, 2] = v[group], u[group]
    return sample(motifs, *to_patch(*grid_of_size(frame, motifs.device), -shift), frame.step)


def _own_shift(pose: torch.Tensor, group: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean shift (n,) of the patches of every group, along the motifs' own y and x."""
    cos, sin = torch.cos(pose[:, 0]), torch.sin(pose[:, 0])
    own = cos * pose[:, 1] - sin * pose[:, 2], cos * pose[:, 2] + sin * pose[:, 1]
    count = torch.bincount(group, minlength=n).clamp(min=1)
    return tuple(torch.zeros(n, device=pose.device).index_add_(0, group, one) / count for one in own)


def _of_all(grid: tuple[torch.Tensor, torch.Tensor], n: int) -> tuple[torch.Tensor, ...]:
    return tuple(one.expand(n, *one.shape[-2:]) for one in grid)
