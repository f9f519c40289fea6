"""``hs_deepatoms.load``: reads back what was saved: tables, trees and models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain


def load(path: str | os.PathLike, *, lazy: bool = False, net: Any = None) -> Any:
    """Read what was saved: tables and trees by ``.deepatoms.save``, models by ``save`` of a Segmenter, Ensemble or
    Detector.

    Parameters
    ----------
    path
        A positions table: ``.zarr`` or ``.nc``, which give back everything, or ``.csv``, which gives columns and
        units but not the axes of the image (``hs_deepatoms.positions(path, signal=image)`` brings these back). What
        was found from a table (rings, bonds, events): ``.zarr`` or ``.nc``. A
        model: ``.safetensors``. The trees of ``decompose_local``, ``rvae`` and ``vae``: ``.zarr`` or
        ``.nc``.
    lazy
        Columns as dask arrays, read when they are needed; ``.zarr`` only.
    net
        For a segmenter with a network of your own: that network, built as it was; it gets the file's weights.

    Returns
    -------
    xarray.Dataset, xarray.DataTree, Segmenter, Ensemble or Detector

    Raises
    ------
    TableError
        If there is no such file, or it cannot be read as one of our results.
    InvalidArgumentError
        ``lazy`` for a tree, or for another file than a ``.zarr`` store.
    ModelFileError
        A model file that is missing, damaged, or whose network must be given back.

    Examples
    --------
    >>> import hs_deepatoms, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "atoms.zarr"
    >>> _ = hs_deepatoms.positions([1.0, 5.0], [2.0, 7.0]).deepatoms.save(path)
    >>> hs_deepatoms.load(path).sizes["atom"]
    2
    """
    if isinstance(path, str | os.PathLike) and Path(path).suffix == ".safetensors":
        from hs_deepatoms.methods.learned import load_model

        return load_model(path, net)
    from hs_deepatoms.methods.trees import is_tree, load_tree
    from hs_deepatoms.tables.storage import load_table

    if isinstance(path, str | os.PathLike) and is_tree(path):
        if lazy:
            got = f"lazy=True for {str(path)!r}, a tree"
            raise InvalidArgumentError(explain(got, "a table in a .zarr store", "Leave lazy out."))
        return load_tree(path)

    return load_table(path, lazy=lazy)
