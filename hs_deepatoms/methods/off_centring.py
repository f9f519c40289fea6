"""Off-centring of the atoms of one species in the cells of another, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.atoms.centring import off_centring as centred
from hs_deepatoms.methods.plane import read_plane, with_columns
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.select import of_species

if TYPE_CHECKING:
    import xarray as xr


def off_centring(
    ds: xr.Dataset, *, of: int | str, among: int | str | Sequence[int | str], neighbours: int | None = None
) -> xr.Dataset:
    """The table with the vector from the middle of its ``among`` neighbours to every atom ``of`` a species.

    Parameters
    ----------
    ds
        Positions table with a column ``species``.
    of, among
        The species inside the cells, and that (or those) at their corners: numbers or names.
    neighbours
        How many corners a cell has; by default where the distances make their largest jump (at most 8).

    Returns
    -------
    xarray.Dataset
        With ``off_centring_y``, ``off_centring_x`` and their ``_std`` in the units of y and x; NaN for other species,
        and where corners are missing (at the rim, beside vacancies). The number of corners is an attribute of the
        columns.

    Raises
    ------
    TableError
        If there is no such species.
    InvalidArgumentError
        If ``neighbours`` is no number from 1 up, or both species are the same.

    Examples
    --------
    >>> import hs_deepatoms
    >>> y, x = [0.0, 0.0, 2.0, 2.0, 1.1], [0.0, 2.0, 0.0, 2.0, 1.0]
    >>> atoms = hs_deepatoms.positions(y, x, columns={"species": ["Sr"] * 4 + ["Ti"]})
    >>> found = atoms.deepatoms.off_centring(of="Ti", among="Sr", neighbours=4).deepatoms.select(species="Ti")
    >>> found.off_centring_y.round(6).item()
    0.1
    """
    ds = schema.dropna(ds)
    if neighbours is not None and (isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 1):
        raise InvalidArgumentError(explain(f"neighbours={neighbours!r}", "a whole number from 1 up, or None",
                                           "Leave it out to count them."))  # fmt: skip
    column = schema.check_column(ds, "species")
    inner, outer = of_species(column, of), of_species(column, among)
    if (inner & outer).any():
        raise InvalidArgumentError(explain(f"of={of!r}, among={among!r}", "two different species", "Name two."))
    plane, frame = read_plane(ds, "off_centring"), frame_of(ds)
    names = [f"off_centring_{axis}" for axis in ("y", "x", "y_std", "x_std")]
    columns, counts = {name: np.full(frame.size, np.nan) for name in names}, set()
    for number in np.unique(frame[inner]):
        rows, corners = (np.flatnonzero(which & (frame == number)) for which in (inner, outer))
        a, b = plane.at(rows), plane.at(corners)
        errors = {} if a.y_std is None else {"std": (a.y_std, a.x_std), "around_std": (b.y_std, b.x_std)}
        found = centred(a.y, a.x, b.y, b.x, neighbours=neighbours, **errors)
        counts.add(found.neighbours)
        scales = [*a.scale, *(np.abs(one) for one in a.scale)]
        for name, values, scale in zip(names, found, scales, strict=False):
            columns[name][rows] = values * scale
    made = with_columns(ds, columns, {})
    for name in names:
        made[name].attrs["neighbours"] = max(counts, default=0)
    return with_entry(made, "off_centring", {"of": of, "among": among, "neighbours": sorted(counts)})
