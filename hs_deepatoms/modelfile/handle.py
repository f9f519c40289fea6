"""A trained module that travels with tasks: by reference in this process, as bytes to others."""

from __future__ import annotations

import copy
import hashlib
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hs_deepatoms.modelfile.files import Part, modules_from_bytes, modules_to_bytes
from hs_deepatoms.modelfile.registry import CUSTOM

if TYPE_CHECKING:
    import torch

NAME = "net"
_lock = threading.Lock()


class NetHandle:
    """A frozen copy of a module, ready on any device.

    Training the original further does not change it: a lazy result stays what it was when it was asked for.

    Parameters
    ----------
    part : (architecture, config, module)
        As :func:`~hs_deepatoms.modelfile.files.save_modules` takes it.
    """

    def __init__(self, part: Part):
        architecture, config, module = part
        self.part = architecture, dict(config), copy.deepcopy(module).eval().requires_grad_(False)
        self._ready: dict[str, torch.nn.Module] = {}

    def on(self, device: str) -> torch.nn.Module:
        """The module on a device: eval mode, channels-last, batch norms folded. Do not change it."""
        import torch

        from hs_deepatoms.nets.blocks import fold_batch_norm

        with _lock:
            if device not in self._ready:
                module = fold_batch_norm(copy.deepcopy(self.part[2]))
                self._ready[device] = module.to(device=device, memory_format=torch.channels_last)
            return self._ready[device]

    @property
    def content(self) -> bytes:
        """The weights as the bytes of a model file."""
        return modules_to_bytes({NAME: self.part})

    @property
    def sha256(self) -> str:
        """Hash of the weights and the architecture."""
        return hashlib.sha256(self.content).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.part[0] == CUSTOM:  # only its own class can rebuild it
            return NetHandle, (self.part,)
        return _rebuilt, (self.content,)


@lru_cache(maxsize=4)
def _rebuilt(content: bytes) -> NetHandle:
    """The handle in another process, once for all of its tasks."""
    modules, info = modules_from_bytes(content)
    made = info["modules"][NAME]
    return NetHandle((made["architecture"], made["config"], modules[NAME]))
