"""Local environments of the atoms of a table, named and averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError
from hs_deepatoms.methods.bonds import Network, network_attrs, read_network
from hs_deepatoms.methods.rings import uncrossed
from hs_deepatoms.structure.motifs import Motifs, environments, find_motifs
from hs_deepatoms.structure.rings import SMALLEST, check_planar, find_rings, ring_counts
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names, flag_attributes

if TYPE_CHECKING:
    import xarray as xr

LARGEST = 12  # atoms of the rings that are looked at


def motifs(ds: xr.Dataset, *, elements: Any = None, factor: float | None = None,
           cutoff: int | float | str | None = None, cell: Any = None, rings: bool = False,
           seed: int = 0) -> xr.Dataset:  # fmt: skip
    """Local environments: which atoms have the same neighbours in the same arrangement, and what that looks like.

    Parameters
    ----------
    ds
        Positions table; with ``species`` the kinds of the atoms count.
    elements, factor, cutoff, cell
        What a bond is, as in `hs_deepatoms.methods.bonds.bonds`.
    rings
        Whether the sizes of the rings around an atom keep environments apart too (planar networks only).
    seed
        Of the mixtures that tell arrangements apart.

    Returns
    -------
    xarray.Dataset
        Dim ``motif``, the most frequent first, a library: ``count``, ``share``, ``coordination``, ``bond_length``
        (mean), and with dim ``member`` the averaged places of the neighbours ``dy``, ``dx`` from the atom, their rms
        scatter ``spread``, ``bond_angle`` to the next one (degrees) and ``species_of_member`` (-1 beyond). Dim
        ``atom``: ``motif_of_atom`` (classes with names such as ``"C with C3, 120-120-120"``), ``deviation``, rms
        distance of its neighbours from those of the motif.

    Raises
    ------
    TableError
        With ``rings=True``, if the network is not planar; else as in `bonds`.

    Notes
    -----
    See `hs_deepatoms.structure.motifs.find_motifs`.

    Examples
    --------
    >>> import hs_deepatoms
    >>> from hs_deepatoms.simulate.sheets import honeycomb
    >>> sheet = honeycomb(4, 5)
    >>> atoms = hs_deepatoms.positions(5 + 10 * sheet.y, 5 + 10 * sheet.x)
    >>> atoms.deepatoms.motifs()["count"].values.tolist()
    [56, 22, 2]
    """
    import xarray as xr

    net = read_network(ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)
    around = _rings_around(net) if rings else None
    names = category_names(net.ds["species"].attrs) if "species" in net.ds.variables else {}
    kind = net.ds["species"].values if "species" in net.ds.variables else np.zeros(net.frame.size)
    kind = np.where(np.isfinite(kind), kind, -1).astype(np.int64)
    found = find_motifs(environments(net.frame.size, net.bonds, kind), around, seed=seed)
    labels = _names(found, names, "species" in net.ds.variables, around)
    net = net._replace(parameters={**net.parameters, "rings": bool(rings), "seed": seed})
    made = {**_library(found, net.plane.units, names), **{
        "motif_of_atom": (schema.DIM, found.label, flag_attributes(dict(enumerate(labels)))),
        "deviation": (schema.DIM, found.deviation, {"units": net.plane.units}),
    }}  # fmt: skip
    attrs = {**network_attrs(net, "motifs")}
    return xr.Dataset(made, {schema.DIM: net.ds[schema.DIM], "motif": np.arange(found.count.size)}, attrs)


def _rings_around(net: Network) -> np.ndarray:
    """How many rings of each size every atom is on."""
    flat, crossed = uncrossed(net)
    found = find_rings(net.plane.y, net.plane.x, flat.bonds, largest=LARGEST)
    check_planar(found, crossed, net.bonds.first.size)
    if not found.size.size:
        raise TableError("Got a network without rings. Allowed: with rings=True, networks that have some. "
                         "Leave rings=True out.")  # fmt: skip
    return ring_counts(found, net.frame.size, LARGEST)


def _library(found: Motifs, units: str, names: dict[int, str]) -> dict[str, tuple]:
    total, there = max(int(found.count.sum()), 1), found.kind >= 0
    vectors = np.where(there, found.vectors, np.nan)
    number = np.isfinite(found.spread).sum(axis=1)
    length = np.divide(np.nansum(np.abs(vectors), axis=1), number, out=np.full(number.size, np.nan), where=number > 0)
    columns = {"count": (found.count, "1"), "share": (found.count / total, "1"), "coordination": (number, "1"),
               "bond_length": (length, units)}  # fmt: skip
    made = {name: ("motif", values, {"units": unit}) for name, (values, unit) in columns.items()}
    members = {"dy": (found.vectors.imag, units), "dx": (found.vectors.real, units), "spread": (found.spread, units),
               "bond_angle": (bond_angles(found.vectors), "degree")}  # fmt: skip
    made |= {name: (("motif", "member"), values, {"units": unit}) for name, (values, unit) in members.items()}
    made["species_of_member"] = (("motif", "member"), found.kind, flag_attributes(names))
    return made


def bond_angles(vectors: np.ndarray) -> np.ndarray:
    """Angle (n, k) in degrees from every neighbour to the next one around, NaN where there is none."""
    made = np.full(vectors.shape, np.nan)
    for row, one in enumerate(vectors):
        own = one[np.isfinite(one)]
        if own.size > 1:
            order = np.argsort(np.angle(own))
            gaps = np.diff(np.append(np.angle(own[order]), np.angle(own[order[0]]) + 2 * np.pi))
            made[row, order] = np.degrees(gaps)
    return made


def _names(found: Motifs, names: dict[int, str], several: bool, around: np.ndarray | None) -> list[str]:
    """What each motif is called: its atom, its neighbours, the angles between them, the rings around."""
    angles, made = bond_angles(found.vectors), []
    first = np.unique(found.label, return_index=True)[1]
    for one, (centre, kinds) in enumerate(zip(found.centre, found.kind, strict=True)):
        number = int(np.isfinite(found.spread[one]).sum())
        kinds, counts = np.unique(kinds[:number], return_counts=True)
        formula = "".join(f"{names.get(int(k), k)}{n}" for k, n in zip(kinds, counts, strict=True)) or "none"
        name = f"{names.get(int(centre), centre)} with {formula}" if several else f"{number} bond{'s' * (number != 1)}"
        own = np.sort(angles[one][np.isfinite(angles[one])])
        if own.size:
            name += ", " + "-".join(f"{value:.0f}" for value in own)
        if around is not None:
            sizes = np.repeat(np.arange(around.shape[1]), around[first[one]])
            name += ", rings " + ("-".join(map(str, sizes[sizes >= SMALLEST])) or "none")
        made.append(f"{name} ({one})" if name in made else name)
    return made
