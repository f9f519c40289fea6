"""The state of a training: weights, their average, the optimiser, what was measured; one step, one validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hs_deepatoms._core.errors import InvalidArgumentError, TrainingError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.training.freezing import is_frozen
from hs_deepatoms.training.group import Group
from hs_deepatoms.training.metrics import Metrics
from hs_deepatoms.training.perturbation import perturb, seeded_step, step_seed
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.schedules import factor_of

LOOK = 25  # steps after which losses are fetched: asking a GPU for every one would make it wait
NO_NUMBER = "The loss of a validation is no number, as where none of its pixels is labelled: it chooses no weights."
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Trainer:
    """One network in training.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place. Parameters that need no gradient stay as they are, and so do the statistics of norms all of
        whose parameters are frozen.
    loss : callable
        ``loss(module(image), target)``.
    recipe : Recipe
    group : Group

    Attributes
    ----------
    step : int
        Steps done.
    losses, rates : list of float
        Training loss and learning rate of every step.
    checks : list of dict
        ``step``, ``loss`` and the metrics of every validation.
    best : dict, optional
        Weights (on the CPU) of the best validation; ``best_step`` says when, ``best_loss`` how good.
    """

    def __init__(self, module: nn.Module, loss: Loss, recipe: Recipe, group: Group):
        self.recipe, self.loss, self.group = recipe, loss, group
        self.module = module.to(group.device, memory_format=torch.channels_last)
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            message = explain("a network without a weight to train", "at least one that is not frozen", "Freeze less.")
            raise InvalidArgumentError(message)
        make = recipe.optimizer or _adamw(recipe)
        self.optimizer = make(trained)
        self.average = _average(module, recipe)
        self.half = _half_precision(group.device) if recipe.mixed_precision else None
        self.scaler = torch.amp.GradScaler(group.device.split(":")[0], enabled=self.half is torch.float16)
        self.running = group.wrapped(module)
        self.step, self.best, self.best_loss, self.best_step = 0, None, float("inf"), 0
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.checks: list[dict] = []
        self._waiting: list[torch.Tensor] = []

    @property
    def swa_from(self) -> float | None:
        """Share of the training after which weights are averaged, for "swa"."""
        return self.recipe.swa_from if self.recipe.averaging == "swa" else None

    def train(self, image: torch.Tensor, target: torch.Tensor, used: float, weight: float = 1.0) -> None:
        """One step, when a share ``used`` of the training is done.

        ``weight`` is what this process's part of the batch counts among those of all processes.
        """
        recipe, rate = self.recipe, self.recipe.learning_rate * factor_of(self.recipe.schedule, used, self.swa_from)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seed = step_seed(recipe.seed, self.step * self.group.size + self.group.rank)
        training_mode(self.running)
        with seeded_step(self.module, seed):
            value = self._loss(self.running, image, target)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(value if weight == 1 else value * weight).backward()
        if recipe.gradient_clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), recipe.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self.rates.append(rate)
        self._waiting.append(value.detach())
        if recipe.perturbation is not None and (sigma := recipe.perturbation.sigma(self.step)):
            perturb(self.module, sigma, step_seed(recipe.seed, self.step))
        if self.average is not None and (self.swa_from is None or used >= self.swa_from):
            self.average.update_parameters(self.module)
        if len(self._waiting) >= LOOK:
            self.fetch()

    def fetch(self) -> None:
        """Bring the losses of the last steps over from the device.

        Raises
        ------
        TrainingError
            If one of them is not finite.
        """
        if not self._waiting:
            return
        values = torch.stack(self._waiting).float().cpu()
        self._waiting.clear()
        if not torch.isfinite(values).all():
            step = len(self.losses) + int((~torch.isfinite(values)).nonzero()[0]) + 1
            todo = "Lower learning_rate, switch mixed_precision off, or look for extreme values in the images."
            raise TrainingError(explain(f"a loss of {values.tolist()[step - len(self.losses) - 1]} in step {step}",
                                        "finite losses", todo))  # fmt: skip
        self.losses += values.tolist()

    def validate(self, batches: Iterable, metrics: Metrics | None) -> dict:
        """Mean loss and metrics of the averaged weights; the best ones are kept.

        A loss that is not a number (nothing in ``batches`` is labelled) makes no weights the best.
        """
        module = self.judged()
        found = evaluate(module, batches, self.loss, metrics, self.group.device, self.half)
        found["loss"] = self.group.agreed(found["loss"])
        if np.isnan(found["loss"]) and not self.checks:
            self.fetch()  # weights that diverged are an error of their own
            warn_user(NO_NUMBER)
        self.checks.append({"step": self.step, **found})
        if found["loss"] < self.best_loss:
            self.best_loss, self.best_step = found["loss"], self.step
            self.best = {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}
        return found

    def judged(self) -> nn.Module:
        """The module that is validated: the moving average, else the weights themselves."""
        return self.average.module if self.average is not None and self.swa_from is None else self.module

    def out_of_patience(self) -> bool:
        """Whether the last validations were all worse than the best."""
        patience = self.recipe.patience
        since = sum(check["step"] > self.best_step and not np.isnan(check["loss"]) for check in self.checks)
        return patience is not None and since >= patience

    def _loss(self, module, image, target) -> torch.Tensor:
        return self.loss(forward(module, image, self.half).float(), target)


def forward(module: nn.Module, image: torch.Tensor, half: torch.dtype | None) -> torch.Tensor:
    """The module's output, in mixed precision or not."""
    if image.ndim == 4:
        image = image.contiguous(memory_format=torch.channels_last)
    with torch.autocast(image.device.type, dtype=half or torch.bfloat16, enabled=half is not None):
        return module(image)


