"""How the noise of spectra grows with the signal: counts, or the same everywhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hs_deepatoms.spectra.rank import above_edge

BINS = 24
MOST_PARTS = 12  # principal components that are taken for signal at most
STEEP = 0.5  # of variance on mean, both as logarithms: above, the noise is that of counts
FLAT = 1.5  # ratio of means below which a slope says nothing


class Noise(NamedTuple):
    """``variance = factor * mean`` (counts) or ``variance = factor``, and how it was told."""

    poisson: bool
    factor: float
    reason: str


def noise_of(rows: np.ndarray, poisson: bool | None = None) -> Noise:
    """Which of the two the residuals of the leading principal components follow.

    Parameters
    ----------
    rows : numpy.ndarray, shape (m, channels)
        Spectra from all over the scan, finite.
    poisson : bool, optional
        Whether the noise is that of counts; None: found out.
    """
    mean, variance, by_mean = _residual_variance(rows)
    counts = bool((rows >= 0).all() and (rows == np.round(rows)).all())
    if poisson is None:
        poisson, reason = _judge(mean, variance, counts)
    else:
        reason = "asked for"
    factor = by_mean if poisson else float(np.average(variance))
    return Noise(bool(poisson), max(factor, 1e-12 * max(1.0, float(np.abs(rows).max(initial=0)))), reason)


def _judge(mean: np.ndarray, variance: np.ndarray, counts: bool) -> tuple[bool, str]:
    good = (mean > 0) & (variance > 0)
    if (mean <= 0).mean() > 0.25 or good.sum() < 3:
        return False, "the mean of many channels is not above zero"
    if mean[good].max() < FLAT * mean[good].min():
        return counts, "whole numbers" if counts else "no whole numbers, and too flat to measure it"
    slope = float(np.polyfit(np.log(mean[good]), np.log(variance[good]), 1)[0])
    return slope > STEEP, f"variance grows with the mean to the power {slope:.2f}"


def _residual_variance(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and variance in bins of equal number of the mean, and the ratio of their sums."""
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), 1024)).astype(int)].astype(float)
    scale = np.sqrt(np.maximum(rows.mean(0), 1e-3 * max(float(rows.mean()), 1e-300)))
    if not np.isfinite(scale).all() or (scale <= 0).any():
        scale = np.ones(rows.shape[1])
    most = int(min(MOST_PARTS, *(n // 3 for n in rows.shape)))
    if most:
        scaled = rows / scale
        values, axes = np.linalg.eigh(scaled.T @ scaled / len(rows))
        rank = max(1, above_edge(np.maximum(values[::-1], 0), len(rows), most))
        axes = axes[:, -rank:]
        model = (scaled @ axes) @ axes.T * scale
        square = (rows - model) ** 2 / max(0.1, (1 - rank / len(rows)) * (1 - rank / rows.shape[1]))
    else:  # so few that next channels have to say it
        model = rows[:, 1:-1] if rows.shape[1] > 2 else rows
        square = np.diff(rows, 2, axis=1) ** 2 / 6 if rows.shape[1] > 2 else np.ones_like(rows)
    order = np.argsort(model, axis=None)
    parts = [part for part in np.array_split(order, BINS) if part.size]
    # spikes: the variance of most of a bin, made that of all of it
    cap = [25 * max(float(np.median(square.flat[part])), 1e-300) for part in parts]
    variance = np.array([np.minimum(square.flat[part], top).mean() for part, top in zip(parts, cap, strict=True)])
    mean = np.array([model.flat[part].mean() for part in parts])
    return mean, variance, float(variance.sum() / max(mean.sum(), 1e-300))
