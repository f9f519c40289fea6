"""One axis of an image or stack: its name, units and the way between index and calibrated value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

UNDEFINED_UNITS = "px"
UNKNOWN_UNITS = "a.u."
"""Of an axis that has a scale or an offset, but does not say of what: its values are no pixels."""
UNCALIBRATED = frozenset({UNDEFINED_UNITS, UNKNOWN_UNITS})
ROUNDING = 1e-6  # of a pixel: coordinates nearer than this to a straight line are a uniform axis


@dataclass(frozen=True, eq=False)
class Axis:
    """A calibrated axis. Pixel 0 is the centre of the first pixel.

    Parameters
    ----------
    name : str
        Never empty and unique among the axes of a source.
    size : int
        Number of pixels.
    units : str
        ``"px"`` if undefined; ``"a.u."`` if they are undefined, but the values are not those of pixels.
    scale, offset : float or None
        ``value = offset + scale * index``; None for a non-uniform axis.
    values : numpy.ndarray, shape (size,), or None
        The values of a non-uniform axis, in units.
    navigate : bool
        Whether this is a navigation axis.
    named : bool
        False if ``name`` was made up here.

    Examples
    --------
    >>> axis = Axis(name="x", size=5, units="nm", scale=0.1, offset=2.0)
    >>> axis.to_value(2.5).item()
    2.25
    >>> round(axis.to_index(2.25).item(), 6)
    2.5
    """

    name: str
    size: int
    units: str = UNDEFINED_UNITS
    scale: float | None = 1.0
    offset: float | None = 0.0
    values: np.ndarray | None = None
    navigate: bool = False
    named: bool = True

    def __post_init__(self):
        if self.values is not None:
            object.__setattr__(self, "values", np.asarray(self.values, float))
            object.__setattr__(self, "scale", None)
            object.__setattr__(self, "offset", None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axis):
            return NotImplemented
        return self.named == other.named and same_fields(self.as_dict(), other.as_dict())

    __hash__ = None  # values is an array

    @property
    def is_uniform(self) -> bool:
        """Whether value and index are related by a scale and an offset."""
        return self.values is None

    @property
    def step(self) -> float:
        """Size of a pixel in units, positive; the mean one of a non-uniform axis."""
        if self.values is None:
            return abs(float(self.scale))
        _, known = self._known()
        return float(np.abs(np.diff(known)).mean()) if known.size > 1 else 1.0

    def coordinates(self) -> np.ndarray:
        """Values (size,) of the pixel centres, in units."""
        return self.offset + self.scale * np.arange(self.size) if self.values is None else self.values.copy()

    def to_value(self, index: float | np.ndarray) -> np.ndarray:
        """Calibrated values of (sub-pixel) indices; straight on beyond the ends of a non-uniform axis."""
        index = np.asarray(index, float)
        if self.values is None:
            return self.offset + self.scale * index
        return _line_through(index, *self._known())

    def to_index(self, value: float | np.ndarray) -> np.ndarray:
        """Sub-pixel indices of calibrated values, the inverse of `to_value`."""
        value = np.asarray(value, float)
        if self.values is None:
            return (value - self.offset) / self.scale
        index, known = self._known()
        if known.size > 1 and known[-1] < known[0]:
            index, known = index[::-1], known[::-1]
        return _line_through(value, known, index)

    def cropped(self, start: int, stop: int) -> Axis:
        """The axis of pixels ``start`` to ``stop - 1``."""
        if self.values is not None:
            return replace(self, size=stop - start, values=self.values[start:stop])
        return replace(self, size=stop - start, offset=float(self.to_value(start)))

    @property
    def own_units(self) -> str | None:
        """The units, or None where undefined ones would be read as these again."""
        return None if self.units == default_units(self.scale, self.offset) else self.units

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON-able values."""
        fields = {"name": self.name, "units": self.units, "size": self.size, "navigate": self.navigate}
        if self.values is None:
            return {**fields, "scale": float(self.scale), "offset": float(self.offset)}
        return {**fields, "values": self.values.tolist()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Axis:
        """The axis that `as_dict` described."""
        values = fields.get("values")
        return cls(
            name=str(fields["name"]),
            size=int(fields["size"]),
            units=str(fields.get("units") or UNDEFINED_UNITS),
            scale=float(fields.get("scale", 1.0)) if values is None else None,
            offset=float(fields.get("offset", 0.0)) if values is None else None,
            values=None if values is None else np.asarray(values, float),
            navigate=bool(fields.get("navigate", False)),
        )

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices and values where the axis is finite (a functional axis may have a pole)."""
        index = np.flatnonzero(np.isfinite(self.values)).astype(float)
        return index, self.values[np.isfinite(self.values)]


def axis_of_coordinate(
    coordinate: np.ndarray | None,
    *,
    name: str,
    size: int,
    units: str | None,
    navigate: bool,
    named: bool = True,
    scale: float = 1.0,
) -> Axis:
    """Axis of the coordinate values (size,) of an xarray dimension; None, labels or one value throughout: pixels.

    ``scale`` is that of a single value, where somebody knows it.
    """
    values, seconds = _numbers(coordinate)
    common = {"name": name, "size": size, "navigate": navigate, "named": named}
    if values is None or (size > 1 and (values == values[0]).all()):
        return Axis(units=UNDEFINED_UNITS, **common)
    line = straight_line(values)
    scale, offset = (None, None) if line is None else (scale if size == 1 else line[0], line[1])
    units = "s" if seconds else units or default_units(scale, offset)
    return Axis(units=units, scale=scale, offset=offset, values=values if line is None else None, **common)


def axis_of_signal(axis: Any, *, name: str) -> Axis:
    """Axis of a HyperSpy axis. A scale of 0 or NaN, which some files say, is no calibration: pixels."""
    common = {
        "name": name,
        "size": int(axis.size),
        "navigate": bool(axis.navigate),
        "named": bool(text_or_none(axis.name)),
    }
    units = text_or_none(axis.units)
    if not axis.is_uniform:
        values = np.asarray(axis.axis, float)
        return Axis(units=units or UNKNOWN_UNITS, scale=None, offset=None, values=values, **common)
    if not has_scale(axis):
        return Axis(**common)
    scale, offset = float(axis.scale), float(axis.offset)
    return Axis(units=units or default_units(scale, offset), scale=scale, offset=offset, **common)


def has_scale(axis: Any) -> bool:
    """Whether the scale and offset of a uniform HyperSpy axis say anything."""
    return bool(np.isfinite(axis.scale) and np.isfinite(axis.offset) and axis.scale)


def default_units(scale: float | None, offset: float | None) -> str:
    """What undefined units mean: pixels where the values are the indices, else nobody knows."""
    return UNDEFINED_UNITS if (scale, offset) == (1, 0) else UNKNOWN_UNITS


def named_axes(signal: Any) -> dict[str, Any]:
    """The axes of a HyperSpy signal in the order of its data, under the names they have here."""
    axes = sorted(signal.axes_manager._axes, key=lambda axis: axis.index_in_array)
    return dict(zip(choose_names([a.name for a in axes], [a.navigate for a in axes]), axes, strict=True))


def straight_line(values: np.ndarray) -> tuple[float, float] | None:
    """Scale and offset of equally spaced values, or None."""
    if values.size == 0:
        return 1.0, 0.0
    if not np.isfinite(values).all():
        return None
    if values.size == 1:
        return 1.0, float(values[0])
    scale = float(values[-1] - values[0]) / (values.size - 1)
    error = np.abs(values - (values[0] + scale * np.arange(values.size))).max()
    if scale == 0 or error > ROUNDING * abs(scale) + 4 * np.finfo(float).eps * np.abs(values).max():
        return None
    return scale, float(values[0])


def choose_names(names: Iterable[str | None], navigate: Iterable[bool]) -> list[str]:
    """Unique names that any file format takes: undefined ones made up, duplicates renamed.

    Signal axes go first: a navigation axis called as a signal axis becomes ``nav_<name>``.
    """
    wanted = [_clean(name) for name in names]
    navigate = list(navigate)
    chosen: list[str] = [""] * len(wanted)
    taken: set[str] = set()
    for pick in (False, True):  # axes with a name of their own before those that get one
        for i, name in enumerate(wanted):
            if name and navigate[i] is pick:
                chosen[i] = _unused(name, f"nav_{name}" if pick else f"{name}_1", taken)
    for pick, defaults in ((False, _signal_names), (True, _navigation_names)):
        places = [i for i in range(len(wanted)) if navigate[i] is pick]
        for i, name in zip(places, defaults(len(places)), strict=True):
            chosen[i] = chosen[i] or _unused(name, f"sig_{name}", taken)
    return chosen


def text_or_none(value: Any) -> str | None:
    """Text, or None where HyperSpy says ``<undefined>`` (or nothing)."""
    return value if isinstance(value, str) and value.strip() and value != "<undefined>" else None


def same_fields(first: Mapping, second: Mapping) -> bool:
    """Whether two descriptions of axes are equal, NaN equal to NaN."""
    return first.keys() == second.keys() and all(
        np.array_equal(first[key], second[key], equal_nan=True) if key in ("values", "scale", "offset")
        else first[key] == second[key]
        for key in first
    )  # fmt: skip


def units_of(variable: xr.Variable | xr.DataArray) -> str | None:
    """The ``units`` attribute, or None."""
    units = variable.attrs.get("units")
    return None if units is None else text_or_none(str(units))


def _line_through(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.size == 0:
        return at.copy()
    if x.size == 1:
        return y[0] + (at - x[0])
    found = np.interp(at, x, y)
    below, above = at < x[0], at > x[-1]
    found = np.where(below, y[0] + (at - x[0]) * (y[1] - y[0]) / (x[1] - x[0]), found)
    return np.where(above, y[-1] + (at - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2]), found)


def _numbers(coordinate: np.ndarray | None) -> tuple[np.ndarray | None, bool]:
    """Coordinate as floats, and whether it was a time (then: seconds since its first value)."""
    if coordinate is None:
        return None, False
    kind = coordinate.dtype.kind
    if kind == "M" and coordinate.size:
        coordinate, kind = coordinate - coordinate[0], "m"
    if kind == "m":
        return coordinate / np.timedelta64(1, "s"), True
    return (coordinate.astype(float), False) if kind in "iuf" else (None, False)


def _clean(name: str | None) -> str:
    """A name without what a file's group structure would trip over."""
    name = "".join("_" if c == "/" or not c.isprintable() else c for c in text_or_none(name) or "").strip()
    return "" if name.strip(".") == "" else name


def _unused(name: str, otherwise: str, taken: set[str]) -> str:
    number = 1
    candidate = name
    while candidate in taken:
        candidate = otherwise if number == 1 else f"{name}_{number}"
        number += 1
    taken.add(candidate)
    return candidate


def _signal_names(n: int) -> list[str]:
    return ["z", "y", "x"][3 - n :] if n <= 3 else [f"sig_{i}" for i in range(n)]


def _navigation_names(n: int) -> list[str]:
    return [f"nav_{i}" for i in range(n)]
