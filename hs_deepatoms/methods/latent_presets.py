"""Autoencoders under the names that users know, as options of `vae`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain

POSE = {"invariances": ("rotation", "shift")}
#: name -> options of `vae`
PRESETS: dict[str, dict[str, Any]] = {
    "vae": {},
    "shift-vae": {"invariances": ("shift",)},
    "rvae": POSE,
    "jvae": {},
    "jrvae": POSE,
    "cvae": {},
    "crvae": POSE,
    "ssvae": {},
    "ssrvae": POSE,
    "autoencoder": {"variational": False},
    "conv-autoencoder": {"variational": False, "encoder": "conv", "decoder": "conv"},
}
#: what the user has to give for what a name stands for
NEEDS = {"jvae": "discrete", "jrvae": "discrete", "cvae": "condition", "crvae": "condition", "ssvae": "labels",
         "ssrvae": "labels"}  # fmt: skip
UNSET: dict[str, Any] = {"variational": True, "encoder": "dense", "decoder": "dense"}  # the defaults of `vae`


def with_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `vae` with those that ``preset`` stands for, where they were not given.

    Raises
    ------
    InvalidArgumentError
        An unknown name, or one that needs an argument that is not there.

    Examples
    --------
    >>> found = with_preset({"preset": "rVAE", "invariances": (), "variational": True})
    >>> found["invariances"], found["variational"]
    (('rotation', 'shift'), True)
    """
    preset = given["preset"]
    if preset is None:
        return dict(given)
    name = preset.lower() if isinstance(preset, str) else ""
    if name not in PRESETS:
        allowed = ", ".join(map(repr, PRESETS))
        raise InvalidArgumentError(explain(f"preset={preset!r}", allowed, "Choose one of these, or none."))
    need = NEEDS.get(name)
    if need is not None and (given[need] is None or (need == "discrete" and not given[need])):
        got = f"preset={preset!r} without {need}"
        raise InvalidArgumentError(explain(got, f"a preset with {need}", f"Give {need}."))
    return {**given, **{key: value for key, value in PRESETS[name].items() if _unset(key, given[key])}}


def _unset(key: str, value: Any) -> bool:
    if key == "invariances":
        return hasattr(value, "__len__") and not len(value)
    return value == UNSET[key]
