"""What changes in the network of tracked atoms from one frame to the next: bonds and rings, and how long they last."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("broken", "formed")
RING_KINDS = ("changed", "opened", "closed")
SHARED = 0.5  # of the atoms of the smaller ring: with fewer in common two rings are not the same one


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


class RingEvents(NamedTuple):
    """``before``, ``after`` (n_events,): rows of rings, -1 for none; ``kind``: an index into `RING_KINDS`; ``frame``:
    the first one in which it is different. ``chain`` (n_rings,): number of every ring in all of its frames."""

    before: np.ndarray
    after: np.ndarray
    kind: np.ndarray
    frame: np.ndarray
    chain: np.ndarray


def ring_events(atoms, size, frame, track, seen) -> RingEvents:
    """Rings followed through the frames, and where one becomes another, opens or closes.

    Two rings of consecutive frames are the same one if each shares more atoms with the other than with any third ring,
    and at least half of the smaller one.

    Parameters
    ----------
    atoms
        Shape (n_rings, largest): tracks of the atoms of every ring, -1 for none.
    size, frame
        Shape (n_rings,): atoms of every ring (with those that have no track), and when it is there.
    track, seen
        Shape (n_atoms,): every detection's track and frame. A ring has opened or closed only if all of its atoms are
        seen in the other frame too.

    Returns
    -------
    RingEvents
        Ordered by frame.

    Examples
    --------
    >>> hexagon, five = [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, -1]
    >>> found = ring_events([hexagon, five], [6, 5], [0, 1], [0, 1, 2, 3, 4, 5] * 2, [0] * 6 + [1] * 6)
    >>> RING_KINDS[found.kind[0]], found.frame.tolist(), found.chain.tolist()
    ('changed', [1], [0, 0])
    """
    atoms, size, frame, track, seen = (np.asarray(w, np.int64) for w in (atoms, size, frame, track, seen))
    before, after = _same_rings(atoms, size, frame)
    next_of, last_of = (np.full(size.size, -1) for _ in range(2))
    next_of[before], last_of[after] = after, before
    changed = size[before] != size[after]
    opened = np.flatnonzero((next_of < 0) & _all_seen(atoms, size, frame + 1, track, seen))
    closed = np.flatnonzero((last_of < 0) & _all_seen(atoms, size, frame - 1, track, seen))
    none = np.full(opened.size + closed.size, -1)
    rows = [before[changed], opened, none[: closed.size]], [after[changed], none[: opened.size], closed]
    kind = np.repeat(np.arange(3), [part.size for part in rows[0]])
    old, new = (np.concatenate(part) for part in rows)
    when = np.where(new >= 0, frame[new], frame[old] + 1) if size.size else np.empty(0, np.int64)
    order = np.lexsort((kind, when))
    return RingEvents(old[order], new[order], kind[order], when[order], _chains(next_of))


def _same_rings(atoms, size, frame) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) of rings and of what they are one frame later."""
    from scipy.sparse import coo_array

    ring, _ = np.nonzero(atoms >= 0)
    if not ring.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    track = atoms[atoms >= 0]
    width = int(frame.max()) + 2
    shape = (size.size, (int(track.max()) + 1) * width)
    ones = np.ones(ring.size, np.int32)
    then, now = (coo_array((ones, (ring, track * width + frame[ring] + k)), shape=shape).tocsr() for k in (1, 0))
    common = (then @ now.T).tocoo()
    a, b, shared = common.row, common.col, common.data
    enough = shared >= SHARED * np.minimum(size[a], size[b])
    a, b, shared = a[enough], b[enough], shared[enough].astype(float)
    worth = shared - np.abs(size[a] - size[b]) / 100  # of two that share as many, that of the same size
    best = [_is_best(one, worth, size.size) for one in (a, b)]
    return a[best[0] & best[1]].astype(np.int64), b[best[0] & best[1]].astype(np.int64)


def _is_best(group, worth, n: int) -> np.ndarray:
    """True for the first of the largest ``worth`` of each group."""
    order = np.lexsort((np.arange(group.size), -worth, group))
    first = np.ones(group.size, bool)
    first[1:] = group[order][1:] != group[order][:-1]
    made = np.zeros(group.size, bool)
    made[order[first]] = True
    return made


def _all_seen(atoms, size, frame, track, seen) -> np.ndarray:
    """True for rings all of whose atoms are seen in another frame, (n_rings,)."""
    width = int(max(frame.max(initial=0), seen.max(initial=0))) + 3
    known = np.unique((track * width + seen + 1)[track >= 0])
    there = np.isin(atoms * width + frame[:, None] + 1, known) & (atoms >= 0)
    return there.sum(axis=1) == size


def _chains(next_of: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.flatnonzero(next_of >= 0)
    links = coo_array((np.ones(rows.size, np.int8), (rows, next_of[rows])), shape=(next_of.size,) * 2)
    label = connected_components(links, directed=False)[1] if next_of.size else next_of
    # numbered in the order of their first rings
    first = np.unique(label, return_index=True)[1]
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[label]


class Lifetimes(NamedTuple):
    """Of every state: mean life in frames and its error, how many lives were seen to end, and how many frames of life
    were followed. NaN where no life was followed; infinite where none ended."""

    mean: np.ndarray
    std: np.ndarray
    ended: np.ndarray
    followed: np.ndarray


def lifetimes(state, following, n_states: int) -> Lifetimes:
    """Mean lives of states that are left at a constant rate, whether or not their beginnings and ends were seen.

    Parameters
    ----------
    state, following
        Shape (n,): state of something in one frame (0 ... n_states - 1), and in the very next one, -1 where it is gone.
        What was not followed into the next frame is no life that ended, and does not belong here.
    n_states
        Number of states.

    Returns
    -------
    Lifetimes
        The maximum-likelihood estimate: frames followed over lives ended [1]_.

    References
    ----------
    .. [1] D. R. Cox and D. Oakes, Analysis of Survival Data, Chapman and Hall (1984): censored exponential lives

    Examples
    --------
    >>> lifetimes([0, 0, 0, 1], [0, 0, 1, 1], 2).mean.tolist()
    [3.0, inf]
    """
    state, following = np.asarray(state, np.int64), np.asarray(following, np.int64)
    followed = np.bincount(state, minlength=n_states)
    ended = np.bincount(state[following != state], minlength=n_states)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = followed / ended
        std = mean * np.sqrt((1 - ended / followed) / ended)
    mean[followed == 0] = np.nan
    std[ended == 0] = np.nan
    return Lifetimes(mean, std, ended, followed)
