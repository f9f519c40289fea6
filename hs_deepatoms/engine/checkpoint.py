"""Results of a long job, a file per block, so that a job that was stopped goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hs_deepatoms._core.atomic import sync
from hs_deepatoms._core.errors import StoreError, explain

JOB = "job.json"
DIGITS = 32  # of a hash, at least
LOADED, AT_ONCE = 2**28, 2**25  # bytes that are loaded to tell data from others, and at a time (or a chunk of more)
WORDS = {  # for what is told by hashes
    "blocks": "the frames are divided otherwise: other chunks, navigation_chunks or batch_size",
    "sample": "other values of pixels",
    "masks": "other masks",
}


class Checkpoint:
    """A folder of finished blocks. A reader sees a block whole or not at all, whenever the process was killed.

    A block is on the disk itself before it gets its name, so that a power cut leaves it whole, too; a file that was
    damaged all the same counts as missing.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    job : mapping
        What the results depend on: JSON. A folder of another job is refused.

    Raises
    ------
    StoreError
        If the folder belongs to another job, or is no such folder.
    """

    def __init__(self, folder: str | os.PathLike, job: Mapping[str, Any]):
        self.folder = Path(folder)
        job = json.loads(json.dumps(job))
        if not self.folder.exists():
            _begin(self.folder, job)
        check_same(self.folder / JOB, job)
        self._whole: set[str] = set()  # names of blocks that were read or written here

    def missing(self, stage: str, count: int) -> list[int]:
        """Numbers below ``count`` of the blocks of a stage that are not there yet, or that cannot be read."""
        there = {path.name for path in self.folder.glob(f"{stage}-*.npz")}
        wanted = {self._name(stage, k) for k in range(count)}
        self._whole |= {name for name in (there & wanted) - self._whole if is_whole(self.folder / name)}
        return [k for k in range(count) if self._name(stage, k) not in there & self._whole]

    def put(self, stage: str, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the result of one block."""
        path = self.folder / f"{self._name(stage, number)}.part"
        with path.open("wb") as file:
            np.savez(file, **arrays)
        sync(path)
        path.replace(self.folder / self._name(stage, number))
        sync(self.folder)
        self._whole.add(self._name(stage, number))

    def get(self, stage: str, number: int, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """The arrays of one block, or some of them."""
        path = self.folder / self._name(stage, number)
        with np.load(path, allow_pickle=False) as file:
            lost = sorted(set(names or ()) - set(file.files))
            if lost:
                got = f"{str(path)!r}, a block without {', '.join(lost)}"
                raise StoreError(explain(got, "blocks that a run of this job wrote", "Remove that file."))
            return {name: file[name] for name in (names or file.files)}

    def discard(self) -> None:
        """Remove the folder and all that it holds."""
        discard(self.folder)

    def _name(self, stage: str, number: int) -> str:
        return f"{stage}-{number:07d}.npz"


def is_whole(file: Path) -> bool:
    """Whether a file of arrays can be read to its end; each array in it has a checksum."""
    try:
        with zipfile.ZipFile(file) as arrays:
            return bool(arrays.namelist()) and arrays.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError):
        return False


def _begin(folder: Path, job: Mapping[str, Any]) -> None:
    """A folder that knows its job from the moment at which it is there."""
    new = folder.with_name(f"{folder.name}.new")
    new.mkdir(parents=True, exist_ok=True)  # it is there if a run was stopped right here
    (new / JOB).write_text(json.dumps(job, indent=1))
    sync(new / JOB)
    new.replace(folder)
    sync(folder.parent)


