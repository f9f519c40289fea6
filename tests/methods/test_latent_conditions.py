"""What an autoencoder is told about each patch: numbers and classes, by name or by value, and models by their names."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.methods.latent_presets import NEEDS, PRESETS
from tests.latent.planted import planted

QUICK = {"show_progressbar": False, "batch_size": 64, "steps": 5}


def image_with_species(n=6, side=24):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(n * side, n * side)).astype(np.float32)
    y, x = (side * (one.ravel() + 0.5) for one in np.mgrid[:n, :n])
    kinds = np.array(["Mo", "S"])[(np.arange(n * n) % 3 == 0).astype(int)]
    s = hs.signals.Signal2D(image)
    return s, hs_deepatoms.positions(y, x, columns={"species": kinds, "height": rng.random(n * n)}, signal=s)


def stack_of(data):
    stack = hs.signals.Signal2D(data)
    stack.set_signal_type("atom_patches")
    return stack


def test_a_class_that_is_known_is_drawn_and_not_in_the_latents():
    data, kinds, _ = planted(300)
    names = np.array(["round", "square"])[kinds]
    tree = stack_of(data).rvae(condition=names, latent_dim=1, **{**QUICK, "steps": 200})
    z = tree["latent/z"].values[:, 0]
    assert abs(z[kinds == 0].mean() - z[kinds == 1].mean()) < z.std()  # 1.8 to 2 where the bound alone decides
    drawn = tree.deepatoms.decode([[0.0], [0.0]], condition=["round", "square"]).values
    own = tree.deepatoms.reconstruct(condition=names).values
    other = tree.deepatoms.reconstruct(condition=np.array(["square", "round"])[kinds]).values
    assert np.abs(drawn[0] - drawn[1]).max() > 0.2 * np.ptp(drawn)
    assert ((own - data) ** 2).mean() < 0.5 * ((other - data) ** 2).mean()


def test_columns_are_taken_from_tables(tmp_path):
    s, atoms = image_with_species()
    tree = s.rvae(atoms, window=15, condition=["species", "height"], **QUICK)
    assert tree["latent/z"].notnull().all()
    again = tree.deepatoms.encode(s, atoms)
    np.testing.assert_allclose(again["z"], tree["latent/z"], atol=1e-3)
    by_name = tree.deepatoms.encode(s, atoms, condition=["species", "height"])
    np.testing.assert_array_equal(by_name["z"], again["z"])
    pictures = tree.deepatoms.reconstruct()
    xr.testing.assert_identical(pictures, tree.deepatoms.decode(tree["latent"].to_dataset()))
    tree.deepatoms.save(tmp_path / "one.nc")
    loaded = hs_deepatoms.load(tmp_path / "one.nc")
    np.testing.assert_array_equal(loaded.deepatoms.reconstruct(), pictures)
    both = [loaded.deepatoms.decode([[0.0, 0.0]], condition=[[name, 0.5]]).values for name in ("Mo", "S")]
    assert not np.array_equal(*both)
    assert not np.array_equal(*(tree.deepatoms.manifold(2, condition=[[name, 0.5]]) for name in ("Mo", "S")))
    assert not np.array_equal(*(tree.deepatoms.traverse(0, n=2, condition=[[name, 0.5]]) for name in ("Mo", "S")))


def test_unknown_and_strange_classes():
    data = planted(40)[0]
    names = ["a", "b"] * 19 + ["", None]
    with pytest.warns(UserWarning, match="2 of 40 patches have NaN"):
        tree = stack_of(data).vae(condition=names, **QUICK)
    assert np.isnan(tree["latent/z"]).any("latent").sum() == 2
    with pytest.raises(InvalidArgumentError, match=r"classes c as condition\. Allowed: those learned: a, b"):
        tree.deepatoms.decode([[0.0, 0.0]], condition="c")
    with pytest.raises(InvalidArgumentError, match="no condition"):
        tree.deepatoms.encode(stack_of(data))
    with pytest.raises(InvalidArgumentError, match="the model was trained without"):
        stack_of(data).vae(**QUICK).deepatoms.decode([[0.0, 0.0]], condition="a")


def test_batches_of_one_have_no_correlation():
    data, kinds, _ = planted(40)
    tree = stack_of(data).vae(condition=kinds * 0.5, **{**QUICK, "batch_size": 1})
    assert np.isfinite(tree["latent/z"]).all()


@pytest.mark.parametrize(("condition", "words"), [
    (["a"] * 40, "two or more classes"), (["a", "b"], "the column 'a'"), (np.zeros((40, 1, 1)), "per patch"),
    (np.array([{}] * 40, object), "numbers, or text")])  # fmt: skip
def test_refused(condition, words):
    with pytest.raises(InvalidArgumentError, match=words):
        stack_of(planted(40)[0]).vae(condition=condition, **QUICK)


def test_trees_of_before_load_their_conditions():
    data, kinds, _ = planted(40)
    tree = stack_of(data).vae(condition=kinds.astype(float), **QUICK)
    node = tree["model"].to_dataset()
    mean, deviation = float(kinds.mean()), float(kinds.std())
    node.attrs["condition"] = f"[[{mean}], [{deviation}]]"
    old = xr.DataTree.from_dict({**{name: one.to_dataset() for name, one in tree.children.items()}, "model": node})
    old.attrs = tree.attrs
    again = old.deepatoms.encode(stack_of(data), condition=kinds.astype(float))
    np.testing.assert_allclose(again["z"], tree["latent/z"], atol=1e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset):
    data, kinds, _ = planted(40)
    more = {"discrete": {"discrete": 2}, "condition": {"condition": kinds * 0.5}, "labels": {"labels": kinds}}
    given = more.get(NEEDS.get(preset, ""), {})
    tree = stack_of(data).vae(preset=preset, **given, **QUICK)
    latent = tree["latent"]
    turns = preset in ("rvae", "jrvae", "crvae", "ssrvae")
    assert ("angle" in latent) == turns and ("shift_y" in latent) == (turns or preset == "shift-vae")
    assert ("class" in latent) == (preset in ("jvae", "jrvae", "ssvae", "ssrvae"))
    if given:
        with pytest.raises(InvalidArgumentError, match=f"preset='{preset}' without"):
            stack_of(data).vae(preset=preset, **QUICK)


def test_presets_leave_what_is_given():
    data = planted(40)[0]
    tree = stack_of(data).vae(preset="rVAE", invariances=["rotation"], **QUICK)
    assert "angle" in tree["latent"] and "shift_y" not in tree["latent"]
    with pytest.raises(InvalidArgumentError, match="'shift-vae'"):
        stack_of(data).vae(preset="betavae", **QUICK)
