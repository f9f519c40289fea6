"""What an autoencoder found as a labelled tree, and the parts of the tree back as a model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.patches import WINDOW_DIMS
from hs_deepatoms.bridge.provenance import plain, provenance_entry, read_provenance
from hs_deepatoms.latent.infer import Inferred, infer, joined, pictures
from hs_deepatoms.latent.quantity import Quantity
from hs_deepatoms.latent.realign import realign
from hs_deepatoms.methods.model_content import model_content
from hs_deepatoms.methods.patch_rows import MEMORY, PatchRows, Scaling
from hs_deepatoms.methods.patch_set import PatchSet

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.latent.model import VAE
    from hs_deepatoms.training.fit import Fitted

KIND = "latent"
CUTTING = ("window_px", "centring", "edge", "normalisation", "frames")
FORMAT_VERSION = 1
NODES = 9
SPECTRA = 20  # fewer do not say what they have in common
MOST_OF_THEM = 0.9
CHANNEL = "channel"
DIMS = frozenset({"z", "z_0", "z_1", "latent", "step", "sample", "atom", "class_index", *WINDOW_DIMS})  # of pictures
SPAN = 2.0  # standard deviations to either side that a traversal goes


def build_latent_tree(
    rows: PatchRows, asked: Any, fitted: Fitted, scaling: Scaling, inferred: Inferred, extras: dict
) -> xr.DataTree:
    """The tree that `rvae` and `vae` return."""
    import xarray as xr

    found, model = rows.found, fitted.module
    parameters = {**plain(asdict(asked)), **found.notes, "steps": fitted.steps, "trained_on": extras["trained_on"]}
    for name in ("condition", "labels"):  # of millions of atoms a list would be longer than the result
        value = getattr(asked, name)
        parameters[name] = value if value is None or isinstance(value, str) else f"{len(value)} given"
    parameters["dropped"] = {reason: len(ids) for reason, ids in (found.notes.get("dropped") or {}).items()}
    entry = provenance_entry(extras["operation"], parameters, seed=asked.seed)
    history = [*read_provenance(found.table.attrs.get("provenance")), entry]
    node = _model_node(rows, model, scaling, extras)
    latent = latent_table(found, model, inferred, extras["labels"], history, extras["quantity"])
    nodes = {
        "/": xr.Dataset(attrs=_attrs(found, extras, history)),
        "/latent": latent,
        "/manifold": manifold(model, node, latent),
        "/history": fitted.history,
        "/metrics": _metrics(model, inferred, scaling, extras),
        "/model": node,
    }
    if extras["watch"] is not None:
        nodes["/watch"] = extras["watch"]
    return xr.DataTree.from_dict(nodes, name=KIND)


def infer_all(model: VAE, rows: PatchRows, scaling: Scaling, device: str) -> Inferred:
    """Latents and poses of all patches, batch by batch; NaN for those with NaN."""
    parts = []
    for place, patches in rows.batches():
        good = rows.valid(place, patches)
        some = infer(model, rows.rows(place, np.where(good[:, None, None, None], patches, 0), scaling)[good], device)
        spread = {}
        for name, values in vars(some).items():
            spread[name] = np.full((len(good), *values.shape[1:]), np.nan, np.float32)
            spread[name][good] = values
        parts.append(Inferred(**spread))
    return _realigned(joined(parts, model), model, rows)


def _realigned(inferred: Inferred, model: VAE, rows: PatchRows) -> Inferred:
    """Shifts of spectra (those that fit into memory) refined together; where they fit no better, they stay."""
    n, channels, height, width = rows.shape
    good = np.isfinite(inferred.residual)
    if height > 1 or channels > 1 or model.prior.free != [2] or good.sum() < SPECTRA or 4 * n * width > MEMORY:
        return inferred
    spectra = np.concatenate([patches[:, 0, 0] for _, patches in rows.batches()])[good].astype(float)
    before = inferred.pose[good, 2]
    shift, std = realign(spectra, before)
    near = np.isfinite(shift) & np.isfinite(std)
    if near.mean() < MOST_OF_THEM:
        return inferred
    at = np.flatnonzero(good)[near]
    inferred.pose[at, 2], inferred.pose_std[at, 2] = shift[near], std[near]
    return inferred


def latent_table(found: PatchSet, model: VAE, inferred: Inferred, names: list, history: list[dict],
                 quantity: Quantity | None = None) -> xr.Dataset:  # fmt: skip
    """The table with latents, poses, classes and the quantity."""
    columns: dict[str, Any] = {
        "z": (("atom", "latent"), inferred.z, {"long_name": "latent"}),
        "z_std": (("atom", "latent"), inferred.z_std, {"long_name": "one-sigma uncertainty of z"}),
        **_pose_columns(found, model, inferred),
        "residual": ("atom", inferred.residual, {"long_name": "squared residual over the noise, 1 is expected"}),
        "anomaly": ("atom", robust_score(inferred.residual), {"long_name": "robust score of the residual"}),
    }
    coords: dict[str, Any] = {"latent": np.arange(model.latent_dim)}
    if model.classes:
        share = inferred.classes
        best = np.where(np.isfinite(share).all(1), np.nan_to_num(share).argmax(1), -1)
        attrs = {"long_name": "class, -1 for none", "units": "1"}
        if names:
            attrs |= {"names": json.dumps(names)}
        columns["class_probability"] = (("atom", "class_index"), share, {"long_name": "probability of each class"})
        columns["class"] = ("atom", best, attrs)
        coords["class_index"] = np.arange(model.classes)
    if quantity is not None:
        value, spread = quantity.predict(inferred.z)
        columns["value"] = ("atom", value, {"long_name": "quantity of the labels"})
        columns["value_std"] = ("atom", spread, {"long_name": "one-sigma uncertainty of value"})
    table = found.table.drop_vars([name for name in columns if name in found.table.variables])
    return table.assign(columns).assign_coords(coords).assign_attrs(provenance=json.dumps(history))


def _pose_columns(found: PatchSet, model: VAE, inferred: Inferred) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    pose, spread, free = inferred.pose, inferred.pose_std, model.prior.free
    if 0 in free:
        columns["angle"] = ("atom", pose[:, 0], {"units": "rad", "long_name": "angle, from +x towards +y"})
        attrs = {"units": "1", "long_name": "n: the angle is known modulo 360/n degrees; 0: round; -1: unknown"}
        columns["symmetry"] = ("atom", np.nan_to_num(inferred.symmetry, nan=-1).astype(int), attrs)
        columns["angle_std"] = ("atom", spread[:, 0], {"units": "rad", "long_name": "one-sigma uncertainty of angle"})
    for k, name, axis in ((1, "y", found.axes[0]), (2, "x", found.axes[1])):
        if k in free:
            sign = axis.step if axis.scale is None else float(axis.scale)
            attrs = {"units": axis.units, "long_name": f"shift of the motif along {name}"}
            columns[f"shift_{name}"] = ("atom", pose[:, k] * sign, attrs)
            columns[f"shift_{name}_std"] = ("atom", spread[:, k] * axis.step, {"units": axis.units})
    if 3 in free:
        columns["scale"] = ("atom", np.exp(pose[:, 3]), {"units": "1", "long_name": "scale factor"})
        columns["scale_std"] = ("atom", np.exp(pose[:, 3]) * spread[:, 3], {"units": "1"})
    return columns


def robust_score(values: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations; NaN stays."""
    good = np.isfinite(values)
    if not good.any():
        return values
    middle = np.median(values[good])
    width = 1.4826 * np.median(np.abs(values[good] - middle))
    return (values - middle) / (width if width > 0 else 1.0)


