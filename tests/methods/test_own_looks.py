"""Frames of a stack that are not like the others give what they give alone."""

import json
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import hs_deepatoms.methods.own_looks as own_looks_module
from hs_deepatoms import find_atoms
from hs_deepatoms.simulate.columns import draw_columns

from .conftest import f1_inside, lattice_image

SHAPE = (170, 186)


def crystal(seed, sigma=2.4, spacing=13.0, counts=80.0):
    return lattice_image(SHAPE, spacing, sigma, 0.3 + seed, (1.0,), counts, seed)


def film(seed):
    """Grain as fine as columns and a fraction as high."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.standard_normal(SHAPE), 1.2)
    return rng.poisson(np.clip(24 + 3 * texture / texture.std(), 0, None)).astype(np.float32)


def find(stack, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return find_atoms(stack, show_progressbar=False, **options)


def frame_of(table, k):
    return table.isel(atom=table["nav_0_index"].values == k)


def own_looks(table):
    return json.loads(table.attrs["provenance"])[-1]["parameters"].get("own_column_sigma_px")


@pytest.mark.parametrize("place", [0, 1])
def test_a_film_between_crystals_has_no_atoms(place):
    """In the middle it decided the width of the stack, and had hundreds."""
    frames = [crystal(k) for k in (1, 2)]
    images = [image for image, _, _ in frames]
    images.insert(place, film(3))
    table = find(np.stack(images))
    assert frame_of(table, place).sizes["atom"] == 0
    assert own_looks(table) == {str(place): None}
    for k, (_, y, x) in zip([k for k in range(3) if k != place], frames, strict=True):
        assert f1_inside(frame_of(table, k), y, x, SHAPE, 2.5, 6) > 0.99


def close_packed(seed, radius, spacing=11.0, shape=(240, 220)):
    """A round grain in the middle, or a whole frame of it."""
    rng = np.random.default_rng([0, seed])
    i, j = np.mgrid[-30:30, -30:30].reshape(2, -1)
    turn = rng.uniform(0, 1)
    y, x = spacing * np.sqrt(3) / 2 * i, spacing * (j + 0.5 * i)
    y, x = np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x
    y, x = y + shape[0] / 2, x + shape[1] / 2
    here = np.hypot(y - shape[0] / 2, x - shape[1] / 2) < radius
    here &= (y > 0) & (x > 0) & (y < shape[0] - 1) & (x < shape[1] - 1)
    y, x = y[here], x[here]
    return rng.poisson(10 + 100 * draw_columns(shape, y, x, np.ones(len(y)), 2.4)).astype(np.float32), y, x


def test_a_small_grain_after_crystals_keeps_its_columns():
    """Alone it passes for one wide column, which nobody doubts: 15 of 16 were missed."""
    frames = [close_packed(k, radius) for k, radius in enumerate((200, 200, 200, 22))]
    table = frame_of(find(np.stack([image for image, _, _ in frames])), 3)
    _, y, x = frames[-1]
    assert len(y) == 16 and f1_inside(table, y, x, (240, 220), 2.5, 6) == 1


@pytest.fixture(scope="module")
def of_two_widths():
    """A frame of wide columns between two of narrow ones."""
    return [crystal(1, 1.3, 6.5), crystal(2, 3.6, 17.0), crystal(3, 1.3, 6.5)]


def test_frames_of_another_width_are_found_as_they_are_alone(of_two_widths):
    """At the width of the others nothing at all was found, without a word."""
    stack = np.stack([image for image, _, _ in of_two_widths])
    table = find(stack)
    for k, (image, y, x) in enumerate(of_two_widths):
        there, alone = frame_of(table, k), find(image)
        assert f1_inside(there, y, x, SHAPE, 2.5, 6) > 0.99
        assert abs(there.sizes["atom"] - alone.sizes["atom"]) <= 2
    assert len(own_looks(table)) in (1, 2)
    assert np.array_equal(table["atom"], np.arange(table.sizes["atom"]))
    assert (np.diff(table["nav_0_index"].values) >= 0).all()


def test_laziness_chunks_and_a_store_change_nothing(of_two_widths, tmp_path):
    stack = np.stack([image for image, _, _ in of_two_widths])
    table = find(stack)
    for other in (
        find(da.from_array(stack, chunks=(1, 90, 100))),
        find(da.from_array(stack, chunks=(3, 170, 186)), navigation_chunks=2),
        find(stack, store=tmp_path / "atoms.zarr"),
        find(stack, store=tmp_path / "atoms.zarr"),
    ):
        assert other.sizes == table.sizes and own_looks(other) == own_looks(table)
        for name in ("nav_0_index", "y_px", "x_px", "height", "probability", "quality"):
            np.testing.assert_array_equal(other[name].values, table[name].values)


def test_a_frame_of_a_tenth_of_the_intensity_keeps_the_atoms_that_the_others_help_to_see():
    image, y, x = crystal(4, counts=300.0)
    table = find(np.stack([image, 0.1 * image, image]))
    whole, tenth = (np.column_stack([frame_of(table, k)[n].values for n in ("y_px", "x_px")]) for k in (0, 1))
    assert whole.shape == tenth.shape and np.abs(whole - tenth).max() < 0.05
    assert own_looks(table) is None
    faint = np.random.default_rng(5).poisson(0.02 * image).astype(np.float32)
    helped = frame_of(find(np.stack([image, faint, image])), 1)
    assert f1_inside(helped, y, x, SHAPE, 2.5, 6) >= f1_inside(find(faint), y, x, SHAPE, 2.5, 6) - 0.01


def test_frames_that_are_masked_are_not_looked_at():
    image = crystal(1)[0]
    table = find(np.stack([image, film(3), image]), navigation_mask=np.array([False, True, False]))
    assert own_looks(table) is None and set(np.unique(table["nav_0_index"])) == {0, 2}


def test_a_run_stopped_among_odd_frames_goes_on_from_there(tmp_path, monkeypatch):
    """Each was looked at again, one after another."""
    frames = [crystal(1)[0], film(2), crystal(3)[0], film(4), film(5)]
    stack, seen, look = np.stack(frames), [], own_looks_module.LookAlone.__call__
    whole = find(stack)

    def stop(self, frames, block, *numbers):
        seen.append(block.frames[0])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return look(self, frames, block, *numbers)

    monkeypatch.setattr(own_looks_module.LookAlone, "__call__", stop)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(KeyboardInterrupt):
            find(stack, store=tmp_path / "atoms.zarr")
        table = find(stack, store=tmp_path / "atoms.zarr")
    assert sorted(seen) == sorted([seen[0], seen[1], 1, 3, 4]) and len(set(seen)) == 3
    assert own_looks(table) == own_looks(whole) == {"1": None, "3": None, "4": None}
    for name in ("nav_0_index", "y_px", "x_px", "height"):
        np.testing.assert_array_equal(table[name].values, whole[name].values)


def test_odd_frames_are_looked_at_in_tasks_of_any_scheduler(of_two_widths):
    stack = np.stack([image for image, _, _ in of_two_widths])
    table = find(stack)
    for scheduler in ("synchronous", "processes"):
        with dask.config.set(scheduler=scheduler):
            other = find(stack)
        assert own_looks(other) == own_looks(table)
        np.testing.assert_array_equal(other["y_px"].values, table["y_px"].values)


def test_the_provenance_says_that_a_frame_is_of_the_other_contrast():
    frames = [crystal(1)[0], crystal(2)[0], 130.0 - crystal(3)[0]]
    table = find(np.stack(frames))
    parameters = json.loads(table.attrs["provenance"])[-1]["parameters"]
    assert parameters["own_dark_columns"] == {"2": True} and not parameters["dark_columns"]


def faint_dark(seed):
    """Dark columns in so much noise that many are in doubt."""
    image, y, x = crystal(seed, counts=14.0)
    return (image.max() - image + 30.0).astype(np.float32), y, x


def test_probabilities_of_a_frame_of_the_other_contrast_are_those_of_the_model_that_found_it():
    """Those of the model for dark columns were mapped by what the probabilities of the default one are worth."""
    dark, _, _ = faint_dark(3)
    table, alone = find(np.stack([crystal(1)[0], crystal(2)[0], dark]), threshold=0.06), find(dark, threshold=0.06)
    there = frame_of(table, 2)
    assert json.loads(alone.attrs["provenance"])[-1]["model"]["name"] == "dark"
    parameters = json.loads(table.attrs["provenance"])[-1]
    assert parameters["model"]["name"] == "detector" and parameters["parameters"]["own_model"] == {"2": "dark"}
    assert ((alone["probability"] > 0.1) & (alone["probability"] < 0.9)).sum() > 10
    np.testing.assert_allclose(there["probability"].values, alone["probability"].values, atol=2e-5)
