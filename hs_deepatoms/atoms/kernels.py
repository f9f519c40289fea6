"""Which kernels a fit runs on: the only place that knows of more than one kind."""

from __future__ import annotations

from types import ModuleType

import torch


def kernels(like: torch.Tensor) -> ModuleType:
    """The kernels for tensors on that device: compiled loops on the processor, tensor operations on any other one.

    numba takes some tenths of a second to import, and is not before the first fit.
    """
    if like.device.type == "cpu":
        from hs_deepatoms.atoms.compiled import calls

        return calls
    from hs_deepatoms.atoms import tensors

    return tensors
