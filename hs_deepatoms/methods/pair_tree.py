"""What ``im2spec`` learned as a labelled tree, and the parts of the tree back as a model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.provenance import plain, provenance_entry
from hs_deepatoms.bridge.spectrum_results import template_of
from hs_deepatoms.methods.decomposition_tree import model_content
from hs_deepatoms.methods.pair_request import PairRequest
from hs_deepatoms.methods.pair_scores import OWN, SpectrumReport, score_spectra
from hs_deepatoms.methods.pair_sources import Pair
from hs_deepatoms.methods.pair_training import Learned
from hs_deepatoms.spectra.blocks import NAMES
from hs_deepatoms.spectra.model import Arrays, PairModel, applied
from hs_deepatoms.spectra.output import SpectrumOutput
from hs_deepatoms.spectra.space import SpectrumSpace

if TYPE_CHECKING:
    import xarray as xr

KIND = "im2spec"
FORMAT_VERSION = 1
UNITS = {"spectral_angle": "rad"}


@dataclass(frozen=True, eq=False)
class Stored:
    """A model read from a tree.

    Attributes
    ----------
    model : PairModel
    space : SpectrumSpace
    channels : numpy.ndarray of int, or None
        Channels of the spectrum that are predicted; None: all.
    attrs : dict
        Attributes of the node, JSON decoded.
    """

    model: PairModel
    space: SpectrumSpace
    channels: np.ndarray | None
    attrs: dict

    @property
    def output(self) -> SpectrumOutput:
        """How outputs become spectra."""
        return SpectrumOutput(self.space, self.model.correlation.numpy(), bool(self.model.spectrum))


def build_spectrum_tree(pair: Pair, learned: Learned, asked: PairRequest) -> xr.DataTree:
    """The tree that `im2spec` returns."""
    import xarray as xr

    energy = pair.spectra.signal[0]
    edges = asked.edges if asked.edges is not None else edges_of(pair)
    report = score_spectra(learned, energy.coordinates(), edges, asked.seed)
    parameters = {one.name: getattr(asked, one.name) for one in fields(asked)}
    parameters |= {"window_px": learned.window, **learned.notes, "steps_used": learned.paired.steps}
    history = [*pair.spectra.provenance, provenance_entry(KIND, parameters, seed=asked.seed, device=asked.device)]
    nodes = {
        "/": xr.Dataset(
            attrs={
                "kind": KIND,
                "format_version": FORMAT_VERSION,
                "method": KIND,
                "image": pair.image.title,
                "spectra": pair.spectra.title,
                "provenance": json.dumps(plain(history)),
            }
        ),  # fmt: skip
        "/latent": _latent(pair, learned, report),
        "/metrics": _metrics(report, energy, learned),
        "/history": _history(learned.paired.histories),
        "/model": _model_node(pair, learned),
    }
    return xr.DataTree.from_dict(nodes, name=KIND)


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
        known = table[element].Atomic_properties.get("Binding_energies", {}) if element in table else {}
        for name, edge in dict(known).items():
            if edge.get("relevance") == "Major" and low < edge["onset_energy (eV)"] < high:
                found[f"{element}_{name}"] = float(edge["onset_energy (eV)"])
    return found


def stored_model(tree: xr.DataTree) -> Stored:
    """The model in a tree, in eval mode on the CPU; kept per process.

    Raises
    ------
    ModelFileError
        If its bytes are not those that were written.
    """
    node = tree["model"].to_dataset()
    model, arrays = _modules(model_content(node, "a tree of im2spec"))
    attrs = {key: json.loads(node.attrs[key]) for key in ("navigation", "image_axes", "lines", "normalised")}
    attrs["template"] = node.attrs["template"]
    attrs["sha256"] = node.attrs["sha256"]
    values = arrays.as_dict()
    channels = values.pop("channels")
    return Stored(model, SpectrumSpace.from_state(values), channels if len(channels) else None, attrs)


@lru_cache(maxsize=4)
def _modules(content: bytes) -> tuple[PairModel, Arrays]:
    from hs_deepatoms.modelfile.files import modules_from_bytes

    modules, _ = modules_from_bytes(content)
    return modules["pair"], modules["space"]


def _model_node(pair: Pair, learned: Learned) -> xr.Dataset:
    import xarray as xr

    from hs_deepatoms.modelfile.files import modules_to_bytes

    channels = learned.rows.channels
    own = {name: np.atleast_1d(value) if value.ndim == 0 else value for name, value in learned.space.state().items()}
    own["channels"] = np.zeros(0, np.int64) if channels is None else channels
    arrays, model = Arrays.of(own), learned.paired.model
    content = modules_to_bytes({"pair": ("PairModel", model.config, model), "space": ("Arrays", arrays.config, arrays)})
    attrs = {
        "architecture": "PairModel",
        "template": template_of(pair.spectra),
        "navigation": json.dumps([axis.as_dict() for axis in pair.spectra.navigation]),
        "image_axes": json.dumps([axis.as_dict() for axis in pair.image.signal]),
        "lines": json.dumps([asdict(line) | {"forced": learned.step} for line in pair.lines]),
        "normalised": json.dumps(learned.space.normalised),
        "sha256": hashlib.sha256(content).hexdigest(),
        "format_version": FORMAT_VERSION,
    }
    return xr.Dataset({"weights": ("byte", np.frombuffer(content, np.uint8))}, attrs=attrs)


def _latent(pair: Pair, learned: Learned, report: SpectrumReport) -> xr.Dataset:
    import xarray as xr

    z = applied(learned.paired.model, learned.image, what="latents")
    part = np.full(learned.valid.shape, -1, np.int8)
    for split in learned.splits:
        part = np.maximum(part, split.part)
    names = {value: name for value, name in NAMES.items()}
    return xr.Dataset(
        {
            "z": (("latent", "y", "x"), z, {"long_name": "latent"}),
            "part": (("y", "x"), part, {"long_name": "what the spectrum was used for",
                                        "flag_values": list(names), "flag_meanings": " ".join(names.values())}),
            "error": (("y", "x"), report.error, {"long_name": "error over that of the noise alone", "units": "1"}),
        },
        {"latent": np.arange(len(z)), **map_coordinates(pair.spectra.navigation)},
    )  # fmt: skip


def map_coordinates(axes: tuple[Axis, ...]) -> dict[str, Any]:
    """Coordinates y and x of a map."""
    return {dim: (dim, axis.coordinates(), {"units": axis.units, "long_name": axis.name})
            for dim, axis in zip(("y", "x"), axes, strict=True)}  # fmt: skip


def _metrics(report: SpectrumReport, energy: Axis, learned: Learned) -> xr.Dataset:
    import xarray as xr

    methods = list(report.table)
    names = list(report.table[OWN])
    columns: dict[str, Any] = {
        name: ("method", [report.table[m][name] for m in methods], {"units": UNITS.get(name, "1")}) for name in names
    }
    columns["peak_error"][2]["units"] = energy.units
    kept = energy.coordinates() if learned.rows.channels is None else energy.coordinates()[learned.rows.channels]
    columns["r2_energy"] = (("method", "energy"), np.array([report.per_energy[m] for m in methods], np.float32),
                            {"long_name": "R2 of each channel"})  # fmt: skip
    columns["coverage"] = ((), report.coverage, {"long_name": "measured values inside the interval of 68 %"})
    columns["gain"] = ((), report.gain, {"long_name": "share of the best baseline's error that is removed"})
    columns["gain_std"] = ((), report.gain_std, {"long_name": "one-sigma uncertainty of gain, from blocks"})
    coords = {"method": methods, "energy": ("energy", kept, {"units": energy.units, "long_name": energy.name})}
    if report.edges:
        columns["r2_edge"] = (("edge", "method"), [[report.edges[e][m] for m in methods] for e in report.edges])
        coords["edge"] = list(report.edges)
    won = report.gain > max(0.0, report.gain_std)
    return xr.Dataset(columns, coords, {"beats_baselines": int(won), "best_baseline": report.best,
                                        "verdict": _verdict(report, won), **_notes(learned)})  # fmt: skip


def _notes(learned: Learned) -> dict[str, Any]:
    kept = ("pixels", "spikes", "nan", "empty", "masked", "components", "gain", "likelihood", "normalisation", "folds")
    return {f"data_{name}": learned.notes[name] for name in kept}


def _verdict(report: SpectrumReport, won: bool) -> str:
    own, best = report.table[OWN]["r2"], report.table[report.best]["r2"]
    change = f"R2 {own:.3f} against {best:.3f} of {report.best} on held-out blocks"
    share = f"{100 * report.gain:.0f} +- {100 * report.gain_std:.0f} % of its error"
    if won:
        return f"The model beats every baseline: {change}; it removes {share}."
    return f"The model does not beat its baselines: {change}; it removes {share}. Use the baseline, or more data."


def _history(histories: list) -> xr.Dataset:
    import xarray as xr

    if len(histories) == 1:
        return histories[0]
    return xr.concat(histories, xr.DataArray(np.arange(len(histories)), dims="member", name="member"), join="outer")
