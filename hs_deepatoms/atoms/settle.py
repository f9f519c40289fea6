"""Classes of columns from their strength, and where that leaves doubts from what the columns around say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hs_deepatoms.atoms.kin import by_frame, find_kin
from hs_deepatoms.atoms.species import Classes, classify, log_strength
from hs_deepatoms.modelfile.registry import shipped_head

HEAD = "kinds"
FEWEST = 30  # columns with a strength, for the columns around to say anything
SURE = 0.99  # mean probability of the own strengths' classes from which nobody else is asked
# least order for which anybody is asked: at most 0.7 in alloys and in single kinds without waves or bands, at least 1
# where sublattices differ
ORDERED = 0.8
ODD, ROUNDS = (1e-3, 0.2), 30  # share of the columns that may be of any kind, and how often it is estimated anew
KEPT = 0.3  # share of what a strength and the settled one differ in that stays: the classes keep a width


def classify_settled(
    y: np.ndarray,
    x: np.ndarray,
    strength: np.ndarray,
    frame: np.ndarray | None = None,
    *,
    context: bool | str = "auto",
    n: int | str = "auto",
    trusted: np.ndarray | None = None,
    **options,
) -> tuple[Classes, bool]:
    """Classes of atoms, and whether their strengths were settled with those of the atoms around.

    Parameters
    ----------
    y, x, strength
        As `classify` takes them, like ``n``, ``trusted`` and ``options``.
    frame : ndarray of int, shape (n_atoms,), optional
        Atoms of different frames know nothing of each other.
    context : bool or "auto"
        Settle the strengths, never, or where the classes of the strengths as they are leave doubts and the places of
        the atoms say something about their strengths.
    """
    alone = classify(y, x, strength, n=n, trusted=trusted, **options)
    if not context or n == 1 or np.isfinite(strength).sum() < FEWEST:
        return alone, False
    automatic = isinstance(context, str)
    if automatic and alone.number > 1 and np.nanmean(alone.of_own) >= SURE:
        return alone, False
    least = ORDERED if automatic else 0.0
    value, order = settled(y, x, strength, frame, trusted, least)
    if order < least:
        return alone, False
    found = classify(y, x, np.exp(value), n=n, trusted=trusted, **options)
    return _with_own(found, log_strength(strength)), True


def _with_own(found: Classes, own: np.ndarray) -> Classes:
    """Classes of settled strengths, with what each strength (logarithms) says by itself: a column that is plainly of
    another kind than its surroundings say, as on the wrong site of a crystal, is of that kind.

    Bayes' rule with normal errors of the width that the strengths have within their classes, and with the surroundings
    as what is known before, but for a share of columns that may be of any kind: as many as make the strengths most
    likely (EM; Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1 (1977), doi:10.1111/j.2517-6161.1977.tb01600.x).
    """
    own, label, number = own - found.trend, found.label, found.number
    there = [np.flatnonzero(np.isfinite(own) & (label == k)) for k in range(number)]
    if number == 1 or not all(map(len, there)):
        return found
    middle = np.array([np.median(own[rows]) for rows in there])
    width = 1.4826 * np.median(np.abs(np.concatenate([own[rows] - m for rows, m in zip(there, middle, strict=True)])))
    away = ((own[:, None] - middle) / max(float(width), 1e-12)) ** 2 / 2
    likely = np.exp(away.min(1, keepdims=True) - away)
    usual, odd = (found.probability * likely).sum(1), likely.mean(1)
    share = ODD[1]
    for _ in range(ROUNDS):
        share = float(np.clip(np.nanmean(share * odd / (share * odd + (1 - share) * usual)), *ODD))
    # of the others the settled strengths have said all: their own went into these
    free = (share * odd / (share * odd + (1 - share) * usual))[:, None]
    after = (1 - free) * found.probability + free * likely / likely.sum(1, keepdims=True)
    label = np.where(label < 0, label, np.nan_to_num(after).argmax(1)).astype(label.dtype)
    return replace(found, label=label, probability=after)


def settled(
    y: np.ndarray,
    x: np.ndarray,
    strength: np.ndarray,
    frame: np.ndarray | None = None,
    trusted: np.ndarray | None = None,
    least: float = 0.0,
) -> tuple[np.ndarray, float]:
    """Logarithms of strengths (n_atoms,), most of their errors taken off with the help of the atoms around; and how
    much the places of atoms say about their strengths (the median `Kin.order`): where less than ``least``, they stay.

    A small network chooses, for every atom, between its own strength and means over those of its neighbours that are
    alike: by how columns with the same difference of position differ elsewhere in the image, and by their strengths.
    A rotation, a mirror image, a scale, and an offset or factor of the logarithms go through it unchanged. Atoms that
    are not ``trusted`` keep their own, and say nothing about others.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.atoms.settle import settled
    >>> rng = np.random.default_rng(0)
    >>> y, x = (w.ravel() for w in np.mgrid[:16, :16].astype(float))
    >>> truth = np.where((y + x) % 2, 0.0, 0.4)
    >>> value = truth + 0.2 * rng.standard_normal(256)
    >>> found, order = settled(y, x, np.exp(value))
    >>> bool(np.abs(found - truth).mean() < 0.5 * np.abs(value - truth).mean()), order > 0.8
    (True, True)
    """
    value = log_strength(strength)
    known = np.isfinite(value) & (True if trusted is None else trusted)
    if known.sum() < FEWEST:
        return value, 0.0
    own, out = value[known], value.copy()
    middle = float(np.median(own))
    found, order = own.copy(), np.zeros(len(own))
    for rows in by_frame(None if frame is None else np.asarray(frame)[known], len(own)):  # they are large
        kin = find_kin(y[known][rows], x[known][rows], own[rows])
        order[rows] = kin.order
        if np.median(kin.order) >= least or frame is not None:
            found[rows] = _through_head(own[rows] - middle, kin) + middle
    whole = float(np.median(order))
    if whole >= least:
        out[known] = own - (1 - KEPT) * (own - found)
    return out, whole


def head_named() -> dict[str, str]:
    """Name and hash of the network, for the provenance."""
    from hs_deepatoms.modelfile.files import file_sha256

    return {"name": HEAD, "sha256": file_sha256(shipped_head(HEAD))}


def _through_head(value: np.ndarray, kin) -> np.ndarray:
    import torch

    from hs_deepatoms.modelfile.cache import cached_module

    net = cached_module(shipped_head(HEAD), None)
    with torch.inference_mode():
        parts = (value.astype(np.float32), kin.row, kin.there, kin.features, kin.spread.astype(np.float32))
        return net(*map(torch.from_numpy, parts))[-1].numpy().astype(float)
