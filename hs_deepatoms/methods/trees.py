"""Result trees on disk: one zarr or netCDF store each, written beside its target and then renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms.tables.storage import check_target, written_beside

if TYPE_CHECKING:
    import xarray as xr

ENDINGS = (".zarr", ".nc")


def save_tree(tree: xr.DataTree, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
    """Write a result tree with its model; the old file stays until the new one is whole.

    Parameters
    ----------
    tree : xarray.DataTree
    path : path
        Ending in ``.zarr`` or ``.nc``.
    overwrite : bool
        Whether an existing store of that name is replaced.

    Returns
    -------
    pathlib.Path
        The path written.

    Raises
    ------
    InvalidArgumentError
        An unknown ending, a target that exists and must not be replaced, or a folder that is no store.
    """
    if not isinstance(path, str | os.PathLike) or Path(path).suffix.lower() not in ENDINGS:
        got = f"path {str(path)!r} for a tree"
        raise InvalidArgumentError(explain(got, f"a name ending in {' or '.join(ENDINGS)}", "Add the ending."))
    path = Path(path)
    check_target(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as temporary:
        if path.suffix.lower() == ".zarr":
            tree.to_zarr(temporary, mode="w", consolidated=False)
        else:
            tree.to_netcdf(temporary, engine="h5netcdf")
    return path


def is_tree(path: str | os.PathLike) -> bool:
    """Whether there is a store with groups at the path: a tree, not a table."""
    path = Path(path)
    if path.suffix.lower() == ".zarr" and os.path.isdir(path):
        return any(_is_group(child / "zarr.json") for child in path.iterdir())
    if path.suffix.lower() == ".nc" and os.path.isfile(path):
        import h5py

        if not h5py.is_hdf5(path):
            return False
        try:
            with h5py.File(path, "r") as file:
                return any(isinstance(item, h5py.Group) for item in file.values())
        except OSError:  # cut short: whoever reads it says so
            return False
    return False


def load_tree(path: str | os.PathLike) -> xr.DataTree:
    """Read a tree written by `save_tree` into memory.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    import xarray as xr

    options: dict[str, Any] = {"engine": "h5netcdf"}
    if Path(path).suffix.lower() == ".zarr":
        options = {"engine": "zarr", "consolidated": False}
    try:
        with xr.open_datatree(path, decode_times=False, **options) as tree:
            loaded = tree.load()
    except Exception as error:
        got = f"{str(path)!r}, which cannot be read ({error})"
        raise TableError(explain(got, "a tree written by .deepatoms.save", "Write it again.")) from error
    for node in loaded.subtree:  # netCDF gives numbers back as NumPy's
        node.attrs = {key: value.item() if hasattr(value, "item") else value for key, value in node.attrs.items()}
    return loaded


def _is_group(file: Path) -> bool:
    try:
        return json.loads(file.read_text()).get("node_type") == "group"
    except (OSError, ValueError):
        return False
