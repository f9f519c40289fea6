from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hs_deepatoms._core.errors import ModelFileError
from hs_deepatoms.modelfile import cache
from hs_deepatoms.modelfile.cache import cached_module, cached_modules, clear_cache
from hs_deepatoms.modelfile.files import save_module, save_modules
from tests.modelfile.nets import trained


@pytest.fixture(autouse=True)
def empty():
    clear_cache()
    yield
    clear_cache()


@pytest.fixture
def reads(monkeypatch):
    """The paths read, in order."""
    seen = []
    real = cache.read_modules

    def counted(path, *, sha256=None):
        seen.append(str(path))
        return real(path, sha256=sha256)

    monkeypatch.setattr(cache, "read_modules", counted)
    return seen


def save(path, width=3, seed=0):
    return save_module(path, trained(width, seed), architecture="Small", config={"width": width})


def test_a_module_is_read_once_and_ready_to_run(tmp_path, reads):
    path = tmp_path / "m.safetensors"
    sha256 = save(path)
    module = cached_module(path, sha256, "cpu")
    assert cached_module(path, sha256.upper(), "cpu") is module is cached_module(path, None, "cpu")
    assert len(reads) == 1
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert module.first.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(torch.ones(1, 1, 8, 8)), trained()(torch.ones(1, 1, 8, 8)).detach())


def test_the_key_is_content_not_path(tmp_path, reads):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    sha256 = save(one)
    assert save(two) == sha256
    assert cached_module(one, sha256) is cached_module(two, sha256)
    new = save(one, seed=1)
    assert cached_module(one, new) is not cached_module(two, sha256)
    assert len(reads) == 2


def test_devices_are_kept_apart(tmp_path):
    path = tmp_path / "m.safetensors"
    sha256 = save(path)
    there = cached_module(path, sha256, "meta")
    assert next(there.parameters()).device.type == "meta"
    assert next(cached_module(path, sha256, "cpu").parameters()).device.type == "cpu"


def test_the_one_used_longest_ago_goes_first(tmp_path, reads):
    files = [(tmp_path / f"{i}.safetensors", save(tmp_path / f"{i}.safetensors", seed=i)) for i in range(5)]
    for path, sha256 in files[: cache.CAPACITY]:
        cached_module(path, sha256)
    cached_module(*files[0])
    cached_module(*files[cache.CAPACITY])
    del reads[:]
    cached_module(*files[0])
    assert reads == []
    cached_module(*files[1])
    assert reads == [str(files[1][0])]


def test_threads_that_start_together_read_once(tmp_path, reads):
    path = tmp_path / "m.safetensors"
    sha256 = save(path)
    with ThreadPoolExecutor(8) as pool:
        modules = list(pool.map(lambda _: cached_module(path, sha256), range(32)))
    assert len(reads) == 1
    assert all(module is modules[0] for module in modules)


def test_several_modules_by_name(tmp_path):
    path = tmp_path / "m.safetensors"
    parts = {name: ("Small", {"width": w}, trained(w)) for name, w in [("detector", 3), ("survey", 4)]}
    sha256 = save_modules(path, parts)
    modules = cached_modules(path, sha256)
    assert sorted(modules) == ["detector", "survey"]
    assert cached_module(path, sha256, name="survey") is modules["survey"]
    with pytest.raises(TypeError):
        modules["detector"] = None
    for name in (None, "other"):
        with pytest.raises(ModelFileError, match=r"\['detector', 'survey'\]"):
            cached_module(path, sha256, name=name)


def test_a_wrong_file_is_named_and_not_kept(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(ModelFileError, match="No such file"):
        cached_module(path, None)
    sha256 = save(path)
    with pytest.raises(ModelFileError, match="sha256"):
        cached_module(path, "0" * 64)
    assert cached_module(path, sha256)
