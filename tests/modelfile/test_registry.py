from __future__ import annotations

import pytest

from hs_deepatoms._core.errors import InvalidArgumentError, ModelFileError
from hs_deepatoms.modelfile.files import read_info
from hs_deepatoms.modelfile.registry import (
    architecture_class,
    known_architectures,
    model_path,
    register_architecture,
    shipped_head,
    shipped_model,
    shipped_models,
)
from tests.modelfile.nets import Small, Table


def test_names_lead_to_classes():
    assert architecture_class("Small") is Small
    assert architecture_class("Table") is Table
    assert {"ColumnDetector", "SurveyNet", "Small", "Table"} <= set(known_architectures())


def test_a_name_keeps_its_meaning():
    register_architecture("Small", Small)
    with pytest.raises(InvalidArgumentError, match="already means"):
        register_architecture("Small", Table)


def test_unknown_names_are_named():
    with pytest.raises(ModelFileError, match="ColumnDetector"):
        architecture_class("Nothing")
    with pytest.raises(ModelFileError, match="shipped models"):
        shipped_model("nothing")


def test_heads_find_no_atoms():
    assert "kinds" not in shipped_models() and read_info(shipped_head("kinds"))["card"]["name"] == "kinds"
    with pytest.raises(ModelFileError, match=r"'other'.*kinds"):
        shipped_head("other")


def test_a_model_is_named_by_word_or_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    default = shipped_model("detector")
    assert list(shipped_models()) == ["detector", "dark"]
    assert read_info(shipped_model("dark"))["preprocessing"]["contrasts"] == ["dark"]
    assert model_path(None) == model_path("auto") == model_path("detector") == default
    (tmp_path / "mine").touch()
    assert model_path("mine") == tmp_path / "mine" and model_path("no.safetensors") == tmp_path / "no.safetensors"
    with pytest.raises(ModelFileError, match=r"'nothing'.*detector"):
        model_path("nothing")


@pytest.mark.parametrize("target", ["tests.modelfile.nets:Gone", "tests.modelfile.gone:Small"])
def test_a_class_that_is_gone_is_named(target):
    register_architecture("Gone", target)
    with pytest.raises(ModelFileError, match="Gone"):
        architecture_class("Gone")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "a\0b.safetensors", "x" * 5000 + ".safetensors"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(ModelFileError, match="Got model"):
        read_info(model_path(name))
