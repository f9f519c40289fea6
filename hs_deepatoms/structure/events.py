"""What changes in the bond network of tracked atoms from one frame to the next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("broken", "formed")


class Events(NamedTuple):
    """``bond`` (n_events,): the row of the bond that broke after its frame, or that formed in its frame; ``kind``: an
    index into `KINDS`; ``frame``: the first one in which it is different."""

    bond: np.ndarray
    kind: np.ndarray
    frame: np.ndarray


def bond_events(first, second, frame, track, seen) -> Events:
    """Bonds that broke or formed between atoms that are seen in both of two consecutive frames.

    Parameters
    ----------
    first, second, frame
        Shape (n_bonds,): tracks that are bound, and when.
    track, seen
        Shape (n_atoms,): every detection's track and frame. Atoms that come or go make no events.

    Returns
    -------
    Events
        Ordered by frame.

    Examples
    --------
    >>> found = bond_events([0], [1], [0], [0, 1, 0, 1], [0, 0, 1, 1])
    >>> KINDS[found.kind[0]], found.frame.tolist()
    ('broken', [1])
    """
    first, second, frame, track, seen = (np.asarray(w, np.int64) for w in (first, second, frame, track, seen))
    width = int(max(frame.max(initial=0), seen.max(initial=0))) + 3  # a frame before the first and after the last
    tracks = int(track.max(initial=0)) + 1
    low, high = np.minimum(first, second), np.maximum(first, second)
    bond, atom = (low * tracks + high) * width + frame + 1, track * width + seen + 1
    rows, kinds, frames = [], [], []
    for kind, step in enumerate((1, -1)):
        there = np.isin(low * width + frame + 1 + step, atom) & np.isin(high * width + frame + 1 + step, atom)
        changed = np.flatnonzero(there & ~np.isin(bond + step, bond))
        rows.append(changed)
        kinds.append(np.full(changed.size, kind))
        frames.append(frame[changed] + (step == 1))
    made = Events(*(np.concatenate(parts) for parts in (rows, kinds, frames)))
    order = np.lexsort((made.bond, made.frame))
    return Events(*(values[order] for values in made))