def manifold(model: VAE, node: xr.Dataset, latent: xr.Dataset, n: int = NODES,
             condition: np.ndarray | None = None) -> xr.Dataset:  # fmt: skip
    """Pictures over the latents: on a grid (z_0, z_1) for two of them, else along each, the others in the middle.

    Nodes are quantiles of the latents, 2.5 to 97.5 %. ``condition`` (1, m) on the scale of the model; None: the mean.

    Raises
    ------
    InvalidArgumentError
        If ``n`` is no whole number of 1 or more.
    """
    import xarray as xr

    check_whole("n", n, 1)
    values = latent["z"].values[np.isfinite(latent["z"].values).all(1)]
    if not len(values):
        values = np.zeros((1, model.latent_dim))
    steps = np.quantile(values, np.linspace(0.025, 0.975, n), axis=0)  # (n, d)
    d = model.latent_dim
    if d == 2:
        dims, codes = ("z_0", "z_1"), np.stack(np.meshgrid(steps[:, 0], steps[:, 1], indexing="ij"), -1)
        coords: dict[str, Any] = {"z_0": steps[:, 0], "z_1": steps[:, 1]}
    else:
        dims, coords = ("latent", "step"), {"latent": np.arange(d), "step": np.arange(n)}
        codes = np.broadcast_to(np.median(values, 0), (d, n, d)).copy()
        codes[np.arange(d), :, np.arange(d)] = steps.T
        coords["z"] = (dims, steps.T)
    if not model.classes:
        return xr.Dataset({"manifold": picture_array(model, node, codes, dims, condition=condition)}, coords=coords)
    kinds = [picture_array(model, node, codes, dims, chosen=k, condition=condition) for k in range(model.classes)]
    joint = xr.concat(kinds, xr.DataArray(np.arange(model.classes), dims="class_index", name="class_index"))
    return xr.Dataset({"manifold": joint}, coords=coords)


