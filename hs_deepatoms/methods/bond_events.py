"""Bonds that break and form in a movie, as a list of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.methods.bonds import network_attrs, read_network
from hs_deepatoms.structure.events import KINDS
from hs_deepatoms.structure.events import bond_events as find
from hs_deepatoms.tables.categories import flag_attributes
from hs_deepatoms.tables.movies import check_tracks, read_movie

if TYPE_CHECKING:
    import xarray as xr


def bond_events(ds: xr.Dataset, *, elements: Any = None, factor: float | None = None,
                cutoff: int | float | str | None = None, cell: Any = None) -> xr.Dataset:  # fmt: skip
    """Bonds that broke or formed between atoms that are seen in both of two consecutive frames.

    Parameters
    ----------
    ds
        Linked positions table of one movie.
    elements, factor, cutoff, cell
        What a bond is, as in `hs_deepatoms.methods.bonds.bonds`.

    Returns
    -------
    xarray.Dataset
        Dim ``event``, by frame: ``kind`` (broken, formed), ``frame`` (the first that is different), ``first_track``,
        ``second_track``, ``y``, ``x`` (middle of the bond, where it was or is), ``length``.

    Raises
    ------
    TableError
        If the table is not linked, or holds several movies.

    Notes
    -----
    A bond that turns by 90 degrees moves its atoms by 0.7 of its length, farther than `link` follows atoms by itself:
    they are other ones then, and make no events. ``link(max_step=)`` of about 0.8 bonds follows them.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> from hs_deepatoms.simulate.sheets import honeycomb, stone_wales
    >>> frames = [honeycomb(4, 5), stone_wales(honeycomb(4, 5))]
    >>> y, x = (20 + 12 * np.concatenate([getattr(one, name) for one in frames]) for name in "yx")
    >>> movie = xr.DataArray(np.zeros((2, 180, 150)), dims=("time", "y", "x"))
    >>> atoms = hs_deepatoms.positions(y, x, signal=movie, frame=np.repeat([0, 1], 80)).deepatoms.link(max_step=10)
    >>> atoms.deepatoms.bond_events()["kind"].values.tolist()  # two are broken, two formed
    [0, 0, 1, 1]
    """
    import xarray as xr

    net = read_network(ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)
    movie = read_movie(net.ds, None)
    track = np.asarray(check_tracks(net.ds, movie))
    if len(movie.grid.columns) > 1:
        raise TableError(explain(f"a table of movies over {list(movie.grid.columns)}", "one movie",
                                 "Choose one with select(frames={...})."))  # fmt: skip
    bonds = net.bonds
    found = find(track[bonds.first], track[bonds.second], net.frame[bonds.first], track, net.frame)
    own = bonds.at(found.bond)
    columns = {"frame": found.frame, "first_track": track[own.first], "second_track": track[own.second]}
    made = {name: ("event", values, {"units": "1"}) for name, values in columns.items()}
    made["kind"] = ("event", found.kind, flag_attributes(dict(enumerate(KINDS))))
    made["length"] = ("event", own.length, {"units": net.plane.units})
    places = {"y": net.plane.y[own.first] + own.dy / 2, "x": net.plane.x[own.first] + own.dx / 2}
    coordinates = {name: ("event", values, {"units": net.plane.units}) for name, values in places.items()}
    return xr.Dataset(made, coordinates, network_attrs(net, "bond_events"))
