"""A positions table from any other finder: arrays, data frames, csv files, ragged signals of ``find_peaks``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.tables.build import build_table
from hs_deepatoms.tables.calibrate import local_scale
from hs_deepatoms.tables.foreign import Found, read_positions
from hs_deepatoms.tables.schema import navigation_columns

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.bridge.axes import Axis

FEW = 4  # atoms, of which nobody can say what they fill


def positions(
    y: Any,
    x: Any = None,
    *,
    signal: Any = None,
    frame: Any = None,
    units: str | None = None,
    order: str = "yx",
    columns: Mapping[str, Any] | None = None,
    signal_dims: Sequence[str] | None = None,
) -> xr.Dataset:
    """A positions table from positions that somebody else found.

    Parameters
    ----------
    y, x
        Two arrays (n_atoms,). Or everything in ``y`` and no ``x``: an array (n_atoms, 2), see ``order``; a
        ``pandas.DataFrame`` or the path of a csv file, with columns ``y_px``, ``x_px`` or ``y``, ``x`` (and ``frame``
        or ``<axis>_index``; all other columns are kept); the ragged signal of ``find_peaks``; another table.
    signal
        The image or stack the positions belong to: HyperSpy signal, DataArray or array. It gives the calibration,
        the navigation axes and the metadata. None: pixels, on the smallest image that holds the positions.
    frame
        Shape (n_atoms,): flattened navigation index (C order) of every atom. None: read from the data, else frame 0.
    units
        What the numbers are: ``"px"`` (pixel 0 is the centre of the first pixel), ``"calibrated"`` (as the axes of
        ``signal``), or a length unit such as ``"pm"``, measured from the same origin as the axes. None: what the data
        says (``attrs["units"]`` of a DataArray or of our own data frames, the column ``units`` of our csv), else
        pixels.
    order
        ``"yx"`` (row, column: find_peaks, AtomAI) or ``"xy"`` (atomap): the columns of an (n_atoms, 2) array.
    columns
        Further columns, each (n_atoms,); text becomes integer classes with their names.
    signal_dims
        Which dims of ``signal`` are the image, if not the last two.

    Returns
    -------
    xarray.Dataset
        The table; ids of a data frame or table that has a column ``atom`` are kept.

    Raises
    ------
    TableError
        If the positions cannot be read, have gaps, or do not lie on the image.
    InvalidArgumentError
        If ``units`` or ``order`` cannot be read, or ``units`` need a ``signal`` that is not given.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> atoms = hs_deepatoms.positions([8.0, 2.5], [3.0, 4.0], signal=np.zeros((16, 20)))
    >>> atoms.y_px.values.tolist()
    [2.5, 8.0]
    """
    found = read_positions(y, x, order=order, units=units, frame=frame, columns=columns)
    if signal is None:
        navigation, axes = _smallest_axes(found)
        metadata, history = {}, []
    else:
        navigation, axes, metadata, history = _source_axes(signal, signal_dims)
        _match_indices(found, navigation)
    y_px, x_px = _in_pixels(found, axes, calibrated=signal is not None)
    _check_on_image(y_px, x_px, axes)
    if not found.said and signal is not None:
        _warn_of_other_reading(y_px, x_px, axes[-2:])
    frames = _flat_frames(found, navigation)
    parameters = {"units": found.units, "n_atoms": int(y_px.size), "source": found.source}
    return build_table(
        y_px,
        x_px,
        frame=frames,
        columns=_lengths_in(found, axes, (y_px, x_px)),
        navigation=navigation,
        signal=axes,
        metadata=metadata,
        provenance=[*history, *found.provenance, _entry(parameters)],
        names=found.names,
        ids=found.ids,
    )


def _entry(parameters: dict) -> dict:
    from hs_deepatoms.bridge.provenance import provenance_entry

    return provenance_entry("positions", parameters)


def _source_axes(signal: Any, signal_dims) -> tuple[tuple[Axis, ...], tuple[Axis, ...], dict, list]:
    from hs_deepatoms.bridge.source import read_source

    source = read_source(signal, signal_dims=signal_dims, n_signal=2, operation="positions")
    return source.navigation, source.signal, source.metadata, source.provenance


def _match_indices(found: Found, navigation: Sequence[Axis]) -> None:
    """Frame indices by the name of their axis; a ``grain_index`` that is no axis of the image is an ordinary column."""
    wanted = navigation_columns([axis.name for axis in navigation])
    if found.navigation_sizes and list(found.navigation_sizes.values()) == [axis.size for axis in navigation]:
        # a ragged signal has all its axes, in the order of the image's, whatever they are called
        found.indices = dict(zip(wanted, found.indices.values(), strict=True))
    lost = {n: np.unique(found.indices[n]).size for n in found.own_frames if n in found.indices and n not in wanted}
    if any(number > 1 for number in lost.values()):
        todo = "Choose the frame first: table.deepatoms.select(frames=0)."
        raise TableError(explain(f"a table of frames {lost}", f"frames along {wanted or 'nothing: one image'}", todo))
    for name in [name for name in found.indices if name not in wanted]:
        del found.indices[name]
        both = (name, f"{name}_index")
        found.columns.update({n: found.index_columns[n] for n in both if n in found.index_columns})
    if found.indices and len(found.indices) < len(wanted):
        message = explain(
            f"frame indices along {sorted(found.indices)} only",
            f"one column for each of {[f'{name}_index' for name in wanted]}, or a column 'frame'",
            "Add the missing ones.",
        )
        raise TableError(message)
    found.indices = {name: found.indices[name] for name in wanted if name in found.indices}


def _smallest_axes(found: Found) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    from hs_deepatoms.bridge.axes import Axis

    def axis(name: str, size: int, units: str, navigate: bool) -> Axis:
        return Axis(
            name=name, size=size, units=units, scale=1.0, offset=0.0, values=None, navigate=navigate, named=True
        )

    def size(values: np.ndarray) -> int:
        values = values[np.isfinite(values)]
        return max(int(np.rint(values.max())) + 1, 1) if values.size else 1

    if found.units != "px":
        message = explain(
            f"units={found.units!r} without signal=", "units='px' without a signal", "Give the image as signal=."
        )
        raise InvalidArgumentError(message)
    navigation = [axis(name, size(values), "px", True) for name, values in found.indices.items()]
    if found.frame is not None:
        navigation = [axis("frame", size(found.frame), "px", True)]
    elif not navigation and found.navigation_sizes:
        navigation = [axis(name, n, "px", True) for name, n in found.navigation_sizes.items()]
    return tuple(navigation), (axis("y", size(found.y), "px", False), axis("x", size(found.x), "px", False))


def _in_pixels(found: Found, axes: Sequence[Axis], calibrated: bool) -> tuple[np.ndarray, np.ndarray]:
    if found.units == "px" or not calibrated:
        return found.y, found.x
    units = found.units if isinstance(found.units, tuple) else (found.units, found.units)
    y_px, x_px = (_index(*one) for one in zip((found.y, found.x), axes[-2:], units, strict=True))
    return y_px, x_px


def _index(values: np.ndarray, axis: Axis, units: str) -> np.ndarray:
    if units == "px":
        return values
    factor = 1.0
    if units != "calibrated":
        from hs_deepatoms.bridge.lengths import unit_factor

        factor = unit_factor(units, axis.units)
    return np.asarray(axis.to_index(values * factor), float)


def _warn_of_other_reading(y_px: np.ndarray, x_px: np.ndarray, axes: Sequence[Axis]) -> None:
    """Numbers that nobody gave units are pixels; say so where they look like values of the calibrated axes instead."""
    if y_px.size < FEW:
        return
    for values, axis in zip((y_px, x_px), axes, strict=True):
        slack = max(2.0, 0.05 * axis.size)  # as in _check_on_image
        low, high = np.sort(axis.to_value([-slack, axis.size - 1 + slack]))
        fills_corner = np.ptp(values) < 0.25 * axis.size
        fills_image = low <= values.min() and values.max() <= high and np.ptp(values) > 0.25 * (high - low)
        if not (fills_corner and fills_image):
            return
    text = (
        "These positions were read as pixels, and fill a corner of the image; as values of its axes they would fill "
        "the image. Give units='calibrated' or units='px'."
    )
    warn_user(text)


def _lengths_in(found: Found, axes: Sequence[Axis], pixels: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """All columns; uncertainties, widths and vectors that came in other units, in those of the image."""
    made = dict(found.columns)
    for name, axis, units, places in zip(("y", "x"), axes[-2:], found.length_units, pixels, strict=True):
        if units in (None, axis.units):
            continue
        lengths = [f"{name}_std", f"{name}_spread", f"width_{name}"]
        vectors = [f"{vector}_{name}" for vector in ("displacement", "off_centring", "drift")]
        for column in [one for one in (*lengths, *vectors, *(f"{v}_std" for v in vectors)) if one in made]:
            if units != "px":
                from hs_deepatoms.bridge.lengths import unit_factor

                made[column] = made[column] * unit_factor(units, axis.units)
            elif column in lengths:
                made[f"{column}_px"] = made.pop(column)  # the table calibrates these
            else:
                scale = local_scale(axis, places)
                made[column] = made[column] * (np.abs(scale) if column.endswith("_std") else scale)
    return made


def _check_on_image(y_px: np.ndarray, x_px: np.ndarray, axes: Sequence[Axis]) -> None:
    for name, values, axis in zip(("y", "x"), (y_px, x_px), axes[-2:], strict=True):
        values = values[np.isfinite(values)]
        slack = max(2.0, 0.05 * axis.size)  # fits may end a little outside; swapped axes or wrong units end far away
        if values.size and (values.min() < -slack or values.max() > axis.size - 1 + slack):
            message = explain(
                f"{name} from {values.min():.6g} to {values.max():.6g} px",
                f"-0.5 to {axis.size - 0.5} px, the image's axis {axis.name!r}",
                "Check that y and x are not swapped (order=), and units=.",
            )
            raise TableError(message)


def _flat_frames(found: Found, navigation: Sequence[Axis]) -> np.ndarray | None:
    if found.frame is not None:
        return found.frame
    sizes = [axis.size for axis in navigation]
    if len(found.indices) == len(sizes) and sizes:
        indices = list(found.indices.values())
        for index, axis in zip(indices, navigation, strict=True):
            if not np.isin(index, np.arange(axis.size)).all():
                message = explain(
                    f"frames from {index.min()} to {index.max()} along {axis.name!r}",
                    f"whole numbers from 0 to {axis.size - 1}",
                    "Check that signal= is the stack of these positions.",
                )
                raise TableError(message)
        return np.ravel_multi_index([index.astype(np.int64) for index in indices], sizes)
    if sum(size > 1 for size in sizes) and found.y.size:
        message = explain(
            f"positions without frames for an image stack of {sizes} frames",
            "frame= with the flattened index of every atom",
            "Give frame=, or a column 'frame'.",
        )
        raise TableError(message)
    return None
