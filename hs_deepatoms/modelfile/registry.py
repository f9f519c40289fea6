"""Which class an architecture name in a model file means, and where the shipped models lie."""

from __future__ import annotations

import importlib
from pathlib import Path

from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError, explain

#: In the place of a name: a module of the user's own, which only the user can give back.
CUSTOM = "custom"
#: Name in the file -> where the class is; imported only when a file asks for it.
_architectures: dict[str, str | type] = {
    "ColumnDetector": "hs_deepatoms.nets.detector:ColumnDetector",
    "SurveyNet": "hs_deepatoms.nets.survey:SurveyNet",
    "UNet": "hs_deepatoms.nets.unet:UNet",
    "DilNet": "hs_deepatoms.nets.dilnet:DilNet",
    "ResHedNet": "hs_deepatoms.nets.reshednet:ResHedNet",
    "SegResNet": "hs_deepatoms.nets.segresnet:SegResNet",
    "VAE": "hs_deepatoms.latent.model:VAE",
    "Members": "hs_deepatoms.nets.members:Members",
    "PairModel": "hs_deepatoms.spectra.model:PairModel",
    "Arrays": "hs_deepatoms.spectra.model:Arrays",
}


def register_architecture(name: str, target: str | type) -> None:
    """Let model files name a further class: the class itself, or ``"package.module:Class"`` (import on demand).

    Only the second form is found in other processes too, when its module is imported there.

    Raises
    ------
    InvalidArgumentError
        If the name already means another class.
    """
    if _architectures.get(name, target) != target:
        got = f"architecture {name!r}, which already means {_architectures[name]}"
        raise InvalidArgumentError(explain(got, "a new name", "Choose another name."))
    _architectures[name] = target


def known_architectures() -> tuple[str, ...]:
    """Every registered name, sorted."""
    return tuple(sorted(_architectures))


def architecture_class(name: str) -> type:
    """The class behind an architecture name.

    Raises
    ------
    ModelFileError
        If the name is not registered, or its class cannot be imported.
    """
    target = _architectures.get(name)
    if target is None:
        known = ", ".join(known_architectures())
        message = explain(f"the architecture {name!r}", known, "Update hs_deepatoms, or register_architecture() it.")
        raise ModelFileError(message)
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            message = explain(
                f"the architecture {name!r} ({error})", "a class that can be imported", "Install what holds it."
            )
            raise ModelFileError(message) from error
    return target


def shipped_model(name: str = "detector") -> Path:
    """Path of a model that ships with the package.

    Raises
    ------
    ModelFileError
        If no shipped model has this name.

    Examples
    --------
    >>> shipped_model("detector").name  # doctest: +SKIP
    'detector.safetensors'
    """
    folder = Path(__file__).resolve().parent.parent / "models"
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        present = ", ".join(sorted(p.stem for p in folder.glob("*.safetensors"))) or "none"
        message = explain(f"model {name!r}", f"the shipped models ({present})", "Give one of these, or a file's path.")
        raise ModelFileError(message)
    return path
