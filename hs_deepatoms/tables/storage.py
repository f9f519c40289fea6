"""Tables on disk: zarr, netCDF and csv, each written beside its target and then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import DeepAtomsError, InvalidArgumentError, TableError, explain
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.missing import UNKNOWN, UNKNOWN_NAME
from hs_deepatoms.tables.parts import lost_chunks, open_lazily

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ENDINGS = (".zarr", ".nc", ".csv")
# what the system says of a path at which nothing can be written
NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS,
            errno.ENAMETOOLONG}  # fmt: skip


def save_table(ds: xr.Dataset, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
    """Write a positions table; ``.zarr`` and ``.nc`` keep everything, ``.csv`` the columns and the units.

    What was found from one (rings, bonds, events) goes to ``.zarr`` and ``.nc``.

    The file is written beside the target and renamed, so that a failure leaves what was there.

    Parameters
    ----------
    path
        Where to; the ending decides the format.
    overwrite
        Whether an existing table of that name is replaced.

    Returns
    -------
    pathlib.Path
        The path written.

    Raises
    ------
    InvalidArgumentError
        If the ending is unknown, the target exists and ``overwrite`` is False, or it is a folder that is no store.
    """
    path = _as_path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InvalidArgumentError(
            explain(f"path {str(path)!r}", f"a name ending in {', '.join(ENDINGS)}", "Add the ending.")
        )
    if writer is _write_csv and schema.is_result(ds):
        todo = "Or of the columns of one dimension: ds[names].to_dataframe().to_csv(path)."
        raise InvalidArgumentError(explain(f"path {str(path)!r} for several dims", "a name in .zarr or .nc", todo))
    check_target(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as temporary:
            writer(ds, temporary)
    except OSError as error:
        if error.errno not in NO_PLACE:  # a full disk is nothing that another argument mends
            raise
        got = f"path {str(path)!r} ({error.strerror or error})"
        raise InvalidArgumentError(explain(got, "a place that can be written to", "Choose another one.")) from error
    except DeepAtomsError:
        raise
    except (TypeError, ValueError) as error:
        raise TableError(_unwritten(ds, path, error)) from error
    return path


def _unwritten(ds: xr.Dataset, path: Path, error: Exception) -> str:
    """What of a table cannot be written: what somebody put into its attributes or columns."""
    plain = str | int | float | list | tuple | bytes | np.ndarray | np.generic
    odd = [name for name, value in ds.attrs.items() if not isinstance(value, plain)]
    odd += [name for name in ds.variables if ds[name].dtype.kind == "O"]
    got = f"a table that cannot be written to {path.name!r} ({error})"
    todo = f"Convert or drop {', '.join(map(repr, map(str, odd)))}." if odd else "Convert or drop what it names."
    return explain(got, "attributes and columns of numbers and text", todo)


def load_table(path: str | os.PathLike, *, lazy: bool = False) -> xr.Dataset:
    """Read what `save_table` wrote, into memory or (a ``.zarr`` store) as dask arrays.

    Raises
    ------
    TableError
        If there is no such file, or it is neither a positions table nor found from one.
    """
    path = _as_path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not os.path.exists(path):
        found = f"path {str(path)!r}" + ("" if os.path.exists(path) else ", which does not exist")
        raise TableError(explain(found, f"a table ending in {', '.join(ENDINGS)}", "Check the path."))
    if lazy and reader is not _read_zarr:
        raise InvalidArgumentError(explain(f"lazy=True for {path.name!r}", "a .zarr store", "Leave lazy out."))
    try:
        ds = open_lazily(path) if lazy else reader(path)
        check_version(ds)
        if reader is _read_zarr:
            _check_chunks(path)
    except TableError:
        raise
    except Exception as error:
        message = explain(f"{str(path)!r}, which cannot be read ({error})", "a positions table", "Write it again.")
        raise TableError(message) from error
    return _plain_attributes(ds if schema.is_result(ds) else schema.check_table(ds))


def _as_path(path: Any) -> Path:
    if isinstance(path, str | os.PathLike) and "\0" not in os.fsdecode(path):
        return Path(path)
    allowed = f"a name ending in {', '.join(ENDINGS)}"
    what = repr(path) if isinstance(path, str) else f"of type {type(path).__name__}"  # a table's text has many lines
    raise InvalidArgumentError(explain(f"path {what}", allowed, "Give a path."))


def _check_chunks(path: Path) -> None:
    lost = lost_chunks(path)
    if lost:
        got = f"{str(path)!r}, a store without all chunks of {', '.join(lost)}"
        raise TableError(explain(got, "a whole store", "Copy or write it again."))


def check_version(ds: xr.Dataset) -> None:
    """Refuse a table whose format is newer than this package knows, or not to be read.

    Raises
    ------
    TableError
    """
    version = ds.attrs.get("format_version", schema.FORMAT_VERSION)
    if not isinstance(version, int | np.integer) or version > schema.FORMAT_VERSION:
        got = f"a table of format version {version!r}"
        raise TableError(explain(got, f"up to {schema.FORMAT_VERSION}", "Update hs_deepatoms."))


def _plain_attributes(ds: xr.Dataset) -> xr.Dataset:
    """netCDF turns integers and lists in attributes into NumPy types; undo this."""
    for name in ds.variables:
        attrs = ds[name].attrs
        names = category_names(attrs)
        if names:
            attrs["flag_values"] = list(names)
    if "format_version" in ds.attrs:
        ds.attrs["format_version"] = int(ds.attrs["format_version"])
    return ds


def to_dataframe(ds: xr.Dataset) -> pd.DataFrame:
    """The table as a DataFrame indexed by ``atom``; ``frame.attrs["units"]`` gives the units of its columns."""
    schema.check_table(ds)
    names = [*schema.COORDINATES, *(name for name in schema.per_atom(ds) if name not in schema.COORDINATES)]
    if schema.DIM not in ds.coords:
        ds = ds.assign_coords({schema.DIM: np.arange(ds.sizes[schema.DIM])})
    frame = ds[names].reset_coords().to_dataframe()[names]
    frame.attrs["units"] = {name: str(ds[name].attrs["units"]) for name in names if "units" in ds[name].attrs}
    return frame


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path in the same folder to write to; it takes the place of ``path`` if all went well, else it is removed.

    A folder is only ever replaced if it is a store, and by a store.

    Raises
    ------
    InvalidArgumentError
        If ``path`` is any other folder.
    """
    if path.is_dir() and not _is_store(path):
        _refuse_folder(path)
    token = uuid.uuid4().hex[:8]
    temporary = path.with_name(f".{path.stem}-{token}{path.suffix}")
    try:
        yield temporary
        if path.is_dir() and not temporary.is_dir():
            _refuse_folder(path)
        _replace(temporary, path, path.with_name(f".{path.stem}-{token}-old{path.suffix}"))
    finally:
        _remove(temporary)


