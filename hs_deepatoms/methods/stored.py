"""`find_atoms(store=...)`: block by block to disk, and on from there after a stop."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.atomic import sync, sync_tree
from hs_deepatoms._core.errors import InvalidArgumentError, StoreError, explain
from hs_deepatoms._core.version import __version__
from hs_deepatoms.engine.checkpoint import Checkpoint, differences, discard, fingerprint, holds
from hs_deepatoms.engine.lock import lock_file, only_run
from hs_deepatoms.tables.build import table_attrs
from hs_deepatoms.tables.parts import lost_chunks, open_lazily, write_parts

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.atoms.filed import Filed
    from hs_deepatoms.bridge.source import Source
    from hs_deepatoms.engine.plan import Block

PARTS = 4  # of the unfinished parts of a store: what is kept of each block, and how data are told from others
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
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        got = f"store={str(store)!r} ({getattr(error, 'strerror', None) or error})"
        raise InvalidArgumentError(explain(got, "a path that can be written to", "Choose another name.")) from error
    if not path.parent.is_dir():
        message = explain(
            f"store={str(store)!r}, in a folder that is not there", "an existing folder", "Make it first."
        )
        raise InvalidArgumentError(message)
    return path


def describe_job(data, blocks: list[Block], job: Detection, asked: dict) -> dict[str, Any]:
    """What the atoms depend on in pixels; JSON. Calibration and metadata only label them: see `finished`."""
    masks = [None if mask is None else hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).hexdigest()
             for mask in (job.masked, job.skipped)]  # fmt: skip
    boxes = json.dumps([[*block.frames, *block.core, *block.padded] for block in blocks])
    return {
        "data": fingerprint(data),
        "model": job.sha256,
        "parameters": {key: value if value is None else str(value) for key, value in asked.items()},
        "masks": masks,
        "measured": {
            "zoom": job.zoom,
            "ellipse": job.ellipse,
            "smoothed": job.rounding is not None,
            "dark": job.dark,
            "threshold": job.threshold,
            "reported": job.certain,
            "apart": job.apart,
        },
        "blocks": hashlib.blake2b(boxes.encode(), digest_size=16).hexdigest(),
        "device": job.device.split(":")[0],
        "version": __version__,
        "format": PARTS,
    }


def finished(path: Path, job: dict, source: Source) -> xr.Dataset | None:
    """The table of a store that this very job finished before, with the metadata of now; None if there is none.

    Raises
    ------
    StoreError
        If something else is there, or the axes are calibrated otherwise than they were.
    """
    if not path.exists():
        return None
    try:
        table = open_lazily(path)
    except Exception as error:
        message = explain(f"{str(path)!r}, which is no table ({error})", "a new path", "Choose another name.")
        raise StoreError(message) from error
    begun = json.loads(table.attrs.get(JOB, "null"))
    what = differences(begun, json.loads(json.dumps(job))) if isinstance(begun, dict) else "no store of find_atoms"
    if what:
        message = explain(f"{str(path)!r}, the atoms of other data, another model or other parameters ({what})",
                          "a new path", "Choose another name, or remove that store. hs_deepatoms.load() opens it as "
                          "it is.")  # fmt: skip
        raise StoreError(message)
    _check_whole(path, table)
    labels = table_attrs(source.navigation, source.signal, source.metadata, [])
    _check_axes(path, json.loads(table.attrs["axes"]), json.loads(labels["axes"]))
    _tidy(path, job)
    return table.assign_attrs(metadata=labels["metadata"])


def _check_whole(path: Path, table: xr.Dataset) -> None:
    """Refuse the store of a finished run that lost parts since."""
    lost = [name for name in ("y", "x", "y_px", "x_px") if name not in table.variables]
    lost += [f"chunks of {name}" for name in lost_chunks(path)]
    lost += [] if "axes" in table.attrs else ["axes"]
    if lost:
        got = f"{str(path)!r}, a store that was finished and lost parts since ({', '.join(lost)})"
        raise StoreError(explain(got, "a whole store, or a new path", "Remove it and repeat the call."))


def _check_axes(path: Path, then: list[dict], now: list[dict]) -> None:
    """Refuse coordinates that were made with other axes than those of the images now."""
    if json.dumps(then) == json.dumps(now):
        return
    pairs = zip(then, now, strict=True)  # as many axes: the shape of the data is the same
    what = "; ".join(f"axis {new['name']!r}: {differences(old, new)}" for old, new in pairs if old != new)
    todo = (
        "Repeat the call with the axes as they were; for the same atoms with the axes of now, without searching again: "
        f"hs_deepatoms.positions(hs_deepatoms.load({str(path)!r}), signal=signal). Or choose another name."
    )
    got = f"{str(path)!r}, the same atoms with axes that were calibrated otherwise ({what})"
    raise StoreError(explain(got, "the axes of that run, or a new path", todo))


def _tidy(path: Path, job: dict) -> None:
    """Remove what a run left that was stopped between its last two steps; not that of one which is just there."""
    if holds(_parts(path), job) or lock_file(path).exists():
        with contextlib.suppress(StoreError), only_run(path):
            if holds(_parts(path), job):
                discard(_parts(path))


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
    sync_tree(folder)  # before its name and before the blocks go: after a power cut one of both is whole
    os.replace(folder, path)
    sync(path.parent)
    filed.checkpoint.discard()
    return open_lazily(path)
