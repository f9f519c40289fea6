"""What is attached where: the one place in which this package touches other people's classes.

``METHODS`` is the table. A verb is attached as a descriptor that imports its module when it is looked up, so that
``import hs_deepatoms`` stays cheap and ``help(s.find_atoms)`` shows the function itself.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from hs_deepatoms._core.errors import RegistrationError, explain

__all__ = ["ACCESSORS", "FUNCTIONS", "METHODS", "LazyMethod", "attach", "resolve"]

#: verb -> ("module:function", the HyperSpy classes that carry it); ``DataArray.deepatoms`` reads the same table.
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "compare_latents": ("hs_deepatoms.workflows.latent_comparison:compare_latents", ("Signal2D",)),
    "decompose_local": ("hs_deepatoms.methods.decompose_local:decompose_local", ("Signal2D", "Signal1D")),
    "extract_patches": ("hs_deepatoms.methods.extract_patches:extract_patches", ("Signal2D",)),
    "find_atoms": ("hs_deepatoms.methods.find_atoms:find_atoms", ("Signal2D",)),
    "im2spec": ("hs_deepatoms.methods.im2spec:im2spec", ("Signal2D",)),
    "rvae": ("hs_deepatoms.methods.rvae:rvae", ("Signal2D",)),
    "segment": ("hs_deepatoms.methods.segment:segment", ("Signal2D",)),
    "spec2im": ("hs_deepatoms.methods.im2spec:spec2im", ("Signal1D",)),
    "elit": ("hs_deepatoms.workflows.elit:elit", ("Signal2D",)),
    "vae": ("hs_deepatoms.methods.rvae:vae", ("Signal2D", "Signal1D")),
}

#: public functions that are not methods of a signal: name -> "module:function".
FUNCTIONS: dict[str, str] = {
    "Augmentation": "hs_deepatoms.training.augmentation:Augmentation",
    "Detector": "hs_deepatoms.workflows.detector:Detector",
    "Ensemble": "hs_deepatoms.workflows.ensemble:Ensemble",
    "Segmenter": "hs_deepatoms.workflows.segmenter:Segmenter",
    "augmented_set": "hs_deepatoms.training.augmentation:augmented_set",
    "concat": "hs_deepatoms.tables.join:concat",
    "cut_crops": "hs_deepatoms.methods.training_data:cut_crops",
    "from_atomap": "hs_deepatoms.methods.atomap:from_atomap",
    "from_ase": "hs_deepatoms.methods.to_ase:from_ase",
    "hand_over": "hs_deepatoms.methods.build_structure:hand_over",
    "from_xarray": "hs_deepatoms.bridge.convert:from_xarray",
    "label_images": "hs_deepatoms.methods.training_data:label_images",
    "load": "hs_deepatoms.methods.load:load",
    "positions": "hs_deepatoms.tables.positions:positions",
    "read_label_files": "hs_deepatoms.methods.training_data:read_label_files",
    "object_labels": "hs_deepatoms.methods.training_data:object_labels",
    "simulated_set": "hs_deepatoms.methods.training_data:simulated_set",
    "to_xarray": "hs_deepatoms.bridge.convert:to_xarray",
}

#: xarray class -> module that registers its accessor ``deepatoms`` when imported.
ACCESSORS: dict[str, str] = {
    "DataArray": "hs_deepatoms.accessors.array",
    "DataTree": "hs_deepatoms.accessors.tree",
    "Dataset": "hs_deepatoms.accessors.table",
}

ACCESSOR_NAME = "deepatoms"


class LazyMethod:
    """A method known by ``"module:function"`` and imported when it is looked up, not when it is attached."""

    def __init__(self, target: str):
        self.target = target

    def __get__(self, instance: Any, owner: type | None = None) -> Callable:
        function = resolve(self.target)
        return function if instance is None else MethodType(function, instance)

    def __repr__(self) -> str:
        return f"LazyMethod({self.target!r})"


def resolve(target: str) -> Callable:
    """Import and return the function that ``"module:function"`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def attach(
    methods: Mapping[str, tuple[str, tuple[str, ...]]] = METHODS,
    accessors: Mapping[str, str] = ACCESSORS,
    *,
    signals: Any = None,
) -> None:
    """Attach everything in the tables, or nothing at all if one name is already somebody else's.

    Parameters
    ----------
    methods
        verb -> ("module:function", names of HyperSpy classes).
    accessors
        Name of an xarray class -> module that registers its accessor.
    signals
        Module or namespace that holds the classes of ``methods``. Default: ``hyperspy.signals``.

    Raises
    ------
    RegistrationError
        If a class already has an attribute of that name that is not ours. Nothing is attached then.
    """
    import xarray

    if signals is None:
        import hyperspy.signals as signals
    wanted = [(getattr(signals, owner), verb, target) for verb, (target, owners) in methods.items() for owner in owners]
    for owner, verb, _ in wanted:
        _refuse_foreign(owner, verb)
    for owner in accessors:
        _refuse_foreign(getattr(xarray, owner), ACCESSOR_NAME)
    for owner, verb, target in wanted:
        setattr(owner, verb, LazyMethod(target))
    for module in accessors.values():
        importlib.import_module(module)


def _refuse_foreign(owner: type, name: str) -> None:
    found = inspect.getattr_static(owner, name, None)
    if found is None or _is_ours(found):
        return
    origin = getattr(found, "__module__", None) or type(found).__module__
    message = explain(
        f"{owner.__name__}.{name}, which is already there (from {origin})",
        "attaching to names that are free",
        "Nothing was attached. Remove or rename that attribute, or the package that sets it, before importing "
        "hs_deepatoms.",
    )
    raise RegistrationError(message)


def _is_ours(found: object) -> bool:
    # xarray puts an accessor class into an object that keeps it as _accessor. Modules are compared, not classes, so
    # that a reload of this module still knows its own.
    origins = (type(found), getattr(found, "_accessor", None))
    return any((getattr(origin, "__module__", None) or "").startswith("hs_deepatoms.") for origin in origins)
