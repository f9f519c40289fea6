"""`find_atoms(store=...)`: block by block to disk, and on from there after a stop."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, StoreError, explain
from hs_deepatoms._core.version import __version__
from hs_deepatoms.engine.checkpoint import Checkpoint, discard, fingerprint, holds
from hs_deepatoms.tables.parts import open_lazily, write_parts

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.atoms.filed import Filed
    from hs_deepatoms.engine.plan import Block

JOB = "deepatoms_job"  # attribute of a finished store


def check_store(store: Any, species: Any = None) -> Path:
    """A path that ends in .zarr, in a folder that is there; classes need all atoms at once."""
    if species is not None:
        message = explain(f"species={species!r} with a store", "one of them",
                          "Open the store afterwards: hs_deepatoms.load(store).deepatoms.classify().")  # fmt: skip
        raise InvalidArgumentError(message)
    if not isinstance(store, str | os.PathLike) or Path(store).suffix.lower() != ".zarr":
        message = explain(f"store={store!r}", "a path that ends in .zarr", "Give one, for example store='atoms.zarr'.")
        raise InvalidArgumentError(message)
    path = Path(store).expanduser()
    if not path.parent.is_dir():
        message = explain(
            f"store={str(store)!r}, in a folder that is not there", "an existing folder", "Make it first."
        )
        raise InvalidArgumentError(message)
    return path


def describe_job(data, blocks: list[Block], job: Detection, asked: dict) -> dict[str, Any]:
    """What the atoms depend on; JSON."""
    masks = [None if mask is None else hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).hexdigest()
             for mask in (job.masked, job.skipped)]  # fmt: skip
    boxes = json.dumps([[*block.frames, *block.core, *block.padded] for block in blocks])
    return {
        "data": fingerprint(data),
        "model": job.sha256,
        "parameters": {key: value if value is None else str(value) for key, value in asked.items()},
        "masks": masks,
        "measured": {"zoom": job.zoom, "dark": job.dark, "threshold": job.threshold, "reported": job.certain},
        "blocks": hashlib.blake2b(boxes.encode(), digest_size=16).hexdigest(),
        "device": job.device.split(":")[0],
        "version": __version__,
    }


def finished(path: Path, job: dict) -> xr.Dataset | None:
    """The table of a store that this very job finished before; None if there is none.

    Raises
    ------
    StoreError
        If something else is there.
    """
    if not path.exists():
        return None
    try:
        table = open_lazily(path)
    except Exception as error:
        message = explain(f"{str(path)!r}, which is no table ({error})", "a new path", "Choose another name.")
        raise StoreError(message) from error
    if json.loads(table.attrs.get(JOB, "null")) != json.loads(json.dumps(job)):
        message = explain(f"{str(path)!r}, the atoms of other data, another model or other parameters", "a new path",
                          "Choose another name, or remove that store.")  # fmt: skip
        raise StoreError(message)
    if holds(_parts(path), job):  # the run before was stopped between the last two steps
        discard(_parts(path))
    return table


def begin(path: Path, job: dict) -> Checkpoint:
    """The folder of blocks beside the store."""
    return Checkpoint(_parts(path), job)


def _parts(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def complete(path: Path, filed: Filed, job: dict, table_of: Callable, keep: bool) -> xr.Dataset:
    """All blocks into one table, in the place of their folder.

    Parameters
    ----------
    path : Path
    filed : Filed
    job : dict
    table_of : callable
        ``table_of(points, first_id)``.
    keep : bool
        False for images whose columns are not believed: an empty table.
    """

    def tables():
        first = 0
        for points in filed.parts():
            part = table_of(points if keep else points.keep(np.zeros(len(points.y), bool)), first)
            first += part.sizes["atom"]
            part.attrs[JOB] = json.dumps(job)
            yield part
            if not keep:
                return

    folder = filed.checkpoint.folder / "table.zarr"
    if folder.exists():  # of a run that was stopped here
        shutil.rmtree(folder)
    write_parts(tables(), folder)
    os.replace(folder, path)
    filed.checkpoint.discard()
    return open_lazily(path)
