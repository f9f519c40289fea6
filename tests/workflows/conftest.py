"""Models that several files use: each is trained once."""

import pytest

import hs_deepatoms
from tests.methods.conftest import lattice_image

TAUGHT = {"batch_size": 4, "learning_rate": 5e-3, "radius": 4, "show_progressbar": False}
SMALL = {"filters": 6, "depth": 2}


def training_set(n=4):
    """Images of ``n`` crystals, and the tables of their columns."""
    parts = [lattice_image((96, 104), seed=k, angle=0.3 + k, counts=60.0) for k in range(n)]
    return [image for image, _, _ in parts], [hs_deepatoms.positions(y, x, signal=image) for image, y, x in parts]


@pytest.fixture(scope="session")
def taught_segmenter():
    """Knows the columns of four crystals. Not to be changed."""
    return hs_deepatoms.Segmenter(["column"], net_options=SMALL).fit(*training_set(), steps=50, window=64, **TAUGHT)


@pytest.fixture(scope="session")
def taught_ensemble():
    """Three members that know the same. Not to be changed."""
    ensemble = hs_deepatoms.Ensemble(["column"], members=3, method="baseline", net_options=SMALL)
    return ensemble.fit(*training_set(), steps=40, window=56, augmentation=hs_deepatoms.Augmentation(), **TAUGHT)
