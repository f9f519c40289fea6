"""What is known of each patch and shall not be in the latents: numbers, and classes as one number for each class."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.methods.patch_rows import check_length, class_names
from hs_deepatoms.methods.patch_set import PatchSet
from hs_deepatoms.tables.categories import category_names

if TYPE_CHECKING:
    import xarray as xr


def learn_conditions(condition: Any, found: PatchSet) -> tuple[np.ndarray, list[dict]]:
    """Conditions of patches on the scale of the model, and how they came there.

    Parameters
    ----------
    condition : str, sequence of str, array of shape (n,) or (n, k), or None
        Names of columns, or one value (or row) per patch. Text, bool, and columns with named classes are classes.
    found : PatchSet

    Returns
    -------
    values : numpy.ndarray, float32, shape (n, m)
        NaN where something is not known.
    recipe : list of dict
        What `coded` needs to do the same again: JSON, one for each column given.

    Raises
    ------
    InvalidArgumentError
        If a column is not there, the length differs, or fewer than two classes are known.
    """
    n = found.data.shape[1]
    if condition is None:
        return np.zeros((n, 0), np.float32), []
    names = _column_names(condition, found.table, n)
    columns = _columns_of(found.table, names) if names else _given_columns(condition)
    for column in columns:
        check_length(column, n, "condition")
    recipe = [_recipe(column) | {"column": name}
              for column, name in zip(columns, names or [None] * len(columns), strict=True)]  # fmt: skip
    return _coded(columns, recipe), recipe


def coded(condition: Any, recipe: list[dict], n: int, table: xr.Dataset | None = None) -> np.ndarray:
    """Conditions (n, m) of other patches or pictures on the scale of the model.

    ``condition`` has one value or row for all, or one for each; None: the columns of the table that it was learned
    from; or the names of such columns.

    Raises
    ------
    InvalidArgumentError
        If they are missing, are of another shape, or are classes that were not learned.
    """
    if not recipe:
        if condition is not None:
            todo = "Leave it out, or train with one."
            raise InvalidArgumentError(explain("a condition", "none: the model was trained without", todo))
        return np.zeros((n, 0), np.float32)
    known = [one.get("column") for one in recipe]
    if condition is None and table is not None and all(name in table.variables for name in known):
        condition = known
    if condition is None:
        todo = "Give condition, as when the model was trained."
        raise InvalidArgumentError(explain("no condition", f"{len(recipe)} per patch", todo))
    names = None if table is None else _column_names(condition, table, n, strict=False)
    columns = _columns_of(table, names) if names else _rows_of(condition, len(recipe), n)
    if len(columns) != len(recipe):
        raise InvalidArgumentError(explain(f"{len(columns)} columns as condition", f"{len(recipe)}", "Give as many."))
    return _coded(columns, recipe)


def recipe_in(node: xr.Dataset) -> list[dict]:
    """How conditions come on the scale of the model in the node ``/model`` of a tree."""
    stored = json.loads(node.attrs["condition"])
    if stored and isinstance(stored[0], list):  # trees of before: means and deviations
        return [{"mean": mean, "deviation": deviation} for mean, deviation in zip(*stored, strict=True)]
    return stored


def _column_names(condition: Any, table: xr.Dataset, n: int, *, strict: bool = True) -> list[str] | None:
    """Names of columns, if the condition is that; text that is no column is a class for each patch."""
    names = [condition] if isinstance(condition, str) else condition
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        return None
    if all(name in table.variables for name in names):
        return list(names)
    if not strict or (len(names) == n and not isinstance(condition, str)):
        return None
    missing = [name for name in names if name not in table.variables]
    known = ", ".join(map(str, table.variables))
    raise InvalidArgumentError(explain(f"the column {missing[0]!r}", f"a column of the table: {known}", "Choose one."))


def _columns_of(table: xr.Dataset, names: list[str]) -> list[np.ndarray]:
    return [_named(table[name]) for name in names]


def _named(column: xr.DataArray) -> np.ndarray:
    """Values; the names of classes in place of their numbers, None where there is none."""
    names = category_names(column.attrs)
    if not names:
        return column.values
    return np.array([names.get(int(value)) if value == value else None for value in column.values.tolist()], object)


def _given_columns(condition: Any) -> list[np.ndarray]:
    values = _as_array(condition)
    if values.ndim not in (1, 2):
        got = f"condition of shape {values.shape}"
        raise InvalidArgumentError(explain(got, "one value or row per patch", "Reshape it."))
    return [values] if values.ndim == 1 else list(values.T)


def _rows_of(condition: Any, k: int, n: int) -> list[np.ndarray]:
    """k columns of n values: given once for all, or for each."""
    values = _as_array(condition)
    values = values[:, None] if values.ndim == 1 and k == 1 else values
    if values.shape not in ((), (k,), (1, k), (n, k), (1, 1), (n, 1)):
        got = f"condition of shape {np.shape(condition)}"
        raise InvalidArgumentError(explain(got, f"{k} values, or ({n}, {k})", "Give one row per picture."))
    return list(np.broadcast_to(values, (n, k)).T)


def _as_array(condition: Any) -> np.ndarray:
    """As NumPy would, but numbers beside text stay numbers."""
    if hasattr(condition, "dtype"):
        return np.asarray(condition)
    return np.array(condition, object) if _has_text(condition) else np.asarray(condition)


def _has_text(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return any(_has_text(value) for value in values)
    return isinstance(values, str)


def _recipe(column: np.ndarray) -> dict[str, Any]:
    """Names and shares of the classes, or mean and deviation of numbers, of a column."""
    if _is_class(column):
        values = column.astype(object)
        names = class_names([value for value in values.tolist() if not _unknown(value)], "condition")
        if len(names) < 2:
            got = f"condition of the classes {names}"
            raise InvalidArgumentError(explain(got, "two or more classes", "Leave it out: it says nothing."))
        return {"names": names, "shares": [float(np.mean(values == name)) for name in names]}
    numbers = _numbers(column)
    deviation = float(np.nanstd(numbers)) if np.isfinite(numbers).any() else 0.0
    mean = float(np.nanmean(numbers)) if np.isfinite(numbers).any() else 0.0
    return {"mean": mean, "deviation": deviation if deviation > 0 else 1.0}


def _is_class(column: np.ndarray) -> bool:
    return column.dtype.kind in "USb" or (column.dtype.kind == "O" and any(isinstance(v, str | bool) for v in column))


def _unknown(value: Any) -> bool:
    return value is None or value == "" or value != value


def _coded(columns: list[np.ndarray], recipe: list[dict]) -> np.ndarray:
    parts = [_classes(column, one) if "names" in one else ((_numbers(column) - one["mean"]) / one["deviation"])[:, None]
             for column, one in zip(columns, recipe, strict=True)]  # fmt: skip
    return np.concatenate(parts, 1, dtype=np.float32)


def _classes(column: np.ndarray, one: dict) -> np.ndarray:
    """A number for each class, 0 on average; NaN where the class is not known."""
    values = column.astype(object)
    there = np.stack([values == name for name in one["names"]], 1).astype(float)
    other = ~there.any(1)
    strange = sorted({str(value) for value in values[other].tolist() if not _unknown(value)})
    if strange:
        got = f"the classes {', '.join(strange[:5])} as condition"
        raise InvalidArgumentError(explain(got, f"those learned: {', '.join(map(str, one['names']))}", "Choose one."))
    there[other] = np.nan
    return there - np.asarray(one["shares"])


def _numbers(column: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(column, float)
    except (TypeError, ValueError) as error:
        got = f"condition such as {column.tolist()[:3]}"
        raise InvalidArgumentError(explain(got, "numbers, or text for classes", "Convert the column.")) from error
