"""Provenance of tables: one entry appended per step, none lost when tables are joined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hs_deepatoms.tables.schema import read_json

if TYPE_CHECKING:
    import xarray as xr


def with_entry(ds: xr.Dataset, operation: str, parameters: dict[str, Any]) -> xr.Dataset:
    """The same table with one more provenance entry; the given one is left alone."""
    return ds.assign_attrs(provenance=provenance_with(ds.attrs, operation, parameters))


def provenance_with(attrs: dict[str, Any], operation: str, parameters: dict[str, Any]) -> str:
    """The provenance of these attributes, JSON, with one more entry."""
    from hs_deepatoms.bridge.provenance import provenance_entry

    return json.dumps([*read_json(attrs, "provenance", []), provenance_entry(operation, parameters)])


def joined_provenance(histories: Sequence[list[dict]], operation: str, parameters: dict[str, Any]) -> list[dict]:
    """What all histories share, then one entry whose ``inputs`` hold how each of them went on."""
    from hs_deepatoms.bridge.provenance import provenance_entry

    shared: list[dict] = []
    for entries in zip(*histories, strict=False):
        if any(entry != entries[0] for entry in entries[1:]):
            break
        shared.append(entries[0])
    entry = provenance_entry(operation, parameters)
    tails = [history[len(shared) :] for history in histories]
    if any(tails):
        entry["inputs"] = tails
    return [*shared, entry]


def common_part(metadata: Sequence[dict]) -> dict:
    """The entries, at any depth, that all of these trees have with the same value."""
    first, *others = metadata
    common = {}
    for name, value in first.items():
        if not all(name in other for other in others):
            continue
        values = [value, *(other[name] for other in others)]
        if all(isinstance(entry, dict) for entry in values):
            common[name] = common_part(values)
        elif all(entry == value for entry in values):
            common[name] = value
    return common
