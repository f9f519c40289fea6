"""What was asked of ``im2spec`` and ``spec2im``, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_count, check_whole, is_number

TARGETS = ("scores", "spectrum")
LIKELIHOODS = ("auto", "poisson", "gaussian", "learned")
NORMALISATIONS = ("auto", "area", "zlp", "none")
OF_EACH = ("n_components", "likelihood", "normalisation", "non_negative", "signal_mask", "spikes", "edges")


@dataclass(frozen=True, eq=False)
class PairRequest:
    """The arguments; see :func:`~hs_deepatoms.im2spec`."""

    window: Any = None
    region: Any = None
    shift: Any = None
    target: str = "scores"
    n_components: int | None = None
    latent_dim: int = 8
    variational: bool = False
    likelihood: str = "auto"
    normalisation: str = "auto"
    non_negative: bool | None = None
    split: Any = "blocks"
    folds: int | None = None
    members: int = 1
    steps: int | None = None
    batch_size: int = 6
    learning_rate: float = 2e-3
    navigation_mask: Any = None
    signal_mask: Any = None
    spikes: bool = True
    edges: Any = None
    checkpoint: Any = None
    device: str = "cpu"
    seed: int = 0
    num_workers: int | None = None
    show_progressbar: bool | None = None


def request_of(arguments: dict[str, Any]) -> PairRequest:
    """The request of arguments by name, checked; what one of the two functions does not have is as by default.

    Raises
    ------
    InvalidArgumentError
    """
    own = {one.name: arguments[one.name] for one in fields(PairRequest) if one.name in arguments}
    asked = PairRequest(**{**own, "device": choose_device(arguments["device"])})
    check_request(asked)
    return asked


def requests_of(arguments: dict[str, Any], spectra: Any) -> list[PairRequest]:
    """The request for each spectrum of a list; of a single one, a list with one.

    Of several, what is asked of a spectrum alone may be a list with a value for each.

    Raises
    ------
    InvalidArgumentError
    """
    if not isinstance(spectra, list | tuple):
        return [request_of(arguments)]
    found = []
    for number in range(len(spectra)):
        own = {name: arguments[name] for name in OF_EACH if name in arguments}
        for name, value in own.items():
            if isinstance(value, list | tuple):
                if len(value) != len(spectra):
                    got = f"{name} with {len(value)} values for {len(spectra)} spectra"
                    raise InvalidArgumentError(explain(got, "one for each, or one for all", "Change the list."))
                own[name] = value[number]
        found.append(request_of({**arguments, **own}))
    return found


def check_request(asked: PairRequest) -> None:
    """Refuse options that are none.

    Raises
    ------
    InvalidArgumentError
    """
    choices = {"target": TARGETS, "likelihood": LIKELIHOODS, "normalisation": NORMALISATIONS}
    for name, allowed in choices.items():
        if getattr(asked, name) not in allowed:
            raise _refused(name, asked, f"one of {allowed}")
    if isinstance(asked.split, str) and asked.split not in ("blocks", "random"):
        raise _refused("split", asked, "'blocks', 'random', or an array (ny, nx) that is True for the test")
    _check_numbers(asked)
    for name in ("variational", "spikes"):
        if not isinstance(getattr(asked, name), bool | np.bool_):
            raise _refused(name, asked, "True or False")
    if not isinstance(asked.non_negative, bool | np.bool_ | None):
        raise _refused("non_negative", asked, "True, False or None")
    path = asked.checkpoint
    if path is not None and (not isinstance(path, str | PathLike) or Path(path).is_dir()):
        raise _refused("checkpoint", asked, "the path of a file")
    if asked.folds not in (None, 1) and not (isinstance(asked.split, str) and asked.split == "blocks"):
        raise _refused("folds", asked, "1 unless split='blocks'")
    if asked.edges is not None and not _are_onsets(asked.edges):
        raise _refused("edges", asked, "a dict of names and onsets (units of the energy axis): {'Ti_L3': 456.0}")


def _check_numbers(asked: PairRequest) -> None:
    for name, least in {"latent_dim": 1, "members": 1, "batch_size": 1, "seed": 0}.items():
        check_whole(name, getattr(asked, name), least)
    for name in ("n_components", "folds", "steps", "num_workers"):
        check_count(name, getattr(asked, name))
    if not is_number(asked.learning_rate) or not 0 < asked.learning_rate < np.inf:
        raise _refused("learning_rate", asked, "a finite number above 0")


def _are_onsets(edges: Any) -> bool:
    if not isinstance(edges, dict):
        return False
    if not all(isinstance(name, str) for name in edges):
        return False
    real = all(isinstance(one, Real) and not isinstance(one, bool) for one in edges.values())
    return real and all(np.isfinite(one) for one in edges.values())


def _refused(name: str, asked: PairRequest, allowed: str) -> InvalidArgumentError:
    return InvalidArgumentError(explain(f"{name}={getattr(asked, name)!r}", allowed, "Choose another value."))
