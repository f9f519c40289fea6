"""Classes of columns from their strength, and where that leaves doubts from what the columns around say."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.atoms.kin import find_kin
from hs_deepatoms.atoms.species import Classes, classify, log_strength
from hs_deepatoms.modelfile.registry import shipped_head

HEAD = "kinds"
FEWEST = 30  # columns with a strength, for the columns around to say anything
SURE = 0.99  # mean probability of the own strengths' classes from which nobody else is asked
ORDERED = 0.8  # least order for which anybody is asked: at most 0.7 in alloys and single kinds, at least 1 in crystals
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
    return classify(y, x, np.exp(value), n=n, trusted=trusted, **options), True


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
    kin = find_kin(y[known], x[known], own, None if frame is None else np.asarray(frame)[known])
    order = float(np.median(kin.order))
    if order >= least:
        out[known] = own - (1 - KEPT) * (own - _through_head(own, kin))
    return out, order


def head_named() -> dict[str, str]:
    """Name and hash of the network, for the provenance."""
    from hs_deepatoms.modelfile.files import file_sha256

    return {"name": HEAD, "sha256": file_sha256(shipped_head(HEAD))}


def _through_head(value: np.ndarray, kin) -> np.ndarray:
    import torch

    from hs_deepatoms.modelfile.cache import cached_module

    net = cached_module(shipped_head(HEAD), None)
    middle = float(np.median(value))
    with torch.inference_mode():
        parts = ((value - middle).astype(np.float32), kin.row, kin.there, kin.features, kin.spread.astype(np.float32))
        return net(*map(torch.from_numpy, parts))[-1].numpy().astype(float) + middle
