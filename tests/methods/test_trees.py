"""Trees on disk: what is refused, and that tables are still told from trees."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.methods.trees import is_tree


@pytest.fixture
def tree():
    image = hs.signals.Signal2D(np.random.default_rng(0).random((40, 50)))
    return image.decompose_local(grid=5, window=8, method="pca", n_components=2)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_replaced_only_when_allowed(tree, tmp_path, ending):
    path = tree.deepatoms.save(tmp_path / f"new folder/tree{ending}")
    with pytest.raises(InvalidArgumentError, match="exists"):
        tree.deepatoms.save(path, overwrite=False)
    tree.deepatoms.save(path)
    assert is_tree(path) and [one.name for one in path.parent.iterdir()] == [path.name]
    with pytest.raises(InvalidArgumentError, match="Leave lazy out"):
        hs_deepatoms.load(path, lazy=True)
    loaded = hs_deepatoms.load(path)
    assert type(loaded.attrs["format_version"]) is int and loaded.attrs == tree.attrs
    assert loaded["components"].to_dataset().equals(tree["components"].to_dataset())


def test_a_failed_write_leaves_the_old_one(tree, tmp_path, monkeypatch):
    path = tree.deepatoms.save(tmp_path / "tree.zarr")
    monkeypatch.setattr(type(tree), "to_zarr", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tree.deepatoms.save(path)
    assert hs_deepatoms.load(path)["scores/scores"].equals(tree["scores/scores"])
    assert [one.name for one in tmp_path.iterdir()] == ["tree.zarr"]


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_tables_are_no_trees(tmp_path, ending):
    path = tmp_path / f"atoms{ending}"
    hs_deepatoms.positions([1.0, 2.0], [3.0, 4.0]).deepatoms.save(path)
    assert not is_tree(path)
    assert hs_deepatoms.load(path).sizes["atom"] == 2


def test_refusals(tree, tmp_path):
    for name in ("tree.csv", "tree", 3):
        with pytest.raises(InvalidArgumentError, match=r"\.zarr or \.nc"):
            tree.deepatoms.save(name if isinstance(name, int) else tmp_path / name)
    path = tree.deepatoms.save(tmp_path / "tree.zarr")
    (path / "scores" / "scores" / "zarr.json").write_text("{")
    with pytest.raises(TableError, match="cannot be read"):
        hs_deepatoms.load(path)
