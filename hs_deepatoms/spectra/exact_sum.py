"""Sums that do not depend on the order of their terms, so that chunks cannot change a result."""

from __future__ import annotations

import numpy as np

BITS = 52  # of a float64 that whole numbers are exact in
ROOM = 4  # bits for terms larger than those that were expected


class ExactSum:
    """A sum of arrays in whole multiples of a unit, which float64 adds without rounding in any order.

    Parameters
    ----------
    bound : numpy.ndarray
        Size that the whole sum may reach, element by element; beyond 16 times that it is rounded as any sum.

    Examples
    --------
    >>> total = ExactSum(np.array([10.0]))
    >>> for term in (0.1, 0.7, 1e-9):
    ...     total.add(np.array([term]))
    >>> total.value().round(9).tolist()
    [0.800000001]
    """

    def __init__(self, bound: np.ndarray):
        exponent = np.ceil(np.log2(np.maximum(np.abs(bound), 1e-250))) + ROOM - BITS
        self.unit = 2.0**exponent
        self._per_unit = 2.0**-exponent
        self._total, self._term = np.zeros_like(self.unit), np.empty_like(self.unit)

    def add(self, term: np.ndarray) -> None:
        """Add one term, rounded to the unit."""
        np.multiply(term, self._per_unit, out=self._term)
        self._total += np.rint(self._term, out=self._term)

    def value(self) -> np.ndarray:
        """The sum so far."""
        return self._total * self.unit
