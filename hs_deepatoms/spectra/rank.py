"""How many components of spectra stand out of the noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST = 20
ROUNDING = 1e-12  # of the largest eigenvalue: what rounding makes of spectra that are all alike
BEHIND = 5  # eigenvalues that the distance of those of noise is measured from


class Rank(NamedTuple):
    """The number, and in words why."""

    number: int
    reason: str


def count_components(values: np.ndarray, n: int) -> Rank:
    """How many eigenvalues (channels,), falling, of the second moments of n scaled spectra are no noise.

    An eigenvalue counts that is above the edge of white noise (Marchenko & Pastur, Math. USSR Sb. 1, 457 (1967),
    doi:10.1070/SM1967v001n04ABEH001994) and apart from the next one by more than noise that is correlated between
    channels would be (Onatski, Rev. Econ. Stat. 92, 1004 (2010), doi:10.1162/REST_a_00043).
    """
    p = values.size
    values = np.where(values > ROUNDING * values.max(initial=0), values, 0)
    most = int(min(MOST, max(1, (min(n, p) - BEHIND - 2) // 2)))
    above = above_edge(values, n, most)
    apart, step = _apart(values, most)
    number = max(1, min(above, apart))
    return Rank(number, f"{above} eigenvalues above the edge of white noise, {apart} apart from the next by more than "
                        f"{step:.3g} (noise of neighbouring channels may be correlated); the smaller number, at least "
                        "one")  # fmt: skip


def above_edge(values: np.ndarray, n: int, most: int) -> int:
    """How many of the largest eigenvalues, at most so many, are above the edge of white noise."""
    p, number = values.size, 0
    margin = 1 + 4 * min(n, p) ** (-2 / 3) * 0.5
    for _ in range(most):
        left = values[number:].sum() / max(1, p - number) * (n / max(1, n - number))
        above = int((values[:most] > left * (1 + np.sqrt(p / n)) ** 2 * margin).sum())
        if above <= number:
            break
        number = above
    return number


def _apart(values: np.ndarray, most: int) -> tuple[int, float]:
    """The last eigenvalue whose distance to the next is not that among those behind it."""
    gaps = values[:most] - values[1 : most + 1]
    last, step = most, 0.0
    for _ in range(10):
        behind = values[last : last + BEHIND]
        if behind.size < 3:
            break
        place = (last + np.arange(behind.size)) ** (2 / 3)
        step = 2 * abs(float(np.polyfit(place, behind, 1)[0]))
        found = np.flatnonzero(gaps >= step)
        now = int(found[-1]) + 1 if found.size else 0
        if now == last:
            break
        last = now
    return last, step
