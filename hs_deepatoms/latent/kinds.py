"""Which class each class average belongs to: where the training of a discrete latent begins.

Within a class patches vary too, with thickness or strain for instance, and by more than classes differ: how far
averages are from each other does not tell. Classes are where patches are dense, a mixture of normal distributions of
any shape (Fraley & Raftery, J. Am. Stat. Assoc. 97, 611 (2002), doi:10.1198/016214502760047131).
"""

from __future__ import annotations

import numpy as np
import torch

from hs_deepatoms.latent.poses import Frame, straighten
from hs_deepatoms.latent.search import Lattice
from hs_deepatoms.latent.smoothing import smooth
from hs_deepatoms.latent.templates import inside, search_all

DIMS = 8  # principal components of aligned patches that the mixture is one of
STARTS = 10
FLOOR = 0.01  # of the least variance: no class is thinner


def kinds_of(patches: torch.Tensor, motifs: torch.Tensor, k: int, frame: Frame, lattice: Lattice, seed: int, *,
             blur: float = 0.0) -> torch.Tensor:  # fmt: skip
    """Class (m,) of each motif, by most of the patches that are most like it.

    Parameters
    ----------
    patches : tensor, shape (n, c, h, w)
    motifs : tensor, shape (m, c, *frame.size)
        Class averages in agreeing orientations.
    k : int
        Classes.
    frame : Frame
    lattice : Lattice
    seed : int
    blur : float
        Sigma in pixels of a Gaussian that patches pass first: finer detail is noise.

    Returns
    -------
    tensor, int, shape (m,)
        Of a mixture of k normal distributions with covariances of their own, the likeliest of several beginnings:
        groups of motifs, and patches drawn as k-means++ does. Groups of motifs where a class would have no motif.
    """
    linked = groups(motifs, k, frame)
    if len(motifs) <= k or len(patches) < k * (DIMS + 2):
        return linked
    which, pose, _ = search_all(patches, motifs, frame, lattice)
    which = which.cpu().numpy()
    points = _components(smooth(straighten(patches, pose, frame), blur).flatten(1).cpu().numpy())
    found = _mixture(points, k, linked.numpy()[which], seed)
    votes = np.zeros((len(motifs), k), int)
    np.add.at(votes, (which, found), 1)
    kinds, chosen = torch.from_numpy(votes.argmax(1)), torch.from_numpy(votes.any(1))
    if len(kinds[chosen].unique()) < k:
        return linked
    flat = inside(motifs, frame).flatten(1).cpu()
    nearest = torch.cdist(flat, flat[chosen]).argmin(1)  # of a motif that no patch is most like
    return torch.where(chosen, kinds, kinds[chosen][nearest])


def groups(motifs: torch.Tensor, k: int, frame: Frame) -> torch.Tensor:
    """Class (m,) of each motif: k groups by average linkage of the distances in their common orientation."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(motifs) <= k:
        return torch.arange(len(motifs))
    tree = linkage(inside(motifs, frame).flatten(1).cpu().numpy(), "average")
    return torch.from_numpy(fcluster(tree, k, "maxclust").astype("int64") - 1)


def _components(rows: np.ndarray) -> np.ndarray:
    """Leading principal components (n, d), the widest with standard deviation 1."""
    from sklearn.decomposition import PCA

    points = PCA(min(DIMS, *rows.shape), svd_solver="covariance_eigh").fit_transform(rows.astype(float))
    spread = points.std(0)
    return points[:, spread > 1e-6 * spread[0]] / max(float(spread[0]), 1e-30)


def _mixture(points: np.ndarray, k: int, linked: np.ndarray, seed: int) -> np.ndarray:
    """Class (n,) of points (n, d) by the likeliest mixture."""
    from sklearn.mixture import GaussianMixture

    floor = FLOOR * float(points.var(0).min())
    share = np.eye(k)[linked]
    made = [GaussianMixture(k, reg_covar=floor, n_init=STARTS, init_params="k-means++", random_state=seed)]
    if (share.sum(0) > points.shape[1] + 1).all():
        means = (share.T @ points) / share.sum(0)[:, None]
        thin = floor * np.eye(points.shape[1])
        inverse = [np.linalg.inv(np.atleast_2d(np.cov(points[linked == one].T)) + thin) for one in range(k)]
        made.append(GaussianMixture(k, reg_covar=floor, weights_init=share.mean(0), means_init=means,
                                    precisions_init=np.stack(inverse), random_state=seed))  # fmt: skip
    return max((one.fit(points) for one in made), key=lambda one: one.lower_bound_).predict(points)
