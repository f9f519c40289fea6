"""Rings that change, open and close in a movie, and how long they last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.methods.rings import rings as find_rings
from hs_deepatoms.structure import events
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import flag_attributes
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.movies import check_tracks, read_movie

if TYPE_CHECKING:
    import xarray as xr


def ring_events(ds: xr.Dataset, rings: xr.Dataset | None = None) -> xr.Dataset:
    """Rings followed through a movie: which ones change their size, open or close, when and where.

    Parameters
    ----------
    ds
        Linked positions table of one movie.
    rings
        What `rings` found in it. None: with its defaults.

    Returns
    -------
    xarray.Dataset
        Dim ``event``, by frame: ``kind`` (changed, opened, closed), ``frame`` (the first that is different),
        ``size_before``, ``size_after`` (0: no ring), ``y``, ``x`` (its centre, before if there is one),
        ``ring_number``. Dim ``ring``, as in ``rings``: ``ring_number_of_ring``, the same for one ring in all frames.
        Dim ``ring_size``: ``lifetime``, the mean number of frames for which a ring keeps its size, with
        ``lifetime_std``, ``lives_ended`` and ``frames_followed``.

    Raises
    ------
    TableError
        If the table is not linked, holds several movies, or the rings are those of another table.

    Notes
    -----
    Two rings of consecutive frames are the same one if each shares more atoms with the other than with a third ring,
    and at least half of the smaller one.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> angle = np.tile(np.arange(6) * np.pi / 3, 2)
    >>> movie = xr.DataArray(np.zeros((2, 40, 44)), dims=("time", "y", "x"))
    >>> atoms = hs_deepatoms.positions(20 + 10 * np.sin(angle), 20 + 10 * np.cos(angle), signal=movie,
    ...                                frame=np.repeat([0, 1], 6))
    >>> found = atoms.deepatoms.link().deepatoms.ring_events()
    >>> found.sizes["event"], found["ring_number_of_ring"].values.tolist()
    (0, [0, 0])
    """
    import xarray as xr

    ds = schema.dropna(ds)
    movie = read_movie(ds, None)
    track = np.asarray(check_tracks(ds, movie))
    if len(movie.grid.columns) > 1:
        raise TableError(explain(f"a table of movies over {list(movie.grid.columns)}", "one movie",
                                 "Choose one with select(frames={...})."))  # fmt: skip
    rings = find_rings(ds) if rings is None else _own_rings(rings, ds)
    members = _tracks_of(rings, ds, track)
    size, frame = (rings[name].values.astype(np.int64) for name in ("size", "frame"))
    found = events.ring_events(members, size, frame, track, frame_of(ds))
    there = np.where(found.before >= 0, found.before, found.after)
    before, after = (np.where(rows >= 0, size[rows], 0) if size.size else rows for rows in (found.before, found.after))
    columns = {"frame": found.frame, "size_before": before, "size_after": after, "ring_number": found.chain[there]}
    made = {name: ("event", values, {"units": "1"}) for name, values in columns.items()}
    made["kind"] = ("event", found.kind, flag_attributes(dict(enumerate(events.RING_KINDS))))
    made["ring_number_of_ring"] = ("ring", found.chain, {"units": "1"})
    made |= _lives(found, size, frame, rings["ring_size"].values)
    places = {name: ("event", rings[name].values[there], dict(rings[name].attrs)) for name in ("y", "x")}
    result = xr.Dataset(made, {**places, "ring_size": rings["ring_size"].values})
    result.attrs = {name: rings.attrs[name] for name in ("axes", "metadata", "provenance") if name in rings.attrs}
    return with_entry(result, "ring_events", {})


def _tracks_of(rings: xr.Dataset, ds: xr.Dataset, track: np.ndarray) -> np.ndarray:
    """Tracks (n_rings, largest) of the atoms of every ring, -1 for none."""
    ids, members = ds[schema.DIM].values, rings["atoms"].values
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids, members, sorter=order).clip(0, max(ids.size - 1, 0))
    row = order[place] if ids.size else np.full(members.shape, -1)
    inside = members >= 0
    return np.where(inside, track[row] if ids.size else -1, -1)


def _lives(found: events.RingEvents, size, frame, sizes) -> dict[str, tuple]:
    """Life times of the sizes of rings that were followed, or seen to open."""
    order = np.lexsort((frame, found.chain))
    same = np.flatnonzero(found.chain[order][1:] == found.chain[order][:-1])
    state, following = size[order[same]], size[order[same + 1]]
    opened = size[found.before[found.kind == events.RING_KINDS.index("opened")]]
    lives = events.lifetimes(np.concatenate([state, opened]), np.concatenate([following, np.full(opened.size, -1)]),
                             int(sizes[-1]) + 1)  # fmt: skip
    columns = {"lifetime": (lives.mean, "frame"), "lifetime_std": (lives.std, "frame"),
               "lives_ended": (lives.ended, "1"), "frames_followed": (lives.followed, "1")}  # fmt: skip
    return {name: ("ring_size", values[sizes], {"units": unit}) for name, (values, unit) in columns.items()}


def _own_rings(rings: Any, ds: xr.Dataset) -> xr.Dataset:
    """Refuse what are no rings, or rings of other atoms."""
    got = f"rings={type(rings).__name__}"
    columns = ("size", "frame", "atoms", "ring_size", schema.DIM)
    if all(name in getattr(rings, "variables", ()) for name in columns):
        if np.array_equal(rings[schema.DIM].values, ds[schema.DIM].values):
            return rings
        got = f"rings of {rings.sizes[schema.DIM]} atoms for a table of {ds.sizes[schema.DIM]} others"
    todo = "Leave rings= out, or find them anew: atoms.deepatoms.rings()."
    raise TableError(explain(got, "rings of this table", todo))
