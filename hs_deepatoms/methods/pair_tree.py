"""What ``im2spec`` and ``spec2im`` learned as a labelled tree."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.provenance import plain, provenance_entry
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods.pair_request import PairRequest
from hs_deepatoms.methods.pair_scores import OWN, ImageReport, SpectrumReport, score_images, score_spectra
from hs_deepatoms.methods.pair_sources import Pair, joined_titles, name_of
from hs_deepatoms.methods.pair_stored import FORMAT_VERSION, KIND, REVERSE, model_node
from hs_deepatoms.methods.pair_tiles import finer_axis, untiled
from hs_deepatoms.methods.pair_training import Learned
from hs_deepatoms.methods.pair_verdict import judged
from hs_deepatoms.spectra.baselines import patch_rows
from hs_deepatoms.spectra.blocks import NAMES, TEST, TRAIN
from hs_deepatoms.spectra.model import applied

if TYPE_CHECKING:
    import xarray as xr

ORDER = ("/", "/latent", "/metrics", "/history", "/traversal", "/examples", "/model", "/held_out")
ERROR = "error over that of the noise alone"
NODES = 9
SPAN = 2.0  # standard deviations of a latent to either side
EXAMPLES = (0.02, 0.5, 0.9, 0.98)  # quantiles of the error of the spectra that are kept to be looked at
NEAR = 0.35  # standard deviations of a latent within which windows are averaged
UNITS = {"spectral_angle": "rad"}


def build_spectrum_tree(pair: Pair, learned: Learned, asked: PairRequest) -> xr.DataTree:
    """The tree that `im2spec` returns for one spectrum image."""
    import xarray as xr

    report, nodes = spectrum_nodes(pair, learned, asked)
    say_unscored([name for name in asked.edges or {} if name not in report.edges], pair.spectra.signal[0])
    nodes["/latent"] = latent_node(pair, learned, report.error, ERROR)
    nodes |= common_nodes([pair], [learned], [pair.spectra])
    return xr.DataTree.from_dict({name: nodes[name] for name in ORDER if name in nodes}, name=KIND)


def spectrum_nodes(pair: Pair, learned: Learned, asked: PairRequest) -> tuple[SpectrumReport, dict[str, xr.Dataset]]:
    """What is scored and kept of one spectrum image."""
    energy = pair.spectra.signal[0]
    edges = asked.edges if asked.edges is not None else edges_of(pair)
    report = score_spectra(learned, energy.coordinates(), edges, asked.seed)
    nodes = {
        "/": _root(KIND, pair, learned, asked),
        "/metrics": _metrics(report, energy, learned),
        "/traversal": _traversal(learned, energy),
        "/examples": _examples(learned, report.error, energy, pair),
    }
    if not learned.paired.model.spectrum:  # else as large as the spectra themselves
        nodes["/held_out"] = _held_out_outputs(pair, learned)
    return report, nodes


def common_nodes(pairs: list[Pair], learned: list[Learned], predicted: list[Source]) -> dict[str, xr.Dataset]:
    """What all spectra have in common."""
    return {"/history": _history(learned[0].paired.histories), "/model": model_node(pairs, learned, predicted)}


def say_unscored(edges: list[str], energy: Axis) -> None:
    if edges:
        low, high = np.sort(energy.coordinates())[[0, -1]]
        reach = f"spectra from {low:g} to {high:g} {energy.units} do not reach far enough to both sides"
        warn_user(f"edges {', '.join(edges)} are not scored: {reach}")


def build_image_tree(pairs: list[Pair], learned: list[Learned], asked: list[PairRequest]) -> xr.DataTree:
    """The tree that `spec2im` returns."""
    import xarray as xr

    pair, first = pairs[0], learned[0]
    report = score_images(first, asked[0].seed)
    means = [_mean_spectra(one, own.spectra.signal[0]) for one, own in zip(learned, pairs, strict=True)]
    if len(means) > 1:
        means = [one.rename(spectrum=name_of(k), energy=f"energy_{k}") for k, one in enumerate(means)]
    nodes = {
        "/": _root(REVERSE, pair, first, asked[0]),
        "/latent": latent_node(pair, first, report.error, "error over the standard deviation of the image"),
        "/metrics": _image_metrics(report, first),
        "/held_out": _held_out_image(pair, first),
        "/traversal": xr.merge(means),
        **common_nodes(pairs, learned, [pair.image]),
    }
    if len(pairs) > 1:
        nodes["/"].attrs |= several_attrs(pairs, learned, asked, REVERSE)
    return xr.DataTree.from_dict(nodes, name=REVERSE)


def several_attrs(pairs: list[Pair], learned: list[Learned], asked: list[PairRequest], kind: str) -> dict[str, str]:
    """Attributes of a tree of several spectra, which name all of them."""
    entries = [one.spectra.provenance for one in pairs] if kind == KIND else [pairs[0].image.provenance]
    said = [_parameters(*one) for one in zip(learned, asked, strict=True)]
    parameters = {name: value if _alike([one[name] for one in said]) else [one[name] for one in said]
                  for name, value in said[0].items()}  # fmt: skip
    entry = provenance_entry(kind, parameters, seed=asked[0].seed, device=asked[0].device)
    return {"spectra": joined_titles([one.spectra for one in pairs]),
            "provenance": json.dumps(plain([*(entry for one in entries for entry in one), entry]))}  # fmt: skip


def _alike(values: list[Any]) -> bool:
    return all(json.dumps(plain(one), sort_keys=True) == json.dumps(plain(values[0]), sort_keys=True) for one in values)


def _parameters(learned: Learned, asked: PairRequest) -> dict[str, Any]:
    parameters = {one.name: getattr(asked, one.name) for one in fields(asked)}
    return parameters | {"window_px": learned.window, **learned.notes, "steps_used": learned.paired.steps}


def _root(kind: str, pair: Pair, learned: Learned, asked: PairRequest) -> xr.Dataset:
    import xarray as xr

    entry = provenance_entry(kind, _parameters(learned, asked), seed=asked.seed, device=asked.device)
    source = pair.spectra if kind == KIND else pair.image
    return xr.Dataset(attrs={"kind": kind, "format_version": FORMAT_VERSION, "method": kind,
                             "image": pair.image.title, "spectra": pair.spectra.title,
                             "provenance": json.dumps(plain([*source.provenance, entry]))})  # fmt: skip


def edges_of(pair: Pair) -> dict[str, float]:
    """Onsets (eV) of the major edges of the elements in the metadata, where exspy knows them."""
    sample = pair.spectra.metadata.get("Sample")
    elements = sample.get("elements") if isinstance(sample, dict) else None
    if pair.spectra.signal_type != "EELS" or not elements:
        return {}
    from exspy.material import elements as table

    low, high = np.sort(pair.spectra.signal[0].coordinates())[[0, -1]]
    found = {}
    for element in elements:
        known = table.as_dictionary()[element]["Atomic_properties"] if element in table else {}
        for name, edge in known.get("Binding_energies", {}).items():
            if edge.get("relevance") == "Major" and low < edge["onset_energy (eV)"] < high:
                found[f"{element}_{name}"] = float(edge["onset_energy (eV)"])
    return found


def latent_node(pair: Pair, learned: Learned, error: np.ndarray, meaning: str) -> xr.Dataset:
    import xarray as xr

    z = applied(learned.paired.model, learned.image, what="latents")
    part = np.full(learned.valid.shape, -1, np.int8)
    for split in learned.splits:
        part = np.maximum(part, split.part)
    names = {value: name for value, name in NAMES.items()}
    folds = {}
    if len(learned.splits) > 1:
        fold = np.full(part.shape, -1, np.int8)
        for number, split in enumerate(learned.splits):
            fold[split.of(TEST)] = number
        folds = {"fold": (("y", "x"), fold, {"long_name": "the split whose test it was in, -1 for none"})}
    return xr.Dataset(
        {
            **folds,
            "z": (("latent", "y", "x"), z, {"long_name": "latent"}),
            "part": (("y", "x"), part, {"long_name": "what the spectrum was used for",
                                        "flag_values": list(names), "flag_meanings": " ".join(names.values())}),
            "error": (("y", "x"), error, {"long_name": meaning, "units": "1"}),
        },
        {"latent": np.arange(len(z)), **map_coordinates(pair.spectra.navigation)},
    )  # fmt: skip


def _held_out_outputs(pair: Pair, learned: Learned) -> xr.Dataset:
    """What the networks that have not seen a spectrum say of it; NaN where there are none."""
    import xarray as xr

    outputs = learned.held_out[: 2 * learned.output.n_outputs].copy()
    outputs[:, ~learned.part(TEST)] = np.nan
    said = "scores (and the logarithm of the total), then their standard deviations"
    return xr.Dataset(
        {"outputs": (("output", "y", "x"), outputs, {"long_name": said})}, map_coordinates(pair.spectra.navigation)
    )


def _held_out_image(pair: Pair, learned: Learned) -> xr.Dataset:
    """The image, and what the networks that have not seen a place say of it; NaN where there are none."""
    import xarray as xr

    k, step = len(learned.tiles), pair.lines[0].step
    test = learned.part(TEST)
    parts = {"measured": learned.tiles, "predicted": learned.held_out[:k],
             "std": learned.held_out[k : 2 * k]}  # fmt: skip
    images = {name: untiled(np.where(test, tiles, np.nan).astype(np.float32), step, False)
              for name, tiles in parts.items()}  # fmt: skip
    dims = ("channel", "y", "x") if images["measured"].ndim == 3 else ("y", "x")
    axes = tuple(finer_axis(axis, step) for axis in pair.spectra.navigation)
    return xr.Dataset({name: (dims, image) for name, image in images.items()}, map_coordinates(axes))


def map_coordinates(axes: tuple[Axis, ...]) -> dict[str, Any]:
    """Coordinates y and x of a map."""
    return {dim: (dim, axis.coordinates(), {"units": axis.units, "long_name": axis.name})
            for dim, axis in zip(("y", "x"), axes, strict=True)}  # fmt: skip


def _traversal(learned: Learned, energy: Axis) -> xr.Dataset:
    """Spectra, and means of the windows that have them, along every latent."""
    import torch
    import xarray as xr

    model, output, train = learned.paired.model, learned.output, learned.part(TRAIN)
    z = applied(model, learned.image, what="latents")[:, train]
    d, steps = len(z), np.linspace(-SPAN, SPAN, NODES, dtype=np.float32)
    codes = np.zeros((d, NODES, d), np.float32)
    codes[np.arange(d), :, np.arange(d)] = steps
    out = learned.slot.of_decoded(model.decode(torch.from_numpy(codes.reshape(-1, d))).numpy().T)
    k = output.n_outputs
    spectra = output.spectra(np.concatenate([out[:k], np.zeros((k, out.shape[1]), np.float32), out[k:]]))
    places = np.argwhere(train)
    windows = [[_mean_window(learned, places, row, step) for step in steps] for row in z]
    kept = energy.coordinates() if learned.rows.channels is None else energy.coordinates()[learned.rows.channels]
    return xr.Dataset(
        {"spectrum": (("latent", "step", "energy"), spectra.reshape(d, NODES, -1), {"long_name": "predicted spectrum"}),
         "window": (("latent", "step", "channel", "window_y", "window_x"), np.array(windows),
                    {"long_name": "mean of the windows with such a latent"})},
        {"latent": np.arange(d), "step": ("step", steps, {"long_name": "standard deviations of the latent"}),
         "energy": ("energy", kept, {"units": energy.units, "long_name": energy.name})},
    )  # fmt: skip


def _mean_spectra(learned: Learned, energy: Axis) -> xr.Dataset:
    """Means of the spectra that have a latent, along every one; NaN where there are none."""
    import xarray as xr

    space, train = learned.space, learned.part(TRAIN)
    z = applied(learned.paired.model, learned.image, what="latents")[:, train]
    steps = np.linspace(-SPAN, SPAN, NODES, dtype=np.float32)
    scores, logs = learned.scores[:, train], np.log(np.maximum(learned.totals[train], 1e-30))
    spectra = np.full((len(z), NODES, len(space.mean)), np.nan, np.float32)
    for k, row in enumerate(z):
        for j, step in enumerate(steps):
            near = np.abs(row - step) < NEAR
            if near.any():
                spectra[k, j] = space.spectra(scores[:, near].mean(1)[None])[0] * np.exp(logs[near].mean())
    kept = energy.coordinates() if learned.rows.channels is None else energy.coordinates()[learned.rows.channels]
    return xr.Dataset(
        {"spectrum": (("latent", "step", "energy"), spectra, {"long_name": "mean of the spectra with such a latent"})},
        {"latent": np.arange(len(z)), "step": ("step", steps, {"long_name": "standard deviations of the latent"}),
         "energy": ("energy", kept, {"units": energy.units, "long_name": energy.name})},
    )  # fmt: skip


def _mean_window(learned: Learned, places: np.ndarray, values: np.ndarray, wanted: float) -> np.ndarray:
    """Mean (c, w, w) of at most a thousand windows whose latent is near a value; NaN where there are none."""
    near = np.flatnonzero(np.abs(values - wanted) < NEAR)
    c, w = len(learned.image), learned.window
    if not len(near):
        return np.full((c, w, w), np.nan, np.float32)
    near = near[:: max(1, len(near) // 1000)]
    return patch_rows(learned.image, w, learned.step, places[near]).mean(0).reshape(c, w, w)


def _examples(learned: Learned, error: np.ndarray, energy: Axis, pair: Pair) -> xr.Dataset:
    """Measured and predicted spectra of some held-out pixels, from well to badly predicted."""
    import xarray as xr

    held = np.argwhere(learned.part(TEST) & np.isfinite(error))
    order = np.argsort(error[held[:, 0], held[:, 1]])
    chosen = held[order[[min(len(order) - 1, int(q * len(order))) for q in EXAMPLES]]]
    out = learned.held_out[:, chosen[:, 0], chosen[:, 1]]
    measured = np.concatenate([learned.rows.read((slice(y, y + 1), slice(x, x + 1)))[0] for y, x in chosen])
    output = learned.output
    dims = ("example", "energy")
    kept = energy.coordinates() if learned.rows.channels is None else energy.coordinates()[learned.rows.channels]
    axes = zip(("y", "x"), pair.spectra.navigation, chosen.T, strict=True)
    return xr.Dataset(
        {"measured": (dims, measured), "predicted": (dims, output.spectra(out)),
         "std": (dims, np.sqrt(output.variance(out, noise=True))),
         "epistemic_std": (dims, np.sqrt(output.variance(out, noise=False)))},
        {"energy": ("energy", kept, {"units": energy.units, "long_name": energy.name}),
         **{dim: ("example", axis.to_value(place), {"units": axis.units}) for dim, axis, place in axes}},
    )  # fmt: skip


def _image_metrics(report: ImageReport, learned: Learned) -> xr.Dataset:
    import xarray as xr

    methods = np.array(list(report.table), object)
    columns: dict[str, Any] = {name: ("predictor", [report.table[m][name] for m in methods]) for name in ("r2", "rmse")}
    columns |= _common(report)
    return xr.Dataset(columns, {"predictor": methods}, judged(report, learned))


def _metrics(report: SpectrumReport, energy: Axis, learned: Learned) -> xr.Dataset:
    import xarray as xr

    methods = np.array(list(report.table), object)  # a fixed length of text is nothing that zarr writes for good
    names = list(report.table[OWN])
    columns: dict[str, Any] = {
        name: ("predictor", [report.table[m][name] for m in methods], {"units": UNITS.get(name, "1")}) for name in names
    }
    said = {"units": energy.units, "long_name": "error of the position of the main peak, as far as noise tells"}
    columns["peak_error"][2].update(said)
    kept = energy.coordinates() if learned.rows.channels is None else energy.coordinates()[learned.rows.channels]
    columns["r2_energy"] = (("predictor", "energy"), np.array([report.per_energy[m] for m in methods], np.float32),
                            {"long_name": "R2 of each channel"})  # fmt: skip
    columns |= _common(report)
    coords = {"predictor": methods, "energy": ("energy", kept, {"units": energy.units, "long_name": energy.name})}
    if report.edges:
        columns["r2_edge"] = (("edge", "predictor"), [[report.edges[e][m] for m in methods] for e in report.edges])
        coords["edge"] = np.array(list(report.edges), object)
    return xr.Dataset(columns, coords, judged(report, learned))


def _common(report: SpectrumReport | ImageReport) -> dict[str, Any]:
    """Columns that both kinds have."""
    said = {"coverage": "measured values inside the interval of 68 %",
            "coverage_std": "one-sigma uncertainty of coverage, from blocks",
            "gain": "share of the best baseline's error that is removed",
            "gain_std": "one-sigma uncertainty of gain, from blocks"}  # fmt: skip
    return {name: ((), getattr(report, name), {"long_name": text}) for name, text in said.items()}


def _history(histories: list) -> xr.Dataset:
    import xarray as xr

    if len(histories) == 1:
        return histories[0]
    return xr.concat(histories, xr.DataArray(np.arange(len(histories)), dims="member", name="member"), join="outer")
