"""``Ensemble``: several networks trained for one task, whose disagreement says where not to trust them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.choices import check_choice, yes_or_no
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_count, check_whole
from hs_deepatoms.bridge.results import write_like
from hs_deepatoms.methods import images
from hs_deepatoms.modelfile.registry import CUSTOM
from hs_deepatoms.workflows.segmenter import Segmenter, read_into

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from hs_deepatoms.training.familiarity import Familiarity
    from hs_deepatoms.training.recipe import Recipe
    from hs_deepatoms.workflows.training_job import TrainingJob

KIND = "ensemble"
LOOKED_AT = 16  # training windows in which the size of spots is measured
WAYS = ("scratch", "baseline", "swag")


class Ensemble(Segmenter):
    """Several networks that give every pixel a class; used like a :class:`Segmenter`, it also says how sure it is.

    ``predict`` gives the mean of the members' probabilities, ``uncertainty`` their variance in two parts,
    ``find_atoms`` adds to every atom how many members see it and how far they are apart, ``ood_score`` says how unlike
    the training data an image is. Images that are unlike it are announced by a warning.

    Parameters
    ----------
    classes, net, overlapping, net_options
        As for :class:`Segmenter`.
    members : int
        Number of networks.
    method : {"scratch", "baseline", "swag"}
        ``"scratch"``: every member is trained by itself, from other initial weights on other batches: the best, at the
        price of so many trainings (Lakshminarayanan et al., NeurIPS 2017, arXiv:1612.01474). ``"baseline"``: one
        training, from which every member goes on for a quarter of its length. ``"swag"``: one training that goes on for
        a quarter of its length, and members drawn from the Gaussian of the weights on its way (Maddox et al., NeurIPS
        2019, arXiv:1902.02476).
    seed : int
        Of the members' initial weights, and of SWAG's draws. Of a module of your own the first member keeps the weights
        that it has; with ``"scratch"`` those of the others' convolutions, linear layers and norms are drawn anew.

    Attributes
    ----------
    history : xarray.Dataset or None
        Losses and measures of the last training, along ``training``: of the members; the common one, if any, first.
    scores : dict
        Measures of the mean of the members on what was held out.

    Raises
    ------
    InvalidArgumentError
        Fewer than two members, an unknown method; as for :class:`Segmenter`.

    Examples
    --------
    >>> import hs_deepatoms
    >>> images, labels = hs_deepatoms.simulated_set(8, size=48)
    >>> ensemble = hs_deepatoms.Ensemble(["column"], members=2, net_options={"filters": 2, "depth": 1})
    >>> ensemble = ensemble.fit(images, labels, steps=3, show_progressbar=False)
    >>> parts = ensemble.uncertainty(images[0], show_progressbar=False)
    >>> parts["variance"].values.tolist(), parts.shape
    (['total', 'aleatoric', 'epistemic'], (3, 48, 48))
    """

    kind = KIND

    def __init__(
        self,
        classes: int | Sequence[str] = ("atom",),
        net: str | torch.nn.Module = "unet",
        *,
        members: int = 5,
        method: str = "scratch",
        overlapping: bool = False,
        net_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        from hs_deepatoms.nets.members import Members

        check_choice("method", method, WAYS)
        check_whole("members", members, 2, todo="One network is a Segmenter.")
        super().__init__(classes, net, overlapping=overlapping, net_options=net_options, seed=seed)
        own = self.architecture == CUSTOM
        nets = _copies(self.net, int(members), seed if method == "scratch" else None)
        self.net = Members.of(nets, exclusive=self.exclusive, stackable=not own)
        about = {"members": int(members)} if own else {"net": self.architecture, "n": int(members),
                                                       "exclusive": self.exclusive, "options": self.config}  # fmt: skip
        self.architecture, self.config = (CUSTOM, {**self.config, **about}) if own else ("Members", about)
        self.method = method
        self.familiarity: Familiarity | None = None

    def __repr__(self) -> str:
        trained = f"{self.training['steps']} steps" if self.training else "untrained"
        return f"<Ensemble of {self.members} ({self.method}): {', '.join(self.classes)} ({trained})>"

    @property
    def members(self) -> int:
        """Number of networks."""
        return len(self.net.nets)

    def uncertainty(
        self,
        signal: Any,
        *,
        match_pixel_size: bool = True,
        signal_mask: Any = None,
        navigation_mask: Any = None,
        signal_dims: tuple[str, str] | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        num_workers: int | None = None,
        navigation_chunks: int | None = None,
        lazy_output: bool | None = None,
        show_progressbar: bool | None = None,
    ) -> Any:
        """Variance at every pixel, and what it comes from.

        Parameters
        ----------
        signal, match_pixel_size, signal_mask, navigation_mask, signal_dims, device, batch_size, num_workers, \
