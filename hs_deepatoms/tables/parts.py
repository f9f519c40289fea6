"""A table too long for memory: written part by part, read lazily."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

CHUNK = 2**18  # rows of a chunk on disk


def write_parts(parts: Iterable[xr.Dataset], path: Path) -> None:
    """Write tables with the same columns, one after the other, into a new zarr store; the first one's attributes."""
    for number, part in enumerate(parts):
        part = part.drop_encoding()
        if number == 0:
            encoding = {name: {"chunks": (CHUNK,)} for name in part.variables}
            part.to_zarr(path, mode="w", consolidated=False, encoding=encoding, write_empty_chunks=True)
        elif part.sizes["atom"]:
            part.to_zarr(path, append_dim="atom", consolidated=False, write_empty_chunks=True)


def lost_chunks(path: Path) -> list[str]:
    """Names of the positions of which a store lost parts: these would be read as missing values, without a word."""
    import zarr

    store = zarr.open_group(path, mode="r")
    arrays = {name: store[name] for name in ("y", "x", "y_px", "x_px") if name in store}
    return [name for name, array in arrays.items() if array.nchunks_initialized < array.nchunks]


def open_lazily(path: Path) -> xr.Dataset:
    """A stored table as dask arrays (ids are read)."""
    import xarray as xr

    return xr.open_dataset(path, engine="zarr", consolidated=False, chunks={}, decode_times=False)
