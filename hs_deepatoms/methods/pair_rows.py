"""Which spectra of a map are used, their totals, how they are normalised, and what kind of noise they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidImageError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.pair_request import PairRequest
from hs_deepatoms.methods.pair_sources import Pair
from hs_deepatoms.spectra.noise import noise_of
from hs_deepatoms.spectra.rows import SpectrumRows
from hs_deepatoms.spectra.search import many
from hs_deepatoms.spectra.spikes import learn_spikes

COUNTED = ("EELS", "EDS_TEM", "EDS_SEM", "EDS")
NEGATIVE = 0.02  # of the sum: negative values up to this are the read-out noise of a detector that counts
FEWEST_CHANNELS = 4
ZLP = 0.02  # of its height: where the zero loss ends


@dataclass(frozen=True, eq=False)
class Measured:
    """Spectra of a map.

    Attributes
    ----------
    rows : SpectrumRows
    valid : numpy.ndarray of bool, shape (ny, nx)
        Those that are used.
    totals : numpy.ndarray, float32, shape (ny, nx)
    counted : numpy.ndarray of bool, shape (n,)
        Channels whose sum is the total.
    poisson : bool
        Whether the noise is taken for that of counts.
    non_negative : bool
        Whether predicted spectra are never below zero.
    notes : dict
        What was left out.
    """

    rows: SpectrumRows
    valid: np.ndarray
    totals: np.ndarray
    counted: np.ndarray
    poisson: bool
    non_negative: bool
    notes: dict


def measure(pair: Pair, asked: PairRequest) -> Measured:
    """Read all spectra once.

    Raises
    ------
    InvalidArgumentError
        Masks of other shapes, a normalisation to a zero loss that there is not.
    InvalidImageError
        No spectra with counts, or negative ones taken for counts.
    """
    rows = _rows(pair, asked)
    sample = _without_dead_channels(rows, rows.some(2000, np.random.default_rng([asked.seed, 21])), pair.whose)
    sample = sample[np.isfinite(sample).all(1)]
    if not len(sample) or not sample.any():
        got = f"spectra that are all NaN or 0 (in a sample of 2000){pair.whose}"
        raise InvalidImageError(explain(got, "spectra with counts", "Check how the data were read."))
    counts, poisson, normalisation = _kind(sample, pair, asked)
    mean = sample.mean(0)
    counted = _counted(mean, normalisation)
    if asked.spikes and poisson:
        rows.spikes = learn_spikes(sample, noise_of(sample, poisson))
    masked = _navigation_mask(asked.navigation_mask, pair.inside.shape)
    fine, totals = np.ones(pair.inside.shape, bool), np.ones(pair.inside.shape, np.float32)
    for place, block in rows.first_blocks():
        fine[place] = np.isfinite(block).all(-1)
        if counted.any():
            with np.errstate(invalid="ignore"):
                totals[place] = np.where(fine[place], block[..., counted].sum(-1), 0)
    nan, empty = int((~fine & pair.inside).sum()), int((fine & ~(totals > 0) & pair.inside).sum())
    valid = pair.inside & fine & (totals > 0) & ~masked
    if nan:
        warn_user(f"{nan} spectra with NaN are left out{pair.whose}")
    if empty:
        warn_user(f"{empty} spectra whose counts do not add up to more than 0 are left out{pair.whose}")
    if doubt := many(rows.repairs, fine.size, rows.n_channels):
        warn_user(doubt + pair.whose)
    notes = {"nan": nan, "empty": empty, "masked": int(masked.sum()), "normalisation": normalisation}
    non_negative = counts if asked.non_negative is None else bool(asked.non_negative)
    return Measured(rows, valid, totals, counted, poisson, non_negative, notes)


def _rows(pair: Pair, asked: PairRequest) -> SpectrumRows:
    n = pair.spectra.signal[0].size
    channels = None
    if asked.signal_mask is not None:
        mask = np.asarray(getattr(asked.signal_mask, "data", asked.signal_mask), bool)
        if mask.shape != (n,) or (~mask).sum() < FEWEST_CHANNELS:
            got = f"a signal_mask of shape {mask.shape} with {int((~mask).sum())} channels left{pair.whose}"
            allowed = f"({n},), True for channels to leave out, at least {FEWEST_CHANNELS} left"
            raise InvalidArgumentError(explain(got, allowed, "Give one value per channel."))
        channels = np.flatnonzero(~mask)
    return SpectrumRows(pair.spectra.data, channels, None, asked.num_workers)


def _without_dead_channels(rows: SpectrumRows, sample: np.ndarray, whose: str) -> np.ndarray:
    """The sample (m, n) without channels that are NaN in all spectra, which are left out as if they were masked."""
    alive = np.isfinite(sample).any(0)
    if alive.all() or alive.sum() < FEWEST_CHANNELS:
        return sample
    rows.channels = (np.arange(alive.size) if rows.channels is None else rows.channels)[alive]
    warn_user(f"{int((~alive).sum())} channels that are NaN in every spectrum are left out{whose}")
    return sample[:, alive]


def _kind(sample: np.ndarray, pair: Pair, asked: PairRequest) -> tuple[bool, bool, str]:
    """Whether spectra are counts, whether their noise is taken for Poisson's, and how they are normalised."""
    below = float(-np.minimum(sample, 0).sum() / max(float(np.abs(sample).sum()), 1e-30))
    whole = bool((sample[:200] == np.round(sample[:200])).all())
    known = pair.spectra.signal_type in COUNTED
    counts = below <= NEGATIVE and (known or (whole and below == 0))
    if asked.likelihood == "poisson" and below > NEGATIVE:
        got = (
            f"spectra with negative values ({100 * below:.1f} % of the sum of all){pair.whose} and likelihood='poisson'"
        )
        todo = "Leave likelihood out, or undo what made them negative (a subtracted background)."
        raise InvalidImageError(explain(got, "counts of 0 and more", todo))
    if known and below > NEGATIVE and asked.likelihood == "auto":
        warn_user(f"{100 * below:.1f} % of the sum of the spectra is negative{pair.whose}: they are not taken for "
                  "counts, and their noise for the same everywhere")  # fmt: skip
    poisson = counts if asked.likelihood == "auto" else asked.likelihood == "poisson"
    if asked.normalisation == "zlp":
        _check_zero_loss(pair)
    if asked.normalisation != "auto":
        return counts or poisson, poisson, asked.normalisation
    return counts or poisson, poisson, "area" if poisson or (known and sample.sum(1).min() > 0) else "none"


