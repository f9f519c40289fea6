from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError
from hs_deepatoms.modelfile import files
from hs_deepatoms.modelfile.files import (
    file_sha256,
    modules_from_bytes,
    modules_to_bytes,
    read_info,
    read_module,
    read_modules,
    save_module,
    save_modules,
)
from tests.modelfile.nets import Small, Table, trained

CARD = {"name": "small", "description": "Å and σ", "licence": "MIT", "scores": {"f1": 0.97}}
PREPROCESSING = {"sigma_px": 2.0, "percentiles": [1, 99]}


@pytest.fixture
def saved(tmp_path):
    module = trained(4)
    path = tmp_path / "small.safetensors"
    sha256 = save_module(
        path, module, architecture="Small", config={"width": 4}, preprocessing=PREPROCESSING, card=CARD
    )
    return path, sha256, module


def test_a_module_comes_back_as_it_was(saved):
    path, sha256, module = saved
    back, info = read_module(path, sha256=sha256)
    image = torch.randn(2, 1, 9, 13, generator=torch.Generator().manual_seed(1))
    assert not back.training
    torch.testing.assert_close(back(image), module(image), rtol=0, atol=0)
    assert back.norm.num_batches_tracked == 41
    assert info["sha256"] == sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == file_sha256(path)
    assert info["preprocessing"] == PREPROCESSING
    assert info["card"] == CARD
    assert info["modules"] == {"module": {"architecture": "Small", "config": {"width": 4}}}
    assert info["bytes"] == path.stat().st_size
    assert info == {**read_info(path), "path": str(path)}


def test_a_file_of_several_modules(tmp_path):
    parts = {"detector": trained(3, 1), "survey": trained(5, 2)}
    save_modules(
        tmp_path / "two.safetensors", {k: ("Small", {"width": m.first.out_channels}, m) for k, m in parts.items()}
    )
    back, info = read_modules(tmp_path / "two.safetensors")
    assert list(back) == ["detector", "survey"] == list(info["modules"])
    for name, module in parts.items():
        for key, value in module.state_dict().items():
            torch.testing.assert_close(back[name].state_dict()[key], value, rtol=0, atol=0)
    with pytest.raises(ModelFileError, match="read_modules"):
        read_module(tmp_path / "two.safetensors")


def test_the_same_weights_give_the_same_bytes():
    part = {"module": ("Small", {"width": 3}, trained())}
    shuffled = {"b": 1, "a": 2}, {"a": 2, "b": 1}
    one, two = (modules_to_bytes(part, card=card) for card in shuffled)
    assert one == two
    assert one != modules_to_bytes({"module": ("Small", {"width": 3}, trained(seed=1))})


def test_layout_and_dtype(tmp_path):
    module = trained(3).to(memory_format=torch.channels_last).to(torch.bfloat16)
    save_module(tmp_path / "m.safetensors", module, architecture="Small", config={"width": 3})
    back, _ = read_module(tmp_path / "m.safetensors")
    assert back.first.weight.dtype == torch.bfloat16
    assert torch.equal(back.first.weight, module.first.weight)
    assert module.training is False and module.first.weight.requires_grad


def test_buffers_that_no_file_holds_are_made_again(tmp_path):
    module = Table(5)
    save_module(tmp_path / "t.safetensors", module, architecture="Table", config={"length": 5})
    back, _ = read_module(tmp_path / "t.safetensors")
    torch.testing.assert_close(back(torch.ones(5)), module(torch.ones(5)))


@pytest.mark.parametrize("name", ["Small", "Table"])
def test_the_random_state_is_left_alone(tmp_path, name):
    made = {"Small": (Small, {"width": 3}), "Table": (Table, {"length": 4})}[name]
    save_module(tmp_path / "m.safetensors", made[0](**made[1]), architecture=name, config=made[1])
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    read_module(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_a_save_that_fails_leaves_the_old_file(saved, monkeypatch):
    path, sha256, _ = saved

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save_module(path, trained(6), architecture="Small", config={"width": 6})
    assert file_sha256(path) == sha256
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_file_or_folder_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"none\.safetensors.*No such file"):
        read_module(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="Check the path"):
        read_module(tmp_path)


