"""Components as spectra of the source's kind, and maps of them on its scan, as labelled arrays with all metadata."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.axes import named_axes
from hs_deepatoms.bridge.metadata import result_attrs, result_metadata, tree_dictionary
from hs_deepatoms.bridge.source import Source

if TYPE_CHECKING:
    import xarray as xr

COMPONENT = "component"


def spectra_like(source: Source, values: np.ndarray, *, title: str, provenance: Sequence[dict]) -> xr.DataArray:
    """Spectra (component, energies) with the energy axis, the signal type and the metadata of the source.

    ``from_xarray`` makes an ``EELSSpectrum`` of them where the source was one.
    """
    return _labelled(source, values, source.signal, title, provenance, keep_type=True)


def maps_like(source: Source, values: np.ndarray, *, title: str, provenance: Sequence[dict]) -> xr.DataArray:
    """Maps (component, *scan) whose signal axes are the last two (or one) of the scan."""
    return _labelled(source, values, source.navigation, title, provenance, keep_type=False)


def model_like(source: Source, values: Any, *, title: str, provenance: Sequence[dict]) -> xr.DataArray:
    """Spectra (*scan, energies) like the source's."""
    return _labelled(source, values, source.axes, title, provenance, keep_type=True)


def _labelled(source: Source, values: Any, axes, title: str, provenance: Sequence[dict], *, keep_type: bool):
    leading = len(axes) < values.ndim
    n_signal = 1 if keep_type else min(2, len(axes))
    signal = [axis.name for axis in axes[len(axes) - n_signal :]]
    if source.kind != "signal":
        return _bare(source, values, axes, signal, title, provenance, leading)
    from hs_deepatoms.bridge.convert import build_signal, to_xarray

    given = named_axes(source.original)
    fields = [{"name": COMPONENT, "size": values.shape[0], "navigate": True}] if leading else []
    fields += [{**given[axis.name].get_axis_dictionary(), "navigate": axis.name not in signal} for axis in axes]
    metadata = result_metadata(source.original, title=title, provenance=list(provenance))
    original = copy.deepcopy(tree_dictionary(source.original.original_metadata))
    built = build_signal(values, fields, metadata, original, source.signal_type if keep_type else "")
    names = ([COMPONENT] if leading else []) + [axis.name for axis in axes]
    array = to_xarray(built)
    return array.rename({old: new for old, new in zip(array.dims, names, strict=True) if old != new})


def _bare(source: Source, values: Any, axes, signal, title: str, provenance, leading: bool) -> xr.DataArray:
    import xarray as xr

    coords: dict[str, Any] = {COMPONENT: np.arange(values.shape[0])} if leading else {}
    for axis in axes:
        known = source.original.coords.get(axis.name) if source.kind == "xarray" else None
        made = (axis.name, axis.coordinates(), {"units": axis.units})
        coords[axis.name] = made if known is None else known.variable
    attrs: dict[str, Any] = {"long_name": title, "provenance": json.dumps(list(provenance))}
    if source.kind == "xarray":
        attrs = result_attrs(source.original, title=title, provenance=list(provenance))
    attrs["signal_dims"] = signal or "[]"
    return xr.DataArray(values, dims=[*([COMPONENT] if leading else []), *(axis.name for axis in axes)], coords=coords,
                        attrs=attrs)  # fmt: skip
