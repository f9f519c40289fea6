"""A model that somebody trained, given where the shipped one is the default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError, explain

SEGMENTER = "hs_deepatoms.workflows.segmenter:load_segmenter"
ENSEMBLE = "hs_deepatoms.workflows.ensemble:load_ensemble"
DETECTOR = "hs_deepatoms.workflows.detector:load_detector"
#: what a file says it is -> what reads it
LOADERS = {"segmenter": SEGMENTER, "ensemble": ENSEMBLE}


def learned_segmenter(model: Any) -> Any | None:
    """The segmenter that ``model`` is, or is the file of; None for detectors, and for what is no model."""
    if model is None or (hasattr(model, "__fspath__") and not isinstance(model, Path)):
        return None
    if isinstance(model, str | os.PathLike):
        return load_model(model) if kind_of(model) in LOADERS else None
    return model if hasattr(model, "predict") and hasattr(model, "find_atoms") else None


def kind_of(path: str | os.PathLike) -> str:
    """What a model file holds, ``"detector"``, ``"segmenter"`` or ``"ensemble"``; "" if it cannot be read as one."""
    from hs_deepatoms.modelfile.files import read_info

    try:
        return read_info(Path(path).expanduser()).get("preprocessing", {}).get("kind", "detector")
    except ModelFileError:
        return ""


def load_model(path: str | os.PathLike, net: Any = None) -> Any:
    """The model in a file, as the object that was saved."""
    from hs_deepatoms.modelfile.files import read_info
    from hs_deepatoms.register import resolve

    path = Path(path).expanduser()
    read_info(path)  # a file that is no model says so
    loader = LOADERS.get(kind_of(path))
    if loader is not None:
        return resolve(loader)(path, net=net)
    return resolve(DETECTOR)(path)


def refuse_given(options: Mapping[str, tuple[Any, Any]], operation: str) -> None:
    """Refuse options that only the shipped detector knows: ``name -> (given, default)``.

    Raises
    ------
    InvalidArgumentError
    """
    given = [name for name, (value, default) in options.items() if value is not default and value != default]
    if given:
        allowed = "images, threshold, refine, contrast and masks"
        todo = "Leave them out, or use a detector."
        raise InvalidArgumentError(explain(f"{given} for {operation} with a segmenter", allowed, todo))
