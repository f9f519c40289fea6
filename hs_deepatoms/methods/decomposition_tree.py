"""A decomposition as a labelled tree, and the parts of the tree back as a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.patches import WINDOW_DIMS
from hs_deepatoms.bridge.provenance import plain, provenance_entry, read_provenance
from hs_deepatoms.decompose.model import Model
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.decompose.samples import BATCH, Samples
from hs_deepatoms.methods.model_content import model_content
from hs_deepatoms.methods.patch_set import PatchSet, load_rows
from hs_deepatoms.patches.descriptors import KINDS, Fourier, Pixels
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import xarray as xr

KIND = "decomposition"
CUTTING = ("window_px", "centring", "edge", "normalisation")
FORMAT_VERSION = 1
MEANINGS = {
    "component": "component of norm 1",
    "class": "average of the class",
    "covariance": "change of the patches with one standard deviation of the score",
}


def build_tree(found: PatchSet, describe: Pixels, samples: Samples, result: Decomposition, asked: dict) -> xr.DataTree:
    """The tree that `decompose_local` returns."""
    import xarray as xr

    meaning, images, mean = _images(found, describe, samples, result)
    parameters = {**asked, **found.notes, "method": result.model.method, **result.model.parameters}
    parameters["dropped"] = {reason: len(ids) for reason, ids in (found.notes.get("dropped") or {}).items()}
    if "offset" in result.model.arrays:
        parameters["offset"] = float(result.model.arrays["offset"])
    history = [*read_provenance(found.table.attrs.get("provenance")), provenance_entry("decompose_local", parameters)]
    dims, coords = picture_axes(found, describe)
    pictures = as_pictures(images, found), as_pictures(mean, found)
    nodes = {
        "/": xr.Dataset(attrs=_attrs(found, result, history)),
        "/components": _components(result, *pictures, meaning, dims, coords, describe),
        "/scores": _scores(found, samples, result, history),
        "/model": model_node(result.model, describe, found),
    }
    if result.scree is not None:
        nodes["/scree"] = _scree(result)
    if result.classes is not None:
        nodes["/classes"] = _classes(result, dims, coords, found, describe)
    if found.nodes:
        nodes["/maps"] = _maps(found, nodes["/scores"])
    return xr.DataTree.from_dict(nodes, name=KIND)


def picture_axes(found: PatchSet, describe: Pixels) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Dims and coordinates of a component as an image."""
    y, x = found.axes
    if isinstance(describe, Fourier):
        dims = ("frequency_y", "frequency_x")
        coords = {dim: (dim, values, {"units": f"1/{axis.units}"})
                  for dim, values, axis in zip(dims, describe.frequencies(), (y, x), strict=True)}  # fmt: skip
    else:
        dims = WINDOW_DIMS
        coords = {dim: (dim, axis.coordinates(), {"units": axis.units, "long_name": f"{axis.name} from the middle"})
                  for dim, axis in zip(dims, (y, x), strict=True)}  # fmt: skip
    channel = found.channel
    if channel is None:
        return dims, coords
    coords[channel.name] = (channel.name, channel.coordinates(), {"units": channel.units})
    return ((*dims, channel.name) if found.spectral else (channel.name, *dims)), coords


def model_node(model: Model, describe: Pixels, found: PatchSet) -> xr.Dataset:
    """The model as bytes of a safetensors file, with all that is needed to use it again in attributes."""
    import xarray as xr
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(np.atleast_1d(array)) for name, array in model.arrays.items()})
    descriptor = next(name for name, kind in KINDS.items() if kind is type(describe))
    attrs = {
        "method": model.method,
        "parameters": json.dumps(plain(model.parameters)),
        "cutting": json.dumps({key: found.notes.get(key) for key in CUTTING}),
        "axes": json.dumps([axis.as_dict() for axis in found.axes]),
        "descriptor": descriptor or "",
        "spectral": int(found.spectral),
        "sha256": hashlib.sha256(content).hexdigest(),
        "format_version": FORMAT_VERSION,
    }
    return xr.Dataset({"weights": ("byte", np.frombuffer(content, np.uint8))}, attrs=attrs)


def model_of(node: Any) -> Model:
    """The model in the node ``/model`` of a tree.

    Raises
    ------
    ModelFileError
        If its bytes are not those that were written.
    """
    from safetensors.numpy import load

    arrays = load(model_content(node, "a decomposition"))
    if "offset" in arrays:
        arrays["offset"] = arrays["offset"].reshape(())
    return Model(str(node.attrs["method"]), arrays, json.loads(node.attrs["parameters"]))


def scores_table(found: PatchSet, scores: np.ndarray, classes: np.ndarray | None, history: list[dict]) -> xr.Dataset:
    """The positions table with ``scores`` (atom, component) and ``class`` (atom)."""
    table = found.table
    columns: dict[str, Any] = {"scores": (("atom", "component"), scores, {"long_name": "score"})}
    if classes is not None:
        columns["class"] = ("atom", classes, {"long_name": "class, -1 for none", "units": "1"})
    table = table.assign(columns).assign_coords(component=np.arange(scores.shape[1]))
    return table.assign_attrs(provenance=json.dumps(history))


def _attrs(found: PatchSet, result: Decomposition, history: list[dict]) -> dict[str, Any]:
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "method": result.model.method,
        "dropped": json.dumps(found.notes.get("dropped") or {}),
        "provenance": json.dumps(history),
    }


