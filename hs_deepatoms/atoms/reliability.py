"""What a probability is worth: a rising map from what detector and crystal make of it to how often it is true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

EDGE = 1e-7  # probabilities count as no nearer to 0 and 1
ROWS = 2**20  # worked on at a time

Knots = tuple[Sequence[float], Sequence[float]]


def reliable(probability: np.ndarray | float, knots: Knots | None) -> np.ndarray:
    """Probabilities as they come true.

    Parameters
    ----------
    probability : ndarray or float
    knots : (sequence, sequence), optional
        Probabilities, rising, and what they are worth, rising too. The map between them is linear in the log odds;
        beyond the first and the last one the log odds are shifted as there. None: everything stays.

    Returns
    -------
    ndarray, float64
        In the same order: which of two columns is likelier does not change.

    Notes
    -----
    Piecewise-linear recalibration, as Platt's and isotonic regression are (Niculescu-Mizil & Caruana, ICML 2005,
    doi:10.1145/1102351.1102430).

    Examples
    --------
    >>> knots = ([0.1, 0.9], [0.2, 0.8])
    >>> reliable([0.1, 0.5, 0.9], knots).round(3).tolist()
    [0.2, 0.5, 0.8]
    """
    z = logit(np.clip(np.asarray(probability, float), EDGE, 1 - EDGE))
    return expit(z if knots is None else _mapped(z, *(logit(np.asarray(k, float)) for k in knots)))


def reliable_rows(probability: np.ndarray, knots: Knots | None) -> np.ndarray:
    """As :func:`reliable`, float32, in pieces: of millions of rows temporary arrays would be as large as the table."""
    out = np.empty(len(probability), np.float32)
    for start in range(0, len(out), ROWS):
        part = probability[start : start + ROWS]
        out[start : start + ROWS] = part if knots is None else reliable(part, knots)
    return out


def raw(probability: np.ndarray | float, knots: Knots | None) -> np.ndarray:
    """The other way round: which probability of the detector is worth this one.

    Examples
    --------
    >>> round(float(raw(0.8, ([0.1, 0.9], [0.2, 0.8]))), 3)
    0.9
    """
    return reliable(probability, None if knots is None else (knots[1], knots[0]))


def _mapped(z: np.ndarray, at: np.ndarray, to: np.ndarray) -> np.ndarray:
    below, above = np.minimum(z - at[0], 0), np.maximum(z - at[-1], 0)
    return np.interp(z, at, to) + below + above


def fitted_knots(probability: np.ndarray, right: np.ndarray, weight: np.ndarray, at: Sequence[float]) -> Knots:
    """Knots at given probabilities, of the greatest likelihood among the rising ones.

    Parameters
    ----------
    probability : ndarray, shape (n,)
    right : ndarray of bool, shape (n,)
    weight : ndarray, shape (n,)
    at : sequence of float
        Rising.

    Returns
    -------
    (list, list)
    """
    from scipy.optimize import minimize

    places = logit(np.asarray(at, float))
    z = logit(np.clip(probability, EDGE, 1 - EDGE))
    sign, weight = np.where(right, 1.0, -1.0), weight / weight.sum()

    def values(free):
        return free[0] + np.concatenate([[0.0], np.cumsum(np.exp(free[1:]))])

    def loss(free):
        # what pulls steps towards those of the knots themselves is worth a few detections
        steps = np.exp(free[1:]) / np.diff(places) - 1
        return float(weight @ np.logaddexp(0, -sign * _mapped(z, places, values(free)))) + 1e-4 * float(steps @ steps)

    start = np.concatenate([places[:1], np.log(np.diff(places))])
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(None, None), *[(-4.0, 3.0)] * (len(at) - 1)])
    return [round(float(p), 5) for p in at], [round(float(p), 5) for p in expit(values(found.x))]