def _check_zero_loss(pair: Pair) -> None:
    axis = pair.spectra.signal[0]
    low, high = np.sort(axis.coordinates())[[0, -1]]
    if not low <= 0 <= high:
        got = f"normalisation='zlp' for spectra from {low:g} to {high:g} {axis.units}{pair.whose}"
        todo = "Choose 'area', or align the zero loss with 0 first (align_zero_loss_peak)."
        raise InvalidArgumentError(explain(got, "an energy axis that has the zero loss, at 0", todo))


def _counted(mean: np.ndarray, normalisation: str) -> np.ndarray:
    """Channels whose sum is the total."""
    counted = np.full(len(mean), normalisation != "none")
    if normalisation == "zlp":
        top = int(np.argmax(mean))
        low = mean < ZLP * mean[top]
        first = top - int(np.argmax(low[top::-1])) if low[: top + 1].any() else 0
        last = top + int(np.argmax(low[top:])) if low[top:].any() else len(mean) - 1
        counted[:] = False
        counted[first : last + 1] = True
    return counted


def _navigation_mask(given: Any, shape: tuple[int, int]) -> np.ndarray:
    if given is None:
        return np.zeros(shape, bool)
    mask = np.asarray(getattr(given, "data", given))
    mask = np.asarray(mask.compute() if hasattr(mask, "compute") else mask, bool)
    if mask.shape != shape:
        got = f"a navigation_mask of shape {mask.shape}"
        raise InvalidArgumentError(explain(got, f"{shape}, True for spectra to leave out", "Give one value each."))
    return mask
