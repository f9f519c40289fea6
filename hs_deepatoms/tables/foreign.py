"""Reading other people's positions into plain arrays; no calibration here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hs_deepatoms._core.choices import check_choice
from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms.bridge.axes import UNKNOWN_UNITS, choose_names
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.schema import (
    DIM,
    axis_entries,
    axis_units,
    check_table,
    navigation_columns,
    read_json,
    stored_axes,
    valid,
)
from hs_deepatoms.tables.units import in_pixels

READABLE = (
    "two arrays y, x of shape (n_atoms,), an array of shape (n_atoms, 2), a pandas.DataFrame, the path of a csv file, "
    "the ragged signal of find_peaks, or a positions table"
)


@dataclass
class Found:
    """Positions as somebody else gave them: (n_atoms,) arrays, in ``units``."""

    y: np.ndarray
    x: np.ndarray
    units: str | tuple[str, str] | None
    """``"px"``, ``"calibrated"`` or a unit; of y and of x, where they differ; None: nobody said."""
    source: str
    said: bool = True
    """Whether somebody said so; else pixels are assumed."""
    frame: np.ndarray | None = None
    indices: dict[str, np.ndarray] = field(default_factory=dict)
    index_columns: dict[str, np.ndarray] = field(default_factory=dict)
    """The columns that ``indices`` were read from, as they came: not every ``..._index`` is one of a frame."""
    navigation_sizes: dict[str, int] = field(default_factory=dict)
    own_frames: tuple[str, ...] = ()
    """Navigation axes of the image that a table came from."""
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, dict[int, str]] = field(default_factory=dict)
    provenance: list[dict] = field(default_factory=list)
    ids: np.ndarray | None = None
    length_units: tuple[str | None, str | None] = (None, None)
    """Units of its uncertainties and widths along y and x, where they are known."""


def read_positions(
    y: Any, x: Any, *, order: str, units: str | None, frame: Any, columns: Mapping[str, Any] | None
) -> Found:
    """What `hs_deepatoms.positions` was given, as arrays.

    Raises
    ------
    TableError
        If it is not one of the readable kinds.
    InvalidArgumentError
        If ``order`` or ``units`` is not text that is allowed.
    """
    check_choice("order", order, ("yx", "xy"))
    if units is not None and (not isinstance(units, str) or not units):
        raise InvalidArgumentError(
            explain(f"units={units!r}", "'px', 'calibrated' or a length unit", "Choose one of these.")
        )
    if columns is not None and not isinstance(columns, Mapping):
        got = f"columns of type {type(columns).__name__}"
        raise InvalidArgumentError(explain(got, "a dictionary, name: one value per atom", "Name the columns."))
    found = _read(y, x, order, units)
    if found.units is None:
        found.units, found.said = "px", False
    found.columns.update(_named(columns or {}))
    if frame is not None:
        found.frame, found.indices = np.asarray(frame), {}
        if found.frame.dtype.kind not in "iuf" or found.frame.ndim != 1:
            what = f"frame={frame!r}" if np.ndim(frame) == 0 else f"frame of dtype {found.frame.dtype}"
            raise TableError(explain(what, "one whole number per atom", "Give the flattened frame of every atom."))
    return found


def _named(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Further columns; positions and frames have arguments of their own, which these would contradict."""
    given = {str(name): np.asarray(values) for name, values in columns.items()}
    twice = [name for name in given if name in ("y", "x", "y_px", "x_px", "frame", DIM)]
    if twice:
        todo = "Give positions and frames by their own arguments, all in one DataFrame, or rename these columns."
        raise TableError(explain(f"columns {twice}", "columns other than positions, frames and ids", todo))
    return given


def _read(y: Any, x: Any, order: str, units: str | None) -> Found:
    if x is not None:
        return Found(_numbers(y, "y"), _numbers(x, "x"), units or _said_units((y, x)), "arrays")
    if isinstance(y, str | os.PathLike):
        return _from_frame(_read_csv(y), units, f"csv file {os.path.basename(os.fspath(y))}")
    if hasattr(y, "iloc") and hasattr(y, "columns"):
        return _from_frame(y, units, "DataFrame")
    if hasattr(y, "data_vars"):
        return _from_table(check_table(y))
    if getattr(y, "ragged", False) and hasattr(y, "axes_manager"):
        return _from_ragged(y, order, units)
    if not hasattr(y, "axes_manager"):
        pairs = _numbers(y, "y")
        if pairs.size == 0:
            return Found(np.empty(0), np.empty(0), units, "array")
        if pairs.ndim == 2 and pairs.shape[1] == 2:
            first, second = pairs.T
            return Found(*((first, second) if order == "yx" else (second, first)), units, "array")
    found = f"a {type(y).__name__}" + (f" of shape {np.shape(y)}" if hasattr(y, "shape") else "") + " and no x"
    raise TableError(explain(found, READABLE, "Give the positions as one of these."))


def _said_units(columns: Sequence[Any]) -> str | tuple[str, str] | None:
    """Units that DataArrays y and x carry, None where they do not both."""
    said = tuple(getattr(column, "attrs", {}).get("units") for column in columns)
    return _both(said)


def _both(said: Sequence[Any]) -> str | tuple[str, str] | None:
    if not all(isinstance(one, str) and one for one in said):
        return None
    return said[0] if said[0] == said[1] else (said[0], said[1])


def _numbers(values: Any, name: str) -> np.ndarray:
    if np.iscomplexobj(values):
        raise TableError(explain(f"complex values for {name}", "real numbers", "Take the real part, or the amplitude."))
    try:
        if np.ma.isMaskedArray(values):
            values = np.ma.filled(values.astype(float), np.nan)  # what is masked is no position
        return np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise TableError(explain(f"{name} that is not made of numbers ({error})", READABLE, "Convert it.")) from error


