"""Phases in the maps of latents, as a column of the table and as a labelled map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.latent.segmentation import LEAST, phases, phases_of_nodes
from hs_deepatoms.methods.image_stack import layout_of
from hs_deepatoms.tables.flatten import flat_table

if TYPE_CHECKING:
    import xarray as xr


def latent_phases(
    tree: xr.DataTree, what: int | str = 0, *, method: str = "otsu", classes: int = 2, denoise: float | None = 1.0,
    least: float = LEAST,
) -> xr.Dataset:  # fmt: skip
    """The table with a column ``phase``: which phase the latent puts each patch into, -1 for none.

    Parameters
    ----------
    tree : xarray.DataTree
        From `rvae` or `vae`.
    what : int or str
        A latent, or a column of the flat table.
    method, classes, denoise, least
        As for :func:`~hs_deepatoms.latent.segmentation.phases`; every frame by itself. Patches on a grid are denoised
        and may be cut by contours; others are judged by their values alone.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    InvalidArgumentError
        No such column, or an option that is none.
    """
    import json

    table = flat_table(tree["latent"].to_dataset())
    name = what if isinstance(what, str) else f"z_{what}"
    if name not in table.data_vars:
        raise InvalidArgumentError(explain(f"{what!r}", "a latent's number, or a column", "Choose one of these."))
    options = {"method": method, "classes": classes, "denoise": denoise, "least": least}
    found = _phases(table, np.asarray(table[name].values, float), options)
    entry = provenance_entry("phases", {"what": name, **options})
    history = [*read_provenance(table.attrs.get("provenance")), entry]
    attrs = {"long_name": f"phase by {name}, -1 for none", "units": "1"}
    return table.assign(phase=("atom", found, attrs)).assign_attrs(provenance=json.dumps(history))


def _phases(table: xr.Dataset, values: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    from hs_deepatoms.tables.frames import frame_of

    layout = layout_of(table)
    if layout is not None:
        return phases_of_nodes(values, layout, **options)
    frame, found = frame_of(table), np.full(values.size, -1)
    for one in np.unique(frame):
        found[frame == one] = phases(values[frame == one], **options)
    return found
