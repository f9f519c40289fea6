"""What was done to the data: one small JSON-able record per step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import numpy as np

PLAIN_VALUES = 1000  # longer arrays are described, not listed


def provenance_entry(
    operation: str,
    parameters: Mapping[str, Any],
    *,
    model: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """One step of a result's history.

    Parameters
    ----------
    operation : str
        Name of the public function.
    parameters : mapping
        Its arguments and what was decided automatically. Arrays, NumPy scalars and paths are made JSON-able.
    model : mapping, optional
        ``name`` and ``sha256`` of the model file.
    seed : int, optional
        Seed of the random numbers.
    device : str, optional
        Where it was computed.

    Returns
    -------
    dict
        JSON-able; ``package``, ``version`` and ``time`` (UTC, ISO 8601) are added.

    Examples
    --------
    >>> entry = provenance_entry("find_atoms", {"threshold": 0.5})
    >>> entry["operation"], entry["parameters"]
    ('find_atoms', {'threshold': 0.5})
    """
    from hs_deepatoms._core.version import __version__

    entry = {
        "operation": operation,
        "package": "hs_deepatoms",
        "version": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": plain(parameters),
    }
    optional = {"model": model, "seed": seed, "device": device}
    return {**entry, **{name: plain(value) for name, value in optional.items() if value is not None}}


def read_provenance(value: Any) -> list[dict]:
    """The list of entries in a JSON text or in HyperSpy's metadata; empty where there is none."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if not isinstance(value, list | tuple):
        return []
    return [plain(entry.as_dictionary() if hasattr(entry, "as_dictionary") else entry) for entry in value]


def plain(value: Any) -> Any:
    """A value as plain JSON: exact for what JSON can say, else a description."""
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (type(None), bool, int, str) else _unsubclassed(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(float(value))
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return _described(value)


def append_provenance(history: Sequence[dict], entry: Mapping[str, Any]) -> list[dict]:
    """The history with one more entry; the given one is left alone."""
    return [*history, plain(entry)]


def _unsubclassed(value: Any) -> Any:
    return next(kind(value) for kind in (bool, int, str) if isinstance(value, kind))


def _plain_array(values: np.ndarray) -> Any:
    if values.size > PLAIN_VALUES or values.dtype.kind not in "biufUSO":
        return _described(values)
    return plain(values.tolist())


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{type(value).__name__} of shape {tuple(shape)} and dtype {dtype}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
