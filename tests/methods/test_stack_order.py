"""What is measured once for a stack does not depend on the order of its frames."""

import warnings

import dask.array as da
import numpy as np
import pytest

from hs_deepatoms import find_atoms
from hs_deepatoms.methods import images, look

from .test_look import single_atoms
from .test_own_looks import SHAPE, crystal, film, frame_of, own_looks

COLUMNS = ("y_px", "x_px", "y_std", "height", "probability", "quality")


def find(stack, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return find_atoms(stack, show_progressbar=False, **options)


def noise(seed):
    return np.random.default_rng(seed).poisson(20.0, SHAPE).astype(np.float32)


def of_frames(table, order=None):
    """The atoms of each frame, in the order that the frames have elsewhere."""
    order = range(int(table["nav_0_index"].max()) + 1) if order is None else order
    places = {frame: place for place, frame in enumerate(order)}
    return [{name: frame_of(table, places[k])[name].values for name in COLUMNS} for k in sorted(places)]


def assert_same(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        for name in COLUMNS:
            np.testing.assert_array_equal(one[name], other[name])


def whole_stack(name):
    dead, blind = np.full(SHAPE, 7.0, np.float32), np.full(SHAPE, np.nan, np.float32)
    frames = {
        "rough films": lambda: [single_atoms(k) for k in range(4)],
        "three widths": lambda: [crystal(1, 1.3, 6.5), crystal(2, 3.6, 17.0), crystal(3, 1.3, 6.5), crystal(5)],
        "dead and faint": lambda: [crystal(1), dead, 0.1 * crystal(2)[0], blind, crystal(3), noise(4)],
        "one crystal": lambda: [film(1), noise(2), noise(3), noise(4), crystal(8)],
        "other contrast": lambda: [crystal(1), 130.0 - crystal(2)[0], crystal(3), 130.0 - crystal(4)[0]],
    }[name]()
    return np.stack([frame[0] if isinstance(frame, tuple) else frame for frame in frames]).astype(np.float32)


@pytest.mark.parametrize("name", ["rough films", "three widths", "dead and faint", "one crystal", "other contrast"])
def test_any_order_of_a_short_stack_gives_the_same_atoms(name):
    """Its scale was that of whichever good frame came first."""
    stack = whole_stack(name)
    n, rng = len(stack), np.random.default_rng(len(name))
    table = find(stack)
    atoms, last = of_frames(table, range(n)), own_looks(table) or {}
    assert sum(len(one["y_px"]) for one in atoms) > 20
    for order in (np.arange(n)[::-1], rng.permutation(n)):
        other = find(stack[order])
        assert_same(of_frames(other, order), atoms)
        assert {str(order[int(k)]): sigma for k, sigma in (own_looks(other) or {}).items()} == last


def test_a_long_stack_that_runs_backwards_gives_the_same_atoms():
    stack = np.stack([single_atoms(k, (100, 130)) for k in range(15)])
    stack[5] = 3  # a beam that was blanked for a moment
    assert_same(of_frames(find(stack[::-1]), range(15)[::-1]), of_frames(find(stack), range(15)))


def test_masked_frames_laziness_and_a_map_of_frames_change_nothing():
    stack = np.stack([single_atoms(k) for k in range(6)])
    stack[4] = film(3)[:152, :186].repeat(2, 1)[:, :200]
    skipped = np.array([False, True, False, False, False, False])
    atoms = of_frames(find(stack, navigation_mask=skipped), range(6))
    order = [3, 1, 5, 0, 2, 4]
    other = find(da.from_array(stack[order], chunks=(2, 152, 100)), navigation_mask=skipped[order])
    assert_same(of_frames(other, order), atoms)
    grid = find(stack.reshape(2, 3, *stack.shape[1:]).swapaxes(0, 1), navigation_mask=skipped.reshape(2, 3).T)
    for k, one in enumerate(atoms):
        here = (grid["nav_1_index"].values == k // 3) & (grid["nav_0_index"].values == k % 3)
        for name in COLUMNS:
            np.testing.assert_array_equal(grid[name].values[here], one[name])


def test_of_three_frames_that_with_the_median_width_is_measured():
    widths = [2.3, 2.4, 2.5]
    stack = np.stack([crystal(k, sigma, counts=300.0)[0] for k, sigma in enumerate(widths)])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]):
        seen = look.look_at(images.read_images(stack[order], operation="find_atoms"), device="cpu")
        assert widths[order[seen.measured]] == 2.4


@pytest.mark.parametrize("n", [0, 1, 2, 11, 12, 13, 14, 25, 40, 501])
def test_frames_looked_at_together_are_the_same_backwards(n):
    frames = np.arange(n) * 3 + 5
    groups, backwards = images.together(frames), images.together(frames[::-1])
    assert sorted(f for group in groups for f in group) == sorted(frames)
    assert [set(group) for group in groups] == [set(group) for group in backwards]
    assert len(groups[0]) == (n if n <= images.SURVEY_ALL else images.SURVEY_SOME)
    if n > images.SURVEY_ALL:
        assert abs(np.mean(groups[0]) - frames.mean()) < 1e-9 and np.ptp(groups[0]) > 0.35 * np.ptp(frames)


def test_of_a_long_lazy_stack_six_frames_are_read():
    read, image = set(), single_atoms(6)

    def load(block_info=None):
        read.add(block_info[None]["array-location"][0][0])
        return image[None]

    stack = da.map_blocks(load, chunks=((1,) * 500, *((n,) for n in image.shape)), dtype=image.dtype, meta=image[None])
    look.look_at(images.read_images(stack, operation="find_atoms"), device="cpu")
    assert len(read) == 6 and sorted(499 - k for k in read) == sorted(read)
