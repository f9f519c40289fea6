"""What an object is, in words that are the same in every process: no memory addresses."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(value: Any) -> str:
    """Text that tells an object from another one, in this process and the next.

    Numbers and text are themselves, functions and classes their full names, partial functions and other objects what
    they hold, arrays their shape and a hash.

    Examples
    --------
    >>> from functools import partial
    >>> described([1, None, partial(max, default=0.5)])
    '[1, None, partial(builtins.max, default=0.5)]'
    """
    return _said(value, ())


def _said(value: Any, outer: tuple[int, ...]) -> str:
    if value is None or isinstance(value, str | bytes | int | float | complex | np.generic):
        return repr(value)
    if id(value) in outer:
        return "..."
    outer = (*outer, id(value))
    if isinstance(value, functools.partial):
        return _call("partial", [value.func, *value.args], value.keywords, outer)
    if hasattr(value, "__self__") and hasattr(value, "__func__"):
        return f"{_said(value.__self__, outer)}.{value.__name__}"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_said(k, outer)}: {_said(v, outer)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_said(v, outer) for v in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(_said(v, outer) for v in value)) + "}"
    return _of_object(value, outer)


def _of_object(value: Any, outer: tuple[int, ...]) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "__array__") and hasattr(value, "shape"):
        array = np.ascontiguousarray(value.detach().cpu() if hasattr(value, "detach") else value)
        digest = hashlib.blake2b(array.tobytes(), digest_size=8).hexdigest()
        return f"{name}({array.dtype}, {array.shape}, {digest})"
    if is_dataclass(value):
        return _call(name, [], {f.name: getattr(value, f.name) for f in fields(value)}, outer)
    if hasattr(value, "state_dict"):
        return _call(name, [], value.state_dict(), outer)
    if hasattr(value, "__dict__"):
        return _call(name, [], vars(value), outer)
    return ADDRESS.sub("", repr(value))


def _call(name: str, args: Sequence[Any], named: Mapping[Any, Any], outer: tuple[int, ...]) -> str:
    parts = [_said(one, outer) for one in args] + [f"{k}={_said(v, outer)}" for k, v in named.items()]
    return f"{name}({', '.join(parts)})"
