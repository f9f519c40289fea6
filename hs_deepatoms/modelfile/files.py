"""Model file <-> modules: one safetensors file, never a pickle.

The header of the file holds one JSON text under the key ``hs_deepatoms``: format version, and for every module its
architecture name and configuration, the hash of the weights, then preprocessing and the model card (name, description,
licence, scores).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hs_deepatoms._core.atomic import write_atomic
from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError, explain
from hs_deepatoms.modelfile.registry import CUSTOM, architecture_class, known_architectures

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 1
KEY = "hs_deepatoms"
Part = tuple[str, dict, "torch.nn.Module"]


def save_modules(
    path: str | os.PathLike,
    modules: Mapping[str, Part],
    *,
    preprocessing: dict | None = None,
    card: dict | None = None,
) -> str:
    """Write modules into one safetensors file; a reader sees the old file or the new one, never half of one.

    Parameters
    ----------
    path : path
        Target; its folder must exist.
    modules : mapping
        ``name -> (architecture, config, module)``: the registered name of the class, the keyword arguments that
        build it, and the module itself. Names are prefixes in the file and hold no dot. The architecture ``"custom"``
        is a module of the user's own: its weights are kept, and a reader must give the module back.
    preprocessing : dict, optional
        What must be done to images before the network; JSON.
    card : dict, optional
        name, description, licence, scores, data...; JSON.

    Returns
    -------
    str
        The file's sha256.

    Raises
    ------
    InvalidArgumentError
        If an architecture is not registered, a name holds a dot, or something is not JSON.
    """
    content = modules_to_bytes(modules, preprocessing=preprocessing, card=card)
    write_atomic(Path(path), content)
    return hashlib.sha256(content).hexdigest()


def save_module(
    path: str | os.PathLike,
    module: torch.nn.Module,
    *,
    architecture: str,
    config: dict,
    preprocessing: dict | None = None,
    card: dict | None = None,
) -> str:
    """Write one module; see `save_modules`. Returns the file's sha256."""
    return save_modules(path, {"module": (architecture, config, module)}, preprocessing=preprocessing, card=card)


def read_modules(
    path: str | os.PathLike, *, sha256: str | None = None, given: Mapping[str, torch.nn.Module] | None = None
) -> tuple[dict[str, torch.nn.Module], dict]:
    """Read every module of a model file, in eval mode, on the CPU.

    Parameters
    ----------
    path : path
        The file.
    sha256 : str, optional
        The hash the file must have.
    given : mapping, optional
        ``name -> module`` of the user's own, which get the file's weights in place.

    Returns
    -------
    modules : dict
        ``name -> module``.
    info : dict
        format_version, modules, preprocessing, the card's entries, sha256, path, bytes.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, has another hash or format version, names an unknown architecture, or holds
        a module of the user's own that is not given back.
    """
    content = read_content(path, sha256)
    modules, info = modules_from_bytes(content, origin=str(path), given=given)
    return modules, {**info, "path": str(path)}


def read_module(path: str | os.PathLike, *, sha256: str | None = None) -> tuple[torch.nn.Module, dict]:
    """Read a file that holds exactly one module; see `read_modules`.

    Raises
    ------
    ModelFileError
        As `read_modules`, and if the file holds several modules.
    """
    modules, info = read_modules(path, sha256=sha256)
    if len(modules) != 1:
        message = explain(f"{path} with the modules {sorted(modules)}", "one module", "Use read_modules instead.")
        raise ModelFileError(message)
    return next(iter(modules.values())), info


def read_info(path: str | os.PathLike, *, sha256: str | None = None) -> dict:
    """Header of a model file without building its modules (torch is not imported)."""
    content = read_content(path, sha256)
    return {**_header(content, str(path)), "sha256": _hash(content), "bytes": len(content), "path": str(path)}


def file_sha256(path: str | os.PathLike) -> str:
    """The sha256 of a model file, as lower-case hexadecimal digits."""
    return _hash(read_content(path, None))


def modules_to_bytes(
    modules: Mapping[str, Part], *, preprocessing: dict | None = None, card: dict | None = None
) -> bytes:
    """The bytes `save_modules` writes; the same weights and texts give the same bytes."""
    from safetensors.torch import save

    tensors: dict[str, Any] = {}
    header: dict[str, Any] = {"format_version": FORMAT_VERSION, "modules": {}, "preprocessing": preprocessing or {}}
    for name, (architecture, config, module) in modules.items():
        _check_part(name, architecture)
        header["modules"][name] = {"architecture": architecture, "config": dict(config)}
        for key, tensor in module.state_dict().items():
            tensors[f"{name}.{key}"] = tensor.detach().cpu().clone(memory_format=_contiguous())
    header["card"] = dict(card or {})
    # what a text in the header says does not change where the weights lie
    header["weights_sha256"] = _hash(_weights(save(tensors)))
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = explain(f"a header that is not JSON ({error})", "numbers, text, lists and dicts", "Convert it first.")
        raise InvalidArgumentError(message) from error
    return save(tensors, metadata={KEY: text})


