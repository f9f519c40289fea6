"""Reading and writing metadata: what a signal or DataArray carries, as plain JSON and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hs_deepatoms.bridge.encode import decode_json
from hs_deepatoms.bridge.provenance import plain, read_provenance

OURS = "deepatoms"
NOT_OURS = ("_HyperSpy", "Markers", "Peaks")  # HyperSpy's own state, and what is drawn on its plot
# what describes the values of the source and would be wrong for a result
OF_VALUES = ("units", "valid_range", "valid_min", "valid_max", "flag_values", "flag_meanings", "scale_factor",
             "add_offset", "_FillValue", "missing_value", "standard_name", "long_name")  # fmt: skip


def tree_dictionary(tree: Any) -> dict:
    """A HyperSpy metadata tree as nested dictionaries and lists of its own; arrays are not copied."""
    # as_dictionary puts dictionaries into the tree's own lists where these hold signals
    lists = list(_lists_of_signals(tree))
    kept = [list(items) for items in lists]
    found = _own_containers(tree.as_dictionary())
    for items, before in zip(lists, kept, strict=True):
        items[:] = before
    return found


def metadata_of_signal(signal: Any) -> tuple[dict, list[dict]]:
    """Plain metadata and provenance of a HyperSpy signal."""
    tree = {key: value for key, value in tree_dictionary(signal.metadata).items() if key not in NOT_OURS}
    ours = tree.pop(OURS, None) or {}
    rest = {key: value for key, value in ours.items() if key != "provenance"}
    metadata = plain({**tree, OURS: rest} if rest else tree)
    return metadata, read_provenance(ours.get("provenance"))


def metadata_of_array(array: Any) -> tuple[dict, list[dict], str]:
    """Plain metadata, provenance and signal type of a DataArray."""
    provenance = read_provenance(array.attrs.get("provenance"))
    stored = stored_json(array.attrs, "metadata")
    if isinstance(stored, dict):
        stored = {key: value for key, value in stored.items() if key not in NOT_OURS}
        if isinstance(stored.get(OURS), dict):
            stored[OURS].pop("provenance", None)
    else:
        title = array.attrs.get("long_name") or array.name or ""
        rest = {key: value for key, value in array.attrs.items() if key not in ("provenance", "signal_dims")}
        stored = {"General": {"title": str(title)}, **({"attrs": rest} if rest else {})}
    signal_type = array.attrs.get("signal_type") or (stored.get("Signal") or {}).get("signal_type") or ""
    return plain(stored), provenance, str(signal_type)


def result_metadata(signal: Any, *, title: str, provenance: list[dict], extra: dict | None = None) -> dict:
    """Metadata for a result of a signal: the source's, less what describes the source's values or its plot."""
    tree = {key: value for key, value in tree_dictionary(signal.metadata).items() if key not in (*NOT_OURS, "Signal")}
    tree = copy.deepcopy(tree)
    tree.setdefault("General", {})["title"] = title
    tree["Signal"] = {"signal_type": ""}  # noise variance and quantity are those of the source's values
    tree[OURS] = {**(tree.get(OURS) or {}), **(extra or {}), "provenance": provenance}
    return tree


def result_attrs(array: Any, *, title: str, provenance: list[dict]) -> dict:
    """Attributes for a result of a DataArray."""
    attrs = {key: value for key, value in array.attrs.items() if key not in OF_VALUES}
    stored = stored_json(attrs, "metadata")
    if isinstance(stored, dict):
        from hs_deepatoms.bridge.encode import encode_json

        stored.setdefault("General", {})["title"] = title
        stored["Signal"] = {"signal_type": ""}
        attrs["metadata"] = encode_json({key: value for key, value in stored.items() if key not in NOT_OURS})
        attrs["signal_type"] = ""
    return {**attrs, "long_name": title, "provenance": json.dumps(provenance)}


def stored_json(attrs: Any, name: str) -> Any:
    """What a tagged JSON attribute says, or None if it is missing or not ours."""
    text = attrs.get(name)
    if not isinstance(text, str):
        return None
    try:
        return decode_json(text)
    except (ValueError, KeyError, TypeError):
        return None


def _lists_of_signals(tree: Any) -> Iterator[list]:
    for key in tree.keys():
        value = tree[key]
        if isinstance(value, type(tree)):
            yield from _lists_of_signals(value)
        elif type(value) is list and any(hasattr(item, "axes_manager") for item in value):
            yield value


def _own_containers(value: Any) -> Any:
    if type(value) is dict:
        return {key: _own_containers(item) for key, item in value.items()}
    return [_own_containers(item) for item in value] if type(value) is list else value
