"""HyperSpy signal <-> xarray.DataArray without loss."""

from __future__ import annotations

from typing import Any


def build_signal(data: Any, axes: list[dict], metadata: dict, original_metadata: dict, signal_type: str):
    """A HyperSpy signal of the class that fits the axes, the type and the dtype."""
    from hyperspy.io import assign_signal_subclass

    lazy = hasattr(data, "dask")
    n_signal = sum(not axis["navigate"] for axis in axes)
    cls = assign_signal_subclass(dtype=data.dtype, signal_dimension=n_signal, signal_type=signal_type, lazy=lazy)
    return cls(data, axes=axes, metadata=metadata, original_metadata=original_metadata)
