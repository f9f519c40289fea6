"""The fit loop: batches in, a module with averaged weights and the history out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.progress import progress
from hs_deepatoms.training.checkpoints import restore_checkpoint, save_checkpoint
from hs_deepatoms.training.group import Group, process_group
from hs_deepatoms.training.metrics import Metrics
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.schedules import one_cycle
from hs_deepatoms.training.statistics import measure_statistics, trained_norms
from hs_deepatoms.training.trainer import Loss, Trainer, evaluate

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Fitted", "fit", "one_cycle"]
STATISTICS = 50  # batches that batch-norm statistics of averaged weights are measured on


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode, with the averaged weights; those of the best validation where there was one.
    history : xarray.Dataset
        ``loss`` and ``learning_rate`` along ``step``; ``validation_<measure>`` along ``validation_step``.
    steps, best_step : int
        Steps done, and the step whose weights these are.
    stopped_early : bool
        Whether validation stopped getting better before the schedule's end.
    scores : dict
        Loss and measures of exactly these weights on the data for validation; empty without such data.
    """

    module: nn.Module
    history: xr.Dataset
    steps: int
    best_step: int
    stopped_early: bool
    scores: dict[str, float] = field(default_factory=dict)


def fit(
    module: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss: Loss,
    recipe: Recipe,
    *,
    validation: Iterable | None = None,
    metrics: Metrics | None = None,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    job: dict[str, Any] | None = None,
    watch: Callable[[nn.Module, int], None] | None = None,
    show_progressbar: bool | None = True,
) -> Fitted:
    """Train a network.

    Started by ``torchrun``, every process takes its share of each batch and gradients are averaged (torch's
    DistributedDataParallel).

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place on ``device``.
    batches : iterable of (image, target)
        At least ``recipe.steps`` of them; best a :class:`~hs_deepatoms.training.batches.Batches`, which can start at
        any step. Of ``averaging="swa"`` batch norms are measured on the first of them once more, so no generator then.
    loss : callable
        ``loss(module(image), target)``, a mean over the batch.
    recipe : Recipe
    validation : iterable of (image, target), optional
        Gone through at every validation. The weights that do best on it are the result.
    metrics : Metrics, optional
        What else to measure on it.
    device : str
        Name of a torch device.
    checkpoint : path, optional
        A file that is written every ``recipe.checkpoint_every`` steps. If it is there, the training goes on from it
        and ends with the same weights as if it had not been stopped; it is removed at the end.
    job : dict, optional
        What else the training depends on (JSON), so that a checkpoint of another one is refused.
    watch : callable, optional
        Called with the averaged module and the step every ``recipe.checkpoint_every`` steps.
    show_progressbar : bool, optional
        The bar shows the running mean of the loss, and the last validation.

    Returns
    -------
    Fitted

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    StoreError
        A checkpoint of another training: other data, another recipe, other initial weights.
    InvalidArgumentError
        A generator of batches where they are needed twice.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.training.fit import fit
    >>> from hs_deepatoms.training.recipe import Recipe
    >>> x = torch.linspace(-1, 1, 32)[:, None]
    >>> line = torch.nn.Linear(1, 1)
    >>> done = fit(line, [(x, 3 * x)] * 100, torch.nn.functional.mse_loss, Recipe(steps=100, learning_rate=0.1),
    ...            show_progressbar=False)
    >>> bool(done.history.loss[-1] < 0.1 * done.history.loss[0])
    True
    """
    _check_repeatable(module, batches, recipe)
    with process_group(device) as group:
        trainer = Trainer(module, loss, recipe, group)
        path = None if checkpoint is None else Path(checkpoint)
        job = {"recipe": recipe.as_dict(), "network": _shapes(module), **(job or {})}
        if path is not None:
            job["initial_weights"] = _fingerprint(module)
        if path is not None and path.exists():
            restore_checkpoint(path, trainer, job)
        stopped = _run(trainer, batches, validation, metrics, path, job, watch, show_progressbar)
        fitted = _finished(trainer, batches, validation, metrics, stopped)
        if path is not None and group.rank == 0:
            path.unlink(missing_ok=True)
    return fitted


