"""Classes of averages: where classes differ by less than the thickness of each, and where some average has no patch."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from hs_deepatoms.latent.kinds import groups, kinds_of
from hs_deepatoms.latent.poses import make_frame
from hs_deepatoms.latent.search import Lattice

WIDTH = 48


@pytest.fixture(scope="module")
def rays():
    """Spectra (600, 1, 1, 48) of three mixtures of two peaks, each at any thickness; classes; averages of 15."""
    rng = np.random.default_rng(1)
    kind, thickness = rng.integers(0, 3, 600), rng.uniform(0.3, 2.2, 600)
    peaks = np.exp(-0.5 * ((np.arange(WIDTH) - np.array([[15], [31]])) / 4) ** 2)
    share = kind[:, None] / 2
    rows = thickness[:, None] * (share * peaks[0] + (1 - share) * peaks[1]) + 0.01 * rng.standard_normal((600, WIDTH))
    centres = KMeans(15, n_init=2, random_state=0).fit(rows).cluster_centers_
    as_patches = (torch.from_numpy(x.astype(np.float32))[:, None, None] for x in (rows, centres))
    return *as_patches, kind


def agreement(kinds, patches, motifs, truth):
    """Share of patches whose nearest motif has the class that most of its patches have, classes named freely."""
    near = torch.cdist(patches.flatten(1), motifs.flatten(1)).argmin(1).numpy()
    table = np.zeros((3, 3))
    np.add.at(table, (kinds.numpy()[near], truth), 1)
    return table.max(1).sum() / table.sum() if len(np.unique(table.argmax(1))) == 3 else 0.0


def test_thickness_is_no_class(rays):
    patches, motifs, truth = rays
    frame = make_frame((1, WIDTH), (), 1.0)
    assert agreement(groups(motifs, 3, frame), patches, motifs, truth) < 0.9
    kinds = kinds_of(patches, motifs, 3, frame, Lattice(), 0)
    assert agreement(kinds, patches, motifs, truth) > 0.97


def test_an_average_without_patches_has_the_class_of_its_neighbour(rays):
    patches, motifs, _ = rays
    frame = make_frame((1, WIDTH), (), 1.0)
    spare = torch.cat([motifs, motifs[:1] + 0.5])  # farther from every patch than the others
    kinds = kinds_of(patches, spare, 3, frame, Lattice(), 0)
    torch.testing.assert_close(kinds[:-1], kinds_of(patches, motifs, 3, frame, Lattice(), 0))
    assert kinds[-1] == kinds[0]


def test_few_patches_or_averages_are_grouped(rays):
    patches, motifs, _ = rays
    frame = make_frame((1, WIDTH), (), 1.0)
    assert kinds_of(patches, motifs[:3], 3, frame, Lattice(), 0).tolist() == [0, 1, 2]
    few = kinds_of(patches[:20], motifs, 3, frame, Lattice(), 0)
    torch.testing.assert_close(few, groups(motifs, 3, frame))
