"""How tracked atoms moved: from one detection to the next, over time lags, and as a whole. Pure functions on arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class MeanSquare(NamedTuple):
    """Mean squared displacement over time lags 1, 2, ..., each (n_lags,)."""

    y: np.ndarray
    x: np.ndarray
    y_std: np.ndarray
    x_std: np.ndarray
    total_std: np.ndarray
    n_pairs: np.ndarray
    n_tracks: np.ndarray


def consecutive(track: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (first, second), each (n_links,), of the detections of a track that follow each other.

    Parameters
    ----------
    track
        Shape (n_atoms,): whole numbers; those below 0 belong to no track.
    time
        Shape (n_atoms,): frame.

    Examples
    --------
    >>> [rows.tolist() for rows in consecutive(np.array([0, 1, 0, 0]), np.array([0, 0, 1, 3]))]
    [[0, 2], [2, 3]]
    """
    track = np.asarray(track)
    order = np.lexsort((time, track))
    first, second = order[:-1], order[1:]
    joined = (track[first] == track[second]) & (track[first] >= 0)
    return first[joined], second[joined]


def mean_square(track: np.ndarray, time: np.ndarray, y: np.ndarray, x: np.ndarray, max_lag: int) -> MeanSquare:
    """Mean squared displacement of all pairs of detections of one track that are 1 to ``max_lag`` frames apart.

    Parameters
    ----------
    track, time
        Shape (n_atoms,): whole numbers; tracks below 0 are left out.
    y, x
        Shape (n_atoms,), free of drift.
    max_lag
        Longest lag in frames.

    Returns
    -------
    MeanSquare
        In the square of the units of y and x. Errors are one sigma from the scatter between tracks: the pairs inside a
        track are not independent. NaN with less than two tracks.

    Examples
    --------
    >>> track, time = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> mean_square(track, time, np.array([0.0, 1.0, 5.0, 8.0]), np.zeros(4), 1).y.tolist()
    [5.0]
    """
    used = np.flatnonzero(np.asarray(track) >= 0)
    _, label = np.unique(np.asarray(track)[used], return_inverse=True)
    time, y, x = (np.asarray(values)[used] for values in (time, y, x))
    width = int(time.max(initial=0)) + max_lag + 1  # a lag never reaches into the next track
    key = label * np.int64(width) + time
    order = np.argsort(key)
    key, label, y, x = key[order], label[order], y[order], x[order]
    lags = [_one_lag(key, label, y, x, lag) for lag in range(1, max_lag + 1)]
    return MeanSquare(*(np.array(values) for values in zip(*lags, strict=True))) if lags else _no_lags()


def _one_lag(key, label, y, x, lag: int) -> tuple:
    if not key.size:
        return (np.nan,) * 5 + (0, 0)
    place = np.minimum(np.searchsorted(key, key + lag), key.size - 1)
    first = np.flatnonzero(key[place] == key + lag)
    second = place[first]
    squares = ((y[second] - y[first]) ** 2, (x[second] - x[first]) ** 2)
    n_pairs = np.bincount(label[first])
    means, errors = zip(*(_ratio(label[first], one, n_pairs) for one in (*squares, sum(squares))), strict=True)
    return (*means[:2], *errors, first.size, int(np.count_nonzero(n_pairs)))


def _ratio(label: np.ndarray, values: np.ndarray, n_pairs: np.ndarray) -> tuple[float, float]:
    """Mean over all pairs, and its error where the tracks are what is independent."""
    n_tracks = np.count_nonzero(n_pairs)
    if not n_tracks:
        return np.nan, np.nan
    mean = values.mean()
    residual = np.bincount(label, values) - mean * n_pairs
    if n_tracks < 2:
        return float(mean), np.nan
    return float(mean), float(np.sqrt((residual**2).sum() * n_tracks / (n_tracks - 1)) / values.size)


def _no_lags() -> MeanSquare:
    return MeanSquare(*np.empty((5, 0)), *np.empty((2, 0), np.int64))


def summaries(track: np.ndarray, time: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """One value per track, in the order of the track numbers; those below 0 are left out.

    Returns
    -------
    dict
        ``track``; ``first`` and ``last`` row; ``count`` of detections; means and standard deviations ``y``, ``x``,
        ``y_rms``, ``x_rms``; ``y_net``, ``x_net`` from the first detection to the last.

    Examples
    --------
    >>> track, time = np.array([0, 0]), np.array([0, 1])
    >>> made = summaries(track, time, np.array([1.0, 3.0]), np.zeros(2))
    >>> made["y"].tolist(), made["y_rms"].tolist(), made["y_net"].tolist()
    ([2.0], [1.0], [2.0])
    """
    track, y, x = np.asarray(track), np.asarray(y, float), np.asarray(x, float)
    order = np.lexsort((time, track))
    order = order[track[order] >= 0]
    number, start, count = np.unique(track[order], return_index=True, return_counts=True)
    first, last = order[start], order[start + count - 1]
    label = np.repeat(np.arange(number.size), count)
    made = {"track": number, "first": first, "last": last, "count": count}
    for name, values in (("y", y), ("x", x)):
        mean = np.bincount(label, values[order], number.size) / count
        made[name] = mean
        made[f"{name}_rms"] = np.sqrt(np.bincount(label, (values[order] - mean[label]) ** 2, number.size) / count)
        made[f"{name}_net"] = values[last] - values[first]
    return made


def jumps(dy: np.ndarray, dx: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Which steps are longer than vibration or diffusion explain: boolean (n_links,).

    Parameters
    ----------
    dy, dx
        Shape (n_links,): steps, in the same units.
    gap
        Shape (n_links,): frames from one detection to the next.

    Returns
    -------
    numpy.ndarray
        True for steps longer than the longest one expected in 1 of 100 such sets of normal steps, whose width is taken
        from the median of all steps over one frame. A step over several frames is compared with its own number of them.

    Examples
    --------
    >>> step = np.append(np.full(99, 0.1), 3.0)
    >>> jumps(step, np.zeros(100), np.ones(100)).sum().item()
    1
    """
    square = (np.asarray(dy, float) ** 2 + np.asarray(dx, float) ** 2) / np.maximum(gap, 1)
    single = square[np.asarray(gap) == 1]
    if single.size < 10:
        return np.zeros(square.size, bool)  # no typical step to compare with
    variance = np.median(single) / (2 * np.log(2))
    return square > 2 * variance * np.log(100 * square.size)
