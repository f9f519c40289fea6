"""What a tree of decomposed spectra gives back: its parts as signals, a model of the cube, scores of other cubes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.components import COMPONENT, maps_like
from hs_deepatoms.bridge.convert import from_xarray
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.decompose.model import Model, encode_samples
from hs_deepatoms.methods.model_content import model_content
from hs_deepatoms.methods.unmixing import check_energy, cube_of, read_spectra
from hs_deepatoms.methods.unmixing_tree import SCORES
from hs_deepatoms.spectra.noise import Noise
from hs_deepatoms.spectra.projections import Projector, encode_blocks
from hs_deepatoms.spectra.unmix import Wish, unmix_known


def part(tree: xr.DataTree, name: str) -> Any:
    """One variable of the tree as a signal, or a DataArray where none went in.

    Raises
    ------
    InvalidArgumentError
        If there is no such part.
    """
    node = "components" if name == "components" else "abundances"
    dataset = tree[node].to_dataset()
    if name not in dataset:
        got = f"{name} of a decomposition by {tree.attrs.get('method')!r}"
        have = ", ".join(map(repr, dataset.data_vars))
        raise InvalidArgumentError(explain(got, have, "Choose another method for them."))
    array = dataset[name].copy()
    if name not in ("components", "abundances"):
        title = f"{array.attrs.get('long_name', name)}"
        array = array.assign_attrs({**dataset["abundances"].attrs, "long_name": title})
    return _given(tree, array)


def one_map(tree: xr.DataTree, component: int | str) -> Any:
    """The map of one component by its number, or ``"class"`` or ``"misfit"``.

    Raises
    ------
    InvalidArgumentError
        If there is no such component.
    """
    if isinstance(component, str):
        return part(tree, component)
    abundances = tree["abundances/abundances"]
    k = abundances.sizes[COMPONENT]
    if isinstance(component, bool) or not 0 <= component < k:
        raise InvalidArgumentError(explain(f"component={component!r}", f"0 to {k - 1}", "Choose one of these."))
    title = f"{abundances.attrs.get('long_name', '')} {component}"
    return _given(tree, abundances.isel({COMPONENT: component}, drop=True).assign_attrs(long_name=title))


def reconstruct(tree: xr.DataTree) -> Any:
    """Abundances times components (and the mean, where it was taken away), lazy.

    Raises
    ------
    InvalidArgumentError
        For classes and embeddings.
    """
    import dask.array as da

    meaning = tree.attrs["meaning"]
    if meaning not in ("endmember", "component"):
        got = f"a decomposition by {tree.attrs.get('method')!r}"
        raise InvalidArgumentError(explain(got, "one whose components add up to the spectra", 'Use "nmf" or "pca".'))
    components, abundances = tree["components"].to_dataset(), tree["abundances/abundances"]
    spectra, energy = components["components"], components["components"].dims[-1]
    scan = abundances.dims[1:]
    scores = da.from_array(np.moveaxis(abundances.values, 0, -1), chunks=(*("auto",) * len(scan), -1))
    data = da.tensordot(scores, spectra.values, axes=(-1, 0))
    if "origin" in components:
        data = data + components["origin"].values
    title = str(spectra.attrs.get("long_name", "")).replace(": components", "") + ": model"
    coords = {name: abundances[name] for name in scan if name in abundances.coords}
    coords |= {energy: spectra[energy]} if energy in spectra.coords else {}
    attrs = {**spectra.attrs, "long_name": title, "signal_dims": [energy]}
    attrs.pop("meaning", None)
    return _given(tree, xr.DataArray(data, dims=(*scan, energy), coords=coords, attrs=attrs))


def encode(tree: xr.DataTree, signal: Any, *, navigation_mask: Any = None, signal_dims: Any = None,
           show_progressbar: bool | None = None) -> Any:  # fmt: skip
    """Abundances (scores) of other spectra in the components of a tree.

    Parameters
    ----------
    tree : xarray.DataTree
        From `decompose_local` of spectra.
    signal, navigation_mask, signal_dims, show_progressbar
        As there; the energy axis must be that of the tree.

    Returns
    -------
    hyperspy signal or xarray.DataArray
        (component, *scan); NaN where a spectrum has NaN.

    Raises
    ------
    InvalidArgumentError
        Another energy axis, or a method that cannot score new spectra.
    ModelFileError
        A damaged model.
    """
    from safetensors.numpy import load

    node = tree["model"]
    arrays = load(model_content(node, "a decomposition"))
    source = read_spectra(signal, signal_dims)
    channels = arrays.pop("channels").astype(bool)
    spectra = tree["components/components"]
    own = read_source(spectra, signal_dims=spectra.dims[-1:], n_signal=1, operation="encode").signal[0]
    check_energy(source.signal[0], own, "spectra")
    cube = cube_of(source, navigation_mask, ~channels, show_progressbar)
    noise, wish = Noise(**json.loads(node.attrs["noise"])), json.loads(node.attrs["wish"])
    if "spectra" in arrays:
        found = unmix_known(cube, arrays["spectra"], noise, Wish(**wish))
        places, scores = found.places, found.scores
    else:
        places, scores = encode_blocks(cube, _projector(node, arrays), noise, wish["spikes"])
    if len(places) < cube.used.sum():
        warn_user(f"{int(cube.used.sum()) - len(places)} spectra have NaN and get no abundances")
    values = np.full((scores.shape[1], cube.n), np.nan)
    values[:, places] = scores.T
    entry = provenance_entry("encode", {"method": node.attrs["method"]}, model={"sha256": node.attrs["sha256"]})
    title = f"{source.title}: {SCORES[tree.attrs['meaning']]}".lstrip(": ")
    maps = maps_like(source, values.reshape(-1, *cube.scan), title=title, provenance=[*source.provenance, entry])
    return from_xarray(maps) if source.kind == "signal" else maps


def _projector(node: Any, arrays: dict) -> Projector:
    inner = json.loads(node.attrs["inner"])
    model = None
    if inner is not None:
        own = {name.removeprefix("inner."): array for name, array in arrays.items() if name.startswith("inner.")}
        model = Model(inner["method"], own, inner["parameters"])
        encode_samples(model, np.zeros((0, arrays["down"].shape[1])))  # refuses a method that has no scores
    return Projector(arrays["down"], float(arrays["typical"][0]), bool(arrays["shapes"][0]), int(arrays["k"][0]), model)


def _given(tree: xr.DataTree, array: xr.DataArray) -> Any:
    """The array as what went in was: a signal under the array's own title, or the array."""
    if tree.attrs.get("source_kind") != "signal":
        return array
    signal = from_xarray(array)
    signal.metadata.General.title = str(array.attrs.get("long_name", ""))
    return signal
