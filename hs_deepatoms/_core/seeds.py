"""Random numbers through generators only: nothing here touches a global random state."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain


def generator(seed: int | np.random.Generator | None) -> np.random.Generator:
    """A NumPy generator from a seed, another generator (returned as it is) or None (fresh entropy).

    Raises
    ------
    InvalidArgumentError
        A seed that NumPy does not take.
    """
    try:
        return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        message = explain(f"seed={seed!r}", "a whole number of 0 or more, or None", "Choose another one.")
        raise InvalidArgumentError(message) from error
