"""``Detector``: the shipped model, taught by a few labelled images of your own."""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, LabelError, ModelFileError, explain
from hs_deepatoms.simulate.samples import LabelledImage, detector_sample, real_detector_sample
from hs_deepatoms.workflows.train_shipped import snap_to_maximum

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.training.recipe import Recipe

STAGE = "polish"  # of the shipped model's training: what is simulated beside the user's images
MARGIN = 2.0  # column sigmas at the rim of an image that teach nothing: who labels atoms there?


class Detector:
    """The model behind ``find_atoms``, to be trained further; used as ``signal.find_atoms(model=detector)``.

    Parameters
    ----------
    model : path or str, optional
        A detector's file, or the name of a shipped one; by default the shipped one.

    Attributes
    ----------
    history : xarray.Dataset or None
        Losses of the last training.

    Raises
    ------
    ModelFileError
        A file that is missing, damaged, or no detector.

    Examples
    --------
    >>> import hs_deepatoms
    >>> detector = hs_deepatoms.Detector()
    >>> detector
    <Detector detector>
    """

    def __init__(self, model: str | os.PathLike | None = None):
        from hs_deepatoms.modelfile.files import read_modules
        from hs_deepatoms.modelfile.registry import model_path

        path = model_path(model)
        self.modules, self.info = read_modules(path)
        if "detector" not in self.modules:
            got = f"{path} with {sorted(self.modules)}"
            raise ModelFileError(explain(got, "the file of a detector", "hs_deepatoms.load(path) reads a segmenter."))
        self.name = self.info.get("card", {}).get("name", path.stem)
        self.training: dict[str, Any] = {}
        self.history: xr.Dataset | None = None
        self._written: str | None = None

    def __repr__(self) -> str:
        more = f", {self.training['steps']} steps more" if self.training else ""
        return f"<Detector {self.name}{more}>"

    def fit(
        self,
        images: Any,
        tables: Any,
        *,
        steps: int = 300,
        learning_rate: float = 3e-4,
        batch_size: int = 16,
        simulated: float = 0.5,
        clicked: bool = False,
        freeze: Sequence[str] = (),
        recipe: Recipe | None = None,
        device: str = "auto",
        workers: int = 0,
        checkpoint: str | Path | None = None,
        seed: int = 0,
        show_progressbar: bool | None = None,
    ) -> Detector:
        """Train on a few labelled images: ten crops and some minutes are enough.

        Presence is learned from the labels; positions and their uncertainty from simulated images, which are mixed in
        so that the model does not forget what else it knows (labels made by hand are too rough for positions).

        Parameters
        ----------
        images : signal, DataArray, array, or list of these
            Single images or stacks; every atom in them should be labelled.
        tables : positions table, or list of these
            As ``find_atoms`` gives them, corrected by hand.
        steps, learning_rate, batch_size
            Of the training.
        simulated : float
            Share of the samples that are simulated.
        clicked : bool
            Positions were clicked by hand: they are moved to the maximum that they meant.
        freeze : sequence of str
            Beginnings of names of parameters that stay: ``("down0", "down1")`` are the first layers.
        recipe : Recipe, optional
            Everything else about the training, instead of ``steps`` and ``learning_rate``.
        device, workers, checkpoint, seed, show_progressbar
            As in :meth:`Segmenter.fit`.

        Returns
        -------
        Detector
            Itself.

        Raises
        ------
        LabelError
            Tables of other images.
        InvalidArgumentError, InvalidImageError
            Values outside what is allowed; no images.
        """
        from hs_deepatoms.training.batches import Batches
        from hs_deepatoms.training.fit import fit
        from hs_deepatoms.training.freezing import frozen, norms_of, with_gradients_of
        from hs_deepatoms.training.losses import column_loss
        from hs_deepatoms.training.recipe import Recipe

        if not 0 <= simulated < 1:
            allowed = "a share of at least 0 and less than 1"
            raise InvalidArgumentError(explain(f"simulated={simulated!r}", allowed, "Try 0.5."))
        device = choose_device(device)
        recipe = recipe or Recipe(steps=steps, learning_rate=learning_rate, ema_decay=0.99, seed=seed)
        samples = TaughtSamples(labelled_images(images, tables, snap=clicked, device=device), seed, simulated)
        batches = Batches(samples, batch_size, seed=seed, workers=workers)
        said = {"seed": seed, "simulated": simulated, "batch_size": batch_size, "clicked": clicked}
        job = {**said, "samples": [_fingerprint(image) for image in samples.images]}
        kept = [*([freeze] if isinstance(freeze, str) else freeze), *norms_of(self.modules["detector"])]
        net = copy.deepcopy(self.modules["detector"])  # a training that fails leaves what was learned before
        with frozen(net, kept):
            fitted = fit(net, batches, column_loss, recipe, device=device, checkpoint=checkpoint,
                         job=job, show_progressbar=show_progressbar)  # fmt: skip
        self.modules["detector"] = with_gradients_of(fitted.module.cpu(), self.modules["detector"])
        self.history, self._written = fitted.history, None
        self.training = {"steps": fitted.steps, "images": len(samples.images), "recipe": recipe.as_dict(), **said}
        return self

    def save(
        self, path: str | os.PathLike, *, name: str = "", description: str = "", licence: str = "", data: str = ""
    ) -> Path:
        """Write a ``.safetensors`` file that ``find_atoms(model=path)`` takes; whole or not at all.

        The card keeps what it said about the model that this one came from, as ``origin``.
        """
        from hs_deepatoms.modelfile.files import save_modules

        path = Path(path)
        if path.suffix != ".safetensors":
            allowed = "a name ending in .safetensors"
            raise InvalidArgumentError(explain(f"path {str(path)!r}", allowed, "Add the ending."))
        made = self.info["modules"]
        parts = {k: (made[k]["architecture"], made[k]["config"], module) for k, module in self.modules.items()}
        said = {"name": name or path.stem, "description": description, "licence": licence, "data": data}
        card = {**self.info.get("card", {}), **{k: v for k, v in said.items() if v}}
        if self.training:
            card |= {"training": self.training, "origin": self.info.get("sha256", ""), "scores": {}}
        save_modules(path, parts, preprocessing=self.info.get("preprocessing"), card=card)
        return path

    def __fspath__(self) -> str:
        """A file with this model, so that it goes wherever a model's path does; removed with the detector."""
        if self._written is None:
            folder = tempfile.TemporaryDirectory(prefix="hs_deepatoms-")
            weakref.finalize(self, folder.cleanup)
            self._written = str(self.save(Path(folder.name) / "detector.safetensors", name=self.name))
        return self._written


