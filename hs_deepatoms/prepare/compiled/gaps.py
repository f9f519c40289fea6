"""How far pixels stand out of their neighbours, row by row."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel


@kernel
def gaps(start, stop, image, above, below):
    """How far the pixels of some rows lie above the highest of their eight neighbours, and below the lowest; the image
    is mirrored at its rim."""
    height, width = image.shape
    highest, lowest = np.empty(width, np.float32), np.empty(width, np.float32)
    for r in range(start, stop):
        over, here, under = image[abs(r - 1)], image[r], image[r + 1 if r + 1 < height else height - 2]
        for k in range(width):
            highest[k] = max(max(over[k], under[k]), here[k])
            lowest[k] = min(min(over[k], under[k]), here[k])
        for k in range(1, width - 1):
            most = max(max(highest[k - 1], highest[k + 1]), max(over[k], under[k]))
            least = min(min(lowest[k - 1], lowest[k + 1]), min(over[k], under[k]))
            above[r, k], below[r, k] = here[k] - most, least - here[k]
        for k, beside in ((0, 1), (width - 1, width - 2)):
            above[r, k] = here[k] - max(highest[beside], max(over[k], under[k]))
            below[r, k] = min(lowest[beside], min(over[k], under[k])) - here[k]
