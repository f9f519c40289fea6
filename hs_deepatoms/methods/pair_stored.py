"""The model in a tree: written, and read back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.bridge.encode import decode_json
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.bridge.spectrum_results import template_of
from hs_deepatoms.methods.model_content import model_content
from hs_deepatoms.methods.pair_sources import Pair
from hs_deepatoms.methods.pair_training import Learned
from hs_deepatoms.spectra.model import Arrays, PairModel
from hs_deepatoms.spectra.output import SpectrumOutput
from hs_deepatoms.spectra.space import SpectrumSpace
from hs_deepatoms.spectra.spikes import Spikes
from hs_deepatoms.spectra.targets import Slot, slots

if TYPE_CHECKING:
    import xarray as xr

KIND, REVERSE, SEVERAL = "im2spec", "spec2im", "im2spec_several"  # of trees
FORMAT_VERSION = 1
SPIKE = "spikes_"  # in front of the names of the arrays that say what is a spike


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
    spikes : Spikes, optional
        What was repaired in the spectra of the training, and is in those to come; None: nothing.
    slot : Slot, optional
        Where the spectrum is among the outputs of the model; None, of a model of images.
    """

    model: PairModel
    space: SpectrumSpace
    channels: np.ndarray | None
    attrs: dict
    spikes: Spikes | None = None
    slot: Slot | None = None

    @cached_property
    def n(self) -> int:
        """Channels of a predicted spectrum, those that are left out included."""
        if self.channels is None:
            return len(self.space.mean)
        return int(decode_json(self.attrs["template"])["axes"][0]["size"])

    @cached_property
    def output(self) -> SpectrumOutput:
        """How outputs become spectra."""
        root = self.slot.root(self.model.correlation.cpu().numpy())
        return SpectrumOutput(self.space, root, bool(self.model.spectrum))


def stored_model(tree: xr.DataTree, number: int | None = None) -> Stored:
    """The model in a tree, in eval mode on the CPU; kept per process.

    Parameters
    ----------
    tree : xarray.DataTree
    number : int, optional
        Of several spectra, one; None: that of the tree.

    Raises
    ------
    ModelFileError
        If its bytes are not those that were written.
    """
    node = tree["model"].to_dataset()
    number = int(node.attrs.get("spectrum", 0)) if number is None else number
    model, spaces = _modules(model_content(node, "a tree of im2spec"))
    read = [_read_space(one.as_dict()) for one in spaces]
    attrs = {key: json.loads(node.attrs[key]) for key in ("navigation", "image_axes", "lines")}
    attrs["spectral"] = json.loads(node.attrs[f"spectral{suffix(number)}"])
    attrs["template"] = node.attrs.get(f"template{suffix(number)}", node.attrs["template"])
    attrs["sha256"] = node.attrs["sha256"]
    slot = None
    if tree.attrs["method"] == KIND:
        counts = [space.k + space.normalised for space, _, _ in read]
        slot = slots(counts, model.lengths if model.spectrum else [0] * len(counts))[number]
    return Stored(model, *read[number][:2], attrs, read[number][2], slot)


def count_spectra(tree: xr.DataTree) -> int | None:
    """How many spectra a list for a tree has; None: it is of a single one, and no list."""
    return tree["model"].attrs.get("spectra")


def suffix(number: int) -> str:
    """What is put behind the name of an entry that there is of each of several spectra."""
    return f"_{number}" if number else ""


def _read_space(values: dict[str, np.ndarray]) -> tuple[SpectrumSpace, np.ndarray | None, Spikes | None]:
    """Space, channels that are predicted (None: all), and what is a spike."""
    channels = values.pop("channels")
    rule = {name.removeprefix(SPIKE): values.pop(name) for name in list(values) if name.startswith(SPIKE)}
    spikes = Spikes.from_state(rule) if rule else None
    return SpectrumSpace.from_state(values), channels if len(channels) else None, spikes


@lru_cache(maxsize=4)
def _modules(content: bytes) -> tuple[PairModel, list[Arrays]]:
    from hs_deepatoms.modelfile.files import modules_from_bytes

    modules, _ = modules_from_bytes(content)
    return modules["pair"], [modules[f"space{suffix(number)}"] for number in range(len(modules) - 1)]


def model_node(pairs: list[Pair], learned: list[Learned], predicted: list[Source]) -> xr.Dataset:
    import xarray as xr

    from hs_deepatoms.modelfile.files import modules_to_bytes

    pair, model = pairs[0], learned[0].paired.model
    modules = {"pair": ("PairModel", model.config, model)}
    for number, one in enumerate(learned):
        arrays = _space_arrays(one)
        modules[f"space{suffix(number)}"] = ("Arrays", arrays.config, arrays)
    content = modules_to_bytes(modules)
    attrs = {
        "architecture": "PairModel",
        **{f"template{suffix(number)}": template_of(one) for number, one in enumerate(predicted)},
        "navigation": json.dumps([axis.as_dict() for axis in pair.spectra.navigation]),
        "image_axes": json.dumps([axis.as_dict() for axis in pair.image.signal]),
        "lines": json.dumps([asdict(line) | {"forced": max(one.step for one in pair.lines)} for line in pair.lines]),
        **{f"spectral{suffix(number)}": json.dumps(one.spectra.signal[0].as_dict())
           for number, one in enumerate(pairs)},
        "normalised": json.dumps(learned[0].space.normalised),
        **({"spectra": len(pairs)} if pair.whose else {}),
        "sha256": hashlib.sha256(content).hexdigest(),
        "format_version": FORMAT_VERSION,
    }  # fmt: skip
    return xr.Dataset({"weights": ("byte", np.frombuffer(content, np.uint8))}, attrs=attrs)


def _space_arrays(learned: Learned) -> Arrays:
    channels = learned.rows.channels
    own = {name: np.atleast_1d(value) if value.ndim == 0 else value for name, value in learned.space.state().items()}
    own["channels"] = np.zeros(0, np.int64) if channels is None else channels
    if learned.rows.spikes is not None:
        own |= {SPIKE + name: value for name, value in learned.rows.spikes.state().items()}
    return Arrays.of(own)
