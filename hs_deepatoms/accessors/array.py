"""``DataArray.deepatoms``: the methods that are attached to signals, from the same table."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import xarray as xr

from hs_deepatoms.register import METHODS, resolve


class ArrayAccessor:
    """The methods of signals on a DataArray: ``array.deepatoms.find_atoms()`` is ``find_atoms(array)``."""

    def __init__(self, array: xr.DataArray):
        self._array = array

    def __repr__(self) -> str:
        return f"<deepatoms: {', '.join(sorted(METHODS))}>"


class _Verb:
    """A method that is imported when it is looked up and gets the DataArray as its first argument."""

    def __init__(self, target: str):
        self.target = target

    def __get__(self, instance: Any, owner: type | None = None) -> Callable:
        function = resolve(self.target)
        return function if instance is None else MethodType(function, instance._array)


for _verb, (_target, _) in METHODS.items():
    setattr(ArrayAccessor, _verb, _Verb(_target))

if getattr(xr.DataArray, "deepatoms", None) is not ArrayAccessor:
    xr.register_dataarray_accessor("deepatoms")(ArrayAccessor)
