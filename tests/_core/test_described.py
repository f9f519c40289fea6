"""Descriptions that are the same in every process and differ where objects do."""

import subprocess
import sys
from functools import partial

import numpy as np

from hs_deepatoms._core.described import described
from hs_deepatoms.training.augmentation import Augmentation


class Shift:
    """A change of the user's own."""

    def __init__(self, by):
        self.by, self.itself = by, self

    def __call__(self, image, mask, rng):
        return image + self.by, mask


def test_no_memory_address_and_no_two_alike():
    things = [Augmentation(custom=(Shift(k),)) for k in (1, 2)] + [partial(np.roll, shift=k) for k in (1, 2)]
    things += [Shift(np.arange(k)) for k in (3, 4)] + [Shift(3).__call__, None, "None", 1.0, [1.0], {"a": 1.0}]
    told = [described(one) for one in things]
    assert len(set(told)) == len(told) and not any("0x" in one for one in told)
    assert described(Augmentation(custom=(Shift(1),))) == told[0]
    assert described(partial(np.roll, shift=1)) == told[2]


def test_another_process_says_the_same():
    script = ("from functools import partial; from hs_deepatoms._core.described import described;"
              "print(described([partial(max, key=len), {'b', 'a'}, object()]))")  # fmt: skip
    said = {subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
            for _ in range(2)}  # fmt: skip
    assert len(said) == 1 and "0x" not in said.pop()
