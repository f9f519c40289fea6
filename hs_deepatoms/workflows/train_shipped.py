"""Train the networks that ship with the package, from one config and one seed.

    python -m hs_deepatoms.workflows.train_shipped detector --out weights --real FOLDER
    python -m hs_deepatoms.workflows.train_shipped hard --out weights --real FOLDER
    python -m hs_deepatoms.workflows.train_shipped last --out weights --real FOLDER
    python -m hs_deepatoms.workflows.train_shipped final --out weights --real FOLDER
    python -m hs_deepatoms.workflows.train_shipped long --out weights --real FOLDER
    python -m hs_deepatoms.workflows.train_shipped survey --out weights --real FOLDER
    python -m hs_deepatoms.workflows.train_shipped pack --out weights --model detector.safetensors

The schedule of the config takes about three hours on two CPU cores; ``--minutes`` cuts it to a time (for trials: the
weights then depend on the machine's speed). ``--real FOLDER`` adds labelled real images (``*.npz`` with image, y_px,
x_px, margin_px) whose names start with the config's prefixes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.simulate.samples import LabelledImage, detector_sample, real_detector_sample, survey_sample

STAGES = ("detector", "hard", "last", "final", "long")  # each goes on from the weights of the one before
BEFORE = dict(zip(STAGES[1:], STAGES, strict=False))


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the weights."""

    seed: int = 1
    steps: int = 8_000
    survey_steps: int = 4_000
    # the detector's schedule ends with a second, gentler one on harder samples
    hard_steps: int = 4_000
    hard_learning_rate: float = 1e-3
    hard_real_share: float = 0.3
    last_steps: int = 1_500
    last_learning_rate: float = 7e-4
    final_steps: int = 2_200
    final_learning_rate: float = 7e-4
    final_real_share: float = 0.4
    # the longest part: now with the matched-filter maps as a further input
    long_steps: int = 16_000
    long_learning_rate: float = 1.5e-3
    long_real_share: float = 0.3
    batch_size: int = 16
    learning_rate: float = 2e-3
    mixed_precision: bool = True
    real_share: float = 0.12
    # prefix of the real images' names -> column sigma in their pixels; the held-out ones are never trained on
    real_sigma: tuple[tuple[str, float], ...] = (("pt_single", 3.7), ("re_single", 2.6))
    held_out: tuple[str, ...] = (
        "pt_single_047",
        "pt_single_048",
        "pt_single_049",
        "re_single_10",
        "re_single_11",
        "re_single_12",
    )


class Samples:
    """Map-style dataset: sample ``i`` is a function of (seed, i) alone.

    Parts: "detector", "hard", "last", "final" and "long" (later stages of the detector's training), and "survey".
    """

    def __init__(self, part: str, config: TrainingConfig, real: list[LabelledImage]):
        self.part, self.config, self.real = part, config, real
        c = config
        steps = {
            "detector": c.steps,
            "hard": c.hard_steps,
            "last": c.last_steps,
            "final": c.final_steps,
            "long": c.long_steps,
        }
        self.steps = c.survey_steps if part == "survey" else steps[part]
        stages = list(steps)
        before = sum(steps[s] for s in stages[: stages.index(part)]) if part in stages else 0
        self.first = before * c.batch_size
        self.stage = "first" if part == "detector" else part

    def __len__(self) -> int:
        return self.steps * self.config.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index += self.first
        if self.part == "survey":
            return survey_sample(self.config.seed, index, images=self.real)
        c = self.config
        shares = {"first": c.real_share, "final": c.final_real_share, "long": c.long_real_share}
        share = shares.get(self.stage, c.hard_real_share)
        is_real = self.real and np.random.default_rng([self.config.seed, index, 3]).random() < share
        if is_real:
            return real_detector_sample(self.real, self.config.seed, index)
        return detector_sample(self.config.seed, index, stage=self.stage)


def real_images(folder: str | Path | None, config: TrainingConfig) -> list[LabelledImage]:
    """Labelled real images of ``folder`` for training; clicks are moved to the local maximum they meant."""
    if folder is None:
        return []
    found = []
    for file in sorted(Path(folder).glob("*.npz")):
        sigma = next((s for prefix, s in config.real_sigma if file.stem.startswith(prefix)), None)
        if sigma is None or file.stem in config.held_out:
            continue
        with np.load(file) as data:
            image = data["image"].astype(np.float32)
            y, x = snap_to_maximum(image, data["y_px"], data["x_px"], sigma)
            found.append(LabelledImage(image, y, x, sigma, float(data["margin_px"])))
    return found