def test_another_hash_is_named(saved):
    path, sha256, _ = saved
    assert read_module(path, sha256=sha256.upper())
    with pytest.raises(ModelFileError, match="sha256 0000"):
        read_module(path, sha256="0" * 64)


@pytest.mark.parametrize("place", [-1, -40])
def test_a_changed_weight_is_named(saved, place):
    path, _, _ = saved
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="another sha256"):
        read_module(path)


@pytest.mark.parametrize("keep", [0, 3, 8, 40, -1, -500])
def test_a_file_cut_short_is_named(saved, keep):
    path, _, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_module(path)


def test_files_of_others_are_named(tmp_path, saved):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="no hs_deepatoms entry"):
        read_module(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_module(path)


def rewritten(path, change):
    """The file with its header text changed."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    tensors = safetensors.torch.load(content)
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][files.KEY])
    del header["weights_sha256"]  # as in a file that somebody else put together
    change(header, tensors)
    path.write_bytes(safetensors.torch.save(tensors, metadata={files.KEY: json.dumps(header)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(format_version=99), "format version 99"),
        (lambda h, t: h.pop("format_version"), "cannot be read"),
        (lambda h, t: h.pop("modules"), "cannot be read"),
        (lambda h, t: h.update(modules={"module": {}}), "cannot be read"),
        (lambda h, t: h["modules"]["module"].update(architecture="Huge"), "architecture 'Huge'"),
        (lambda h, t: h["modules"]["module"]["config"].update(width=7), "do not fit Small"),
        (lambda h, t: h["modules"]["module"]["config"].update(depth=2), "do not fit Small"),
        (lambda h, t: t.pop("module.first.bias"), "do not fit Small"),
        (lambda h, t: t.update({"module.more": torch.zeros(2)}), "do not fit Small"),
    ],
)
def test_what_does_not_fit_is_named(saved, change, message):
    path, _, _ = saved
    rewritten(path, change)
    with pytest.raises(ModelFileError, match=message):
        read_module(path)


def test_what_cannot_be_saved_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(InvalidArgumentError, match="architecture 'Huge'"):
        save_module(path, trained(), architecture="Huge", config={})
    with pytest.raises(InvalidArgumentError, match="without a dot"):
        save_modules(path, {"a.b": ("Small", {}, trained())})
    for card in ({"score": float("nan")}, {"data": np.zeros(2)}):
        with pytest.raises(InvalidArgumentError, match="not JSON"):
            save_module(path, trained(), architecture="Small", config={"width": 3}, card=card)
    assert not path.exists()


def test_bytes_without_a_file():
    content = modules_to_bytes({"module": ("Small", {"width": 3}, trained())})
    modules, info = modules_from_bytes(content)
    assert torch.equal(modules["module"].first.weight, trained().first.weight)
    assert info["sha256"] == hashlib.sha256(content).hexdigest()


def test_nothing_is_ever_unpickled(saved, monkeypatch):
    import pickle

    def refuse(*arguments, **options):
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert read_module(saved[0])


def test_a_module_of_the_users_own_is_given_back(tmp_path):
    class Mine(Small):
        """A class that no registry knows."""

    module = Mine(4)
    path = tmp_path / "mine.safetensors"
    save_module(path, module, architecture="custom", config={"class": "Mine"})
    with pytest.raises(ModelFileError, match=r"own \(Mine\).*net=MyNet\(\)"):
        read_module(path)
    back, _ = read_modules(path, given={"module": Mine(4)})
    assert torch.equal(back["module"].first.weight, module.first.weight) and not back["module"].training
    with pytest.raises(ModelFileError, match="do not fit Mine"):
        read_modules(path, given={"module": Mine(5)})
