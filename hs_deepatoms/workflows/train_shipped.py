"""Train the networks that ship with the package, from one config and one seed.

    python -m hs_deepatoms.workflows.train_shipped all --out weights --real FOLDER --name detector

trains every part of a shipped model in turn, each going on from the one before, and packs them; a part that is there
already is left as it is. The names of the detector's stages, ``survey`` and ``pack`` do one of these alone.

The schedule of the config takes about three hours on two CPU cores; ``--minutes`` cuts a part to a time (for trials:
the weights then depend on the machine's speed). ``--real FOLDER`` adds labelled real images (``*.npz`` with image,
y_px, x_px, margin_px) whose names start with the config's prefixes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.simulate.samples import LabelledImage, detector_sample, real_detector_sample, survey_sample

THRESHOLD = 0.45
CALIBRATION = (1.28, 0.81)  # slope and offset from presence to probability, on simulated images not trained on
ORDER = (0.7798, 0.5060, 1.1688, 0.1065, -0.0174, -0.1531, -0.3208, 0.0491, 0.3508)  # by fit_order, seed 1
HEIGHTS = (0.784, 0.732, 2.102)  # by the same
# what probabilities are worth: fit_reliability --seed 1 0 --images 360 120
RELIABILITY = (
    (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96, 0.99, 0.998),
    (0.0736, 0.1316, 0.2031, 0.3776, 0.5013, 0.6577, 0.7945, 0.9247, 0.9791, 0.985),
)
DARK_RELIABILITY = (  # the same --dark --seed 1 0 --images 720 360, for the second model
    (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96, 0.99, 0.998),
    (0.1149, 0.2016, 0.2767, 0.4568, 0.5974, 0.7107, 0.8324, 0.9266, 0.9795, 0.9974),
)


@dataclass(frozen=True)
class Stage:
    """One part of the training: its length, its learning rate, how many samples are real, and the network it trains."""

    steps: int
    learning_rate: float
    real_share: float = 0.0
    options: dict = field(default_factory=dict)


# the detector's stages, each on from the weights of the one before; samples: hs_deepatoms.simulate.samples
STAGES = {
    "detector": Stage(8_000, 2e-3, 0.12),
    "hard": Stage(4_000, 1e-3, 0.3),
    "last": Stage(1_500, 7e-4, 0.3),
    "final": Stage(2_200, 7e-4, 0.4),
    "long": Stage(16_000, 1.5e-3, 0.3, {"matched": True}),
    "polish": Stage(8_000, 1.2e-3, 0.4, {"matched": True, "deep": True}),
    "wide": Stage(8_000, 3e-4, 0.3, {"matched": True, "deep": True}),
}
SURVEY = Stage(4_000, 2e-3)


@dataclass(frozen=True)
class Shipped:
    """A model that ships: the last stage of its detector, what is said of it, and what its probabilities are worth."""

    last: str
    description: str
    contrasts: tuple[str, ...] = ()  # that `find_atoms` takes it for by itself; none: the default is for all
    reliability: tuple[tuple[float, ...], tuple[float, ...]] = RELIABILITY


MODELS = {
    "detector": Shipped("polish", "Presence and sub-pixel position of atomic columns; width and contrast of columns."),
    "dark": Shipped(
        "wide",
        "The same for dark columns: trained further on dense crystals, grainy films, tails and moire.",
        ("dark",),
        DARK_RELIABILITY,
    ),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the weights, but for the stages."""

    seed: int = 1
    batch_size: int = 16
    mixed_precision: bool = True
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
    """Map-style dataset of a part: sample ``i`` is a function of (seed, i) alone, and stages share no sample."""

    def __init__(self, part: str, config: TrainingConfig, real: list[LabelledImage]):
        self.part, self.config, self.real = part, config, real
        self.stage = stage_of(part)
        names = list(STAGES)
        before = names[: names.index(part)] if part in STAGES else []
        self.first = sum(STAGES[name].steps for name in before) * config.batch_size

    def __len__(self) -> int:
        return self.stage.steps * self.config.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index += self.first
        seed = self.config.seed
        if self.part == "survey":
            return survey_sample(seed, index, images=self.real)
        if self.real and np.random.default_rng([seed, index, 3]).random() < self.stage.real_share:
            return real_detector_sample(self.real, seed, index)
        return detector_sample(seed, index, stage=self.part)


def stage_of(part: str) -> Stage:
    return SURVEY if part == "survey" else STAGES[part]


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
    """Train one part and write ``out/<part>.safetensors``; a stage goes on from the one before."""
    import torch

    from hs_deepatoms.training.fit import fit
    from hs_deepatoms.training.losses import column_loss, survey_loss
    from hs_deepatoms.training.recipe import Recipe

    out.mkdir(parents=True, exist_ok=True)
    path, log = out / f"{part}.safetensors", out / f"{part}.json"
    images = real_images(real, config)
    samples = Samples(part, config, images)
    batches = torch.utils.data.DataLoader(
        samples, config.batch_size, num_workers=workers, prefetch_factor=4 if workers else None
    )
    fitted = fit(
        _start(part, out, config),
        batches,
        survey_loss if part == "survey" else column_loss,
        Recipe(
            steps=samples.stage.steps,
            learning_rate=samples.stage.learning_rate,
            mixed_precision=config.mixed_precision,
            minutes=minutes,
        ),
        device=choose_device(device),
        watch=lambda averaged, step: write_state(averaged, path),
    )
    write_state(fitted.module, path)
    history = fitted.history["loss"].values
    said = {"part": part, "stage": asdict(samples.stage), "config": asdict(config), "steps_done": len(history),
            "real_images": len(images)}  # fmt: skip
    log.write_text(json.dumps({**said, "loss": np.round(history, 4).tolist()}))
    return path


