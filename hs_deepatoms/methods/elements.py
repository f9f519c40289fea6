"""Chemical elements of the atoms of a table: from its classes, whatever the order they are named in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names

if TYPE_CHECKING:
    import xarray as xr


def atomic_numbers(ds: xr.Dataset, elements: Any = None, *, argument: str = "elements") -> np.ndarray:
    """Atomic number of every atom.

    Parameters
    ----------
    ds
        Positions table.
    elements
        ``{class number or name: symbol}``, numbers also as text; one symbol for all atoms; None: the names of the
        classes are symbols.
    argument
        How the caller names it, for errors.

    Returns
    -------
    numpy.ndarray
        Shape (n_atoms,).

    Raises
    ------
    TableError
        If a class in the table has no element, or a symbol is none: no atom is left out.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([0.0, 1.0], [0.0, 1.0], columns={"species": ["Ti", "Sr"]})
    >>> atomic_numbers(atoms).tolist(), atomic_numbers(atoms, {1: "Zr", "Sr": "Ba"}).tolist()
    ([22, 38], [40, 56])
    """
    n = ds.sizes.get(schema.DIM, 0)
    if isinstance(elements, str):
        return np.full(n, _number(elements, argument))
    if elements is not None and not isinstance(elements, Mapping):
        raise TableError(explain(f"{argument}={elements!r}", "a symbol, or {class: symbol}", "For example {0: 'C'}."))
    classes, names = classes_of(ds)
    wanted = _by_class(elements, names, argument)
    made = np.zeros(n, np.int64)
    for one in np.unique(classes):
        label = names.get(int(one), str(one))
        symbol = wanted.get(int(one)) if elements is not None else names.get(int(one))
        if symbol is None:
            raise TableError(explain(
                f"class {label!r} of {np.count_nonzero(classes == one)} atoms without an element",
                f"an element for each of {[names.get(int(c), int(c)) for c in np.unique(classes)]}",
                f"Give {argument}={{{int(one)}: 'C', ...}}, or select(species=...) the others."))  # fmt: skip
        made[classes == one] = _number(symbol, argument)
    return made


def classes_of(ds: xr.Dataset) -> tuple[np.ndarray, dict[int, str]]:
    """Class number (n_atoms,) of every atom, 0 without ``species`` and -1 where it is not known; and their names."""
    if "species" not in ds.variables:
        return np.zeros(ds.sizes.get(schema.DIM, 0), np.int64), {}
    values = np.nan_to_num(np.asarray(ds["species"].values, float), nan=-1).astype(np.int64)
    return values, category_names(ds["species"].attrs)


def _by_class(elements: Mapping | None, names: Mapping[int, str], argument: str) -> dict[int, str]:
    numbers = {name: value for value, name in names.items()}
    made = {}
    for key, symbol in (elements or {}).items():
        if isinstance(key, str) and key not in numbers and key.isdigit():
            key = int(key)  # from JSON all keys are text
        if isinstance(key, str) and key not in numbers:
            allowed = f"one of {sorted(numbers)}, or a number" if numbers else "numbers: the classes have no names"
            raise TableError(explain(f"{argument} with class {key!r}", allowed, "Name the classes as the table does."))
        if not isinstance(key, str) and not is_whole(key, -np.inf):
            raise TableError(explain(f"{argument} with class {key!r}", "names of classes or whole numbers",
                                     "Name the classes as the table does."))  # fmt: skip
        number = numbers[key] if isinstance(key, str) else int(key)
        if made.setdefault(number, symbol) != symbol:
            raise TableError(explain(f"{argument} with {made[number]!r} and {symbol!r} for class {number}",
                                     "one element for each class", "Name every class once."))  # fmt: skip
    return made


def _number(symbol: Any, argument: str) -> int:
    from ase.data import atomic_numbers as known

    if not isinstance(symbol, str) or symbol not in known or symbol == "X":
        raise TableError(explain(f"{argument} with {symbol!r}", "chemical symbols such as 'C' or 'Si'",
                                 f"Give {argument}={{class: symbol}}."))  # fmt: skip
    return known[symbol]
