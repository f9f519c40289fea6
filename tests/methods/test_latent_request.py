"""What is asked of an autoencoder is read along each axis, and what makes no sense, or no difference, is said."""

from __future__ import annotations

import warnings

import hyperspy.api as hs
import numpy as np
import pytest
import torch

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError

QUICK = {"show_progressbar": False, "steps": 2, "grid": 6, "window": 9}


def image():
    return hs.signals.Signal2D(np.random.default_rng(0).random((40, 47)).astype(np.float32))


def test_the_largest_shift_is_read_along_each_axis():
    from hs_deepatoms.methods.latent_use import model_in

    s = image()
    for axis, step in zip(s.axes_manager.signal_axes, (0.02, 0.04), strict=True):
        axis.scale, axis.units = step, "nm"
    options = QUICK | {"invariances": ["shift"]}
    reach = [model_in(s.vae(max_shift=one, **options)["model"].to_dataset()).config["max_shift"]
             for one in ("0.08 nm", 0.08, 2)]  # fmt: skip
    np.testing.assert_allclose(reach, [(2, 4), (2, 4), (2, 2)])


@pytest.mark.parametrize("wrong", [{"steps": "a"}, {"steps": 2.5}, {"max_scale": "a"}, {"max_angle": "a"},
                                   {"learning_rate": "a"}, {"capacity": "a"}, {"invariances": None},
                                   {"invariances": 3}, {"invariances": [["shift"]]}, {"beta": "a"},
                                   {"physics": "edges", "physics_weight": "a"}, {"physics_block": "a"},
                                   {"physics": "edges", "physics_block": ("a", 4)}, {"physics_latents": 0},
                                   {"physics": "edges", "physics_latents": []},
                                   {"physics": "edges", "physics_latents": ["a"]}, {"physics": ["edges"]},
                                   {"encoder": ["dense"]}, {"grid": (3, 4, 5)}, {"grid": np.array([3, 4, 5])},
                                   {"window": (9, 9, 9)}, {"checkpoint": 3},
                                   {"edge": np.array(["drop", "mask"])}])  # fmt: skip
def test_wrong_types_are_refused_by_name(wrong):
    name = list(wrong)[-1]
    with pytest.raises(InvalidArgumentError, match=name):
        image().rvae(**QUICK | wrong)


def test_a_jitter_that_is_no_length_is_refused():
    with pytest.raises(InvalidArgumentError, match="the length 'a'"):
        image().rvae(physics="edges", physics_jitter="a", **QUICK)


def test_wrong_types_of_vae():
    for wrong in ({"variational": "no"}, {"preset": "vae", "invariances": None}):
        with pytest.raises(InvalidArgumentError, match=list(wrong)[-1]):
            image().vae(**QUICK | wrong)


def test_numbers_of_numpy_are_numbers(tmp_path):
    given = {"latent_dim": np.int64(2), "steps": np.int16(4), "max_scale": np.float32(1.1), "beta": np.float32(1.0),
             "max_angle": np.float32(90), "learning_rate": np.float32(1e-3), "capacity": np.float32(1.0),
             "invariances": np.array(["rotation", "scale"]), "physics": "edges", "physics_latents": np.array([1, 0]),
             "physics_watch": np.int64(2), "physics_weight": np.array([0.1, 0.2], np.float32),
             "physics_block": np.array([4, 5]), "physics_jitter": np.int64(1)}  # fmt: skip
    tree = image().rvae(**QUICK | given)
    assert tree["watch/z"].sizes["watch_step"] == 2
    np.testing.assert_allclose(tree["watch/z"][-1], tree["latent/z"][:, 1], atol=0.2)
    table = tree.deepatoms.phases(0, classes=np.int64(3), least=0.0)
    assert set(np.unique(table["phase"])) == {0, 1, 2}
    assert np.isfinite(hs_deepatoms.load(tree.deepatoms.save(tmp_path / "tree.zarr"))["latent/z"]).all()


def test_what_has_no_effect_is_said():
    s = image()
    for idle in ({"physics_weight": 0.3}, {"physics_watch": 2}, {"physics_jitter": "3 px"}, {"physics_latents": [0]}):
        with pytest.warns(UserWarning, match=f"{next(iter(idle))} without physics has no effect"):
            s.rvae(**QUICK | idle)
    for idle, needs in (({"max_scale": 1.1}, "scale"), ({"max_shift": 2}, "shift"), ({"max_angle": 9}, "rotation")):
        with pytest.warns(UserWarning, match=f"{next(iter(idle))} has no effect without the invariance '{needs}'"):
            s.vae(**QUICK | idle)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        s.vae(max_scale=1.1, max_shift=2, max_angle=30, physics_watch=False, physics_jitter=0.0,
              invariances=["rotation", "shift", "scale"], **QUICK)  # fmt: skip
    spectra = hs.signals.Signal1D(np.random.default_rng(0).random((5, 6, 30)))
    with pytest.warns(UserWarning, match="no effect on spectra"):
        spectra.vae(invariances=["rotation"], steps=2, show_progressbar=False)


def test_labels_and_conditions_of_several_types():
    n = image().extract_patches(grid=6, window=9).atoms.sizes["atom"]
    mixed = ["a", 1, "b"] + [None] * (n - 3)
    for option in ("labels", "condition"):
        with pytest.raises(InvalidArgumentError, match=rf"{option} of several types \(int, str\)"):
            image().rvae(**QUICK | {option: mixed})
    for wrong in (5, np.array(5), [[1, 2]] * n):
        with pytest.raises(InvalidArgumentError, match="labels"):
            image().rvae(labels=wrong, **QUICK)


def test_a_loss_of_the_users_own():
    options = QUICK | {"physics_block": 4}
    tree = image().rvae(physics=lambda maps, mask=None: (maps[:, 1:] - maps[:, :-1]).abs().mean((1, 2)), **options)
    assert np.isfinite(tree["history/physics"]).all()
    tree = image().rvae(physics=lambda maps, mask: torch.zeros(len(maps)), **options)  # says nothing of these blocks
    assert (tree["history/physics"] == 0).all()
    wrong = {r"loss\(maps, mask=mask\)": lambda maps: maps.mean((1, 2)),
             "gives float": lambda maps, mask: maps.mean().item(),
             r"shape \(2, 4, 4\)": lambda maps, mask: maps,
             "without a gradient": lambda maps, mask: maps.detach().mean((1, 2))}  # fmt: skip
    for said, loss in wrong.items():
        with pytest.raises(InvalidArgumentError, match=said):
            image().rvae(physics=loss, **options)


def test_traverse_of_no_pictures():
    tree = image().rvae(**QUICK)
    for wrong in ({"n": 2.5}, {"n": 0}, {"n": "a"}, {"span": "a"}):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            tree.deepatoms.traverse(0, **wrong)
    assert tree.deepatoms.traverse(0, n=np.int64(3)).sizes["z"] == 3


def test_a_mask_of_few_ones():
    data = np.zeros((100, 9, 9), np.uint8)
    data[::30, 4, 5] = 1
    stack = hs.signals.Signal2D(data)
    stack.set_signal_type("atom_patches")
    tree = stack.vae(likelihood="bernoulli", steps=3, show_progressbar=False)
    assert '"offset": 0.0, "scale": 1.0' in tree["model"].attrs["scaling"]
    assert np.isfinite(tree["latent/z"]).all()
    with pytest.raises(InvalidArgumentError, match="all the same"):
        stack._deepcopy_with_new_data(np.ones_like(data)).vae(likelihood="bernoulli", steps=3, show_progressbar=False)
