"""A table from a plain data frame of our own columns, without the axes of its image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import encode_categories

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

UNIT_COLUMNS = ("units", "y_units", "x_units")


def table_from_frame(frame: pd.DataFrame, source: str) -> xr.Dataset:
    """The positions table in a csv that `save_table` wrote: columns and units, but not the axes of the image.

    Raises
    ------
    TableError
        If ``y`` or ``x`` is missing.
    """
    import xarray as xr

    from hs_deepatoms.bridge.provenance import provenance_entry

    if "y" not in frame or "x" not in frame:
        found = f"{source} with columns {list(map(str, frame.columns))}"
        todo = "Read other tables with hs_deepatoms.positions(path, signal=image)."
        raise TableError(explain(found, "columns 'y' and 'x'", todo))
    texts = [name for name in schema.COORDINATES if len(frame) and frame[name].dtype.kind not in "fiu"]
    if texts:
        raise TableError(explain(f"{source} with text in {texts}", "numbers", "Correct these lines."))
    units = _units(frame)
    columns = {str(name): frame[name].to_numpy() for name in frame.columns if name not in (schema.DIM, *UNIT_COLUMNS)}
    ids = frame[schema.DIM].to_numpy() if schema.DIM in frame else np.arange(len(frame))
    navigation = [name for name in columns if f"{name}_index" in columns]
    coordinates = {*schema.COORDINATES, *navigation, *(f"{name}_index" for name in navigation)}
    variables = {}
    for name, values in columns.items():
        if not len(frame):  # an empty csv knows no types
            values = np.empty(0, np.int64 if name.endswith("_index") or name == "species" else np.float64)
        elif name in schema.COLUMNS and values.dtype.kind in "iub" and name != "species":
            values = values.astype(np.float64)  # a csv of whole numbers
        values, flags = encode_categories(values)
        long_name = {"long_name": name} if name in schema.COORDINATES else {}
        attributes = {**schema.column_attributes(name, units), **long_name, **flags}
        variables[name] = (schema.DIM, values, attributes)
    attrs = {
        "metadata": "{}",
        "provenance": json.dumps([provenance_entry("load", {"source": source})]),
        "kind": schema.KIND,
        "format_version": schema.FORMAT_VERSION,
    }
    return xr.Dataset(
        {name: variable for name, variable in variables.items() if name not in coordinates},
        {
            schema.DIM: (schema.DIM, ids.astype(np.int64), {"long_name": "id of the atom"}),
            **{name: variable for name, variable in variables.items() if name in coordinates},
        },
        attrs,
    )


def _units(frame: pd.DataFrame) -> dict[str, str]:
    def only(name: str) -> str:
        there = frame[name].astype(str).unique().tolist() if name in frame else []
        if not all(same_units(one, there[0]) for one in there):
            raise TableError(explain(f"positions in {there}", "one unit for all", "Convert them to one."))
        return there[0] if there else ""

    return {axis: only(f"{axis}_units") or only("units") or "px" for axis in schema.COORDINATES}
