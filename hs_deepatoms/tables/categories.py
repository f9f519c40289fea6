"""Columns of classes: integers with CF flags, so that no table holds text or object arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain


def encode_categories(values: np.ndarray, names: Mapping[int, str] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Integer classes and their flag attributes; numbers without ``names`` are returned as they are.

    Examples
    --------
    >>> encode_categories(np.array(["Ti", "Sr", "Ti"]))[0].tolist()
    [1, 0, 1]
    """
    values = np.asarray(values)
    if values.dtype.kind in "OUST":
        return _encode_text(values, names)
    if names is None:
        return values, {}
    if values.dtype.kind not in "iub":
        message = explain(f"classes of dtype {values.dtype}", "integers, as names are given", "Give integer classes.")
        raise TableError(message)
    kept = values.astype(np.int64) if values.dtype.kind == "b" else values
    return kept, flag_attributes({int(value): str(name) for value, name in names.items()})


def flag_attributes(names: Mapping[int, str]) -> dict[str, Any]:
    """CF attributes of integer classes, with the names as they are in the JSON attribute ``names``."""
    if not names:
        return {}
    return {
        "flag_values": list(names),
        # CF separates the meanings by blanks
        "flag_meanings": " ".join(name.replace(" ", "_") or "_" for name in names.values()),
        "names": json.dumps({str(value): name for value, name in names.items()}),
    }


def category_names(attrs: Mapping[str, Any]) -> dict[int, str]:
    """Class -> name from the attributes of a column; empty if it has none."""
    try:
        return {int(value): str(name) for value, name in json.loads(attrs["names"]).items()}
    except (KeyError, TypeError, ValueError):
        return {}


def _encode_text(values: np.ndarray, names: Mapping[int, str] | None) -> tuple[np.ndarray, dict[str, Any]]:
    text = np.array([value.decode() if isinstance(value, bytes) else value for value in values.tolist()], object)
    strange = sorted({type(value).__name__ for value in text.tolist() if not isinstance(value, str)})
    if strange:
        raise TableError(explain(f"a column of {strange}", "numbers or text", "Convert the column."))
    if names is None:
        names = dict(enumerate(sorted(set(text.tolist()))))
    codes = {name: int(value) for value, name in names.items()}
    missing = sorted(set(text.tolist()) - set(codes))
    if missing:
        raise TableError(explain(f"classes {missing}", f"one of {sorted(codes)}", "Name every class."))
    encoded = np.array([codes[value] for value in text.tolist()], np.int64)
    return encoded, flag_attributes({int(value): str(name) for value, name in names.items()})
