"""Which class an architecture name in a model file means, and where the shipped models lie."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError, explain

#: Where the shipped models lie, the one that is used by default, and the word for leaving the choice to us.
FOLDER, DEFAULT, AUTO = Path(__file__).resolve().parent.parent / "models", "detector", "auto"
#: Its folder for networks that go on from tables; `find_atoms` cannot take these.
HEADS = "heads"
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
    "KindsNet": "hs_deepatoms.nets.kinds:KindsNet",
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


def shipped_models() -> dict[str, Path]:
    """The models that ship with the package by name; the first one is the default.

    Examples
    --------
    >>> list(shipped_models())[0]
    'detector'
    """
    found = {path.stem: path for path in FOLDER.glob("*.safetensors")}
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT, item[0])))


def shipped_model(name: str = DEFAULT) -> Path:
    """Path of a model that ships with the package.

    Raises
    ------
    ModelFileError
        If no shipped model has this name.

    Examples
    --------
    >>> shipped_model("detector").name
    'detector.safetensors'
    """
    known = shipped_models()
    if name not in known:
        present = ", ".join(known) or "none"
        message = explain(f"model {name!r}", f"the shipped models ({present})", "Give one of these, or a file's path.")
        raise ModelFileError(message)
    return known[name]


def shipped_head(name: str) -> Path:
    """Path of a network that ships with the package but finds no atoms: it goes on from a table.

    Raises
    ------
    ModelFileError
        If there is none of this name.
    """
    path = FOLDER / HEADS / f"{name}.safetensors"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors"))) or "none"
        raise ModelFileError(explain(f"head {name!r}", f"the shipped heads ({known})", "Give one of these."))
    return path


def model_path(model: str | os.PathLike | None) -> Path:
    """The file that a user means: a path, the name of a shipped model, or (None, ``"auto"``) the default one.

    Raises
    ------
    ModelFileError
        A word that is neither a file nor the name of a shipped model.
    """
    if model is None or model == AUTO:
        return shipped_model()
    path = Path(model).expanduser()
    bare = isinstance(model, str) and not path.suffix and len(path.parts) == 1
    if bare and (model in shipped_models() or not os.path.exists(path)):
        return shipped_model(model)
    return path if "\0" in str(path) else path.resolve()  # whoever reads it says what is wrong
