"""What stands in a column for an atom that has no value there (joined tables, atoms added by hand)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hs_deepatoms.tables.categories import category_names, flag_attributes

UNKNOWN = -1
UNKNOWN_NAME = "unknown"


def joined(columns: Sequence, sizes: Sequence[int]):
    """One Variable from parts of these sizes; ``None`` is a part that has no such column.

    There, numbers become floats with NaN; named classes stay integers and get the class -1, "unknown".
    Classes are matched by name, not by number, so that parts that numbered them differently agree afterwards.
    """
    import xarray as xr

    present = [column for column in columns if column is not None]
    attrs = dict(present[0].attrs)
    gaps = any(column is None and size for column, size in zip(columns, sizes, strict=True))
    if all(category_names(column.attrs) for column in present):
        values, flags = _joined_classes(columns, sizes, gaps)
        return xr.Variable("atom", values, attrs | flags)
    dtype = np.result_type(*(column.dtype for column in present))
    if gaps and dtype.kind != "f":
        dtype = np.dtype(np.float64)
    parts = [
        np.full(size, np.nan, dtype) if column is None else np.asarray(column.values, dtype)
        for column, size in zip(columns, sizes, strict=True)
        if column is not None or size
    ]
    return xr.Variable("atom", np.concatenate(parts), attrs)


def _joined_classes(columns: Sequence, sizes: Sequence[int], gaps: bool) -> tuple[np.ndarray, dict]:
    names: dict[int, str] = {}
    parts = []
    for column, size in zip(columns, sizes, strict=True):
        if column is None:
            parts.append(np.full(size, UNKNOWN, np.int64))
            continue
        own = category_names(column.attrs)
        codes = {value: _code(value, name, names) for value, name in own.items()}
        values = np.where(np.isfinite(column.values), column.values, UNKNOWN).astype(np.int64)
        gaps = gaps or bool((values == UNKNOWN).any())
        parts.append(_renumbered(values, codes))
    if gaps and UNKNOWN_NAME not in names.values():
        names = {**names, UNKNOWN: UNKNOWN_NAME}
    return np.concatenate(parts), flag_attributes(names)


def _renumbered(values: np.ndarray, codes: dict[int, int]) -> np.ndarray:
    """New class numbers for old ones; a class without a name keeps its number."""
    new = values.copy()
    for old, code in codes.items():
        if code != old:
            new[values == old] = code
    return new


def _code(value: int, name: str, names: dict[int, str]) -> int:
    for code, known in names.items():
        if known == name:
            return code
    code = value if value not in names else max(names) + 1
    names[code] = name
    return code
