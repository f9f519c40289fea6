"""Spectra made for an image, as a signal that carries the energy axis and the metadata of measured ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.encode import decode_json, encode_json
from hs_deepatoms.bridge.metadata import result_metadata, tree_dictionary
from hs_deepatoms.bridge.source import Source

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

PREDICTED = "predicted"


def template_of(source: Source) -> str:
    """What a signal like that of the source needs apart from its navigation axes and its data, as tagged JSON.

    Parameters
    ----------
    source : Source
        Spectra or images, from a signal, DataArray or array.

    Returns
    -------
    str
        For `signal_like`.
    """
    signal = _one(source)
    axes = [axis.get_axis_dictionary() for axis in signal.axes_manager.signal_axes[::-1]]
    for axis, own in zip(axes, source.signal, strict=True):
        axis.pop("navigate", None)
        axis["size"] = own.size
        if source.kind == "array" and len(source.signal) == 1:
            axis["name"] = "energy"  # "x", which it is called here, is that of a map
    tree = result_metadata(signal, title="", provenance=[])
    tree.pop("deepatoms", None)
    fields = {"axes": axes, "metadata": tree, "original_metadata": tree_dictionary(signal.original_metadata),
              "signal_type": source.signal_type, "quantity": signal.metadata.get_item("Signal.quantity")}  # fmt: skip
    return encode_json(fields)


def signal_like(template: str, data: Any, navigation: Sequence[Axis], *, title: str, provenance: list[dict],
                variance: Any = None, extra: dict | None = None,
                signal_axes: Sequence[dict] | None = None) -> BaseSignal:  # fmt: skip
    """A predicted signal.

    Parameters
    ----------
    template : str
        From `template_of`.
    data : numpy or dask array, shape (*navigation, *signal)
    navigation : sequence of Axis
    title : str
    provenance : list of dict
    variance : numpy or dask array, optional
        Of every value: becomes HyperSpy's noise variance, so that fits weigh by it.
    extra : dict, optional
        More entries of ``metadata.deepatoms``, beside ``predicted: True``.
    signal_axes : sequence of dict, optional
        Instead of the template's.

    Returns
    -------
    hyperspy signal
        Of the template's signal type; lazy for dask.
    """
    from hs_deepatoms.bridge.convert import build_signal

    fields = decode_json(template)
    front = [axis_dictionary(axis) | {"navigate": True} for axis in navigation]
    back = [{**axis, "navigate": False} for axis in (signal_axes or fields["axes"])]
    metadata = fields["metadata"]
    metadata.setdefault("General", {})["title"] = title
    metadata["Signal"] = {"signal_type": fields["signal_type"]}
    if fields.get("quantity"):
        metadata["Signal"]["quantity"] = fields["quantity"]
    metadata["deepatoms"] = {PREDICTED: True, **(extra or {}), "provenance": provenance}
    signal = build_signal(data, [*front, *back], copy.deepcopy(metadata), fields["original_metadata"],
                          fields["signal_type"])  # fmt: skip
    if variance is not None:
        signal.set_noise_variance(_plain(signal, variance, title))
    return signal


def map_signal(template: str, data: np.ndarray, axes: Sequence[Axis], title: str, provenance: list[dict]) -> BaseSignal:
    """A map (ny, nx) as a plain ``Signal2D`` with the metadata of the template, whose kind of signal it is not."""
    from hs_deepatoms.bridge.convert import build_signal

    metadata = decode_json(template)["metadata"]
    metadata.setdefault("General", {})["title"] = title
    metadata |= {"Signal": {"signal_type": ""}, "deepatoms": {"provenance": provenance}}
    fields = [axis_dictionary(axis) | {"navigate": False} for axis in axes]
    return build_signal(data, fields, metadata, {}, "")


def axis_dictionary(axis: Axis) -> dict[str, Any]:
    """The fields of a HyperSpy axis."""
    fields: dict[str, Any] = {"size": axis.size}
    if axis.named:
        fields["name"] = axis.name
    if axis.own_units is not None:
        fields["units"] = axis.own_units
    if axis.values is not None:
        return {**fields, "axis": axis.values}
    return {**fields, "scale": axis.scale, "offset": axis.offset}


def _plain(signal: Any, variance: Any, title: str) -> Any:
    found = signal._deepcopy_with_new_data(variance)
    found.metadata.General.title = f"variance of {title}"
    return found


def _one(source: Source) -> Any:
    """The first navigation position as a small HyperSpy signal with all metadata."""
    import xarray as xr

    from hs_deepatoms.bridge.convert import from_xarray

    original = source.original
    if source.kind == "signal":
        place = (0,) * original.axes_manager.navigation_dimension
        return original.inav[place] if place else original
    if isinstance(original, xr.DataArray):
        part = original.isel({axis.name: 0 for axis in source.navigation}, drop=True)
        return from_xarray(part, signal_dims=[axis.name for axis in source.signal])
    names = [axis.name for axis in source.signal]
    empty = np.zeros([axis.size for axis in source.signal])
    return from_xarray(xr.DataArray(empty, dims=names), signal_dims=names)
