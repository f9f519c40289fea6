"""Modules ready to run, kept once per process by content and device."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from hs_deepatoms._core.errors import ModelFileError, explain
from hs_deepatoms.modelfile.files import file_sha256, read_modules

if TYPE_CHECKING:
    import torch

#: Models kept per process; the one used longest ago goes first.
CAPACITY = 4
_lock = threading.Lock()
_cache: OrderedDict[tuple[str, str], Mapping[str, torch.nn.Module]] = OrderedDict()


def cached_modules(path: str | os.PathLike, sha256: str | None, device: str = "cpu") -> Mapping[str, torch.nn.Module]:
    """Modules of a model file on a device, read once per process.

    They are shared: in eval mode, without gradients, in channels-last layout. Do not change them.

    Parameters
    ----------
    path : path
        The file; not read again if the hash is in the cache.
    sha256 : str or None
        Its hash. Tasks should always give it; None reads the file to find it.
    device : str
        Name of a torch device, as `choose_device` returns it.

    Returns
    -------
    mapping
        ``name -> module``, read-only.

    Raises
    ------
    ModelFileError
        See `hs_deepatoms.modelfile.files.read_modules`.
    """
    key = ((sha256 or file_sha256(path)).lower(), str(device))
    # Held while loading, so that tasks that start together load a model once.
    with _lock:
        if key not in _cache:
            _cache[key] = MappingProxyType(_ready(path, *key))
        _cache.move_to_end(key)
        while len(_cache) > CAPACITY:
            _cache.popitem(last=False)
        return _cache[key]


def cached_module(
    path: str | os.PathLike, sha256: str | None, device: str = "cpu", *, name: str | None = None
) -> torch.nn.Module:
    """One module of a model file: the only one, or the one called ``name``; see `cached_modules`.

    Raises
    ------
    ModelFileError
        If the file has no such module, or several and no name is given.
    """
    modules = cached_modules(path, sha256, device)
    if name is None and len(modules) == 1:
        return next(iter(modules.values()))
    if name not in modules:
        message = explain(f"name={name!r} for {path}", f"one of {sorted(modules)}", "Give one of these names.")
        raise ModelFileError(message)
    return modules[name]


def clear_cache() -> None:
    """Forget every cached module of this process."""
    with _lock:
        _cache.clear()


def _ready(path, sha256: str, device: str) -> dict[str, torch.nn.Module]:
    import torch

    from hs_deepatoms.nets.blocks import fold_batch_norm

    modules, _ = read_modules(path, sha256=sha256)
    for module in modules.values():
        fold_batch_norm(module.requires_grad_(False))
        module.to(device=device, memory_format=torch.channels_last)
    return modules
