"""Rings of the bond network of a table, their statistics, and the defects they form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.bonds import Network, components_by_frame, network_attrs, read_network
from hs_deepatoms.structure import defects as kinds
from hs_deepatoms.structure.doubtful import doubtful_atoms
from hs_deepatoms.structure.graph import coordination, read_cell, without_crossings
from hs_deepatoms.structure.rings import SMALLEST, Rings, check_planar, check_sparse, find_rings, ring_counts
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import flag_attributes
from hs_deepatoms.tables.frames import frame_grid
from hs_deepatoms.tables.neighbours import nearest
from hs_deepatoms.tables.select import of_species

if TYPE_CHECKING:
    import xarray as xr

SURE = 0.8  # probability from which an atom is believed whatever the rings say
LOOKED_AT = 12  # atoms of the rings at least that say so, whatever is asked for
SMALL_CELL = 4.0  # bond lengths: a hexagon is 2 across, and its image must not touch it
OVERLAP = 0.1  # bond lengths: nearer ones are two detections of one atom
CLEAR = 3.5  # standard deviations above the noise from which it is


def rings(
    ds: xr.Dataset,
    *,
    elements: Any = None,
    factor: float | None = None,
    cutoff: int | float | str | None = None,
    cell: Any = None,
    largest: int = 12,
    regular: int | None = None,
    containing: int | str | Sequence[int | str] | None = None,
    keep_doubtful: bool = False,
) -> xr.Dataset:
    """The rings of a planar network: graphene, hBN, a dichalcogenide, any sheet whose bonds do not cross.

    Parameters
    ----------
    ds
        Positions table, of an image or a stack.
    elements, factor, cutoff, cell
        What a bond is, see `hs_deepatoms.methods.bonds.bonds`. By default, from the shape of the network.
    largest
        Atoms of the largest ring; what is larger is a hole.
    regular
        Size of the rings that are no defects. None: the most frequent one.
    containing
        Only rings with an atom of one of these species (numbers or names).
    keep_doubtful
        Whether faint atoms (``probability`` below 0.8 and ``width`` less than 3.5 times the error of the position)
        without which the rings around are more regular (noise on a bond, one atom found twice) are part of the
        network. Else they are left out, with a warning that says how many. Tables without these columns have none.

    Returns
    -------
    xarray.Dataset
        Dim ``ring`` (with ``member``): ``y``, ``x`` (mean of its atoms), ``size``, ``area``, ``atoms`` (ids in order
        around it, -1 beyond its size), ``frame``, ``cluster_of_ring`` (-1: regular).
        Dim ``atom`` (with ``ring_size``): ``rings_of_atom`` (how many rings of each size it is on), ``coordination``,
        ``component`` (0: the largest connected part of the frame), ``left_out`` (whether it was doubtful).
        Dim ``cluster``, of rings of other sizes that touch, the largest first: ``cluster_y``, ``cluster_x``,
        ``cluster_kind`` (classes with names: 5-7 pair, Stone-Wales, 5-8-5, ...), ``cluster_rings``, ``cluster_frame``,
        ``cluster_excess`` (sum of regular minus real sizes; 0 for a defect seen whole), and of 5-7 pairs
        ``cluster_angle`` (from five to seven) and ``burgers_y``, ``burgers_x``.
        Over the navigation dims: ``ring_count`` (by ``ring_size``). The attribute ``crossing_bonds`` is the number of
        bonds that crossed shorter ones and were left out.

    Raises
    ------
    TableError
        If the bonds cross or are too many for a plane, most rings are triangles (close-packed), or as in `bonds`.
    InvalidArgumentError
        If a number is out of range.

    Notes
    -----
    Rings are the faces of the drawing of the bonds, found from half-edges in time linear in the number of atoms.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> angle = np.arange(6) * np.pi / 3
    >>> atoms = hs_deepatoms.positions(20 + 10 * np.sin(angle), 20 + 10 * np.cos(angle))
    >>> atoms.deepatoms.rings()["size"].values.tolist()
    [6]
    """
    _check_sizes(largest, regular)
    net = read_network(ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)
    _say_overlaps(net)
    net, crossed = uncrossed(net)
    found = find_rings(net.plane.y, net.plane.x, net.bonds, largest=largest)
    check_planar(found, crossed, net.bonds.first.size + crossed)
    left_out = np.zeros(net.frame.size, bool)
    if not keep_doubtful:
        left_out = _left_out(net, found, largest, regular)
    if left_out.any():
        net, crossed = uncrossed(net.of(np.flatnonzero(~left_out)))
        found = find_rings(net.plane.y, net.plane.x, net.bonds, largest=largest)
    _say_small_cell(net, found)
    if net.frame.any() and found.size.size:
        found = found.at(np.argsort(net.frame[found.atoms[:, 0]], kind="stable"))
    length = float(np.median(net.bonds.length)) if net.bonds.first.size else np.nan
    usual = regular or kinds.regular_size(found)
    odd = kinds.find_defects(found, net.bonds.first.size, length, regular=usual)
    more = {"largest": largest, "regular": usual, "containing": containing,
            "keep_doubtful": keep_doubtful, "crossing_bonds": crossed}  # fmt: skip
    net = net._replace(parameters={**net.parameters, **more})
    made = _dataset(net, found, odd, largest, left_out)
    made.attrs |= {"crossing_bonds": crossed, "regular": usual}
    return made if containing is None else _containing(made, net, containing)


def _say_small_cell(net: Network, found: Rings) -> None:
    """Of a ring that touches its own image over the edges of a small cell, both sides of a bond are one ring."""
    if net.parameters["cell"] is None or not net.bonds.first.size:
        return
    sides = np.linalg.norm(read_cell(net.parameters["cell"]), axis=1)
    number = coordination(net.frame.size, net.bonds)
    inside = (number[net.bonds.first] > 1) & (number[net.bonds.second] > 1)
    inside[found.sides[found.sides >= 0]] = False
    if inside.any() and sides.min() < SMALL_CELL * np.median(net.bonds.length):
        got = f"{inside.sum()} bonds lie on no ring, and the cell is only {sides.min():.3g} wide"
        warn_user(f"{got}: rings that touch their own image are not found. Repeat the cell two or three times.")


def _say_overlaps(net: Network) -> None:
    """Two detections of one atom have the same bonds, which do not cross, and close rings of nothing between them."""
    if net.parameters["elements"] is None and net.parameters["cutoff"] is None:
        # bonds by shape are as long as neighbours are far: where most atoms are there twice, as these two are apart
        apart = nearest(net.plane.y, net.plane.x, net.frame, k=2)[0]
        known = np.isfinite(apart[:, 1])
        usual = float(np.median(apart[known, 1])) if known.any() else 0.0
        number = -(-np.count_nonzero(apart[known, 0] < OVERLAP * usual) // 2)
    else:
        usual = float(np.median(net.bonds.length)) if net.bonds.first.size else 0.0
        number = np.unique(net.bonds.second[net.bonds.length < OVERLAP * usual]).size + _at_one_place(net)
    if number:
        todo = f"Take the worse ones out first: atoms.deepatoms.remove_overlaps({OVERLAP * usual:.2g})."
        warn_user(f"{number} atoms are nearer to another one than a tenth of a bond, which may spoil rings. {todo}")


def _at_one_place(net: Network) -> int:
    """How many atoms that have bonds stand exactly where another one stands: no bond is between these."""
    y, x = net.plane.y, net.plane.x
    in_order = np.sort(y)
    if not (in_order[1:] == in_order[:-1]).any():  # as nearly always where positions were measured
        return 0
    order = np.lexsort((x, y, net.frame))
    same = np.all([w[order[1:]] == w[order[:-1]] for w in (y, x, net.frame)], axis=0)
    return int((same & (coordination(y.size, net.bonds)[order[1:]] > 0)).sum())


def _check_sizes(largest: Any, regular: Any) -> None:
    check_whole("largest", largest, SMALLEST, 1000, todo="For example 12.")
    check_whole("regular", regular, SMALLEST, 1000, optional=True)


def _left_out(net: Network, found: Rings, largest: int, regular: int | None) -> np.ndarray:
    """Doubtful atoms (n_atoms,), and a warning."""
    faint = _faint(net.ds)
    if not faint.any():
        return faint

    seen = max(largest, LOOKED_AT)

    def find(stay: np.ndarray) -> Rings:
        part, _ = uncrossed(net.of(np.flatnonzero(stay)))
        return find_rings(net.plane.y, net.plane.x, part.bonds, largest=seen)

    found = found if seen == largest else find_rings(net.plane.y, net.plane.x, net.bonds, largest=seen)
    probability = np.asarray(net.ds["probability"].values, float)
    out = doubtful_atoms(faint, probability, found, find, regular or kinds.regular_size(found))
    if out.any():
        why = f"faint ones, of a probability below {SURE}, without which the rings around are more regular"
        todo = "See left_out in the result; keep_doubtful=True keeps them."
        warn_user(f"{out.sum()} of {out.size} atoms are left out of the rings: {why}. {todo}")
    return out


def _faint(ds: xr.Dataset) -> np.ndarray:
    """Atoms (n_atoms,) that are improbable and hardly above the noise: the error of a place is width / contrast.

    Real atoms on a bond, as adatoms, may be as improbable to the detector, yet they are seen clearly.
    """
    columns = ("probability", "y_std", "x_std", "width_y", "width_x")
    if not all(name in ds.variables for name in columns):
        return np.zeros(ds.sizes[schema.DIM], bool)
    probability, *errors = (np.asarray(ds[name].values, float) for name in columns)
    unclear = np.maximum(CLEAR * errors[0] > errors[2], CLEAR * errors[1] > errors[3])
    return (probability < SURE) & unclear


def uncrossed(net: Network) -> tuple[Network, int]:
    """Longer bonds that cross others are taken out, frame by frame."""
    if net.flat:
        return net, 0
    check_sparse(net.frame.size, net.bonds.first.size)
    cell = net.parameters["cell"]
    if not net.frame.any():
        part, crossed = without_crossings(net.plane.y, net.plane.x, net.bonds, every=net.every, cell=cell)
        return net._replace(bonds=part), crossed
    frame = net.frame[net.bonds.first]
    order = np.argsort(frame, kind="stable")
    parts, crossed = [], 0
    for rows in np.split(order, np.flatnonzero(np.diff(frame[order])) + 1):
        part, number = without_crossings(net.plane.y, net.plane.x, net.bonds.at(rows), every=net.every, cell=cell)
        parts.append(part)
        crossed += number
    joined = type(net.bonds)(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return net._replace(bonds=joined), crossed


def _dataset(net: Network, found: Rings, odd: kinds.Defects, largest: int, left_out: np.ndarray) -> xr.Dataset:
    import xarray as xr

    ids, units = np.asarray(net.ds.get_index(schema.DIM), np.int64), net.plane.units
    frame = net.frame[found.atoms[:, 0]] if found.size.size else np.empty(0, np.int64)
    members = np.append(ids, -1)[found.atoms]  # -1, beyond the size of a ring, picks what is appended
    ring = {"size": (found.size, "1"), "area": (found.area, "px" if units == "px" else f"{units}^2"),
            "frame": (frame, "1"), "cluster_of_ring": (odd.cluster, "1")}  # fmt: skip
    made = {name: ("ring", values, {"units": unit}) for name, (values, unit) in ring.items()}
    made["atoms"] = (("ring", "member"), members, {"long_name": "ids of the atoms in order, -1 for none"})
    sizes = np.arange(SMALLEST, largest + 1)
    counts = ring_counts(found, ids.size, largest)[:, SMALLEST:]
    made["rings_of_atom"] = ((schema.DIM, "ring_size"), counts, {"units": "1"})
    made["coordination"] = (schema.DIM, coordination(ids.size, net.bonds), {"units": "1"})
    made["component"] = (schema.DIM, components_by_frame(net), {"units": "1"})
    made |= _cluster_columns(odd, frame, units) | _count_columns(net, found, frame, sizes)
    made["left_out"] = (schema.DIM, left_out, {"long_name": "doubtful, and no part of the network"})
    coordinates = {"y": ("ring", found.y, {"units": units}), "x": ("ring", found.x, {"units": units}),
                   schema.DIM: net.ds[schema.DIM], "ring_size": sizes}  # fmt: skip
    return xr.Dataset(made, coordinates, network_attrs(net, "rings"))


def _cluster_columns(odd: kinds.Defects, frame: np.ndarray, units: str) -> dict[str, tuple]:
    number = odd.kind.size
    of = np.zeros(number, np.int64)
    of[odd.cluster[odd.cluster >= 0]] = frame[odd.cluster >= 0]
    columns = {
        "cluster_y": (odd.y, units), "cluster_x": (odd.x, units), "cluster_rings": (odd.rings, "1"),
        "cluster_excess": (odd.excess, "1"), "cluster_frame": (of, "1"), "cluster_angle": (odd.angle, "rad"),
        "burgers_y": (odd.burgers[:, 0], units), "burgers_x": (odd.burgers[:, 1], units),
    }  # fmt: skip
    made = {name: ("cluster", values, {"units": unit}) for name, (values, unit) in columns.items()}
    return made | {"cluster_kind": ("cluster", odd.kind, flag_attributes(dict(enumerate(kinds.KINDS))))}


def _count_columns(net: Network, found: Rings, frame: np.ndarray, sizes: np.ndarray) -> dict[str, tuple]:
    grid = frame_grid(net.ds)
    width = int(sizes[-1]) + 1
    flat = np.bincount(frame * width + found.size, minlength=grid.n_frames * width)
    shaped = flat.reshape(*grid.sizes, width)[..., SMALLEST:]
    return {"ring_count": ((*grid.columns, "ring_size"), shaped, {"units": "1"})}


def _containing(made: xr.Dataset, net: Network, wanted: Any) -> xr.Dataset:
    if "species" not in net.ds.variables:
        got, todo = f"containing={wanted!r} for a table without species", "Find them first: atoms.deepatoms.classify()."
        raise TableError(explain(got, "a table whose atoms have classes", todo))
    chosen = net.ds[schema.DIM].values[of_species(schema.check_column(net.ds, "species"), wanted)]
    return made.isel(ring=np.isin(made["atoms"].values, chosen).any(axis=1))