navigation_chunks, lazy_output, show_progressbar
            As in :meth:`predict`.

        Returns
        -------
        Signal2D or DataArray, float32
            On the axes of the input, behind the axis ``variance`` (and ``class``, where there are several):
            ``"total"``, p (1 - p) of the mean probability p; ``"aleatoric"``, what every member finds uncertain in the
            image, more counts would help; ``"epistemic"``, the variance of the members' probabilities, more training
            data would help. The last two add up to the first (Depeweg et al., ICML 2018, arXiv:1710.07283).

        Raises
        ------
        InvalidImageError, InvalidAxesError, InvalidArgumentError, DeviceError
            As in :func:`~hs_deepatoms.find_atoms`.
        """
        from hs_deepatoms.atoms.agreement import PARTS, variance_block
        from hs_deepatoms.engine.mapping import map_blocks, map_to_array
        from hs_deepatoms.workflows.mapping import map_job, planned

        for name, value in (("batch_size", batch_size), ("num_workers", num_workers),
                            ("navigation_chunks", navigation_chunks)):  # fmt: skip
            check_count(name, value)
        source = images.read_images(signal, signal_dims=signal_dims, operation="uncertainty")
        job = map_job(self, source, device=device, match_pixel_size=match_pixel_size, signal_mask=signal_mask,
                      navigation_mask=navigation_mask, each=True)  # fmt: skip
        seen = self._examined(source, job)
        blocks, job = planned(source, job, batch_size=batch_size, frames_per_block=navigation_chunks)
        lazy = yes_or_no("lazy_output", lazy_output, source.lazy)
        n = len(self.classes)
        if lazy:
            data = map_to_array(source.data, blocks, variance_block, arguments=(job,), leading=(3, n), dtype=np.float32)
        else:
            parts = map_blocks(source.data, blocks, variance_block, arguments=(job,), num_workers=num_workers,
                               show_progressbar=show_progressbar, description="uncertainty")  # fmt: skip
            data = np.stack([[images.assemble([p[i, k] for p in parts], blocks, source.data.shape) for k in range(n)]
                             for i in range(3)])  # fmt: skip
        entry = self._entry("uncertainty", {"members": self.members, "zoom": job.view.zoom, **seen}, job)
        leading = [("variance", list(PARTS)), *([("class", list(self.classes))] if n > 1 else [])]
        title = f"variance of {source.title}" if source.title else "variance"
        return write_like(source, data if n > 1 else data[:, 0], title=title, leading=leading, lazy_output=lazy,
                          provenance=[*source.provenance, entry])  # fmt: skip

    def ood_score(
        self,
        signal: Any,
        *,
        match_pixel_size: bool = True,
        signal_mask: Any = None,
        navigation_mask: Any = None,
        signal_dims: tuple[str, str] | None = None,
        device: str = "auto",
    ) -> xr.DataArray:
        """How unlike the training data every image is (out-of-distribution score).

        Parameters
        ----------
        signal, match_pixel_size, signal_mask, navigation_mask, signal_dims, device
            As in :meth:`predict`; windows of a frame are looked at, not all of it.

        Returns
        -------
        xarray.DataArray, float64, dims: the navigation axes
            Distance from the training data, augmented as it was, in power spectrum, grey values and the members'
            doubts, in units of what one in a hundred training windows exceeds: above 1 is unlike it. NaN for frames
            that are constant or left out.

        Raises
        ------
        InvalidArgumentError
            If the ensemble was not trained.
        InvalidImageError, InvalidAxesError, DeviceError
            As in :func:`~hs_deepatoms.find_atoms`.
        """
        import xarray as xr

        from hs_deepatoms.workflows.mapping import map_job
        from hs_deepatoms.workflows.novelty import frame_score

        if self.familiarity is None:
            raise InvalidArgumentError(explain("an ensemble that was not trained", "a trained one", "fit() it first."))
        source = images.read_images(signal, signal_dims=signal_dims, operation="ood_score")
        job = map_job(self, source, device=device, match_pixel_size=match_pixel_size, signal_mask=signal_mask,
                      navigation_mask=navigation_mask, each=True)  # fmt: skip
        shape = source.data.shape[:-2]
        scores = [frame_score(source, k, job, self.familiarity, self._window)
                  for k in range(int(np.prod(shape, dtype=np.int64)))]  # fmt: skip
        coords = {axis.name: (axis.name, axis.coordinates(), {"units": axis.units}) for axis in source.navigation}
        return xr.DataArray(np.reshape(scores, shape), coords, [axis.name for axis in source.navigation],
                            attrs={"long_name": "out-of-distribution score", "units": "1"})  # fmt: skip

    def _learn(self, job: TrainingJob, data: tuple, recipe: Recipe, how: dict[str, Any]) -> None:
        from hs_deepatoms.training.freezing import with_gradients_of
        from hs_deepatoms.workflows.members_training import METHODS

        if how["checkpoint"] is not None:
            got = "checkpoint= for an ensemble"
            raise InvalidArgumentError(explain(got, "None", "Train Segmenters with checkpoints, or leave it out."))
        ready = job.prepare(*data, how["device"])
        asked = {name: how[name] for name in ("freeze", "show_progressbar")}
        method = "scratch" if self.training else self.method  # a second call trains every member further
        before = list(self.net.nets)
        done = METHODS[method](ready, self.net.copies(), recipe, job.seed, asked)
        nets = [with_gradients_of(new.cpu(), old) for new, old in zip(done.nets, before, strict=True)]
        net = type(self.net).of(nets, exclusive=self.exclusive, stackable=self.net.stackable).eval()
        try:
            scores = {k: float(v) for k, v in ready.evaluate(net.to(ready.device)).items()}
            familiarity = self._familiar(ready, net)
        finally:
            net.cpu()
        said = {"steps": recipe.steps, "members": self.members, "method": method, "recipe": recipe.as_dict(),
                "radius_px": _usual_radius(ready.training), **job.said}  # fmt: skip
        # all at once, in the end: what fails leaves what was learned before
        self.net, self.history, self.scores = net, _joined(done.histories), scores
        self.training, self.familiarity = said, familiarity

    def familiar_with(self, signal: Any, labels: Any, augmentation: Any = None, seed: int = 0) -> Familiarity:
        """What `ood_score` would compare with if the ensemble had been trained on these images."""
        from hs_deepatoms.workflows.training_job import TrainingJob

        job = TrainingJob(self.classes, self.exclusive, self.training["batch_size"], min(self._window), augmentation,
                          "cross_entropy", None, None, "disc", seed, 0)  # fmt: skip
        return self._familiar(job.prepare(signal, labels, None, "cpu"), self.net)

    def _familiar(self, ready, net) -> Familiarity:
        from hs_deepatoms.atoms.detect import Detection
        from hs_deepatoms.atoms.pixelmaps import MapJob
        from hs_deepatoms.modelfile.handle import NetHandle
        from hs_deepatoms.workflows.mapping import MULTIPLE
        from hs_deepatoms.workflows.novelty import learned_familiarity

        view = Detection(model="", sha256="", device=ready.device, zoom=1.0, shape=tuple(ready.training.window),
                         multiple=getattr(net, "multiple", MULTIPLE))  # fmt: skip
        part = (self.architecture, self.config, net)
        job = MapJob(view, NetHandle(part), len(self.classes), self.exclusive, self.members)
        return learned_familiarity(ready, job)

    @property
    def _window(self) -> tuple[int, int]:
        return tuple(self.training["window"])

    def _examined(self, source, job) -> dict[str, Any]:
        from dataclasses import replace

        from hs_deepatoms.workflows.novelty import examined

        if self.familiarity is None:
            return super()._examined(source, job)
        return examined(source, replace(job, members=self.members), self.familiarity, self._window)

    def _preprocessing(self) -> dict[str, Any]:
        seen = None if self.familiarity is None else self.familiarity.as_dict()
        return {**super()._preprocessing(), "kind": KIND, "method": self.method, "familiarity": seen}


def load_ensemble(path: str | os.PathLike, *, net: torch.nn.Module | None = None) -> Ensemble:
    """An ensemble from its file.

    Parameters
    ----------
    path : path
    net : torch.nn.Module, optional
        One module of your own, built as the members that were saved.

    Raises
    ------
    ModelFileError
        As :func:`~hs_deepatoms.workflows.segmenter.load_segmenter`.
    """
    from hs_deepatoms.modelfile.files import read_info
    from hs_deepatoms.modelfile.handle import NAME
    from hs_deepatoms.nets.members import Members
    from hs_deepatoms.training.familiarity import Familiarity

    if net is not None:
        info = read_info(path)
        about = info["preprocessing"]
        n = info["modules"].get(NAME, {}).get("config", {}).get("members", 1)
        exclusive = len(about.get("classes", [])) > 1 and not about.get("overlapping")
        net = Members.of([copy.deepcopy(net) for _ in range(n)], exclusive=exclusive, stackable=False)
    made, about = read_into(Ensemble, KIND, path, net)
    made.method, seen = about.get("method", WAYS[0]), about.get("familiarity")
    made.familiarity = None if seen is None else Familiarity.from_dict(seen)
    return made


def _usual_radius(training) -> float | None:
    """Radius of a typical labelled spot, pixels of the training images."""
    from hs_deepatoms.atoms.locate import spot_radius

    found = []
    for k in range(min(len(training), LOOKED_AT)):
        labels = training.get(k, np.random.default_rng([k, 3]))[1]
        found.append(spot_radius((labels > 0)[None] if labels.ndim == 2 else labels, 0.5))
    known = [radius for radius in found if radius is not None]
    return float(np.median(known)) if known else None


def _copies(net: torch.nn.Module, n: int, seed: int | None) -> list[torch.nn.Module]:
    """Copies of a network, all but the first with other initial weights if there is a seed."""
    from hs_deepatoms.nets.catalogue import initialise

    rest = [copy.deepcopy(net) for _ in range(n - 1)]
    return [net, *(rest if seed is None else [initialise(own, seed + k) for k, own in enumerate(rest, 1)])]


def _joined(histories: list[xr.Dataset]) -> xr.Dataset:
    import xarray as xr

    return xr.concat(histories, "training", join="outer", combine_attrs="drop", data_vars="all")
