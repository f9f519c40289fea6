"""Deep learning of atoms in electron microscopy, as methods of HyperSpy signals and xarray objects.

Importing the package attaches its methods (see `hs_deepatoms.register`); whatever is heavy is imported on first use.
"""

from __future__ import annotations

from hs_deepatoms import errors, register
from hs_deepatoms._core.version import __version__

register.attach()

_LAZY = {**{verb: target for verb, (target, _) in register.METHODS.items()}, **register.FUNCTIONS}

__all__ = ["__version__", "errors", "register", *sorted(_LAZY)]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = register.resolve(_LAZY[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