def picture_array(model: VAE, node: xr.Dataset, z: np.ndarray, dims: tuple[str, ...], *, chosen: Any = None,
                  condition: Any = None, pose: np.ndarray | None = None) -> xr.DataArray:  # fmt: skip
    """Pictures of latents (..., d) as a DataArray (*dims, [channels,] window_y, window_x) in the units of the data.

    ``chosen``: a class, or one per picture; ``condition`` standardised, (..., k); ``pose`` (..., 4) in pixels.
    """
    import xarray as xr

    shape = z.shape[:-1]
    flat = np.asarray(z, np.float32).reshape(-1, z.shape[-1])
    kinds = np.zeros((len(flat), model.classes), np.float32)
    if model.classes:
        kinds[np.arange(len(flat)), _classes(chosen, len(flat), model.classes)] = 1
    given = np.zeros((len(flat), model.condition), np.float32)
    if condition is not None and model.condition:
        given[:] = np.asarray(condition, np.float32).reshape(-1, model.condition)
    where = np.zeros((len(flat), 4), np.float32) if pose is None else np.asarray(pose, np.float32).reshape(-1, 4)
    images = scaling_in(node).undo(pictures(model, flat, kinds, given, where))
    images = images.reshape(*shape, *images.shape[1:])
    coords, inner = axes_in(node)
    if len(inner) < 3:
        images = images[..., 0, :, :] if len(inner) == 2 else images[..., 0, 0, :]
    return xr.DataArray(images, dims=(*dims, *inner), coords=coords)


def _classes(chosen: Any, n: int, classes: int) -> np.ndarray:
    """Numbers (n,) of classes."""
    given = np.asarray(chosen)
    whole = given.dtype.kind in "iu" and given.ndim < 2 and given.size in (1, n)
    if not whole or (given.size and not 0 <= given.min() <= given.max() < classes):
        allowed = f"one of 0 to {classes - 1}, or {n} of them"
        raise InvalidArgumentError(explain(f"chosen={chosen!r}", allowed, "Choose another class."))
    return np.broadcast_to(given.ravel(), n)


