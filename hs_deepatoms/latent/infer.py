"""Latents and poses of patches under a trained model: the maximum of the posterior, and its width."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional as F

from hs_deepatoms.latent.model import VAE
from hs_deepatoms.latent.poses import disc
from hs_deepatoms.latent.refine import Refined, posterior_cost, refine
from hs_deepatoms.latent.symmetry import symmetry

STEPS = 6
BATCH = 256


@dataclass(frozen=True, eq=False)
class Inferred:
    """Of every patch; all arrays are float32.

    Attributes
    ----------
    z, z_std : numpy.ndarray, shape (n, d)
    pose, pose_std : numpy.ndarray, shape (n, 4)
        Angle (rad), shift y, shift x (pixels), log scale; 0 for what is not free.
    classes : numpy.ndarray, shape (n, k)
        Probabilities; k = 0 without discrete latents.
    residual : numpy.ndarray, shape (n,)
        Mean squared difference from the model's picture over the variance of the noise: 1 is what is expected.
    symmetry : numpy.ndarray, shape (n,)
        n of the n-fold axis of the motif of the bank that each patch is most like.
    """

    z: np.ndarray
    z_std: np.ndarray
    pose: np.ndarray
    pose_std: np.ndarray
    classes: np.ndarray
    residual: np.ndarray
    symmetry: np.ndarray


def infer(model: VAE, rows: np.ndarray, device: str = "cpu") -> Inferred:
    """Latents and poses of rows (n, f): patches, conditions, labels."""
    model.eval()
    folds = bank_symmetry(model)
    parts = [_infer(model, torch.from_numpy(rows[k : k + BATCH]).to(device), folds)
             for k in range(0, len(rows), BATCH)]  # fmt: skip
    return joined(parts, model)


def joined(parts: list[Inferred], model: VAE) -> Inferred:
    """Several results as one; of none, an empty one."""
    empty = {"z": model.latent_dim, "z_std": model.latent_dim, "pose": 4, "pose_std": 4, "classes": model.classes}
    if not parts:
        none = np.zeros(0, np.float32)
        return Inferred(**{k: np.zeros((0, n), np.float32) for k, n in empty.items()}, residual=none, symmetry=none)
    return Inferred(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Inferred)))


@torch.no_grad()
def bank_symmetry(model: VAE) -> torch.Tensor:
    """n of the n-fold axis of every motif of the bank; 1 for all where nothing turns."""
    if 0 not in model.prior.free:
        return torch.ones(len(model.bank), device=model.bank.device)
    return symmetry(model.look(model.bank), model.frame, model.variance())


@torch.no_grad()
def _infer(model: VAE, rows: torch.Tensor, folds: torch.Tensor) -> Inferred:
    patches, condition, _ = model.split(rows)
    which, first = model.find(patches)
    mean, chosen, share = _encoded(model, patches, first, condition)
    pose = first
    if model.moves:  # again, against the patch's own motif: the search may have met another kind
        pose = model.refined(patches, first, model.code(mean, chosen, condition))
        mean, chosen, share = _encoded(model, patches, pose, condition)
    found = _settled(model, patches, pose, mean, chosen, condition, STEPS)
    if model.moves and not model.classes:
        found = _best(model, patches, found, first, model.bank[which, : model.latent_dim], chosen, condition)
    spread = torch.sqrt(torch.diagonal(found.covariance, dim1=1, dim2=2).clamp(min=0))
    free = model.prior.free
    pose_std = torch.zeros_like(pose)
    pose_std[:, free] = spread[:, : len(free)]
    found.pose[:, 0] = torch.remainder(found.pose[:, 0] + torch.pi, 2 * torch.pi) - torch.pi
    count = disc(model.frame).square().sum().item() * model.channels
    residual = found.residual / count / model.variance()
    arrays = (found.z, spread[:, len(free) :], found.pose, pose_std, share, residual, folds[which])
    return Inferred(*(one.cpu().numpy().astype(np.float32) for one in arrays))


def _settled(model: VAE, patches, pose, z, chosen, condition, steps: int) -> Refined:
    """The maximum of the posterior of pose and latents next to these."""

    def decode(z, rows):
        return model.look(model.code(z, chosen[rows], condition[rows]))

    return refine(patches, pose, decode, model.frame, model.prior, variance=model.variance(), z=z, steps=steps)


def _best(model: VAE, patches, found: Refined, pose, z, chosen, condition) -> Refined:
    """What was found, or what is next to another start where that one is better before its first step.

    The other start is the motif that the search met: the encoder may be wrong about a patch that is unlike others.
    """
    motif = model.look(model.code(z, chosen, condition))
    cost = posterior_cost(patches, pose, motif, model.frame, model.prior, variance=model.variance(), z=z)
    rows = (cost < found.cost).nonzero()[:, 0]
    if len(rows):
        other = _settled(model, patches[rows], pose[rows], z[rows], chosen[rows], condition[rows], STEPS)
        for field in fields(Refined):
            getattr(found, field.name)[rows] = getattr(other, field.name)
    return found


def _encoded(model: VAE, patches, pose, condition):
    """Mean latents, one-hot class and class probabilities (n, k)."""
    features = model.features(patches, pose, condition)
    if not model.classes:
        none = features.new_zeros(len(features), 0)
        return model.latents(features, None)[0], none, none
    share = torch.softmax(model.to_class(features), 1)
    chosen = F.one_hot(share.argmax(1), model.classes).float()
    return model.latents(features, chosen)[0], chosen, share


@torch.no_grad()
def pictures(model: VAE, z, classes, condition, pose, device: str = "cpu") -> np.ndarray:
    """Patches (n, c, h, w) of latents (n, d), one-hot classes (n, k), conditions and poses (n, 4)."""
    given = (torch.as_tensor(np.asarray(one, np.float32), device=device) for one in (z, classes, condition, pose))
    z, classes, condition, pose = given
    out = [model.view(model.code(z[k], classes[k], condition[k]), pose[k])
           for k in (slice(at, at + BATCH) for at in range(0, len(z), BATCH))]  # fmt: skip
    if not out:
        return np.zeros((0, model.channels, *model.shape), np.float32)
    return torch.cat(out).cpu().numpy()
