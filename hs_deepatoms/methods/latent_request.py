"""What a user asks an autoencoder to learn: checked, and turned into a model, a recipe and a loss of maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from hs_deepatoms._core.choices import check_choice
from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, explain
from hs_deepatoms._core.numbers import check_number, check_whole, is_number, is_whole
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.lengths import read_length
from hs_deepatoms.bridge.patches import is_patches
from hs_deepatoms.methods.image_stack import grid_layout
from hs_deepatoms.methods.patch_rows import Labels
from hs_deepatoms.methods.patch_set import PatchSet, Request
from hs_deepatoms.methods.square_pixels import check_square

INVARIANCES = ("rotation", "shift", "scale")
LIKELIHOODS = ("gaussian", "bernoulli")
COMBINE = ("add", "multiply")
SHIFT = 0.07  # of the window
PASSES, FEWEST, MOST = 50, 400, 3000


@dataclass(frozen=True)
class Asked:
    """What the user wants to be learned; the names are those of `rvae`."""

    latent_dim: int = 2
    invariances: tuple[str, ...] = ()
    discrete: int = 0
    condition: Any = None
    labels: Any = None
    likelihood: str = "gaussian"
    encoder: str = "dense"
    decoder: str = "dense"
    max_shift: Any = None
    max_scale: float = 1.2
    max_angle: float | None = None
    beta: float | Sequence[float] = 1.0
    capacity: float | None = None
    variational: bool = True
    steps: int | None = None
    batch_size: int = 128
    learning_rate: float = 2e-3
    restarts: int = 1
    physics: Any = None
    physics_weight: float | Sequence[float] = 0.1
    physics_latents: Any = None
    physics_block: int | tuple[int, int] = 16
    physics_combine: str = "add"
    physics_jitter: Any = 0
    physics_watch: Any = 0
    checkpoint: str | Path | None = None
    device: str = "auto"
    seed: int = 0
    show_progressbar: bool | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Asked:
        """From the arguments of `rvae` or `vae` by their names, as ``locals()`` has them."""
        known = {one.name: given[one.name] for one in fields(cls) if one.name in given}
        return cls(**known | {name: _listed(known[name]) for name in ("invariances", "physics_latents")})


def _listed(value: Any) -> Any:
    """A tuple of what has several values; all else as it is, to be refused by its name."""
    several = isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1)
    return tuple(value) if several else value


DEFAULTS = {one.name: one.default for one in fields(Asked)}


def request_of(given: Mapping[str, Any]) -> Request:
    """How patches are to be cut, from the same arguments."""
    names = ("window", "grid", "channels", "centring", "edge", "normalisation", "signal_dims")
    return Request(**{name: given[name] for name in names}, lazy_output=None if is_patches(given["signal"]) else True)


def physics_of(asked: Asked, found: PatchSet, index: np.ndarray):
    """The loss of the maps of latents, for training rows that are these patches; None without one.

    Raises
    ------
    InvalidArgumentError
        If the patches are not on a grid, or there is no such loss or latent.
    """
    if asked.physics is None:
        return None
    from hs_deepatoms.latent.blocks import Physics, loss_named

    loss, latents = loss_named(asked.physics), asked.physics_latents
    block = _listed(asked.physics_block)
    block = block if isinstance(block, tuple) else (block, block)
    return Physics(loss, _weights(asked, latents), latents, block, grid_layout(found)[index], asked.physics_combine,
                   jitter_of(asked, found))  # fmt: skip


def _weights(asked: Asked, latents: Sequence[int] | None) -> float | tuple[float, ...]:
    weight = _listed(asked.physics_weight)
    if is_number(weight):
        return float(weight)
    n = asked.latent_dim if latents is None else len(latents)
    if not isinstance(weight, tuple) or len(weight) != n or not all(map(is_number, weight)):
        _refuse("physics_weight", asked, f"one number, or one for each of the {n} latents that the loss acts on")
    return tuple(float(one) for one in weight)


def jitter_of(asked: Asked, found: PatchSet) -> tuple[int, int]:
    """Largest offset of the patches' origins along y and x, pixels.

    Raises
    ------
    InvalidArgumentError
        No length, or for patches that are not cut out of an image.
    """
    if _same(asked.physics_jitter, 0) or asked.physics_jitter is None:
        return 0, 0
    if found.recut is None:
        got = f"physics_jitter={asked.physics_jitter!r} for patches that are taken as they are"
        raise InvalidArgumentError(explain(got, "patches of an image on a grid", "Leave it out, or give the image."))
    return tuple(round(read_length(asked.physics_jitter, axis)) for axis in found.axes)


def recipe_of(asked: Asked, n: int):
    """The recipe of a training on n patches."""
    from hs_deepatoms.training.recipe import Recipe

    steps = int(asked.steps or np.clip(PASSES * n / asked.batch_size, FEWEST, MOST))
    return Recipe(steps=steps, learning_rate=float(asked.learning_rate), averaging="ema", ema_decay=0.99,
                  seed=asked.seed, validate_every=steps, checkpoint_every=interval(asked, steps))  # fmt: skip


def interval(asked: Asked, steps: int) -> int:
    """Steps between looks at the phases, and between checkpoints."""
    if asked.physics_watch and asked.physics is not None:
        return max(1, steps // (10 if callable(asked.physics_watch) else int(asked.physics_watch)))
    return min(500, max(1, steps // 10))


def model_config(found: PatchSet, asked: Asked, conditions: int, labels: Labels) -> dict[str, Any]:
    """The arguments of the model, JSON."""
    channels, _, h, w = found.data.shape
    return {
        "shape": [h, w],
        "channels": channels,
        "latent_dim": int(asked.latent_dim) + labels.quantity,
        "invariances": [one for one in asked.invariances if h > 1 or one != "rotation"],
        "discrete": int(asked.discrete),
        "condition": conditions,
        "labels": len(labels.names),
        "quantity": labels.quantity,
        "likelihood": asked.likelihood,
        "encoder": asked.encoder,
        "decoder": asked.decoder,
        "max_shift": list(largest_shift(found, asked.max_shift)),
        "max_scale": float(asked.max_scale),
        "max_angle": None if asked.max_angle is None else float(asked.max_angle),
        "beta": [float(one) for one in asked.beta] if isinstance(asked.beta, tuple | list) else float(asked.beta),
        "capacity": None if asked.capacity is None else float(asked.capacity),
        "variational": bool(asked.variational),
    }


def largest_shift(found: PatchSet, max_shift: Any) -> tuple[float, float]:
    """Along y and x, pixels.

    Raises
    ------
    InvalidArgumentError
        Half of the window or more.
    """
    shape = found.data.shape[-2:]
    if max_shift is None:
        return tuple(float(SHIFT * n) for n in shape)
    axes = found.axes if shape[0] > 1 else found.axes[-1:] * 2  # of spectra only the energy is an axis
    reach = tuple(float(read_length(max_shift, axis)) for axis in axes)
    for size, one in zip(shape, reach, strict=True):
        if size > 1 and not 0 < one < size / 2:
            got = f"max_shift={max_shift!r}, {one:g} pixels"
            raise InvalidArgumentError(explain(got, f"above 0 and less than half of the window's {size}",
                                               "Give a shorter length, or leave the shift out."))  # fmt: skip
    return reach


def check_asked(asked: Asked) -> None:
    """Refuse options that are none.

    Raises
    ------
    InvalidArgumentError
    """
    from hs_deepatoms.nets.autoencoders import DECODERS, ENCODERS

    choices = {"likelihood": LIKELIHOODS, "encoder": ENCODERS, "decoder": DECODERS, "physics_combine": COMBINE}
    for name, allowed in choices.items():
        check_choice(name, getattr(asked, name), allowed)
    given = asked.invariances
    if not isinstance(given, tuple) or not all(isinstance(one, str) and one in INVARIANCES for one in given):
        _refuse("invariances", asked, f"a list of {INVARIANCES}, or an empty one")
    for name, least in {"latent_dim": 1, "discrete": 0, "batch_size": 1, "restarts": 1, "seed": 0}.items():
        check_whole(name, getattr(asked, name), least)
    if asked.discrete == 1 or (asked.discrete and asked.labels is not None):
        _refuse("discrete", asked, "0, or 2 and more classes; left out with labels, whose classes it then has")
    _check_reach(asked)
    _check_schedules(asked)
    _check_physics(asked)


def _check_reach(asked: Asked) -> None:
    """How far motifs may be scaled and turned; what is given of an invariance that is not asked for is said."""
    if not is_number(asked.max_scale) or not asked.max_scale > 1:
        _refuse("max_scale", asked, "a finite number above 1")
    if asked.max_angle is not None and not (is_number(asked.max_angle) and 0 < asked.max_angle <= 180):
        _refuse("max_angle", asked, "None, or degrees above 0 up to 180")
    for name, needs in {"max_shift": "shift", "max_scale": "scale", "max_angle": "rotation"}.items():
        if needs not in asked.invariances and not _same(getattr(asked, name), DEFAULTS[name]):
            warn_user(f"{name} has no effect without the invariance {needs!r}")


def check_axes(asked: Asked, found: PatchSet, operation: str) -> None:
    """Refuse axes along which patches cannot be moved, scaled or turned.

    Raises
    ------
    InvalidAxesError
        Invariances along an axis whose steps differ, or turns of pixels that are not square.
    """
    if asked.invariances and not all(axis.is_uniform for axis in found.axes):
        got = f"invariances={asked.invariances!r} along an axis whose steps differ"
        raise InvalidAxesError(explain(got, "a uniform axis", "Interpolate the data on one first."))
    if "rotation" in asked.invariances and found.data.shape[-2] == 1:
        warn_user("the invariance 'rotation' has no effect on spectra, or patches of one row")
    elif "rotation" in asked.invariances:
        check_square(found.axes, operation)


def _check_schedules(asked: Asked) -> None:
    beta = asked.beta if isinstance(asked.beta, tuple | list) else (asked.beta,)
    if len(beta) not in (1, 2) or not all(is_number(one) and one >= 0 for one in beta):
        _refuse("beta", asked, "0 or more, or two such numbers: at the beginning and from the middle on")
    check_whole("steps", asked.steps, 1, optional=True)
    check_number("learning_rate", asked.learning_rate)
    if not isinstance(asked.variational, bool | np.bool_):
        _refuse("variational", asked, "True or False")
    check_number("capacity", asked.capacity, zero=True, optional=True)
    if asked.checkpoint is not None and not isinstance(asked.checkpoint, str | PathLike):
        _refuse("checkpoint", asked, "None, or the path of a file")
    if asked.checkpoint is not None and asked.restarts > 1:
        _refuse("restarts", asked, "1 with a checkpoint, which is that of one training")


def _check_physics(asked: Asked) -> None:
    names = [name for name in DEFAULTS if name.startswith("physics_")]
    given = {name: getattr(asked, name) for name in names}
    idle = [name for name, value in given.items() if not (value is None or _same(value, DEFAULTS[name]))]
    if asked.physics is None and idle:
        warn_user(f'{", ".join(idle)} without physics has no effect: give one, for example physics="edges"')
    latents = asked.physics_latents
    some = (
        isinstance(latents, tuple) and len(latents) and all(is_whole(one, 0, asked.latent_dim - 1) for one in latents)
    )
    if latents is not None and not some:
        _refuse("physics_latents", asked, f"some of 0 to {asked.latent_dim - 1}")
    block = _listed(asked.physics_block)
    block = block if isinstance(block, tuple) else (block, block)
    if len(block) != 2 or not all(is_whole(one, 2) for one in block):
        _refuse("physics_block", asked, "2 or more, or two such numbers")
    if asked.physics_combine == "multiply" and asked.likelihood != "bernoulli":
        todo = 'Choose likelihood="bernoulli", or physics_combine="add".'
        got = f'physics_combine="multiply" with likelihood={asked.likelihood!r}'
        raise InvalidArgumentError(explain(got, "a likelihood term that is never below 0", todo))
    watch = asked.physics_watch
    if not callable(watch) and not is_whole(watch) and not isinstance(watch, bool | np.bool_):
        _refuse("physics_watch", asked, "how often, or a function of a table and a step")


def _same(value: Any, default: Any) -> bool:
    """Whether an option was left at its default."""
    return value is default or (isinstance(value, str | int | float | np.number) and value == default)


def _refuse(name: str, asked: Asked, allowed: str) -> None:
    raise InvalidArgumentError(explain(f"{name}={getattr(asked, name)!r}", allowed, "Choose another value."))