def _images(found: PatchSet, describe: Pixels, samples: Samples, result: Decomposition):
    """What the components mean, their images (k, features of a picture) and the mean picture."""
    own = result.components is not None and not describe.rotates
    if own:
        return "component", result.components, samples.mean
    meaning = "component" if result.classes is None else "class"
    scores = result.scores
    if meaning == "class":
        weights = scores / np.maximum(scores.sum(axis=0), 1e-300)
    else:
        meaning = "covariance"
        centred = scores - scores.mean(axis=0)
        weights = centred / np.maximum(centred.std(axis=0), 1e-300) / len(scores)
    weights = np.column_stack([weights, np.full(len(weights), 1 / len(weights))])
    sums = _weighted(found, describe, samples, weights)
    return meaning, sums[:-1], sums[-1]


def _weighted(found: PatchSet, describe: Pixels, samples: Samples, weights: np.ndarray) -> np.ndarray:
    """Sums (k, features) of pictures with weights (n_valid, k), batch by batch."""
    total = 0
    for place, rows in _pictures(found, describe, samples) if describe.rotates else samples.batches():
        total = total + weights[place].T @ rows
    return np.asarray(total)


def _pictures(found: PatchSet, describe: Pixels, samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pixels of valid patches, where the samples are something else: (place among the valid, rows)."""
    places = samples.spread(np.arange(samples.n), fill=-1)
    pixels = Pixels(describe.shape, describe.steps)
    batch = max(1, BATCH // (8 * found.data.shape[0] * pixels.n_features))
    for start in range(0, places.size, batch):
        here = places[start : start + batch]
        rows = pixels.describe(load_rows(found, start, start + len(here)))
        yield here[here >= 0], rows[here >= 0]


def as_pictures(rows: np.ndarray, found: PatchSet) -> np.ndarray:
    """Rows (..., channels * h * w) as images in the order of `picture_axes`."""
    channels, _, h, w = found.data.shape
    images = rows.reshape(*rows.shape[:-1], channels, h, w)
    if found.channel is None:
        return images[..., 0, :, :]
    return np.moveaxis(images, -3, -1) if found.spectral else images


def _components(result, images, mean, meaning: str, dims, coords, describe: Pixels) -> xr.Dataset:
    import xarray as xr

    columns: dict[str, Any] = {
        "components": (("component", *dims), images, {"long_name": MEANINGS[meaning], "meaning": meaning}),
        "mean": (dims, mean, {"long_name": "mean of all patches"}),
    }
    if result.variance is not None:
        total = result.total_variance or 0.0
        ratio = result.variance / total if total > 0 else np.zeros_like(result.variance)
        columns["explained_variance"] = ("component", result.variance)
        columns["explained_variance_ratio"] = ("component", ratio)
    if describe.rotates and result.components is not None:
        columns["descriptors"] = (("component", "descriptor"), result.components)
    k = images.shape[0]
    return xr.Dataset(columns, coords={"component": np.arange(k), **coords})


def _scores(found: PatchSet, samples: Samples, result: Decomposition, history: list[dict]) -> xr.Dataset:
    classes = None if result.classes is None else samples.spread(result.classes, fill=-1)
    return scores_table(found, samples.spread(result.scores), classes, history)


def _scree(result: Decomposition) -> xr.Dataset:
    import xarray as xr

    total = result.total_variance or 0.0
    columns = {
        "explained_variance": ("rank", result.scree),
        "explained_variance_ratio": ("rank", result.scree / total if total > 0 else np.zeros_like(result.scree)),
    }
    coords: dict[str, Any] = {"rank": np.arange(1, result.scree.size + 1)}
    if result.bic:
        columns["bic"] = ("n_classes", np.array(list(result.bic.values())))
        coords["n_classes"] = np.array(list(result.bic))
    return xr.Dataset(columns, coords=coords)


def _classes(result: Decomposition, dims, coords, found: PatchSet, describe: Pixels) -> xr.Dataset:
    import xarray as xr

    k = result.scores.shape[1]
    count = np.bincount(result.classes[result.classes >= 0], minlength=k)
    columns: dict[str, Any] = {"count": ("class", count, {"long_name": "number of patches"})}
    made: dict[str, Any] = {"class": np.arange(k)}
    if result.inner is not None:
        inner, variance = result.inner
        columns["explained_variance"] = (("class", "inner"), variance)
        made["inner"] = np.arange(variance.shape[1])
        if not describe.rotates:
            images = as_pictures(inner, found)
            long_name = "principal components inside each class"
            columns["components"] = (("class", "inner", *dims), images, {"long_name": long_name})
            made |= coords
    return xr.Dataset(columns, coords=made)


def _maps(found: PatchSet, scores: xr.Dataset) -> xr.Dataset:
    """Scores on the grid of nodes: (component, navigation..., y, x)."""
    import xarray as xr

    navigation, axes = schema.known_axes(found.table, "maps")
    names = schema.navigation_columns([axis.name for axis in navigation])
    sizes = tuple(axis.size for axis in navigation)
    dims = (*names, "y", "x")
    coords: dict[str, Any] = {
        name: (name, axis.coordinates(), {"units": axis.units}) for name, axis in zip(names, navigation, strict=True)
    }
    for dim, axis, place in zip("yx", axes[-2:], found.nodes, strict=True):
        coords[dim] = (dim, np.asarray(axis.to_value(place), float), {"units": axis.units})
    shape = (*sizes, *(place.size for place in found.nodes))
    values = scores["scores"].values
    columns = {"scores": (("component", *dims), values.T.reshape(-1, *shape))}
    if "class" in scores:
        columns["class"] = (dims, scores["class"].values.reshape(shape))
    return xr.Dataset(columns, coords={"component": scores["component"].values, **coords})
