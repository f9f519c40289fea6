"""``Segmenter``: train a network to classify pixels, use it on any signal, keep it in one file."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError, explain
from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.modelfile.registry import CUSTOM
from hs_deepatoms.workflows.finding import ObjectMethods

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from hs_deepatoms.training.augmentation import Augmentation
    from hs_deepatoms.training.recipe import Recipe
    from hs_deepatoms.workflows.training_job import TrainingJob

KIND = "segmenter"
ENDING = ".safetensors"


class Segmenter(ObjectMethods):
    """A network that gives every pixel a class, trained on your images.

    Parameters
    ----------
    classes : int or sequence of str
        Names of the classes, or how many; the background is not one of them.
    net : str or torch.nn.Module
        ``"unet"``, ``"dilnet"``, ``"reshednet"``, ``"segresnet"``; or a module of your own, which makes logits (n, k,
        h, w) of images (n, 1, h, w), k one more than the classes (one class: 1, overlapping ones: as many).
    overlapping : bool
        Whether a pixel may belong to several classes.
    net_options : mapping, optional
        Arguments of the network, such as ``{"filters": 32, "dropout": 0.1}``.
    seed : int
        Of the initial weights (a module of your own keeps those it has).

    Attributes
    ----------
    history : xarray.Dataset or None
        Losses and measures of the last training.
    scores : dict
        Measures of the last training's validation.

    Raises
    ------
    InvalidArgumentError
        Unknown networks or options, no class.

    Examples
    --------
    >>> import hs_deepatoms
    >>> images, labels = hs_deepatoms.simulated_set(8, size=48)
    >>> segmenter = hs_deepatoms.Segmenter(classes=["column"], net="unet", net_options={"filters": 4})
    >>> segmenter = segmenter.fit(images, labels, steps=5, show_progressbar=False)
    >>> segmenter.predict(images[0], show_progressbar=False).shape
    (48, 48)
    """

    def __init__(
        self,
        classes: int | Sequence[str] = ("atom",),
        net: str | torch.nn.Module = "unet",
        *,
        overlapping: bool = False,
        net_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        check_whole("seed", seed)
        self.classes = _class_names(classes)
        self.overlapping, self.seed = bool(overlapping), seed
        self.architecture, self.config, self.net = _built(net, dict(net_options or {}), self.n_channels, seed)
        self.history: xr.Dataset | None = None
        self.scores: dict[str, float] = {}
        self.training: dict[str, Any] = {}
        self.pixel_nm: float | None = None
        self.card: dict[str, Any] = {}

    def __repr__(self) -> str:
        trained = f"{self.training['steps']} steps" if self.training else "untrained"
        return f"<Segmenter {self.architecture}: {', '.join(self.classes)} ({trained})>"

    @property
    def exclusive(self) -> bool:
        """Whether the network has a channel for the background, and classes exclude each other."""
        return not self.overlapping and len(self.classes) > 1

    @property
    def n_channels(self) -> int:
        """Channels that the network gives."""
        return len(self.classes) + self.exclusive

    def fit(
        self,
        images: Any,
        labels: Any,
        *,
        validation: float | tuple[Any, Any] | None = 0.15,
        steps: int = 1000,
        batch_size: int = 16,
        window: int = 256,
        augmentation: str | Augmentation | None = "usual",
        loss: str | Callable = "cross_entropy+dice",
        class_weights: str | Sequence[float] | None = None,
        learning_rate: float = 2e-3,
        recipe: Recipe | None = None,
        freeze: Sequence[str] = (),
        radius: int | float | str | Mapping | None = None,
        label_shape: str = "disc",
        device: str = "auto",
        workers: int = 0,
        checkpoint: str | Path | None = None,
        seed: int | None = None,
        show_progressbar: bool | None = None,
    ) -> Segmenter:
        """Train, or train further: a second call goes on from the weights that are there.

        Parameters
        ----------
        images : signal, DataArray, array (NumPy, dask, zarr), or list of these
            Of any size, calibrated or not; lazy ones are read window by window.
        labels : the same number of label images or positions tables
            See :func:`~hs_deepatoms.label_images`; ``radius`` and ``label_shape`` are for tables.
        validation : float, (images, labels), or None
            Share of the frames held out (of few large ones: a strip of each), or data of its own. Nothing is held out
            where there is too little.
        steps : int
            Batches to train on.
        batch_size : int
            Windows per batch; fewer images than that are fine.
        window : int
            Largest side of the square windows cut from the images, pixels.
        augmentation : {"usual"}, Augmentation or None
        loss : str or callable
            See :func:`~hs_deepatoms.training.pixel_losses.choose_loss`.
        class_weights : sequence of float or "balanced", optional
            Per class (the background first, unless classes overlap or there is one); "balanced" is the inverse square
            root of how many pixels a class has.
        learning_rate : float
            Largest one of the schedule.
        recipe : Recipe, optional
            Everything else about the training, instead of ``steps`` and ``learning_rate``.
        freeze : sequence of str
            Beginnings of the names of parameters that stay as they are: ``("down",)`` is the encoder of a UNet.
        device : str
        workers : int
            Processes that read ahead.
        checkpoint : path, optional
            File from which a training that was stopped goes on.
        seed : int, optional
            Of batches, augmentation, dropout; by default that of the segmenter.
        show_progressbar : bool, optional

        Returns
        -------
        Segmenter
            Itself.

        Raises
        ------
        LabelError
            Labels that do not fit the images or the classes.
        InvalidImageError, InvalidAxesError
            Data that are no images.
        InvalidArgumentError
            Values outside what is allowed.
        TrainingError
            If the loss is no longer finite.
        """
        from hs_deepatoms.training.recipe import Recipe
        from hs_deepatoms.workflows.training_job import TrainingJob

        seed = self.seed if seed is None else seed
        recipe = recipe or Recipe(steps=steps, learning_rate=learning_rate, seed=seed)
        job = TrainingJob(self.classes, self.exclusive, batch_size, window, augmentation, loss, class_weights, radius,
                          label_shape, seed, workers)  # fmt: skip
        how = {"freeze": freeze, "device": device, "checkpoint": checkpoint, "show_progressbar": show_progressbar}
        self._learn(job, (images, labels, validation), recipe, how)
        self.pixel_nm = job.pixel_nm
        return self

    def _learn(self, job: TrainingJob, data: tuple, recipe: Recipe, how: dict[str, Any]) -> None:
        """Train a copy, and keep what comes of it: a training that fails leaves what was learned before."""
        from hs_deepatoms.training.freezing import with_gradients_of

        fitted = job.run(copy.deepcopy(self.net), *data, recipe, **how)
        self.net = with_gradients_of(fitted.module.cpu(), self.net)
        self.history, self.scores = fitted.history, fitted.scores
        self.training = {"steps": fitted.steps, "best_step": fitted.best_step, "recipe": recipe.as_dict(), **job.said}

    def save(
        self, path: str | os.PathLike, *, name: str = "", description: str = "", licence: str = "", data: str = ""
    ) -> Path:
        """Write everything into one ``.safetensors`` file, whole or not at all; never a pickle.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``.
        name, description, licence, data : str
            For the model card: what it is called, what it does, under which licence, what it was trained on.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        InvalidArgumentError
            Another ending, a folder that is not there.
        """
        from hs_deepatoms.modelfile.files import save_modules
        from hs_deepatoms.modelfile.handle import NAME

        path = Path(path)
        if path.suffix != ENDING:
            raise InvalidArgumentError(explain(f"path {str(path)!r}", f"a name ending in {ENDING}", "Add the ending."))
        card = {"name": name or path.stem, "description": description, "licence": licence, "data": data}
        card = {**self.card, **{k: v for k, v in card.items() if v}}
        card |= {"scores": _finite(self.scores), "training": _finite(self.training)}
        save_modules(path, {NAME: self.part}, preprocessing=self._preprocessing(), card=card)
        return path

    @property
    def part(self):
        """Architecture, configuration and module, as model files take them."""
        return self.architecture, self.config, self.net

    def _preprocessing(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "classes": list(self.classes),
            "overlapping": self.overlapping,
            "seed": int(self.seed),
            "pixel_size_nm": self.pixel_nm,
            "scaling": "median and 0.5-99.5 percentile range",
        }


def load_segmenter(path: str | os.PathLike, *, net: torch.nn.Module | None = None) -> Segmenter:
    """A segmenter from its file.

    Parameters
    ----------
    path : path
    net : torch.nn.Module, optional
        A module of your own, built as the one that was saved; gets its weights.

    Raises
    ------
    ModelFileError
        A file that is missing, damaged, of another kind, or whose network must be given back.
    """
    return read_into(Segmenter, KIND, path, net)[0]


def read_into(make: type, kind: str, path: str | os.PathLike, net: torch.nn.Module | None) -> tuple[Any, dict]:
    """An object of class ``make`` from a file of this kind, and the file's preprocessing entry."""
    from hs_deepatoms.modelfile.files import read_modules
    from hs_deepatoms.modelfile.handle import NAME

    if isinstance(net, type):
        got = f"net={net.__name__}, a class"
        raise ModelFileError(explain(got, "a network ready made", f"With brackets: net={net.__name__}()."))
    modules, info = read_modules(path, given=None if net is None else {NAME: net})
    about = info["preprocessing"]
    if about.get("kind") != kind:
        got = f"{path}, a model of kind {about.get('kind', 'detector')!r}"
        raise ModelFileError(explain(got, f"a file of a {kind}", "hs_deepatoms.load(path) reads models of all kinds."))
    made = make.__new__(make)
    try:
        made.classes, made.overlapping = list(about["classes"]), about["overlapping"]
        part, made.net = info["modules"][NAME], modules[NAME]
        made.pixel_nm, made.history = about["pixel_size_nm"], None
    except KeyError as error:
        got = f"{path} without {error} in its header"
        raise ModelFileError(explain(got, "all that a model was saved with", "Get the file again.")) from error
    made.architecture, made.config = part["architecture"], part["config"]
    _check_channels(path, made)
    _warn_of_other_class(path, part["config"].get("class"), net)
    made.card = {k: v for k, v in info["card"].items() if k not in ("scores", "training")}
    made.scores, made.training = info["card"].get("scores", {}), info["card"].get("training", {})
    # with another seed other frames would be held out, which it was trained on
    made.seed = about.get("seed", made.training.get("seed", 0))
    return made, about