def _run(trainer: Trainer, batches, validation, metrics, path, job, watch, show_progressbar) -> bool:
    """All steps that are left; True if validation stopped them."""
    recipe, group = trainer.recipe, trainer.group
    begun = time.monotonic()
    shown = show_progressbar if group.rank == 0 else False
    with progress(recipe.steps, "training", shown, unit="step") as bar:
        bar.update(trainer.step)
        for image, target, weight in _remaining(batches, trainer.step, group):
            used = trainer.step / recipe.steps
            if recipe.minutes is not None:
                used = max(used, (time.monotonic() - begun) / (60 * recipe.minutes))
            if used >= 1 or trainer.out_of_patience():
                break
            trainer.train(image.to(group.device), target.to(group.device), used, weight)
            bar.update()
            if validation is not None and trainer.step % recipe.validation_interval == 0:
                trainer.validate(validation, metrics)
            _show(bar, trainer)
            if trainer.step % recipe.checkpoint_every == 0:
                if watch is not None:
                    watch(trainer.judged(), trainer.step)
                if path is not None and group.rank == 0:
                    save_checkpoint(path, trainer, job)
        trainer.fetch()
    return trainer.out_of_patience()


def _remaining(batches, step: int, group: Group) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """The batches from ``step`` on: this process's share of each, and what its mean counts."""
    if hasattr(batches, "starting"):
        # what does not say how many samples it has gives every process as many
        size = getattr(batches, "batch_size", None)
        weight = 1.0 if size is None else group.weight(size)
        return ((*batch, weight) for batch in batches.starting(step, (group.rank, group.size)))
    return ((group.share(image), group.share(target), group.weight(len(image)))
            for image, target in islice(iter(batches), step, None))  # fmt: skip


def _show(bar, trainer: Trainer) -> None:
    last = trainer.losses[-50:]
    if not last or trainer._waiting:
        return
    shown = {"loss": sum(last) / len(last)}
    if trainer.checks:
        shown |= {f"val_{k}": v for k, v in trainer.checks[-1].items() if k in ("loss", "iou")}
    bar.set_postfix(shown, refresh=False)


def _finished(trainer: Trainer, batches, validation, metrics, stopped: bool) -> Fitted:
    """The weights that are the result, and the history."""
    module, step = trainer.judged(), trainer.step
    if validation is not None and (not trainer.checks or trainer.checks[-1]["step"] != step):
        trainer.validate(validation, metrics)
    best = trainer.best_loss
    if trainer.swa_from is not None and int(trainer.average.n_averaged) > 0:
        module = _with_statistics(trainer, batches)
        if validation is not None:
            found = evaluate(module, validation, trainer.loss, metrics, trainer.group.device, trainer.half)
            found["loss"] = trainer.group.agreed(found["loss"])
            trainer.checks.append({"step": step + 1, **found})  # after the last step: the averaged weights
            best = float("inf") if found["loss"] <= best else best
    if trainer.best is not None and np.isfinite(best):
        module, step = trainer.judged(), trainer.best_step
        module.load_state_dict(trainer.best)
        check = next(check for check in trainer.checks if check["step"] == step)
    else:
        check = trainer.checks[-1] if trainer.checks else {}
    scores = {name: float(value) for name, value in check.items() if name != "step"}
    return Fitted(module.eval(), _history(trainer), trainer.step, step, stopped, scores)


def _with_statistics(trainer: Trainer, batches) -> nn.Module:
    """The averaged module, with batch-norm statistics that belong to its weights."""
    seen = islice(_remaining(batches, 0, trainer.group), STATISTICS)
    measure_statistics(trainer.average, (image for image, _, _ in seen), trainer.group.device)
    return trainer.average.module


def _history(trainer: Trainer) -> xr.Dataset:
    import xarray as xr

    steps = np.arange(1, len(trainer.losses) + 1)
    data = {"loss": ("step", trainer.losses), "learning_rate": ("step", trainer.rates[: len(steps)])}
    names = [name for name in (trainer.checks[0] if trainer.checks else ()) if name != "step"]
    data |= {f"validation_{n}": ("validation_step", [check[n] for check in trainer.checks]) for n in names}
    coords = {"step": steps}
    if names:
        coords["validation_step"] = [check["step"] for check in trainer.checks]
    return xr.Dataset(data, coords)


def _check_repeatable(module: nn.Module, batches, recipe: Recipe) -> None:
    """The batches of an exhausted generator would leave averaged weights without statistics of their own."""
    if recipe.averaging == "swa" and isinstance(batches, Iterator) and trained_norms(module):
        got = f"batches from a {type(batches).__name__}, which can be gone through only once, with averaging='swa'"
        todo = "Batch norms are measured on them at the end: give a list or Batches, or choose averaging='ema'."
        raise InvalidArgumentError(explain(got, "batches that can be gone through twice", todo))


def _fingerprint(module: nn.Module) -> str:
    """Hash of all weights and statistics."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _shapes(module: nn.Module) -> list:
    return [[name, list(p.shape), p.requires_grad] for name, p in module.named_parameters()]
