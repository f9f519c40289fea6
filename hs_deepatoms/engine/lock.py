"""One run at a time on one store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hs_deepatoms._core.errors import StoreError, explain


@contextlib.contextmanager
def only_run(path: Path) -> Iterator[None]:
    """Keep other runs, of this process or another, from writing ``path`` meanwhile.

    The operating system holds the lock on a file beside it (``<path>.lock``) and drops it with the process, however
    that ends. The file goes when ``path`` is there; that of a run that was stopped is taken over by the next.

    Raises
    ------
    StoreError
        If another run is writing it, or if nothing can be written there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file(path))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if not lock_file(path).exists():
            got = f"{str(path)!r}, beside which the lock {lock_file(path).name!r} cannot be made"
            raise StoreError(explain(got, "a folder that can be written to", "Choose another one.")) from error
        todo = "Wait until it ends: the same call then opens the store. Or choose another name."
        message = explain(f"{str(path)!r}, which another run is writing", "one run at a time", todo)
        raise StoreError(message) from error
    except NotImplementedError:  # a file system without locks
        yield
        return
    except OSError as error:
        got = f"{str(path)!r}, beside which {lock_file(path).name!r} is in the way ({error.strerror or error})"
        raise StoreError(explain(got, "a path whose lock can be made", "Remove it, or choose another name.")) from error
    try:
        yield
    finally:
        lock.release()
        if path.exists():
            with contextlib.suppress(OSError):  # on Windows as long as somebody else looks at it
                lock_file(path).unlink(missing_ok=True)


def lock_file(path: Path) -> Path:
    """Where the lock of a store lies."""
    return path.with_name(f"{path.name}.lock")
