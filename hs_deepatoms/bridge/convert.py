"""HyperSpy signal <-> xarray.DataArray without loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError, explain
from hs_deepatoms.bridge.axes import axis_of_coordinate, named_axes, text_or_none
from hs_deepatoms.bridge.encode import encode_json
from hs_deepatoms.bridge.fields import AXIS_ATTRIBUTE, axis_fields, fields_of_coordinate, file_text
from hs_deepatoms.bridge.metadata import OURS, stored_json, tree_dictionary
from hs_deepatoms.bridge.provenance import plain, read_provenance
from hs_deepatoms.bridge.signal_dims import signal_dims_of

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal
    from xarray import DataArray

WRITTEN = ("metadata", "original_metadata", "signal_type", "signal_dims", "provenance", "long_name")


def to_xarray(signal: BaseSignal) -> DataArray:
    """A HyperSpy signal as a DataArray that knows everything the signal did.

    Parameters
    ----------
    signal : hyperspy signal
        Of any class and number of axes, lazy or not; not ragged.

    Returns
    -------
    xarray.DataArray
        The same data (not a copy), dimensions in the order of ``signal.data``, named as the axes; unnamed signal axes
        are ``y``, ``x``, unnamed navigation axes ``nav_0``, ...; duplicates are renamed. Coordinates are the axes'
        values with an attribute ``units`` (undefined: ``"px"`` where the values are the indices, else ``"a.u."``).
        Attributes: ``signal_dims``, ``signal_type``, ``metadata`` and ``original_metadata`` (tagged JSON),
        ``provenance`` (JSON). It saves to netCDF
        (``engine="h5netcdf"``) and zarr wherever these know its dtype.

    Raises
    ------
    InvalidArgumentError
        Not a HyperSpy signal.
    InvalidImageError
        A ragged signal.

    Notes
    -----
    Learning results, models and events stay behind. Metadata values of foreign classes keep their value where they are
    numbers, text or containers by descent (an enum of a TIFF reader becomes its integer), else their ``repr``, with a
    warning.

    Examples
    --------
    >>> import numpy as np, hyperspy.api as hs
    >>> signal = hs.signals.Signal2D(np.zeros((3, 4, 5)))
    >>> signal.axes_manager[-1].units = "nm"
    >>> array = to_xarray(signal)
    >>> array.dims, array.nav_0.attrs["units"]
    (('nav_0', 'y', 'x'), 'px')
    >>> from_xarray(array)
    <Signal2D, title: , dimensions: (3|5, 4)>
    """
    import xarray as xr

    if not hasattr(signal, "axes_manager"):
        got = f"a {type(signal).__module__}.{type(signal).__qualname__} for to_xarray"
        raise InvalidArgumentError(explain(got, "a HyperSpy signal", "A DataArray needs no conversion."))
    if signal.axes_manager.ragged:
        todo = "Use one signal with a navigation axis, whose items all have one shape."
        raise InvalidImageError(explain("a ragged signal for to_xarray", "signals of one shape", todo))
    axes = named_axes(signal)
    coords = {dim: (dim, np.array(axis.axis), _attrs_of_axis(axis, dim)) for dim, axis in axes.items()}
    signal_dims = [dim for dim, axis in axes.items() if not axis.navigate]
    array = xr.DataArray(signal.data, dims=list(axes), coords=coords, attrs=_attrs_of_signal(signal, signal_dims))
    array.name = None  # a dask array would give it its own
    return array


def from_xarray(array: DataArray, *, signal_dims: str | Sequence[str] | None = None) -> BaseSignal:
    """A DataArray as a HyperSpy signal; the inverse of `to_xarray`.

    Parameters
    ----------
    array : xarray.DataArray
        From `to_xarray` (also sliced, computed on, renamed or read from a file), or any other: coordinates and their
        ``units`` attributes are the calibration.
    signal_dims : str or sequence of str, optional
        The signal dimensions, slowest first. Default: the attribute ``signal_dims``, as far as these dimensions are
        still there. A one-dimensional array is a spectrum.

    Returns
    -------
    hyperspy signal
        Of the class that fits the signal dimensions, the signal type and the dtype; lazy for dask. The axis fields that
        `to_xarray` stored are used where they reproduce the coordinates, sliced as HyperSpy slices where the
        coordinates are a slice of them; else the axis is made from the coordinates. Attributes that are not ours go
        to ``original_metadata.xarray``.

    Raises
    ------
    InvalidArgumentError
        Not a DataArray.
    InvalidAxesError
        It is not known which dimensions are the signal, or they are not there; coordinates that are not ordered.

    Examples
    --------
    >>> import xarray as xr
    >>> array = xr.DataArray([[1.0, 2.0, 3.0]], dims=("y", "x"), coords={"x": ("x", [0.0, 0.5, 1.0], {"units": "nm"})})
    >>> from_xarray(array, signal_dims=("y", "x")).axes_manager["x"].scale
    0.5
    """
    import xarray as xr

    if not isinstance(array, xr.DataArray):
        got = f"a {type(array).__module__}.{type(array).__qualname__} for from_xarray"
        raise InvalidArgumentError(explain(got, "an xarray.DataArray", "Choose one variable of a Dataset."))
    wanted = _signal_dims(array, signal_dims)
    if tuple(dim for dim in array.dims if dim in wanted) != wanted:  # the order within the signal is meant
        array = array.transpose(*(dim for dim in array.dims if dim not in wanted), *wanted)
    axes = [{**fields_of_coordinate(array, dim), "navigate": dim not in wanted} for dim in array.dims]
    metadata, original_metadata, signal_type = _stored_trees(array)
    return build_signal(array.data, axes, metadata, original_metadata, signal_type)


def build_signal(
    data: Any, axes: Sequence[dict], metadata: dict, original_metadata: dict, signal_type: str
) -> BaseSignal:
    """A HyperSpy signal of the class that fits the axes, the type and the dtype. The dictionaries are used up."""
    from hyperspy.io import dict2signal

    metadata.setdefault("Signal", {})["signal_type"] = signal_type
    parts = {"data": data, "axes": list(axes), "metadata": metadata, "original_metadata": original_metadata}
    return dict2signal({**parts, "attributes": {"_lazy": hasattr(data, "dask")}})


def _attrs_of_axis(axis: Any, dim: str) -> dict[str, str]:
    units = file_text(text_or_none(axis.units)) or axis_of_coordinate(
        np.asarray(axis.axis), name=dim, size=axis.size, units=None, navigate=axis.navigate,
        scale=getattr(axis, "scale", 1.0)
    ).units  # fmt: skip
    attrs = {"units": units, AXIS_ATTRIBUTE: encode_json(axis_fields(axis, dim))}
    name = file_text(text_or_none(axis.name))
    return {**attrs, "long_name": name} if name else attrs


def _attrs_of_signal(signal: Any, signal_dims: list[str]) -> dict[str, Any]:
    metadata = tree_dictionary(signal.metadata)
    ours = metadata.get(OURS)
    provenance = ours.pop("provenance", None) if isinstance(ours, dict) else None
    title = file_text(str(signal.metadata.get_item("General.title") or ""))
    attrs: dict[str, Any] = {"long_name": title} if title else {}
    attrs["signal_dims"] = signal_dims or "[]"  # netCDF has no empty lists
    attrs["signal_type"] = str((metadata.get("Signal") or {}).get("signal_type") or "")
    attrs["metadata"] = encode_json(metadata)
    attrs["original_metadata"] = encode_json(tree_dictionary(signal.original_metadata))
    if provenance is not None:
        attrs["provenance"] = json.dumps(read_provenance(provenance))
    return attrs


def _signal_dims(array: Any, wanted: str | Sequence[str] | None) -> tuple:
    if wanted is not None:
        wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    else:
        wanted = signal_dims_of(array)
        if wanted is None and array.ndim > 1:
            got = f"a DataArray with dims {tuple(array.dims)} and no attribute signal_dims for from_xarray"
            todo = "Say which dims are the signal: signal_dims=('y', 'x') for images, 'energy' for spectra."
            raise InvalidAxesError(explain(got, "images or spectra", todo))
        wanted = tuple(dim for dim in (array.dims if wanted is None else wanted) if dim in array.dims)
    if len(set(wanted)) < len(wanted) or not set(wanted) <= set(array.dims):
        message = explain(
            f"signal_dims={wanted!r}", f"dims of the array, each once: {tuple(array.dims)}", "Choose these."
        )
        raise InvalidAxesError(message)
    return wanted


def _stored_trees(array: Any) -> tuple[dict, dict, str]:
    attrs = array.attrs
    metadata = stored_json(attrs, "metadata")
    metadata = (
        metadata
        if isinstance(metadata, dict)
        else {"General": {"title": str(attrs.get("long_name") or array.name or "")}}
    )
    original = stored_json(attrs, "original_metadata")
    original = original if isinstance(original, dict) else {}
    foreign = {str(key): value for key, value in attrs.items() if key not in WRITTEN}
    if foreign:
        original["xarray"] = {"attrs": plain(foreign)}
    if "provenance" in attrs:
        metadata[OURS] = {**(metadata.get(OURS) or {}), "provenance": read_provenance(attrs["provenance"])}
    signal_type = str(attrs.get("signal_type", (metadata.get("Signal") or {}).get("signal_type") or ""))
    metadata.setdefault("Signal", {})["signal_type"] = signal_type
    return metadata, original, signal_type
