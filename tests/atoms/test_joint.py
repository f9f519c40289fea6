from dataclasses import replace

import numpy as np
import pytest
import torch

from hs_deepatoms.atoms.joint import settle, step
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.refine import begin_fit
from hs_deepatoms.atoms.state import expected
from hs_deepatoms.simulate.columns import draw_columns


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[:5, :6].reshape(2, -1) + 0.5) * 12 + rng.normal(0, 0.5, (2, 30))
    image = draw_columns((60, 75), y, x, np.ones(30), 2.0) + 0.3 + 0.05 * rng.standard_normal((60, 75))
    return begin_fit(image, y + 0.3, x - 0.3, 2.0)


def fresh(state):
    return expected(replace(state, drawn=None))


def test_the_image_that_is_kept_is_that_of_the_state(state):
    one = torch.ones(1, dtype=torch.float64)
    more = Columns(30 * one, 80 * one, 0.5 * one, np.log(2.0) * one, 0 * one, 0 * one)
    moved = step(state.joined(more))
    last = replace(moved, last=torch.ones_like(moved.last))
    for now in (state, state.joined(more), moved, settle(last, 2)):
        torch.testing.assert_close(expected(now), fresh(now), atol=2e-6, rtol=0)
    assert not torch.equal(expected(settle(last, 2)), expected(moved))