def _refuse_folder(path: Path) -> None:
    todo = "Choose another name, or a file in this folder."
    raise InvalidArgumentError(explain(f"{str(path)!r}, which is a folder", "a file", todo))


def _replace(new: Path, path: Path, aside: Path) -> None:
    if not path.is_dir():
        os.replace(new, path)
        return
    os.replace(path, aside)  # a folder cannot be replaced by a rename
    try:
        os.replace(new, path)
    except OSError:
        os.replace(aside, path)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse to replace what must not be replaced."""
    if not os.path.exists(path):
        return
    if not overwrite:
        raise InvalidArgumentError(
            explain(f"{str(path)!r}, which exists", "a new path", "Choose another name or overwrite=True.")
        )
    if path.is_dir() and not _is_store(path):
        found = f"{str(path)!r}, a folder that is not a zarr store"
        raise InvalidArgumentError(explain(found, "a new path, or a store or file to replace", "Choose another name."))


def _is_store(path: Path) -> bool:
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def _write_zarr(ds: xr.Dataset, path: Path) -> None:
    # empty chunks too, so that one that is not there is one that was lost
    ds.drop_encoding().to_zarr(path, mode="w", consolidated=False, write_empty_chunks=True)


def _write_netcdf(ds: xr.Dataset, path: Path) -> None:
    ds.drop_encoding().to_netcdf(path, engine="h5netcdf")


def _write_csv(ds: xr.Dataset, path: Path) -> None:
    frame = to_dataframe(ds)
    for name in frame.columns:
        names = category_names(ds[name].attrs)
        if names:
            classes = [UNKNOWN if value != value else value for value in frame[name].tolist()]  # NaN: a join left gaps
            frame[name] = [names.get(value, UNKNOWN_NAME if value == UNKNOWN else str(value)) for value in classes]
    units = schema.axis_units(ds)
    if units["y"] == units["x"]:
        frame["units"] = units["y"]
    else:
        frame["y_units"], frame["x_units"] = units["y"], units["x"]
    frame.to_csv(path, lineterminator="\n")


def _read_zarr(path: Path) -> xr.Dataset:
    import xarray as xr

    return xr.load_dataset(path, engine="zarr", consolidated=False, decode_times=False).drop_encoding()


def _read_netcdf(path: Path) -> xr.Dataset:
    import xarray as xr

    return xr.load_dataset(path, engine="h5netcdf", decode_times=False).drop_encoding()


def _read_csv(path: Path) -> xr.Dataset:
    import pandas as pd

    from hs_deepatoms.tables.plain import table_from_frame

    return table_from_frame(pd.read_csv(path, skipinitialspace=True), path.name)


_WRITERS: dict[str, Callable] = {".zarr": _write_zarr, ".nc": _write_netcdf, ".csv": _write_csv}
_READERS: dict[str, Callable] = {".zarr": _read_zarr, ".nc": _read_netcdf, ".csv": _read_csv}