def snap_to_maximum(image: np.ndarray, y: np.ndarray, x: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Move clicked positions to the maximum of the smoothed image within one sigma."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(image, 0.6 * sigma)
    reach = int(np.ceil(sigma))
    step = np.arange(-reach, reach + 1)
    dy, dx = (a.ravel() for a in np.meshgrid(step, step, indexing="ij"))
    near = dy**2 + dx**2 <= sigma**2
    yy = np.clip(np.rint(y).astype(int)[:, None] + dy[near], 0, image.shape[0] - 1)
    xx = np.clip(np.rint(x).astype(int)[:, None] + dx[near], 0, image.shape[1] - 1)
    best = smooth[yy, xx].argmax(axis=1)
    rows = np.arange(len(y))
    return yy[rows, best].astype(float), xx[rows, best].astype(float)


def train(part: str, out: Path, config: TrainingConfig, *, real=None, minutes=None, device="auto", workers=2) -> Path:
    """Train one part and write ``out/<part>.safetensors``; later stages go on from earlier ones (``BEFORE``)."""
    import torch

    from hs_deepatoms.training.fit import fit
    from hs_deepatoms.training.losses import column_loss, survey_loss

    out.mkdir(parents=True, exist_ok=True)
    path, log = out / f"{part}.safetensors", out / f"{part}.json"
    images = real_images(real, config)
    samples = Samples(part, config, images)
    batches = torch.utils.data.DataLoader(
        samples, config.batch_size, num_workers=workers, prefetch_factor=4 if workers else None
    )
    module, history = fit(
        _start(part, out, config),
        batches,
        survey_loss if part == "survey" else column_loss,
        steps=samples.steps,
        learning_rate={
            "hard": config.hard_learning_rate,
            "last": config.last_learning_rate,
            "final": config.final_learning_rate,
            "long": config.long_learning_rate,
        }.get(part, config.learning_rate),
        mixed_precision=config.mixed_precision,
        minutes=minutes,
        device=choose_device(device),
        checkpoint=lambda averaged, step: write_state(averaged, path),
    )
    write_state(module, path)
    said = {"part": part, "config": asdict(config), "steps_done": len(history), "real_images": len(images)}
    log.write_text(json.dumps({**said, "loss": np.round(history, 4).tolist()}))
    return path


def _start(part: str, out: Path, config: TrainingConfig):
    import torch
    from safetensors.torch import load_file

    from hs_deepatoms.nets.detector import ColumnDetector
    from hs_deepatoms.nets.survey import SurveyNet

    with torch.random.fork_rng():  # initial weights from the seed, the caller's random state untouched
        torch.manual_seed(config.seed)
        module = SurveyNet() if part == "survey" else ColumnDetector(matched=part == "long")
    if part in BEFORE:
        module.load_state_dict(_widened(load_file(out / f"{BEFORE[part]}.safetensors"), module))
    return module


def _widened(state: dict, module) -> dict:
    """Weights of an earlier stage, with zeros for the inputs that it did not have."""
    import torch

    first, wanted = "down0.0.weight", module.state_dict()["down0.0.weight"]
    missing = wanted.shape[1] - state[first].shape[1]
    return {**state, first: torch.nn.functional.pad(state[first], (0, 0, 0, 0, 0, missing))}


def write_state(module, path: Path) -> None:
    """The module's weights as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    save_file(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def pack(
    out: Path,
    target: Path,
    *,
    threshold: float = 0.6,
    calibration: tuple[float, float] = (1.28, 1.05),
    scores: dict | None = None,
) -> str:
    """Join the trained parts in ``out`` into one model file with its card; returns the sha256.

    ``calibration`` is the slope and offset from presence to probability, fitted on 400 simulated images that were not
    trained on.
    """
    from safetensors.torch import load_file

    from hs_deepatoms.modelfile.files import save_modules
    from hs_deepatoms.nets.detector import ColumnDetector
    from hs_deepatoms.nets.survey import SurveyNet

    parts, logs = {}, {}
    missing = [
        stage
        for stage in ("detector", "hard", "last", "final", "long", "survey")
        if not (out / f"{stage}.json").exists()
    ]
    if missing:
        message = explain(f"{out} without finished {missing}", "all stages of the training", "Train these first.")
        raise InvalidArgumentError(message)
    made = (("detector", "long", ColumnDetector, {"matched": True}), ("survey", "survey", SurveyNet, {}))
    for name, file, make, options in made:
        module = make(**options)
        module.load_state_dict(load_file(out / f"{file}.safetensors"))
        parts[name] = (make.__name__, options, module.eval())
    for log in sorted(out.glob("*.json")):
        logs[log.stem] = {k: v for k, v in json.loads(log.read_text()).items() if k != "loss"}
    card = {
        "name": "detector",
        "description": "Presence and sub-pixel position of atomic columns; width and contrast of columns.",
        "licence": "GPL-3.0-or-later",
        "data": "simulated by this package; labelled HAADF images of single Pt (MIT) and Re (Apache-2.0) atoms",
        "training": logs,
        "scores": scores or {},
    }
    preprocessing = {
        "column_sigma_px": 2.0,
        "scaling": "median and 0.5-99.5 percentile range",
        "threshold": threshold,
        "calibration": list(calibration),
    }
    return save_modules(target, parts, preprocessing=preprocessing, card=card)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*STAGES, "survey", "pack"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--real", type=Path, help="folder of labelled real images (*.npz)")
    parser.add_argument("--minutes", type=float, help="train for this long instead of the whole schedule")
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path("detector.safetensors"), help="file that pack writes")
    parser.add_argument("--threshold", type=float, default=0.6)
    parser.add_argument("--scores", type=Path, help="JSON of scores for the card that pack writes")
    o = parser.parse_args(arguments)
    if o.part == "pack":
        scores = json.loads(o.scores.read_text()) if o.scores else None
        print(pack(o.out, o.model, threshold=o.threshold, scores=scores))
        return
    config = TrainingConfig(seed=o.seed)
    print(train(o.part, o.out, config, real=o.real, minutes=o.minutes, device=o.device, workers=o.workers))


if __name__ == "__main__":
    main()
