"""The fit loop: batches in, a module with averaged weights out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hs_deepatoms._core.progress import progress


def fit(
    module: torch.nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    steps: int,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
    averaging: float = 0.998,
    mixed_precision: bool = False,
    device: str = "cpu",
    minutes: float | None = None,
    checkpoint: Callable[[torch.nn.Module, int], None] | None = None,
    checkpoint_every: int = 500,
    show_progressbar: bool | None = True,
) -> tuple[torch.nn.Module, list[float]]:
    """Train ``module`` with AdamW on a one-cycle schedule and return its exponential moving average.

    Parameters
    ----------
    module : torch.nn.Module
    batches : iterable of (input, target)
    loss : callable
        ``loss(module(input), target)``.
    steps : int
        Length of the schedule.
    averaging : float
        Decay of the moving average of weights and batch-norm statistics.
    mixed_precision : bool
        bfloat16 where torch allows it.
    minutes : float, optional
        Wall-clock limit: the schedule is then driven by the time used, so that it always runs to its end.
    checkpoint : callable, optional
        Called with the averaged module and the step every ``checkpoint_every`` steps.

    Returns
    -------
    module : torch.nn.Module
        The averaged module, in eval mode.
    history : list of float
        Training loss per step.
    """
    module = module.to(device, memory_format=torch.channels_last).train()
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(averaging), use_buffers=True)
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay)
    history: list[float] = []
    begun = time.monotonic()
    with progress(steps, "training", show_progressbar, unit="step") as bar:
        for step, (image, target) in enumerate(batches):
            used = step / steps if minutes is None else max(step / steps, (time.monotonic() - begun) / (60 * minutes))
            if used >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * one_cycle(used)
            history.append(_step(module, optimizer, loss, image.to(device), target.to(device), mixed_precision))
            average.update_parameters(module)
            bar.update()
            bar.set_postfix(loss=sum(history[-50:]) / len(history[-50:]), refresh=False)
            if checkpoint is not None and (step + 1) % checkpoint_every == 0:
                checkpoint(average.module, step + 1)
    return average.module.eval(), history


def one_cycle(used: float) -> float:
    """Learning rate factor: a short rise, then a cosine to zero (Smith & Topin, arXiv:1708.07120)."""
    rise = 0.05
    if used < rise:
        return 0.05 + 0.95 * used / rise
    angle = torch.pi * (used - rise) / (1 - rise)
    return float(0.5 * (1 + torch.cos(torch.tensor(angle)))) + 1e-3


def _step(module, optimizer, loss, image, target, mixed_precision) -> float:
    if image.ndim == 4:
        image = image.contiguous(memory_format=torch.channels_last)
    with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=mixed_precision):
        out = module(image)
    value = loss(out.float(), target)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
    optimizer.step()
    return float(value.detach())
