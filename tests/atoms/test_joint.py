from dataclasses import replace

import numpy as np
import pytest
import torch

from hs_deepatoms.atoms.equations import matrix, touching, weights_of
from hs_deepatoms.atoms.joint import settle, step, still_moving, verified
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.normal import damped
from hs_deepatoms.atoms.peaks import Columns
from hs_deepatoms.atoms.refine import begin_fit
from hs_deepatoms.atoms.shape import as_ellipses
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


def crowded(width, shape=None):
    """The state of a dense crystal whose columns are wider than the detector thinks, 2.6 px."""
    i, j = np.mgrid[-12:13, -12:13].reshape(2, -1)
    y, x = 55 + 11.2 * (0.955 * i + 0.296 * j), 60 + 11.2 * (-0.296 * i + 0.955 * j)
    image = np.random.default_rng(0).poisson(1e5 * (draw_columns((110, 121), y, x, np.ones(625), 2.6) + 0.1)) / 1e5
    inside = (y > 2) & (x > 2) & (y < 107) & (x < 118)
    state = replace(begin_fit(image, y[inside], x[inside], 2.6, noise="poisson"), judged=True)
    state = state if shape is None else as_ellipses(state, shape)
    table = state.columns.table.clone()
    table[:, 3] = np.log(width)
    if shape is not None:
        table[:, 4:] = torch.tensor(shape, dtype=table.dtype)
    return replace(state, columns=Columns.of(table), start=Columns.of(table))


def dense(normal):
    """The whole matrix, with a diagonal of ones."""
    i, j, blocks = normal.pairs
    normal = replace(normal, pairs=(i, j, blocks.double()), ground=normal.ground.double(), raised={})
    n, k, m = *normal.own.shape[:2], len(normal.splines.values)
    out = np.empty((n * k + m, n * k + m))
    for c, unit in enumerate(torch.eye(n * k + m, dtype=torch.float64)):
        a, b = normal.times(unit[: n * k].reshape(n, k), unit[n * k :])
        out[c] = torch.cat([a.reshape(-1), b])
    root = np.sqrt(np.diagonal(out))
    return out / root / root[:, None]


@pytest.mark.parametrize(("width", "shape"), [(3.4, None), (3.0, (0.15, -0.15)), (3.4, (0.4, 0.0))])
def test_equations_of_dense_columns_wider_than_thought_are_positive(width, shape):
    """Pairs left out made the matrix indefinite: of a real image half of the columns did not converge."""
    assert np.linalg.eigvalsh(dense(damped(matrix(crowded(width, shape)), 0.003)))[0] > 0.001


def test_pairs_touch_by_their_own_widths():
    state = crowded(3.4)
    c = state.columns
    apart = torch.cdist(c.table[:, :2], c.table[:, :2]).triu(1)
    assert len(touching(state)[0]) == int(((apart > 0) & (apart < 7.2 * 3.4)).sum())
    assert len(touching(state.kept(torch.arange(len(c)) < 0))[0]) == 0


def test_a_solution_keeps_bounds_where_the_matrix_is_not_positive():
    normal = damped(matrix(crowded(3.0)), 0.003)
    a = torch.from_numpy(np.random.default_rng(0).standard_normal(normal.own.shape[:2]))
    b = torch.zeros(len(normal.splines.values), dtype=torch.float64)
    usual = kernels(a).solve(normal, a, b)[0]
    i, j, blocks = normal.pairs
    spoilt = replace(normal, pairs=(i, j, 1.3 * blocks), raised={})
    assert np.linalg.eigvalsh(dense(spoilt))[0] < 0
    assert kernels(a).solve(spoilt, a, b, accuracy=1e-6)[0].abs().max() < 1.5 * usual.abs().max()


def test_damping_of_faint_columns_does_not_depend_on_the_window(state):
    """By the median of each window's own columns those beyond a rim were damped otherwise in a tile."""
    usual = Noise(0.0, 1.0, 0.0, 1e-12, usual=20.0, log_width=0.7, height=2.0).information()
    few, all_of_them = (damped(matrix(s), 0.01, usual) for s in (state.kept(torch.arange(7)), state))
    bare = matrix(state).own.diagonal(dim1=1, dim2=2)
    meant = torch.maximum(bare, 0.1 * torch.tensor(usual[:4]))
    torch.testing.assert_close(all_of_them.own.diagonal(dim1=1, dim2=2), bare + 0.01 * meant)
    added = few.own.diagonal(dim1=1, dim2=2) - matrix(state.kept(torch.arange(7))).own.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(added[:, 2], 0.01 * torch.full((7,), 10.0).double().maximum(added[:, 2] / 0.01))


def test_a_first_step_that_adds_little_to_the_misfit_stands(state):
    first = step(replace(state, judged=True))
    better = replace(first.before[1], misfit=0.95 * first.before[1].misfit)
    now = replace(first, change=1.0, before=(first.before[0], better), splines=first.splines + 0.0)
    misfit = weights_of(now)[2]
    for share, stands in ((1 / 1.01, True), (1 / 1.05, False)):
        before = first.before[0], replace(better, misfit=share * misfit)
        assert (verified(replace(now, before=before)).taken == 1) == stands
    later = replace(now, taken=4, before=(first.before[0], replace(better, misfit=misfit / 1.01)))
    assert verified(later).taken == 0


def test_steps_go_on_for_the_columns_that_are_asked_for(state):
    now = step(step(replace(state, judged=True)))
    far = torch.full_like(now.ahead, 0.0)
    far[:6] = 100.0
    now = replace(now, ahead=far)
    asked = torch.ones_like(now.free)
    asked[:6] = False
    assert still_moving(now)
    assert not still_moving(replace(now, wanted=asked))


def test_what_is_kept_of_a_window_is_only_that_of_whole_ones():
    """A factor of all pixels alike served windows with holes, too, would it not be told apart."""
    image, y, x = np.random.default_rng(0).random((57, 71)), np.array([20.0, 40.0]), np.array([30.0, 50.0])
    holed = image.copy()
    holed[30:44, 20:39] = np.nan
    first = [begin_fit(v, y, x, 2.0).splines for v in (holed, image, holed, image)]
    again = begin_fit(image, y, x, 2.0)
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], first[3])
    assert not torch.allclose(first[0], first[1], rtol=1e-3)
    assert begin_fit(image + 1, y, x, 2.0).ground is again.ground
    assert begin_fit(image, y, x, 2.0, origin=(0, 3)).ground is not again.ground
