"""Bonds of a positions table: as a table of bonds, as a networkx graph, as columns of the atoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_number
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.elements import atomic_numbers
from hs_deepatoms.methods.plane import Plane, length_in, read_plane
from hs_deepatoms.structure import graph as kernels
from hs_deepatoms.structure.graph import Bonds
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import provenance_with, with_entry
from hs_deepatoms.tables.neighbours import nearest

ROOM = 0.5  # of the square of the usual distance; closest packing takes 0.87

if TYPE_CHECKING:
    import networkx
    import xarray as xr


class Network(NamedTuple):
    """A table without atoms that have no position, its positions in one unit, and the bonds between its rows.

    ``flat``: made so that they cannot cross. ``every``: all atoms as near as the longest bond are bonded. ``make``:
    rows of one frame to their bonds, rows of these.
    """

    ds: xr.Dataset
    plane: Plane
    frame: np.ndarray
    bonds: Bonds
    parameters: dict[str, Any]
    flat: bool = False
    every: bool = False
    make: Callable[[np.ndarray], Bonds] | None = None

    def of(self, rows: np.ndarray) -> Network:
        """The same atoms, with the bonds that those in ``rows`` have if there are no others."""
        return self._replace(bonds=_bonds_by_frame(self.make, self.frame, rows))


def bonds(ds: xr.Dataset, *, elements: Any = None, factor: float | None = None,
          cutoff: int | float | str | None = None, cell: Any = None) -> xr.Dataset:  # fmt: skip
    """The bonds between the atoms of every frame.

    Parameters
    ----------
    ds
        Positions table.
    elements
        ``{class number or name: symbol}``, or one symbol for all: bonds up to ``factor`` times the sum of the covalent
        radii; the axes need a unit of length.
    factor
        With ``elements``, 1.2 by default. Without ``elements`` and ``cutoff`` the bonds are the edges of the Delaunay
        triangles without diagonals, at most this times the usual distance around, 1.45 by default.
    cutoff
        Bonds up to this length, whatever the elements: pixels along x (int), axis units (float) or ``"1.8 Å"``.
    cell
        Sides (y, x) or vectors ((y, x), (y, x)) of a periodic cell in the units of y and x. None: not periodic.

    Returns
    -------
    xarray.Dataset
        Dim ``bond``: ``first`` and ``second`` (ids of atoms), ``length``, ``dy``, ``dx`` from the first to the second,
        ``angle`` in radians from +x towards +y, ``y``, ``x`` of the middle, ``frame``. In the units of y and x, or px
        where these differ.

    Raises
    ------
    InvalidArgumentError
        If arguments contradict each other or cannot be read.
    TableError
        If a class has no element, or ``elements`` are given and the image has no unit of length.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([0.0, 0.0, 3.0], [0.0, 4.0, 0.0])
    >>> atoms.deepatoms.bonds(cutoff=4).length.values.tolist()
    [4.0, 3.0]
    """
    import xarray as xr

    net = read_network(ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)
    ids, units, found = np.asarray(net.ds[schema.DIM].values), net.plane.units, net.bonds
    columns = {
        "first": (ids[found.first], "1"), "second": (ids[found.second], "1"), "length": (found.length, units),
        "dy": (found.dy, units), "dx": (found.dx, units), "angle": (found.angle, "rad"),
        "frame": (net.frame[found.first], "1"),
    }  # fmt: skip
    made = {name: ("bond", values, {"units": unit}) for name, (values, unit) in columns.items()}
    middle = {"y": net.plane.y[found.first] + found.dy / 2, "x": net.plane.x[found.first] + found.dx / 2}
    coordinates = {name: ("bond", values, {"units": units}) for name, values in middle.items()}
    return xr.Dataset(made, coordinates, network_attrs(net, "bonds"))


def graph(ds: xr.Dataset, *, elements: Any = None, factor: float | None = None,
          cutoff: int | float | str | None = None, cell: Any = None) -> networkx.Graph:  # fmt: skip
    """The same bonds as a ``networkx.Graph``.

    Parameters
    ----------
    ds, elements, factor, cutoff, cell
        As in `bonds`.

    Returns
    -------
    networkx.Graph
        Nodes are the ids of the atoms, with ``y``, ``x``, ``frame`` and, where known, ``species``; edges have
        ``length`` and ``angle`` (from the lower to the higher row of the table). Frames are not connected. Units and
        provenance are in ``graph.graph``. Of bonds to several images of one atom in a small periodic cell one is kept.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([0.0, 0.0, 3.0], [0.0, 4.0, 0.0])
    >>> sorted(atoms.deepatoms.graph(cutoff=4).edges)
    [(0, 1), (0, 2)]
    """
    net = read_network(ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)
    nodes = {"y": net.plane.y, "x": net.plane.x, "frame": net.frame}
    if "species" in net.ds.variables:
        nodes["species"] = net.ds["species"].values
    made = kernels.to_networkx(nodes, net.ds[schema.DIM].values, net.bonds)
    made.graph.update(units=net.plane.units, provenance=network_attrs(net, "graph")["provenance"])
    return made


def coordination(ds: xr.Dataset, *, elements: Any = None, factor: float | None = None,
                 cutoff: int | float | str | None = None, cell: Any = None) -> xr.Dataset:  # fmt: skip
    """The table with the bonds of every atom counted and measured.

    Parameters
    ----------
    ds, elements, factor, cutoff, cell
        As in `bonds`.

    Returns
    -------
    xarray.Dataset
        The same atoms (those without a position dropped) with ``coordination`` (number of bonds), ``bond_length``
        (their mean, NaN without bonds), ``angle_spread`` (rms deviation of the angles between neighbouring bonds from
        equal ones, radians; NaN below two bonds) and ``component``: the connected part of its frame, 0 the largest.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([0.0, 0.0, 3.0], [0.0, 4.0, 0.0])
    >>> atoms.deepatoms.coordination(cutoff=4).coordination.values.tolist()
    [2, 1, 1]
    """
    net = read_network(ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)
    n = net.frame.size
    number = kernels.coordination(n, net.bonds)
    total = np.bincount(np.concatenate([net.bonds.first, net.bonds.second]), np.tile(net.bonds.length, 2), n)
    mean = np.divide(total, number, out=np.full(n, np.nan), where=number > 0)
    columns = {
        "coordination": (number, "1", "number of bonds"),
        "bond_length": (mean, net.plane.units, "mean length of the bonds"),
        "angle_spread": (kernels.angle_spread(n, net.bonds), "rad", "rms deviation of the bond angles from equal ones"),
        "component": (components_by_frame(net), "1", "connected part of the frame, 0 is the largest"),
    }
    made = {name: ((schema.DIM,), values, {"long_name": about, "units": unit})
            for name, (values, unit, about) in columns.items()}  # fmt: skip
    return with_entry(net.ds.assign(made), "coordination", net.parameters)


def components_by_frame(net: Network) -> np.ndarray:
    """Connected part (n_atoms,) of every atom, numbered from 0, the largest, in every frame."""
    label = kernels.components(net.frame.size, net.bonds)
    if not net.frame.any():  # no frames, or no atoms
        return label
    width = int(label.max()) + 1
    pairs, which = np.unique(net.frame * width + label, return_inverse=True)
    begins = np.searchsorted(pairs // width, pairs // width)
    return (np.arange(pairs.size) - begins)[which]


def read_network(ds: xr.Dataset, *, elements: Any, factor: float | None, cutoff: Any, cell: Any) -> Network:
    """The bonds of all frames, between rows of the table without atoms that have no position."""
    ds = schema.dropna(ds)
    if schema.DIM in ds.variables and ds[schema.DIM].dtype.kind not in "iu":
        raise TableError(explain(f"ids of atoms of type {ds[schema.DIM].dtype}", "whole numbers",
                                 "Number them: atoms.assign_coords(atom=range(atoms.sizes['atom']))."))  # fmt: skip
    plane, frame = read_plane(ds, "bonds"), frame_of(ds)
    box = None if cell is None else kernels.read_cell(cell)
    if box is not None:
        _check_room(box, plane, frame)
    make = _rule(ds, plane, elements, factor, cutoff, box)
    made = _bonds_by_frame(make, frame, np.arange(frame.size))
    _say_none(made, plane, frame)
    parameters = {"elements": elements, "factor": factor, "cutoff": cutoff, "cell": cell}
    shape = elements is None and cutoff is None
    flat = shape and cell is None  # edges of Delaunay triangles
    every = not shape and (cutoff is not None or _alike(atomic_numbers(ds, elements)))  # one reach for all
    return Network(ds, plane, frame, made, parameters, flat, every, make)


def _alike(numbers: np.ndarray) -> bool:
    return bool((numbers == numbers[:1]).all())


def _bonds_by_frame(make: Callable[[np.ndarray], Bonds], frame: np.ndarray, rows: np.ndarray) -> Bonds:
    """Bonds among some rows of all frames."""
    if rows.size == frame.size and not frame.any():  # one frame, all of it
        return make(rows)
    order = rows[np.argsort(frame[rows], kind="stable")]
    parts = []
    for here in np.split(order, np.flatnonzero(np.diff(frame[order])) + 1):
        found = make(here)
        parts.append(found._replace(first=here[found.first], second=here[found.second]))
    return Bonds(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _say_none(made: Bonds, plane: Plane, frame: np.ndarray) -> None:
    """A table without a single bond is mostly one whose lengths were meant in another unit."""
    if made.first.size or plane.y.size < 2:
        return
    apart = nearest(plane.y, plane.x, frame)[0].min()
    if np.isfinite(apart):
        found = f"there are no bonds: the nearest two atoms are {apart:.3g} {plane.units} apart"
        warn_user(f"{found}. An integer cutoff counts pixels, a float the units of the axes.")


def _check_room(cell: np.ndarray, plane: Plane, frame: np.ndarray) -> None:
    """Refuse cells that do not hold the atoms: their images would lie between each other."""
    most = int(np.bincount(frame).max(initial=0))
    apart = nearest(plane.y, plane.x, frame)[0]
    if most < 2 or not np.isfinite(apart).any():
        return
    area, usual = abs(float(np.linalg.det(cell))) / most, float(np.median(apart[np.isfinite(apart)]))
    if area < ROOM * usual**2:
        got = f"a cell {cell.tolist()} of {area:.3g} {plane.units}^2 per atom, with neighbours {usual:.3g} apart"
        raise InvalidArgumentError(
            explain(got, "one that holds all atoms of a frame", "Give it in the units of y and x.")
        )


def network_attrs(net: Network, kind: str) -> dict[str, Any]:
    """Axes, metadata and provenance of the table, with one more entry."""
    made = {**net.ds.attrs, "provenance": provenance_with(net.ds.attrs, kind, net.parameters)}
    kept = {name: made[name] for name in ("axes", "metadata", "provenance", "format_version") if name in made}
    return {**kept, "kind": kind}


def _rule(ds: xr.Dataset, plane: Plane, elements, factor, cutoff, cell):
    """Rows of one frame -> their bonds."""
    number = is_number(factor) and factor > 0
    if factor is not None and (not number or cutoff is not None):
        got = f"factor={factor!r}" + (f" and cutoff={cutoff!r}" if cutoff is not None else "")
        raise InvalidArgumentError(explain(got, "a number above 0, without cutoff", "Leave one of them out."))
    y, x = plane.y, plane.x
    if cutoff is not None:
        reach = length_in(cutoff, ds, plane.units)
        return lambda rows: kernels.bonds_within(y[rows], x[rows], reach, cell=cell)
    if elements is None:
        reach = factor or kernels.REACH
        return lambda rows: kernels.bonds_by_shape(y[rows], x[rows], reach=reach, cell=cell)
    scale, numbers = angstrom(plane.units, "bonds from radii"), atomic_numbers(ds, elements)

    def by_radii(rows):
        found = kernels.bonds_of_elements(y[rows] * scale, x[rows] * scale, numbers[rows], factor=factor or 1.2,
                                          cell=None if cell is None else cell * scale)  # fmt: skip
        return found._replace(dy=found.dy / scale, dx=found.dx / scale)

    return by_radii


def angstrom(units: str, purpose: str) -> float:
    """Å per unit.

    Raises
    ------
    TableError
        If it is no length.
    """
    from hs_deepatoms.bridge.lengths import unit_factor

    try:
        return unit_factor(units, "Å")
    except InvalidArgumentError as error:
        todo = ("Calibrate the image, then hs_deepatoms.positions(atoms, signal=image); where y and x are lengths in "
                "different units, atoms.deepatoms.to_units('nm').")  # fmt: skip
        got = f"positions in {units!r} for {purpose}"
        raise TableError(explain(got, "axes with one unit of length", todo)) from error