def _start(part: str, out: Path, config: TrainingConfig):
    import torch
    from safetensors.torch import load_file

    from hs_deepatoms.nets.detector import ColumnDetector
    from hs_deepatoms.nets.survey import SurveyNet

    with torch.random.fork_rng():  # initial weights from the seed, the caller's random state untouched
        torch.manual_seed(config.seed)
        module = SurveyNet() if part == "survey" else ColumnDetector(**STAGES[part].options)
    names = list(STAGES)
    if part in names[1:]:
        before = names[names.index(part) - 1]
        module.load_state_dict(_grown(load_file(out / f"{before}.safetensors"), module))
    return module


def _grown(state: dict, module) -> dict:
    """Weights of an earlier stage for a larger network: zeros for inputs that it did not have, new layers as made."""
    import torch

    own, first = module.state_dict(), "down0.0.weight"
    missing = own[first].shape[1] - state[first].shape[1]
    return {**own, **state, first: torch.nn.functional.pad(state[first], (0, 0, 0, 0, 0, missing))}


def write_state(module, path: Path) -> None:
    """The module's weights as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    save_file(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def stages_of(model: str) -> list[str]:
    """The detector's stages that lead to a shipped model."""
    names = list(STAGES)
    return names[: names.index(MODELS[model].last) + 1]


def pack(
    out: Path, target: Path, *, name: str = "detector", threshold: float = THRESHOLD, scores: dict | None = None
) -> str:
    """Join the trained parts in ``out`` into one model file with its card; returns the sha256.

    ``ORDER`` and ``HEIGHTS`` are the weights that :mod:`hs_deepatoms.workflows.fit_order` prints, and a model's
    ``reliability`` the knots that :mod:`hs_deepatoms.workflows.fit_reliability` prints.
    """
    from safetensors.torch import load_file

    from hs_deepatoms.modelfile.files import save_modules
    from hs_deepatoms.nets.detector import ColumnDetector
    from hs_deepatoms.nets.survey import SurveyNet

    stages, model, parts = stages_of(name), MODELS[name], {}
    missing = [stage for stage in (*stages, "survey") if not (out / f"{stage}.json").exists()]
    if missing:
        message = explain(f"{out} without finished {missing}", "all stages of the training", "Train these first.")
        raise InvalidArgumentError(message)
    made = (("detector", model.last, ColumnDetector, STAGES[model.last].options), ("survey", "survey", SurveyNet, {}))
    for part, file, make, options in made:
        module = make(**options)
        module.load_state_dict(load_file(out / f"{file}.safetensors"))
        parts[part] = (make.__name__, options, module.eval())
    preprocessing = {
        "column_sigma_px": 2.0,
        "scaling": "median and 0.5-99.5 percentile range",
        "threshold": threshold,
        "calibration": list(CALIBRATION),
        "order": list(ORDER),
        "heights": list(HEIGHTS),
        "reliability": [list(knots) for knots in model.reliability],
    }
    if model.contrasts:
        preprocessing["contrasts"] = list(model.contrasts)
    return save_modules(target, parts, preprocessing=preprocessing, card=_card(name, out, stages, scores))


def _card(name: str, out: Path, stages: list[str], scores: dict | None) -> dict:
    logs = {part: json.loads((out / f"{part}.json").read_text()) for part in (*stages, "survey")}
    return {
        "name": name,
        "description": MODELS[name].description,
        "licence": "GPL-3.0-or-later",
        "data": "simulated by this package; labelled HAADF images of single Pt (MIT) and Re (Apache-2.0) atoms",
        "training": {part: {k: v for k, v in log.items() if k != "loss"} for part, log in logs.items()},
        "scores": scores or {},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["all", *STAGES, "survey", "pack"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--real", type=Path, help="folder of labelled real images (*.npz)")
    parser.add_argument("--minutes", type=float, help="train for this long instead of the whole schedule")
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--name", choices=list(MODELS), default="detector", help="the shipped model to train or pack")
    parser.add_argument("--model", type=Path, help="file that pack writes; by default its name")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    parser.add_argument("--scores", type=Path, help="JSON of scores for the card that pack writes")
    o = parser.parse_args(arguments)
    config = TrainingConfig(seed=o.seed)
    parts = [*stages_of(o.name), "survey"] if o.part == "all" else [o.part] if o.part != "pack" else []
    for part in parts:
        if o.part == "all" and (o.out / f"{part}.json").exists():
            continue
        print(train(part, o.out, config, real=o.real, minutes=o.minutes, device=o.device, workers=o.workers))
    if o.part in ("all", "pack"):
        scores = json.loads(o.scores.read_text()) if o.scores else None
        target = o.model or Path(f"{o.name}.safetensors")
        print(pack(o.out, target, name=o.name, threshold=o.threshold, scores=scores))


if __name__ == "__main__":
    main()
