"""Optional packages, imported in one place that names the extra which installs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from hs_deepatoms._core.errors import MissingExtraError, explain


def require(module: str, extra: str | None = None, purpose: str = "this") -> ModuleType:
    """Import and return ``module``, or say which extra brings it.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        how = f"pip install '{module.split('.')[0]}'"
        if extra:
            how = f"pip install 'hs_deepatoms[{extra}]', or in a checkout: pip install '.[{extra}]'"
        message = explain(
            f"no importable package {module!r} ({error})",
            f"{purpose} needs it",
            f"Install it with: {how}",
        )
        raise MissingExtraError(message) from error
