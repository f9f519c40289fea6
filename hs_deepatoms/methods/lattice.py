"""The local lattice of a positions table: sites, displacements and strain, as columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms._core.progress import progress
from hs_deepatoms.atoms.lattice import Sites, index_sites
from hs_deepatoms.atoms.strain import displacement, fit_covariance, fit_ideal, local_vectors, strain
from hs_deepatoms.methods.plane import Plane, read_plane, with_columns
from hs_deepatoms.methods.reference import Reference, read_reference
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.select import of_species

if TYPE_CHECKING:
    import xarray as xr

PATIENCE = 1.0  # seconds before there is a progress bar
STRAINS = ("strain_yy", "strain_xx", "strain_xy", "lattice_rotation")


def lattice(
    ds: xr.Dataset,
    *,
    reference: Any = None,
    species: int | str | Sequence[int | str] | None = None,
    show_progressbar: bool | None = None,
) -> xr.Dataset:
    """The table with the site of every atom in its crystal, its displacement from there, and the strain around it.

    Parameters
    ----------
    ds
        Positions table, of an image or a stack: every frame has its own grains.
    reference
        What strain and displacement are measured against. None or ``"mean"``: the mean lattice of each grain. A
        HyperSpy ROI in the units of x and y: the lattice inside it (a substrate); a grain without atoms there is
        compared with the nearest equivalent of these vectors. ``(a, b)``: lengths of the two lattice vectors (pixels
        along x as int, axis units as float, or ``"0.3905 nm"``) along their mean directions; ``a`` is nearer to +x.
    species
        Class or classes that take part, as numbers or names. None: all; columns of one species form sublattices.
    show_progressbar
        Of frames, where they take longer than a second. None: HyperSpy's preference.

    Returns
    -------
    xarray.Dataset
        The same atoms (those without a position dropped) with ``grain`` (-1: in none), ``site_i``, ``site_j``,
        ``basis``; ``displacement_y``, ``displacement_x`` in the units of y and x; ``strain_yy``, ``strain_xx``,
        ``strain_xy`` along the image's axes; ``lattice_rotation`` in radians from +x towards +y; each with ``_std``.
        NaN where too few neighbours are known. The attribute ``lattice`` (JSON) has one entry per grain: ``frame``,
        ``vectors`` and ``reference`` [[a_y, a_x], [b_y, b_x]], lengths, angle, ``units``, ``misfit``.

    Raises
    ------
    TableError
        If no atom lies in the reference region, or the axes differ in units and the table does not know them.
    InvalidArgumentError
        If ``reference`` cannot be read.

    Notes
    -----
    Where y and x are in different units everything is computed in pixels of the image, and displacements are given
    back in the units of y and x. Without ``y_std`` and ``x_std`` the scatter around the local lattices stands for them
    in the errors of strain. With them, ``misfit`` (y, x) is that scatter over what they say: much above 1, the
    positions are worse, or the crystal rougher from cell to cell, than the uncertainties tell.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> y, x = (k.ravel() for k in np.mgrid[5:95:10.0, 5:145:10.0])
    >>> atoms = hs_deepatoms.positions(y, np.where(x > 75, 75 + 1.01 * (x - 75), x))
    >>> atoms = atoms.deepatoms.lattice(reference=(10, 10))
    >>> atoms.strain_xx.sel(atom=12).round(6).item()
    0.01
    """
    ds = schema.dropna(ds)
    plane = read_plane(ds, "lattice")
    wanted = read_reference(reference, ds, plane.units)
    frame = frame_of(ds)
    take = np.ones(frame.size, bool) if species is None else of_species(schema.check_column(ds, "species"), species)
    kind = _kinds(ds)
    columns = _empty(frame.size)
    entries: list[dict] = []
    frames = np.unique(frame[take])
    with progress(len(frames), "lattice", show_progressbar, " frames", delay=PATIENCE) as bar:
        for number in frames:
            rows = np.flatnonzero(take & (frame == number))
            part = plane.at(rows)
            sites = index_sites(part.y, part.x, None if kind is None else kind[rows])
            made, about = describe(part, sites, wanted.at(rows))
            made["grain"] = np.where(sites.grain >= 0, sites.grain + len(entries), -1)
            for name, values in made.items():
                columns[name][rows] = values
            entries += [{"grain": len(entries) + k, "frame": int(number), **one} for k, one in enumerate(about)]
            bar.update()
    if wanted.region is not None and entries and not any(one["in_reference"] for one in entries):
        raise TableError(explain("a reference region without atoms of a lattice", "a region that holds some cells",
                                 "Choose a larger one, in the units of x and y."))  # fmt: skip
    made = with_columns(ds, columns, {"lattice": json.dumps(entries)})
    return with_entry(made, "lattice", {"reference": wanted.label, "species": species, "grains": len(entries)})


def describe(plane: Plane, sites: Sites, reference: Reference) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Columns of one frame, and what is known about each of its grains."""
    n, about = plane.y.size, []
    columns = _empty(n)
    columns |= {"site_i": sites.i, "site_j": sites.j, "basis": sites.basis}
    cells, used = reference.cells(plane, sites)
    for grain, cell in enumerate(cells):
        rows = np.flatnonzero(sites.grain == grain)
        part, i, j, basis = plane.at(rows), sites.i[rows], sites.j[rows], sites.basis[rows]
        errors = {"y_std": part.y_std, "x_std": part.x_std}
        use = used[rows]
        fixed = {} if reference.free(use) else {"vectors": cell}
        use = use if use.any() else np.ones(rows.size, bool)
        ideal = fit_ideal(part.y, part.x, i, j, basis, use=use, **errors, **fixed)
        moved = displacement(ideal, part.y, part.x, i, j, basis, use=use, **errors)
        local = local_vectors(part.y, part.x, i, j, basis, yx_corr=part.yx_corr, **errors)
        values, std = strain(local.vectors, local.covariance, ideal.vectors)
        for name, column in zip(("displacement_y", "displacement_x"), moved[:2], strict=True):
            columns[name][rows] = column * part.scale[name.endswith("x")]
        for name, column in zip(("displacement_y_std", "displacement_x_std"), moved[2:], strict=True):
            columns[name][rows] = column * np.abs(part.scale[name.endswith("x_std")])
        for k, name in enumerate(STRAINS):
            columns[name][rows], columns[f"{name}_std"][rows] = values[:, k], std[:, k]
        mean = fit_ideal(part.y, part.x, i, j, basis, **errors).vectors
        entry = _grain_entry(mean, ideal.vectors, plane, rows.size, bool(used[rows].any()), local.misfit)
        known = reference.region is not None and not fixed
        sure = fit_covariance(ideal, part.y, part.x, i, j, basis, use=use, **errors) if known else np.zeros((4, 4))
        about.append({**entry, "reference_covariance": sure.tolist()})
    return columns, about


def _kinds(ds: xr.Dataset) -> np.ndarray | None:
    if "species" not in ds.variables:
        return None
    return np.nan_to_num(np.asarray(ds["species"].values, float), nan=-1.0).astype(np.int64)


def _empty(n: int) -> dict[str, np.ndarray]:
    whole = {"grain": -1, "site_i": 0, "site_j": 0, "basis": -1}
    real = ["displacement_y", "displacement_x", *STRAINS]
    columns = {name: np.full(n, value, np.int64) for name, value in whole.items()}
    return columns | {name: np.full(n, np.nan) for one in real for name in (one, f"{one}_std")}


def _grain_entry(mean, reference, plane: Plane, n: int, inside: bool, misfit) -> dict:
    length = np.hypot(*mean.T)
    angle = np.degrees(np.arccos(np.clip(mean[0] @ mean[1] / length.prod(), -1, 1)))
    entry = {"vectors": mean.tolist(), "reference": reference.tolist(), "a": length[0], "b": length[1]}
    entry |= {"angle_deg": float(angle), "units": plane.units, "atoms": n, "in_reference": inside}
    return entry | {"misfit": misfit.tolist(), "errors": "scatter" if plane.y_std is None else "y_std, x_std"}
