"""A decomposed spectrum image as a labelled tree, and its parts back as signals."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.components import maps_like, spectra_like
from hs_deepatoms.bridge.provenance import plain, provenance_entry
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.spectra.unmix import MIXTURES, Unmixed, Wish

if TYPE_CHECKING:
    import xarray as xr

KIND = "unmixing"
FORMAT_VERSION = 1
SPECTRA = {
    "endmember": "spectrum of the pure component",
    "component": "component",
    "class": "average of the class",
    "covariance": "change of the spectra with one standard deviation of the score",
}
SCORES = {"endmember": "abundance", "component": "score", "class": "probability of the class", "covariance": "score"}


def build_unmixing_tree(source: Source, found: Unmixed, wish: Wish, extras: dict) -> xr.DataTree:
    """The tree that `decompose_local` returns for spectra."""
    import xarray as xr

    method = "known" if extras["known"] else wish.method if isinstance(wish.method, str) else type(wish.method).__name__
    parameters = {
        "method": method,
        "n_components": len(found.components),
        "poisson": found.noise.poisson,
        "noise": found.noise._asdict(),
        "sum_to_one": wish.sum_to_one,
        "smoothness": wish.smoothness,
        "spikes_repaired": found.notes.get("spikes", 0) if wish.spikes else None,
        "channels_left_out": int((~found.channels).sum()),
        "seed": wish.seed if isinstance(wish.seed, int) else repr(wish.seed),
        **extras,
        **found.notes,
    }
    history = [*source.provenance, provenance_entry("decompose_local", parameters)]
    nodes = {
        "/": xr.Dataset(attrs=_attrs(source, found, method, history)),
        "/components": _components(source, found, history),
        "/abundances": _abundances(source, found, history),
        "/model": _model(found, wish, method),
    }
    if found.values is not None:
        nodes["/scree"] = _scree(found)
    return xr.DataTree.from_dict(nodes, name=KIND)


def _attrs(source: Source, found: Unmixed, method: str, history: list[dict]) -> dict[str, Any]:
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "method": method,
        "meaning": found.meaning,
        "n_components_reason": str(found.notes.get("n_components_reason", "")),
        "source_kind": source.kind,
        "provenance": json.dumps(history),
    }


def _components(source: Source, found: Unmixed, history: list[dict]) -> xr.Dataset:
    title = f"{source.title}: components".lstrip(": ")
    spectra = spectra_like(source, _whole(found.components, found.channels), title=title, provenance=history)
    energy = spectra.dims[-1]
    columns = {"mean": (energy, _whole(found.mean, found.channels), {"long_name": "mean of all spectra"})}
    if found.origin is not None:
        origin = _whole(found.origin, found.channels)
        columns["origin"] = (energy, origin, {"long_name": "what the components are added to"})
    spectra = spectra.assign_attrs(meaning=SPECTRA[found.meaning])
    return spectra.to_dataset(name="components").assign(columns)


def _abundances(source: Source, found: Unmixed, history: list[dict]) -> xr.Dataset:
    scan = tuple(axis.size for axis in source.navigation)
    title = f"{source.title}: {SCORES[found.meaning]}".lstrip(": ")
    maps = maps_like(source, _spread(found.scores, found.places, scan), title=title, provenance=history)
    out = maps.to_dataset(name="abundances")
    dims = maps.dims[1:]
    columns: dict[str, Any] = {}
    if found.std is not None:
        std = _spread(found.std, found.places, scan)
        columns["abundances_std"] = (maps.dims, std, {"long_name": "standard error of the abundance"})
    if found.misfit is not None:
        misfit = _spread(found.misfit[:, None], found.places, scan)[0]
        columns["misfit"] = (dims, misfit, {"long_name": "chi squared per degree of freedom"})
    if found.classes is not None:
        classes = np.full(int(np.prod(scan, dtype=int)), -1)
        classes[found.places] = found.classes
        columns["class"] = (dims, classes.reshape(scan), {"long_name": "class, -1 for none"})
    return out.assign(columns)


def _scree(found: Unmixed) -> xr.Dataset:
    import xarray as xr

    values = found.values[: min(50, found.values.size)]
    columns: dict[str, Any] = {
        "explained_variance": ("rank", values, {"long_name": "second moment, noise made even"}),
        "explained_variance_ratio": ("rank", values / max(found.values.sum(), 1e-300)),
    }
    coords: dict[str, Any] = {"rank": np.arange(1, values.size + 1)}
    bic = None if found.decomposition is None else found.decomposition.bic
    if bic:
        columns["bic"] = ("n_classes", np.array(list(bic.values())))
        coords["n_classes"] = np.array(list(bic))
    return xr.Dataset(columns, coords=coords)


def _model(found: Unmixed, wish: Wish, method: str) -> xr.Dataset:
    """What new spectra are encoded with, as bytes of a safetensors file."""
    import xarray as xr
    from safetensors.numpy import save

    arrays = {**found.arrays, "channels": found.channels.astype(np.uint8)}
    inner = None
    if found.decomposition is not None:
        model = found.decomposition.model
        arrays |= {f"inner.{name}": array for name, array in model.arrays.items()}
        inner = {"method": model.method, "parameters": plain(model.parameters)}
    content = save({name: np.ascontiguousarray(np.atleast_1d(array)) for name, array in arrays.items()})
    attrs = {
        "method": method,
        "inner": json.dumps(inner),
        "noise": json.dumps(plain(found.noise._asdict())),
        "wish": json.dumps(_kept(wish)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "format_version": FORMAT_VERSION,
    }
    return xr.Dataset({"weights": ("byte", np.frombuffer(content, np.uint8))}, attrs=attrs)


def _kept(wish: Wish) -> dict[str, Any]:
    """What was asked for and holds for other spectra, too."""
    kept = {"sum_to_one": wish.sum_to_one, "spikes": wish.spikes}
    if isinstance(wish.method, str) and wish.method in MIXTURES:
        kept |= {"method": wish.method, "seed": wish.seed if isinstance(wish.seed, int) else 0}
    return kept


def _whole(values: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Values (..., used) as (..., energies), NaN where masked."""
    if channels.all():
        return np.asarray(values, float)
    out = np.full((*values.shape[:-1], channels.size), np.nan)
    out[..., channels] = values
    return out


def _spread(values: np.ndarray, places: np.ndarray, scan: tuple[int, ...]) -> np.ndarray:
    """Values (m, k) of some pixels as maps (k, *scan), NaN elsewhere."""
    out = np.full((values.shape[1], int(np.prod(scan, dtype=int))), np.nan)
    out[:, places] = values.T
    return out.reshape(-1, *scan)
