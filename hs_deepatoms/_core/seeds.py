"""Random numbers through generators only: nothing here touches a global random state."""

from __future__ import annotations

import numpy as np


def generator(seed: int | np.random.Generator | None) -> np.random.Generator:
    """A NumPy generator from a seed, another generator (returned as it is) or None (fresh entropy)."""
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
