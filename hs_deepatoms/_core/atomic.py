"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hs_deepatoms._core.errors import InvalidArgumentError, explain


def write_atomic(path: Path, content: bytes) -> None:
    """Write next to the target, then rename: a crash leaves the old file untouched.

    Raises
    ------
    InvalidArgumentError
        A folder, or a file in a folder that is not there.
    """
    if path.is_dir():
        raise InvalidArgumentError(explain(f"path {str(path)!r}, which is a folder", "a file", "Choose another name."))
    if not path.parent.is_dir():
        got = f"path {str(path)!r} in a folder that is not there"
        raise InvalidArgumentError(explain(got, "a file in a folder that is there", "Make the folder first."))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk itself: a power cut from now on leaves them there."""
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    except PermissionError:
        if folder:
            return  # Windows opens no folders
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not folder:  # not every file system can do it for folders
            raise
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """`sync` for all that a folder holds, and for itself."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)