def evaluate(
    module: nn.Module,
    batches: Iterable,
    loss: Loss,
    metrics: Metrics | None = None,
    device: str = "cpu",
    half: torch.dtype | None = None,
) -> dict[str, float]:
    """Mean loss, and metrics, of a module in eval mode; its mode is put back after.

    Losses of batches are weighted by what ``batches.weight(target)`` says of them where there is such a method (how
    many pixels are labelled), else by their samples. Without any weight the loss is NaN: it says nothing.
    """
    was, total, count = module.training, 0.0, 0.0
    weight = getattr(batches, "weight", len)
    module.eval()
    if metrics is not None:
        metrics.reset()
    with torch.inference_mode():
        for image, target in batches:
            image, target = image.to(device), target.to(device)
            out = forward(module, image, half).float()
            if share := float(weight(target)):
                total, count = total + float(loss(out, target)) * share, count + share
            if metrics is not None:
                metrics.update(out, target)
    module.train(was)
    found = {} if metrics is None else metrics.result()
    return {"loss": total / count if count else float("nan"), **found}


def training_mode(module: nn.Module) -> None:
    """Train mode, but for norms that are frozen: their statistics belong to frozen weights."""
    module.train()
    for layer in module.modules():
        if hasattr(layer, "running_mean") and is_frozen(layer):
            layer.eval()


def _adamw(recipe: Recipe) -> Callable:
    return lambda weights: torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _average(module: nn.Module, recipe: Recipe) -> AveragedModel | None:
    if recipe.averaging is None:
        return None
    if recipe.averaging == "swa":
        return AveragedModel(module)

    def warmed(averaged, current, n):
        if not averaged[0].is_floating_point():  # counts of batches: no mean, which would be cut to a whole number
            for own, new in zip(averaged, current, strict=True):
                own.copy_(new)
            return
        # a short training must not remember its random start
        decay = min(recipe.ema_decay, (1 + float(n)) / (10 + float(n)))
        return get_ema_multi_avg_fn(decay)(averaged, current, n)

    return AveragedModel(module, multi_avg_fn=warmed, use_buffers=True)


def _half_precision(device: str) -> torch.dtype | None:
    """What the device computes with; None for processors that would imitate bfloat16, ten to twenty times slower."""
    if device == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "SVE")):
        return None
    if device.startswith("cuda") and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16