def discard(folder: Path) -> None:
    """Remove the folder of a job and what the job put there; its name last, so that this may be stopped, too.

    What somebody else put there stays, and so does the folder then.
    """
    for path in folder.iterdir():
        if path.is_dir() and path.suffix == ".zarr":
            shutil.rmtree(path)
        elif path.suffix in (".npz", ".part"):
            path.unlink()
    (folder / JOB).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def holds(folder: Path, job: Mapping[str, Any]) -> bool:
    """Whether a folder is what is left of a job (an empty one is what is left of `discard`)."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    file = folder / JOB
    return file.exists() and _read_job(file) == json.loads(json.dumps(job))


def check_same(file: Path, job: Mapping[str, Any]) -> None:
    """Refuse to go on with the results of another job.

    Raises
    ------
    StoreError
        That names what differs.
    """
    begun = _read_job(file) if file.exists() else None
    if begun is None:
        got = f"{str(file.parent)!r}, a folder that holds no unfinished job"
        raise StoreError(explain(got, "a new path, or one to resume", "Choose another name, or remove that folder."))
    what = differences(begun, job)
    if what:
        message = explain(f"another job than the one begun in {str(file.parent)!r} ({what})",
                          "the same data, model and parameters",
                          "Repeat the call as it was, choose another store, or remove that folder.")  # fmt: skip
        raise StoreError(message)


def differences(begun: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """What differs between two jobs, in words; empty if nothing does. Of another format nothing else can be said."""
    if begun.get("format") != job.get("format"):
        return f"format {_short(begun.get('format'))} then, {_short(job.get('format'))} now: another version wrote it"
    found = []
    for key in sorted({*begun, *job}):
        then, now = begun.get(key), job.get(key)
        if isinstance(then, dict) and isinstance(now, dict) and then != now:
            found.append(f"{key}: {differences(then, now)}")
        elif then != now and (_is_digest(then) or _is_digest(now)):
            found.append(WORDS.get(key, f"another {key}"))
        elif then != now:
            found.append(f"{key}: {_short(then)} then, {_short(now)} now")
    return "; ".join(found)


def _is_digest(value: Any) -> bool:
    """Whether a value, or one in a list, is a hash: it tells a reader nothing."""
    if isinstance(value, list):
        return any(map(_is_digest, value))
    return isinstance(value, str) and len(value) >= DIGITS and set(value) <= set("0123456789abcdef")


def _read_job(file: Path) -> dict[str, Any] | None:
    """None if it is damaged."""
    try:
        job = json.loads(file.read_text())
    except ValueError:
        return None
    return job if isinstance(job, dict) else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def fingerprint(data, frames: int = 8, lines: int = 512, loaded: int = LOADED) -> dict[str, Any]:
    """Shape, dtype and a hash of some lines: tells other data from the same without reading it all.

    Of arrays in memory lines of every frame; so it is of data that have to be loaded, up to ``loaded`` bytes of them,
    and beyond that of as many frames as these bytes hold, at least ``frames``, spread over the stack.
    """
    flat = data.reshape((-1, *data.shape[-2:])) if data.ndim != 3 else data
    n = flat.shape[0]
    if not isinstance(flat, np.ndarray):
        n = min(n, max(frames, int(loaded // max(data.dtype.itemsize * np.prod(data.shape[-2:]), 1))))
    chosen = np.unique(np.linspace(0, flat.shape[0] - 1, n).astype(int))
    stride = max(1, flat.shape[1] // lines)
    digest = hashlib.blake2b(digest_size=16)
    for group in _of_chunks(flat, chosen):
        for frame in np.asarray(flat[group, ::stride]):
            digest.update(np.ascontiguousarray(frame).tobytes())
    return {"shape": list(data.shape), "dtype": str(data.dtype), "sample": digest.hexdigest()}


def _of_chunks(flat, chosen: np.ndarray) -> list[np.ndarray]:
    """Frames in groups that are loaded together: a chunk of several is loaded once, small ones many at a time."""
    if not hasattr(flat, "chunks"):
        return [chosen[k : k + 1] for k in range(len(chosen))]
    ends = np.cumsum(flat.chunks[0])
    chunk = np.searchsorted(ends, chosen, side="right")
    group = (ends[chunk] - 1) // max(1, int(AT_ONCE // max(flat.dtype.itemsize * np.prod(flat.shape[1:]), 1)))
    return np.split(chosen, np.flatnonzero(np.diff(group)) + 1)