def _read_csv(path: Any):
    import pandas as pd

    if not os.path.exists(path):
        raise TableError(explain(f"{os.fspath(path)!r}, which does not exist", READABLE, "Check the path."))
    try:
        return pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' own errors are of these; text that cannot be decoded, too
        reason = " ".join(str(error).split())
        got = f"{os.fspath(path)!r}, which cannot be read ({reason})"
        raise TableError(explain(got, "a csv file with a line of names", "Check the file.")) from error


def _from_frame(frame: Any, units: str | None, source: str) -> Found:
    names = {str(name).strip(): name for name in frame.columns}
    y, x = ("y_px", "x_px") if "y_px" in names and "x_px" in names else ("y", "x")
    if y not in names or x not in names:
        found = f"a {source} with columns {list(names)}"
        raise TableError(explain(found, "columns 'y_px' and 'x_px', or 'y' and 'x'", "Rename its columns."))
    arrays = {name: np.asarray(frame[column]) for name, column in names.items()}
    indices = {name[: -len("_index")]: values for name, values in arrays.items() if name.endswith("_index")}
    used = {"y", "x", "y_px", "x_px", "frame", DIM, "units", "y_units", "x_units", *indices}
    used |= {f"{name}_index" for name in indices}
    lengths = _length_units(frame, arrays)
    ids = arrays.get(DIM)
    if ids is None and getattr(frame.index, "name", None) == DIM:
        ids = np.asarray(frame.index)
    return Found(
        _numbers(arrays[y], y),
        _numbers(arrays[x], x),
        "px" if y == "y_px" else units or _both(lengths),
        source,
        frame=arrays.get("frame"),
        indices={name: _numbers(values, name) for name, values in indices.items()} if "frame" not in names else {},
        index_columns={name: arrays[name] for n in indices for name in (n, f"{n}_index") if name in arrays},
        columns={name: values for name, values in arrays.items() if name not in used and not _is_index(name)},
        ids=ids,
        length_units=lengths,
    )


def _length_units(frame: Any, arrays: Mapping[str, np.ndarray]) -> tuple[str | None, str | None]:
    """Units along y and x that our own data frames carry in their attributes, our csv files in columns."""
    said = frame.attrs.get("units") if isinstance(getattr(frame, "attrs", None), dict) else None
    known = said if isinstance(said, Mapping) else {}
    y, x = (known.get(name) or _only(arrays.get(f"{name}_units")) or _only(arrays.get("units")) for name in ("y", "x"))
    return y, x


def _only(units: np.ndarray | None) -> str | None:
    told = [] if units is None else [one for one in units.tolist() if one == one and one is not None]  # not NaN
    different = sorted({str(one).strip() for one in told})
    if any(not same_units(one, different[0]) for one in different):
        got = f"a table with positions in {different}"
        raise TableError(explain(got, "one unit for all", "Convert them to one, or give each part a table of its own."))
    return different[0] if different else None


def _is_index(name: str) -> bool:
    return name.startswith("Unnamed:")  # what pandas calls a saved index without a name


def _from_table(ds: Any) -> Found:
    keep = valid(ds)
    ds = ds.isel({DIM: keep})
    if not all(name in ds and np.isfinite(ds[name].values).all() for name in ("y_px", "x_px")):
        ds = ds.drop_vars(["y_px", "x_px"], errors="ignore")  # a join left gaps; y and x are whole
    if stored_axes(ds) is not None and ("y_px" in ds or UNKNOWN_UNITS in axis_units(ds).values()):
        ds = in_pixels(ds)  # the image may have been calibrated otherwise since
    frame = ds.reset_coords().to_dataframe()
    found = _from_frame(frame, _said_units((ds["y"], ds["x"])) or "calibrated", "table")
    navigation = {*found.indices, *(f"{name}_index" for name in found.indices)}
    found.columns = {name: values for name, values in found.columns.items() if name not in navigation}
    found.names = {name: names for name in found.columns if (names := category_names(ds[name].attrs))}
    for name in found.names:
        found.columns[name] = np.rint(found.columns[name]).astype(np.int64)
    found.length_units = tuple(axis_units(ds).values())
    found.own_frames = tuple(navigation_columns([entry["name"] for entry in axis_entries(ds) if entry.get("navigate")]))
    found.provenance = read_json(ds.attrs, "provenance", [])
    return found


def _from_ragged(signal: Any, order: str, units: str) -> Found:
    axes = signal.axes_manager.navigation_axes[::-1]
    names = choose_names([axis.name for axis in axes], [True] * len(axes))
    sizes = {name: axis.size for name, axis in zip(names, axes, strict=True)}
    data = signal.data.compute() if hasattr(signal.data, "compute") else signal.data
    parts = [np.asarray(part, float).reshape(-1, 2) for part in np.asarray(data, object).ravel()]
    if not all(part.size == 0 or part.shape[1] == 2 for part in parts):
        raise TableError(explain("a ragged signal", "one (n, 2) array per frame, as of find_peaks", "Check it."))
    pairs = np.concatenate(parts) if parts else np.empty((0, 2))
    frame = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    first, second = pairs.T
    columns = (first, second) if order == "yx" else (second, first)
    found = Found(*columns, units, "ragged signal", navigation_sizes=sizes)
    if sizes:
        found.indices = dict(zip(sizes, np.unravel_index(frame, tuple(sizes.values())), strict=True))
    return found
