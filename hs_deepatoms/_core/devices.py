"""Which device runs the networks. torch is imported only when a device is chosen."""

from __future__ import annotations

from hs_deepatoms._core.errors import DeviceError, explain


def choose_device(device: str = "auto") -> str:
    """Name of the torch device to use: ``"auto"`` takes CUDA, then Apple's MPS, then the CPU.

    Raises
    ------
    DeviceError
        If the device is unknown, or not present on this machine.
    """
    import torch

    present = _present(torch)
    if device in (None, "auto"):
        return next(name for name in ("cuda", "mps", "cpu") if name in present)
    name = str(device)
    if name not in present:
        message = explain(f"device={device!r}", f"'auto' or one of {present} on this machine", "Choose one of these.")
        raise DeviceError(message)
    return name


def _present(torch) -> list[str]:
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names