@dataclass(frozen=True)
class TaughtSamples:
    """The user's images and simulated ones; sample ``i`` of an epoch is either by chance."""

    images: list[LabelledImage]
    seed: int
    simulated: float

    def __len__(self) -> int:
        return max(64, 8 * len(self.images))

    def get(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        number = int(rng.integers(2**40))
        if rng.random() < self.simulated:
            return detector_sample(self.seed, number, stage=STAGE)
        return real_detector_sample(self.images, self.seed, number)


def labelled_images(images: Any, tables: Any, *, snap: bool = False, device: str = "cpu") -> list[LabelledImage]:
    """Every frame with its atoms and the width of its columns; dark columns are shown bright, as to the detector.

    ``snap`` moves positions to the maximum within a column's sigma.

    Raises
    ------
    LabelError
        Tables of other images, or none at all.
    """
    from hs_deepatoms.methods.images import frame_of, read_images
    from hs_deepatoms.methods.labels import as_readable, read_labels
    from hs_deepatoms.methods.look import look_at

    images = images if isinstance(images, list | tuple) else [images]
    tables = tables if isinstance(tables, list | tuple) else [tables]
    if len(images) != len(tables) or not images:
        got = f"{len(images)} images with {len(tables)} tables"
        raise LabelError(explain(got, "a table for each", "Check which belong together."))
    made = []
    for image, table in zip(images, tables, strict=True):
        source = read_images(as_readable(image), operation="fit")
        own = read_labels(table, source, ["atom"], radius=1)
        if not hasattr(own, "y"):
            got = f"labels of type {type(table).__name__}"
            raise LabelError(explain(got, "positions tables", "hs_deepatoms.positions(y, x, signal=image) makes one."))
        look = look_at(source, device=device)
        for frame in range(int(np.prod(source.data.shape[:-2], dtype=np.int64))):
            here = own.frame == frame
            pixels = np.asarray(frame_of(source, frame), np.float32) * (-1 if look.dark else 1)
            places = own.y[here], own.x[here]
            if snap:
                places = snap_to_maximum(pixels, *places, look.sigma)
            made.append(LabelledImage(pixels, *places, look.sigma, MARGIN * look.sigma))
    return made


def _fingerprint(labelled: LabelledImage) -> list:
    """Shape, and a hash of the pixels and of what is known about them."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (labelled.image, labelled.y, labelled.x, np.float64(labelled.sigma)):
        digest.update(np.ascontiguousarray(part).tobytes())
    return [list(labelled.image.shape), digest.hexdigest()]


def load_detector(path: str | os.PathLike) -> Detector:
    """A detector from its file."""
    return Detector(path)
