import json
from dataclasses import dataclass

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.modelfile.files import read_info
from hs_deepatoms.workflows import train_shipped
from hs_deepatoms.workflows.train_shipped import Samples, Stage, TrainingConfig, main, pack, real_images, stages_of
from tests.methods.conftest import lattice_image


@dataclass(frozen=True)
class FewAtATime(TrainingConfig):
    """As shipped, but for the number of samples per step: each takes tenths of a second."""

    batch_size: int = 3


@pytest.fixture
def short(monkeypatch):
    """The same stages, three steps each, of three samples."""
    monkeypatch.setattr(train_shipped, "TrainingConfig", FewAtATime)
    stages = {name: Stage(3, s.learning_rate, s.real_share, s.options) for name, s in train_shipped.STAGES.items()}
    monkeypatch.setattr(train_shipped, "STAGES", stages)
    monkeypatch.setattr(train_shipped, "SURVEY", Stage(3, 2e-3))
    return stages


def labelled(folder):
    image, y, x = lattice_image((150, 160), 20.0, 3.7)
    for name in ("pt_single_001", "pt_single_047", "other_001"):
        np.savez(folder / f"{name}.npz", image=image, y_px=y, x_px=x, margin_px=5.0)


def test_all_stages_are_trained_packed_and_usable(tmp_path, short):
    labelled(tmp_path)
    out, model = tmp_path / "weights", tmp_path / "model.safetensors"
    arguments = ["all", "--out", str(out), "--real", str(tmp_path), "--model", str(model), "--workers", "0"]
    arguments += ["--name", "dark"]
    main(arguments)
    logs = {name: json.loads((out / f"{name}.json").read_text()) for name in (*short, "survey")}
    assert all(log["steps_done"] == 3 and log["real_images"] == 1 for log in logs.values())
    assert all(log["config"]["batch_size"] == 3 for log in logs.values())
    image = lattice_image((90, 110))[0]
    atoms = hs_deepatoms.find_atoms(image, model=model, threshold=0.99, spacing=15, show_progressbar=False)
    assert "probability" in atoms
    info = read_info(model)
    assert info["preprocessing"]["contrasts"] == ["dark"]
    assert info["card"]["name"] == "dark" and set(info["card"]["training"]) == {*short, "survey"}
    before = (out / "polish.safetensors").stat().st_mtime_ns
    main(arguments)  # what is there is not trained again
    assert (out / "polish.safetensors").stat().st_mtime_ns == before


def test_unfinished_training_is_not_packed(tmp_path):
    with pytest.raises(InvalidArgumentError, match="polish"):
        pack(tmp_path, tmp_path / "model.safetensors")
    with pytest.raises(InvalidArgumentError, match="wide"):
        pack(tmp_path, tmp_path / "model.safetensors", name="dark")


def test_a_model_is_made_of_the_stages_up_to_its_last():
    assert stages_of("detector")[-1] == "polish" and stages_of("dark") == [*stages_of("detector"), "wide"]


def test_samples_are_functions_of_seed_and_number_and_stages_share_none(short):
    config = TrainingConfig()
    first, second = Samples("detector", config, []), Samples("hard", config, [])
    image, target = first[5]
    again = first[5]
    assert np.array_equal(image, again[0]) and np.array_equal(target, again[1])
    assert len(first) == 3 * config.batch_size and second.first == len(first)
    assert not np.array_equal(image, second[5][0])


def test_held_out_images_are_left_out(tmp_path):
    labelled(tmp_path)
    assert len(real_images(tmp_path, TrainingConfig())) == 1
    assert real_images(None, TrainingConfig()) == []