def _check_channels(path: Any, made: Segmenter) -> None:
    """Refuse a file whose network has not the channels of its classes; a module of the user's own does not say."""
    channels = made.config.get("options", made.config).get("channels_out", made.n_channels)
    if channels != made.n_channels:
        got = f"{path} with {channels} channels for the classes {made.classes}"
        raise ModelFileError(explain(got, f"{made.n_channels} channels", "Get the file again."))


def _warn_of_other_class(path: Any, saved: str | None, net: Any) -> None:
    """Weights may fit a network that computes something else with them."""
    own = None if net is None else type(getattr(net, "nets", [net])[0]).__name__  # of an ensemble: its members
    if saved is not None and own is not None and saved.rsplit(".")[-1] != own:
        text = (
            f"{path} holds the weights of a {saved}, and a {own} was given back. They fit; if it is no other name of "
            "the same network, give that one."
        )
        warn_user(text)


def _class_names(classes: int | Sequence[str]) -> list[str]:
    if isinstance(classes, int) and not isinstance(classes, bool) and classes > 0:
        return ["atom"] if classes == 1 else [f"class {k + 1}" for k in range(classes)]
    names = [classes] if isinstance(classes, str) else list(classes) if isinstance(classes, Sequence) else []
    if not names or len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgumentError(explain(f"classes={classes!r}", "a number, or different names", "Name the classes."))
    return names


def _built(net: Any, options: dict, channels: int, seed: int):
    """Architecture name, configuration and module."""
    from hs_deepatoms.nets.catalogue import make_net, net_class

    if isinstance(net, str):
        config = {"channels_in": 1, "channels_out": channels, **options}
        return net_class(net).__name__, config, make_net(net, seed=seed, **config)
    import torch

    if not isinstance(net, torch.nn.Module) or options:
        got = f"net={type(net).__name__}" + (" with net_options" if options else "")
        raise InvalidArgumentError(explain(got, "a name (with net_options), or a module ready made", "Give one."))
    return CUSTOM, {"class": type(net).__qualname__}, net


def _finite(values: Any) -> Any:
    """The same as JSON without NaN."""
    from hs_deepatoms.bridge.provenance import plain

    return plain(values)
