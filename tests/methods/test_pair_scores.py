"""Coverage of sparse counts, in which some spikes were repaired."""

from types import SimpleNamespace

import numpy as np
import pytest

from hs_deepatoms.methods.pair_scores import _covered


def test_a_repaired_spike_leaves_the_others_counts():
    rng = np.random.default_rng(0)
    level = np.full((900, 40), 0.4)
    counts = rng.poisson(level).astype(np.float32)
    output = SimpleNamespace(spectra=lambda out: level, variance=lambda out, noise: level * (1 + 1e-9),
                             space=SimpleNamespace(poisson=True))  # fmt: skip
    for repaired in (0, 5):
        counts[np.arange(repaired), 3] = 0.7
        hits, judged = _covered(output, None, counts, 1, rng)
        assert judged.sum() == counts.size - repaired and not hits[~judged].any()
        assert hits.sum() / judged.sum() == pytest.approx(0.683, abs=0.01)
