"""The state of a training on disk: one safetensors file, whole or not at all, and never a pickle."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from hs_deepatoms._core.atomic import write_atomic
from hs_deepatoms._core.errors import StoreError, explain
from hs_deepatoms.training.trainer import Trainer

KEY = "hs_deepatoms_training"


def save_checkpoint(path: Path, trainer: Trainer, job: dict) -> None:
    """Write everything that a training needs to go on as if it had not been stopped.

    Parameters
    ----------
    path : path
    trainer : Trainer
    job : dict
        What the training depends on; a checkpoint of another job is refused. JSON.
    """
    from safetensors.torch import save

    trainer.fetch()
    tensors = {f"module.{k}": v for k, v in trainer.module.state_dict().items()}
    if trainer.average is not None:
        tensors |= {f"average.{k}": v for k, v in trainer.average.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in (trainer.best or {}).items()}
    for i, entries in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in entries.items() if v is not None}
    tensors["losses"] = torch.tensor(trainer.losses, dtype=torch.float64)
    tensors["rates"] = torch.tensor(trainer.rates, dtype=torch.float64)
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    header = {
        "job": job,
        "step": trainer.step,
        "checks": trainer.checks,
        "best_step": trainer.best_step,
        "best_loss": trainer.best_loss if trainer.best is not None else None,
        "scaler": {k: v for k, v in trainer.scaler.state_dict().items() if isinstance(v, int | float)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save(tensors, metadata={KEY: json.dumps(header)}))


def restore_checkpoint(path: Path, trainer: Trainer, job: dict) -> None:
    """Put a trainer into the state of a checkpoint.

    Raises
    ------
    StoreError
        If the file is no checkpoint, or one of another job (it says what differs).
    """
    from safetensors import safe_open

    try:
        with safe_open(str(path), "pt") as file:
            header = json.loads((file.metadata() or {})[KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:
        message = explain(f"{path}, which cannot be read as a checkpoint ({error})", "a checkpoint of this training",
                          "Choose another path, or remove it.")  # fmt: skip
        raise StoreError(message) from error
    _check_job(path, header["job"], json.loads(json.dumps(job)))
    part = _parts(tensors)
    trainer.module.load_state_dict(part["module"])
    if trainer.average is not None:
        trainer.average.load_state_dict(part["average"])
    _restore_optimizer(trainer, part.get("optimizer", {}))
    trainer.best = part.get("best")
    trainer.best_step = header["best_step"]
    trainer.best_loss = float("inf") if header["best_loss"] is None else header["best_loss"]
    trainer.step, trainer.checks = header["step"], header["checks"]
    trainer.losses, trainer.rates = tensors["losses"].tolist(), tensors["rates"].tolist()
    if header["scaler"]:
        trainer.scaler.load_state_dict(header["scaler"])


def _parts(tensors: dict) -> dict[str, dict]:
    parts: dict[str, dict] = {}
    for key, value in tensors.items():
        first, _, rest = key.partition(".")
        parts.setdefault(first, {})[rest] = value
    return parts


def _restore_optimizer(trainer: Trainer, entries: dict) -> None:
    state = trainer.optimizer.state_dict()
    found: dict[int, dict] = {}
    for key, value in entries.items():
        number, _, name = key.partition(".")
        found.setdefault(int(number), {})[name] = value
    trainer.optimizer.load_state_dict({**state, "state": found})


def _check_job(path: Path, begun: dict, now: dict) -> None:
    begun, now = ({**job, **job.get("recipe", {})} for job in (begun, now))
    changed = sorted(key for key in {*begun, *now} - {"recipe"} if begun.get(key) != now.get(key))
    if changed:
        what = "; ".join(f"{key}: {_short(begun.get(key))} then, {_short(now.get(key))} now" for key in changed)
        todo = "Repeat the call as it was, or remove the file to begin anew."
        raise StoreError(explain(f"{path}, a checkpoint of another training ({what})", "the same training", todo))


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