def modules_from_bytes(
    content: bytes, *, origin: str = "bytes", given: Mapping[str, torch.nn.Module] | None = None
) -> tuple[dict[str, torch.nn.Module], dict]:
    """Build the modules from the bytes of a model file; see `read_modules`."""
    from safetensors.torch import load

    header = _header(content, origin)
    # files written by the first versions do not say
    said = header.get("weights_sha256")
    if said is not None and said != _hash(_weights(content)):
        raise _damaged(origin, ValueError("its weights are not those that were saved: another sha256"))
    try:
        tensors = load(content)
    except Exception as error:
        raise _damaged(origin, error) from error
    modules = {}
    for name, part in header["modules"].items():
        state = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if given and name in given:
            modules[name] = _filled(given[name], state, part["architecture"], origin)
        else:
            modules[name] = _build(part["architecture"], part["config"], state, origin)
    return modules, {**header, "sha256": _hash(content), "bytes": len(content)}


def read_content(path: str | os.PathLike, sha256: str | None) -> bytes:
    """The bytes of a model file, checked against a hash."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = explain(f"model file {path}: {reason}", "a readable file", "Check the path.")
        raise ModelFileError(message) from error
    if sha256 is not None and _hash(content) != sha256.lower():
        message = explain(
            f"{path} with sha256 {_hash(content)}",
            f"sha256 {sha256}",
            "It is another file: get it again, or use its hash.",
        )
        raise ModelFileError(message)
    return content


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _weights(content: bytes) -> memoryview:
    """What follows the header in the bytes of a safetensors file."""
    return memoryview(content)[8 + int.from_bytes(content[:8], "little") :]


def _contiguous():
    import torch

    return torch.contiguous_format


def _check_part(name: str, architecture: str) -> None:
    if not name or "." in name:
        message = explain(f"the module name {name!r}", "a name without a dot", "Rename it.")
        raise InvalidArgumentError(message)
    if architecture != CUSTOM and architecture not in known_architectures():
        known = ", ".join(known_architectures())
        message = explain(f"the architecture {architecture!r}", known, "register_architecture() it first.")
        raise InvalidArgumentError(message)


def _header(content: bytes, origin: str) -> dict:
    """The JSON in the safetensors header: 8 bytes of length, then JSON with ``__metadata__``."""
    try:
        size = int.from_bytes(content[:8], "little")
        if not 2 <= size <= len(content) - 8:
            raise ValueError("the file is cut short, or not a safetensors file")
        metadata = json.loads(content[8 : 8 + size].decode()).get("__metadata__", {})
        if KEY not in metadata:
            raise ValueError("no hs_deepatoms entry in its header")
        header = json.loads(metadata[KEY])
        version = header["format_version"]
        # A header without these is damaged; one of another version may look as it likes.
        complete = version != FORMAT_VERSION or all(
            {"architecture", "config"} <= p.keys() for p in header["modules"].values()
        )
        if not complete:
            raise ValueError("no architecture or config in its header")
    except Exception as error:
        raise _damaged(origin, error) from error
    if version != FORMAT_VERSION:
        message = explain(f"{origin} of format version {version}", f"version {FORMAT_VERSION}", "Update hs_deepatoms.")
        raise ModelFileError(message)
    return header


def _filled(module: torch.nn.Module, state: dict, architecture: str, origin: str) -> torch.nn.Module:
    """The user's own module with the file's weights, in eval mode."""
    try:
        module.load_state_dict(state, strict=True)
    except Exception as error:
        raise _misfit(origin, type(module).__name__, error) from error
    return module.eval()


def _build(architecture: str, config: dict, state: dict, origin: str) -> torch.nn.Module:
    if architecture == CUSTOM:
        got = f"{origin}, which holds weights of a network of the user's own ({config.get('class', 'unknown')})"
        message = explain(got, "that network given back", "hs_deepatoms.load(path, net=MyNet()), built as it was.")
        raise ModelFileError(message)
    make = architecture_class(architecture)
    try:
        module = _make_on_meta(make, config)
        module.load_state_dict(state, strict=True, assign=True)
        if any(tensor.is_meta for tensor in [*module.parameters(), *module.buffers()]):
            raise NotImplementedError("buffers outside the state dict")
    except Exception:
        module = _build_for_real(make, config, state, architecture, origin)
    return module.eval()


def _make_on_meta(make: type, config: dict) -> torch.nn.Module:
    """Without memory or random numbers: building must not move anybody's random state."""
    import torch

    with torch.device("meta"):
        return make(**config)


def _build_for_real(make: type, config: dict, state: dict, architecture: str, origin: str) -> torch.nn.Module:
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            module = make(**config)
        module.load_state_dict(state, strict=True)
    except Exception as error:
        raise _misfit(origin, architecture, error) from error
    return module


def _misfit(origin: str, architecture: str, error: Exception) -> ModelFileError:
    message = explain(
        f"{origin}, whose weights or configuration do not fit {architecture} ({error})",
        "weights saved from this architecture",
        "Get a file made for this version of hs_deepatoms, or give back the network that was saved.",
    )
    return ModelFileError(message)


def _damaged(origin: str, error: Exception) -> ModelFileError:
    message = explain(
        f"{origin}, which cannot be read ({error})", "a model file of hs_deepatoms", "Get the file again."
    )
    return ModelFileError(message)