def axes_in(node: xr.Dataset) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Coordinates and dims of a picture."""
    y, x = (Axis.from_dict(fields) for fields in json.loads(node.attrs["axes"]))
    channel = json.loads(node.attrs["channel"])
    if node.attrs["one_dimensional"]:
        name = node.attrs["spectral_name"]
        return {name: (name, x.coordinates(), {"units": x.units})}, (name,)
    coords: dict[str, Any] = {dim: (dim, axis.coordinates(), {"units": axis.units})
                              for dim, axis in zip(WINDOW_DIMS, (y, x), strict=True)}  # fmt: skip
    if channel is None:
        return coords, WINDOW_DIMS
    if isinstance(channel, str):  # trees of before
        return coords, (CHANNEL, *WINDOW_DIMS)
    axis = Axis.from_dict(channel)
    coords[axis.name] = (axis.name, axis.coordinates(), {"units": axis.units})
    return coords, (axis.name, *WINDOW_DIMS)


def _channel_fields(axis: Axis | None) -> dict[str, Any] | None:
    """The axis of the channels; with a name of ours where it has none, or one of another dim of pictures."""
    if axis is None:
        return None
    return axis.as_dict() | ({} if axis.named and axis.name not in DIMS else {"name": CHANNEL})


def scaling_in(node: xr.Dataset) -> Scaling:
    """How data are scaled for the model."""
    return Scaling(**json.loads(node.attrs["scaling"]))


def model_in(node: Any) -> VAE:
    """The model in the node ``/model`` of a tree, in eval mode on the CPU; kept per process.

    Raises
    ------
    ModelFileError
        If its bytes are not those that were written.
    """
    return _modules_of(model_content(node, "a tree"))["vae"]


@lru_cache(maxsize=4)
def _modules_of(content: bytes) -> dict[str, Any]:
    from hs_deepatoms.modelfile.files import modules_from_bytes

    return modules_from_bytes(content)[0]


def _model_node(rows: PatchRows, model: VAE, scaling: Scaling, extras: dict) -> xr.Dataset:
    import xarray as xr

    from hs_deepatoms.modelfile.files import modules_to_bytes
    from hs_deepatoms.spectra.model import Arrays

    found = rows.found
    modules: dict[str, Any] = {"vae": ("VAE", model.config, model)}
    if extras["quantity"] is not None:
        arrays = Arrays.of(extras["quantity"].state())
        modules["quantity"] = ("Arrays", arrays.config, arrays)
    content = modules_to_bytes(modules)
    one = model.shape[0] == 1 and len(found.source.signal) == 1
    attrs = {
        "architecture": "VAE",
        "cutting": json.dumps({key: found.notes.get(key) for key in CUTTING}),
        "axes": json.dumps([axis.as_dict() for axis in found.axes]),
        "channel": json.dumps(_channel_fields(found.channel)),
        "one_dimensional": int(one),
        "spectral_name": found.source.signal[0].name,
        "scaling": json.dumps(asdict(scaling)),
        "condition": json.dumps(extras["condition"]),
        "labels": json.dumps(extras["labels"]),
        "sha256": hashlib.sha256(content).hexdigest(),
        "format_version": FORMAT_VERSION,
    }
    return xr.Dataset({"weights": ("byte", np.frombuffer(content, np.uint8))}, attrs=attrs)


def quantity_in(node: xr.Dataset) -> Quantity | None:
    """How a quantity follows from the latents; None where there is none.

    Raises
    ------
    ModelFileError
        If the bytes of the model are not those that were written.
    """
    if "known_z" in node:  # trees of before: beside the model, and not in what is hashed
        return Quantity(node["known_z"].values, node["known_value"].values, *json.loads(node.attrs["quantity"]))
    modules = _modules_of(model_content(node, "a tree"))
    return Quantity.from_state(modules["quantity"].as_dict()) if "quantity" in modules else None


def _attrs(found: PatchSet, extras: dict, history: list[dict]) -> dict[str, Any]:
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "method": extras["operation"],
        "dropped": json.dumps(found.notes.get("dropped") or {}),
        "provenance": json.dumps(history),
    }


def _metrics(model: VAE, inferred: Inferred, scaling: Scaling, extras: dict) -> xr.Dataset:
    import xarray as xr

    noise = model.variance() if model.likelihood == "gaussian" else np.nan
    columns = {
        "negative_bound": ((), extras["bound"], {"long_name": "negative evidence lower bound per pixel, nats"}),
        "noise_std": ((), float(np.sqrt(noise)) * scaling.scale, {"long_name": "residual of a pixel, data units"}),
        "residual": ((), float(np.nanmedian(inferred.residual)), {"long_name": "median residual, 1 is expected"}),
        "trained_on": ((), extras["trained_on"], {"long_name": "patches that were trained on"}),
    }
    return xr.Dataset(columns)
