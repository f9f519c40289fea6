import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.spectra.blocks import (
    LOOK,
    TEST,
    TRAIN,
    WIDE,
    block_splits,
    default_folds,
    given_split,
    random_split,
    small_blocks,
)


def nearest(first, second):
    """Smallest distance (the larger of the two axes') between pixels of two parts."""
    a, b = np.argwhere(first), np.argwhere(second)
    return min(int(np.abs(b - one).max(1).min()) for one in a)


@pytest.mark.parametrize(("shape", "gap"), [((64, 80), 8), ((90, 61), 5), ((128, 128), 12)])
def test_no_window_of_the_test_overlaps_one_of_the_training(shape, gap):
    (split,) = block_splits(np.ones(shape, bool), gap, 1, seed=3)
    assert nearest(split.of(TEST), split.of(TRAIN) | split.of(LOOK)) >= gap
    assert nearest(split.of(LOOK), split.of(TRAIN)) >= gap
    assert split.of(TRAIN).mean() > 0.2 and split.of(TEST).mean() > 0.04


@pytest.mark.parametrize("shape", [(50, 40), (40, 51)])
def test_folds_hold_out_every_spectrum_once(shape):
    valid = np.ones(shape, bool)
    valid[3:6, 7:9] = False
    splits = block_splits(valid, 6, 5, seed=0)
    assert len(splits) == 5
    np.testing.assert_array_equal(sum(split.of(TEST).astype(int) for split in splits), valid.astype(int))
    for split in splits:
        assert nearest(split.of(TEST), split.of(TRAIN) | split.of(LOOK)) >= 6
        assert split.of(TRAIN).any() and split.of(LOOK).any()
        assert not (split.of(TRAIN) & split.of(LOOK)).any()


def test_seed_chooses_the_blocks():
    valid = np.ones((80, 80), bool)
    parts = [block_splits(valid, 5, 1, seed=seed)[0].part for seed in (0, 0, 1, 2)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert any((parts[0] != other).any() for other in parts[2:])


def test_given_test_pixels():
    given = np.zeros((60, 60), bool)
    given[:, 40:] = True
    (split,) = given_split(np.ones((60, 60), bool), given, 6, 0)
    np.testing.assert_array_equal(split.of(TEST), given)
    assert nearest(split.of(TEST), split.of(TRAIN)) >= 6


def test_random_pixels_take_all_valid_ones():
    valid = np.ones((30, 30), bool)
    valid[0] = False
    (split,) = random_split(valid, 0)
    assert (split.part[0] == -1).all() and (split.part[1:] >= 0).all()


def test_a_map_without_room_for_the_gap_is_refused():
    with pytest.raises(InvalidArgumentError, match="smaller window"):
        block_splits(np.ones((12, 12), bool), 14, 5, 0)


@pytest.mark.parametrize(("shape", "side"), [((256, 256), 5), ((61, 40), 12), ((3, 7), 5)])
def test_no_small_block_is_a_strip_along_the_rim(shape, side):
    block = small_blocks(shape, side)
    for size, numbers in zip(shape, (block[:, 0] // WIDE, block[0] % WIDE), strict=True):
        _, count = np.unique(numbers, return_counts=True)
        assert (np.diff(numbers) >= 0).all() and numbers[0] == 0 and numbers[-1] == len(count) - 1
        assert min(side, size) <= count.min() <= count.max() < 2 * side
    assert (block == block[:, :1] + block[:1] - block[0, 0]).all()


def test_small_maps_have_folds():
    assert default_folds(2000, (40, 50), 8) == 5 and default_folds(65536, (256, 256), 16) == 3
    assert default_folds(512**2, (512, 512), 16) == 1
