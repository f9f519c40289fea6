"""JSON that gives back what it was given: values that JSON does not know are tagged with what they are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from hs_deepatoms._core.warn import warn_user

TAG = "__kind__"


def encode_json(value: Any) -> str:
    """Tagged JSON (plain ASCII) of nested values.

    Parameters
    ----------
    value
        Any nesting of None, bool, int, float (NaN and infinities too), complex, str, bytes, list, tuple, set, dict,
        dates, paths, NumPy scalars and arrays (of any dtype), dask arrays (computed).

    Returns
    -------
    str
        Strict JSON. Anything else becomes its ``repr``, with a warning that says where.

    Examples
    --------
    >>> decode_json(encode_json({"beam": (1, 2.5j), "raw": b"x", "none": None}))
    {'beam': (1, 2.5j), 'raw': b'x', 'none': None}
    """
    return json.dumps(_tagged(value, ""), allow_nan=False)


def decode_json(text: str) -> Any:
    """What `encode_json` was given.

    Raises
    ------
    ValueError
        The text is not JSON, or has a tag that is not known.
    """
    return _untagged(json.loads(text))


def _tagged(value: Any, where: str) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return _tag("surrogates", [ord(c) for c in value]) if kind is str and not _is_text(value) else value
    if kind is float:
        return value if np.isfinite(value) else _tag("float", str(value))
    if kind is list:
        return [_tagged(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if kind is dict:
        return _tagged_dict(value, where)
    if isinstance(value, np.ndarray | np.generic):
        return _tagged_array(value, where)
    if kind in (tuple, set, frozenset):
        items = sorted(value, key=repr) if kind is not tuple else value
        return _tag(kind.__name__, [_tagged(item, f"{where}[{i}]") for i, item in enumerate(items)])
    return _tagged_other(value, where)


def _tagged_dict(value: dict, where: str) -> Any:
    if all(type(key) is str and _is_text(key) for key in value) and TAG not in value:
        return {key: _tagged(item, f"{where}.{key}") for key, item in value.items()}
    pairs = [[_tagged(key, f"{where} (key)"), _tagged(item, f"{where}.{key}")] for key, item in value.items()]
    return _tag("dict", pairs)


def _tagged_array(value: np.ndarray | np.generic, where: str) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        parts = [_tagged_array(np.asarray(value.data), where), _tagged_array(np.ma.getmaskarray(value), where)]
        return _tag("masked", parts)
    array = np.asarray(value)
    kind = "array" if isinstance(value, np.ndarray) else "scalar"
    if array.dtype.hasobject:
        items = [_tagged(item, where) for item in array.ravel().tolist()]
        return _tag(kind, items, dtype="O", shape=list(array.shape))
    dtype = array.dtype.str if array.dtype.names is None else _tagged(array.dtype.descr, where)
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return _tag(kind, data, dtype=dtype, shape=list(array.shape))


def _tagged_other(value: Any, where: str) -> Any:
    if isinstance(value, complex):
        return _tag("complex", [_tagged(value.real, where), _tagged(value.imag, where)])
    if isinstance(value, bytes | bytearray):
        return _tag("bytes", base64.b64encode(bytes(value)).decode("ascii"))
    for name, (cls, write, _) in TEXT_KINDS.items():
        if isinstance(value, cls):
            return _tag(name, write(value))
    if hasattr(value, "dask") and hasattr(value, "compute"):
        return _tagged(value.compute(), where)
    if hasattr(value, "as_dictionary"):
        return _tagged(value.as_dictionary(), where)
    for cls in (bool, int, float, str, dict, list, tuple):  # subclasses lose their class, not their value
        if isinstance(value, cls):
            return _tagged(cls(value), where)
    if isinstance(value, Mapping):
        return _tagged(dict(value), where)
    if repr(value) == "<undefined>":
        return _tag("undefined", None)
    warn_user(f"{where.lstrip('.') or 'value'} ({type(value).__qualname__}) is kept as text only")
    return _tag("repr", repr(value))


def _tag(kind: str, value: Any, **fields) -> dict:
    return {TAG: kind, "value": value, **fields}


def _is_text(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: _untagged(item) for key, item in value.items()}
    kind = value[TAG]
    if kind in ("array", "scalar"):
        return _array_of(value)
    if kind in TEXT_KINDS:
        return TEXT_KINDS[kind][2](value["value"])
    if kind not in READERS:
        raise ValueError(f"unknown kind {kind!r} in tagged JSON")
    return READERS[kind](value["value"])


def _array_of(value: dict) -> Any:
    shape, dtype = tuple(value["shape"]), value["dtype"]
    if dtype == "O":
        array = np.empty(int(np.prod(shape, dtype=int)), object)
        for i, item in enumerate(value["value"]):
            array[i] = _untagged(item)
        array = array.reshape(shape)
    else:
        dtype = np.dtype(dtype if isinstance(dtype, str) else [_field(entry) for entry in dtype])
        array = np.frombuffer(base64.b64decode(value["value"]), dtype=dtype).reshape(shape).copy()
    return array if value[TAG] == "array" else array[()]


def _field(entry: Any) -> tuple:
    """A field of a structured dtype: JSON made lists of its tuples."""
    name, kind, *shape = _untagged(entry)
    kind = [_field(item) for item in kind] if isinstance(kind, list) else kind
    return (name, kind, *(tuple(item) for item in shape))


def _undefined(_: Any) -> Any:
    import traits.api

    return traits.api.Undefined


TEXT_KINDS: dict[str, tuple] = {  # name -> (class, to text, from text); a datetime is a date too, so it comes first
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "path": (PurePath, str, Path),
}
READERS: dict[str, Any] = {
    "surrogates": lambda codes: "".join(map(chr, codes)),
    "float": float,
    "tuple": lambda items: tuple(_untagged(items)),
    "set": lambda items: set(_untagged(items)),
    "frozenset": lambda items: frozenset(_untagged(items)),
    "dict": lambda pairs: {_untagged(key): _untagged(item) for key, item in pairs},
    "masked": lambda parts: np.ma.MaskedArray(_untagged(parts[0]), mask=_untagged(parts[1])),
    "complex": lambda parts: complex(*_untagged(parts)),
    "bytes": base64.b64decode,
    "undefined": _undefined,
    "repr": str,
}
