"""Some of the atoms: by frame, region, class, probability, distance from the border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_number, is_whole
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.frames import frame_grid, frame_of, read_frames
from hs_deepatoms.tables.history import with_entry

if TYPE_CHECKING:
    import xarray as xr


def select(
    ds: xr.Dataset,
    *,
    frames: int | slice | Sequence[int] | Mapping[str, Any] | None = None,
    region: Any = None,
    species: int | str | Sequence[int | str] | None = None,
    probability: float | tuple[float, float] | None = None,
    border: int | float | str | None = None,
) -> xr.Dataset:
    """The atoms that fulfil every condition given; ids are kept.

    Parameters
    ----------
    frames
        Frame number, slice or list (flattened, C order), or per navigation axis: ``{"time": slice(0, 5)}``.
    region
        A HyperSpy ROI with an area (``RectangularROI``, ``CircleROI``, ``PolygonROI``) in the units of x and y.
    species
        Class or classes, as numbers or as names.
    probability
        At least this; or from ... to, both included.
    border
        Drops atoms nearer than this to the edge of the image: pixels (int), axis units (float) or ``"0.5 nm"``.

    Raises
    ------
    InvalidArgumentError
        If a condition cannot be read.
    TableError
        If the table has no such column or frame.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([1.0, 5.0], [2.0, 7.0], columns={"species": ["Sr", "Ti"]})
    >>> atoms.deepatoms.select(species="Ti").y_px.values.tolist()
    [5.0]
    """
    ds = schema.dropna(ds)
    keep = np.ones(ds.sizes[schema.DIM], bool)
    if frames is not None:
        grid = frame_grid(ds)
        keep &= read_frames(frames, grid)[frame_of(ds, grid)]
    if region is not None:
        keep &= inside_region(region, ds["y"].values, ds["x"].values)
    if species is not None:
        keep &= of_species(schema.check_column(ds, "species"), species)
    if probability is not None:
        keep &= _within(schema.check_column(ds, "probability").values, probability)
    if border is not None:
        keep &= _away_from_border(ds, border)
    parameters = {"frames": frames, "region": region, "species": species, "probability": probability, "border": border}
    used = {name: _plain(value) for name, value in parameters.items() if value is not None}
    return with_entry(ds.isel({schema.DIM: keep}), "select", used)


def inside_region(region: Any, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Boolean (n_atoms,): which calibrated positions lie in a HyperSpy ROI.

    Raises
    ------
    InvalidArgumentError
        If ``region`` is not a ROI with an area.
    """
    kind = type(region).__name__
    if hasattr(region, "is_valid") and not region.is_valid():
        kind = f"{kind} that is not set"
    if kind == "RectangularROI":
        return (x >= region.left) & (x < region.right) & (y >= region.top) & (y < region.bottom)
    if kind == "CircleROI":
        distance = np.hypot(x - region.cx, y - region.cy)
        inner = getattr(region, "r_inner", 0)
        return (distance <= region.r) & (distance >= (inner if isinstance(inner, int | float) else 0))
    if kind == "PolygonROI":
        from matplotlib.path import Path

        return Path(np.asarray(region.vertices, float)).contains_points(np.stack([x, y], axis=1))
    message = explain(
        f"region of type {kind}",
        "RectangularROI, CircleROI or PolygonROI of hyperspy.api.roi",
        "Make one, for example hs.roi.RectangularROI(left=0, top=0, right=5, bottom=3).",
    )
    raise InvalidArgumentError(message)


def of_species(column: xr.DataArray, wanted: Any) -> np.ndarray:
    names = category_names(column.attrs)
    numbers = {name: value for value, name in names.items()}
    listed = list(wanted) if np.iterable(wanted) and not isinstance(wanted, str) else [wanted]
    unknown = [one for one in listed if not (is_whole(one, -np.inf) or (isinstance(one, str) and one in numbers))]
    if unknown:
        raise TableError(explain(f"species {unknown}", f"one of {sorted(numbers)} or a number", "Choose one of these."))
    return np.isin(column.values, [numbers[one] if isinstance(one, str) else int(one) for one in listed])


def _within(values: np.ndarray, limits: Any) -> np.ndarray:
    try:
        low, high = (limits, 1.0) if np.isscalar(limits) else limits
        readable = is_number(low) and is_number(high) and 0 <= low <= high <= 1
    except (TypeError, ValueError):
        readable = False
    if not readable:
        allowed = "a number from 0 to 1 or a pair (from, to), smaller first"
        raise InvalidArgumentError(explain(f"probability={limits!r}", allowed, "For example probability=0.5."))
    return (values >= low) & (values <= high)


def _away_from_border(ds: xr.Dataset, border: Any) -> np.ndarray:
    from hs_deepatoms.bridge.lengths import read_length

    keep = np.ones(ds.sizes[schema.DIM], bool)
    _, signal = schema.known_axes(ds, "select(border=...)")
    for name, axis in zip(("y", "x"), signal[-2:], strict=True):
        pixels = np.asarray(axis.to_index(ds[name].values), float)
        width = read_length(border, axis)
        keep &= (pixels >= width - 0.5) & (pixels <= axis.size - 0.5 - width)
    return keep


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    return value if isinstance(value, int | float | str | list | tuple | np.ndarray | np.generic) else repr(value)
