"""``table.deepatoms.vacancies`` and ``.dopants``: what the local lattice says about empty sites and odd atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.tables import schema
from hs_deepatoms.tables.build import build_table
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.missing import UNKNOWN, UNKNOWN_NAME

if TYPE_CHECKING:
    import xarray as xr

KIND = "vacancies"


def vacancies(ds: xr.Dataset) -> xr.Dataset:
    """Sites of the local lattice that hold no atom, as a table of their own: candidates for vacancies.

    Parameters
    ----------
    ds
        Positions table that knows the axes of its image.

    Returns
    -------
    xarray.Dataset
        A positions table of the empty sites (``kind`` is ``"vacancies"``): ``y``, ``x`` in the units of the image,
        ``y_px``, ``x_px``, ``confidence`` (share of the equivalent sites around that hold atoms) and, of a classified
        table, the ``species`` expected there.

    Raises
    ------
    TableError
        If the table does not know the axes of its image.

    Notes
    -----
    Every atom predicts sites a lattice vector of its grain away; see `hs_deepatoms.atoms.sites.empty_sites`. Sites in
    the outermost half spacing of the image, and those that crystal surrounds on one side only, are not reported.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> y, x = (w.ravel() for w in np.mgrid[5:100:10, 5:120:10].astype(float))
    >>> kept = np.arange(y.size) != 50
    >>> atoms = hs_deepatoms.positions(y[kept], x[kept], signal=np.zeros((100, 120)))
    >>> empty = atoms.deepatoms.vacancies()
    >>> empty.sizes["atom"], round(float(empty.x_px[0])) == int(x[50])
    (1, True)
    """
    from hs_deepatoms.atoms.sites import empty_sites

    ds = schema.dropna(ds)
    navigation, signal = schema.known_axes(ds, "vacancies()")
    y, x = _pixels(ds, signal)
    shape, label, frame = tuple(axis.size for axis in signal[-2:]), _labels(ds), frame_of(ds)
    columns: dict[str, list] = {name: [np.empty(0)] for name in ("y", "x", "label", "confidence", "frame")}
    for rows in _rows_of_frames(frame):
        found = empty_sites(y[rows], x[rows], shape, None if label is None else label[rows])
        for name in ("y", "x", "label", "confidence"):
            columns[name].append(getattr(found, name))
        columns["frame"].append(np.full(found.y.size, frame[rows[0]]))
    made = {name: np.concatenate(parts) for name, parts in columns.items()}
    extra, names = {"confidence": made["confidence"].astype(np.float32)}, None
    if label is not None:
        extra["species"] = made["label"].astype(np.int64)
        names = {"species": _with_unknown(category_names(ds["species"].attrs), extra["species"])}
    return build_table(
        made["y"],
        made["x"],
        frame=made["frame"].astype(np.int64),
        columns=extra,
        navigation=navigation,
        signal=signal,
        metadata=schema.read_json(ds.attrs, "metadata", {}),
        provenance=schema.read_json(with_entry(ds, "vacancies", {}).attrs, "provenance", []),
        kind=KIND,
        names=names,
        units={"confidence": "1"},
    )


def dopants(ds: xr.Dataset) -> xr.Dataset:
    """The table with what the equivalents of every atom are: candidates for dopants and antisites.

    Parameters
    ----------
    ds
        Classified positions table (`classify`).

    Returns
    -------
    xarray.Dataset
        A new table with ``site_species``, the species of most equivalents of the atom, ``site_share``, the share of
        them (NaN where there are too few), and ``off_class``, whether the atom is of another species.

    Raises
    ------
    TableError
        If the atoms have no species yet.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> y, x = (w.ravel() for w in np.mgrid[5:100:10, 5:120:10].astype(float))
    >>> species = (np.arange(y.size) == 50).astype(int)
    >>> atoms = hs_deepatoms.positions(y, x, columns={"species": species}).deepatoms.dopants()
    >>> np.flatnonzero(atoms.off_class).tolist()
    [50]
    """
    from hs_deepatoms.atoms.sites import site_labels

    ds = schema.dropna(ds)
    column = schema.check_column(ds, "species")
    label, expected, share = _labels(ds), _labels(ds).copy(), np.full(ds.sizes[schema.DIM], np.nan, np.float32)
    axes = schema.stored_axes(ds)
    y, x = _pixels(ds, axes[1] if axes else None)
    # without an image, the frame ends beyond the atoms
    shape = tuple(axis.size for axis in axes[1][-2:]) if axes else tuple(w.max(initial=0.0) + 1 for w in (y, x))
    for rows in _rows_of_frames(frame_of(ds)):
        expected[rows], share[rows] = site_labels(y[rows], x[rows], label[rows], shape)
    names = {**column.attrs, "long_name": "species of most equivalents of the atom"}
    off = (expected != label) & (expected != UNKNOWN) & (label != UNKNOWN)
    made = ds.assign(
        site_species=(schema.DIM, expected, names),
        site_share=(schema.DIM, share, {"long_name": "share of the equivalents of that species", "units": "1"}),
        off_class=(schema.DIM, off, {"long_name": "whether the atom is of another species than its equivalents"}),
    )
    return with_entry(made, "dopants", {"n_off_class": int(off.sum())})


def _pixels(ds: xr.Dataset, axes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n_atoms,), from the calibrated positions where the table has no others."""
    made = []
    for number, name in enumerate(schema.COORDINATES):
        if f"{name}_px" in ds.variables:
            made.append(np.asarray(ds[f"{name}_px"].values, float))
        else:
            values = np.asarray(ds[name].values, float)
            made.append(np.asarray(axes[-2:][number].to_index(values), float) if axes else values)
    return made[0], made[1]


def _labels(ds: xr.Dataset) -> np.ndarray | None:
    if "species" not in ds.variables:
        return None
    values = np.asarray(ds["species"].values, float)
    return np.where(np.isfinite(values) & (values >= 0), values, UNKNOWN).astype(np.int64)


def _rows_of_frames(frame: np.ndarray) -> list[np.ndarray]:
    if not frame.size:
        return []
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(frame[order])) + 1)


def _with_unknown(names: dict[int, str], values: np.ndarray) -> dict[int, str]:
    return names | {UNKNOWN: UNKNOWN_NAME} if names and (values == UNKNOWN).any() else names
