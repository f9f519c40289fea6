"""Whether pixels repeat, a lattice vector away, what stands at faint candidates."""

from types import SimpleNamespace

import numpy as np
import pytest

from hs_deepatoms.atoms.faint import Faint
from hs_deepatoms.atoms.judge import _taken_back
from hs_deepatoms.atoms.repeats import Repeats, moved, repeated
from hs_deepatoms.simulate.background import texture
from hs_deepatoms.simulate.columns import draw_columns

SIGMA, SPACING, SHAPE = 1.5, 9.0, (150, 190)
STEPS = SPACING * np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)], np.float32)


def square_lattice(offset: float) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.meshgrid(np.arange(1, 16), np.arange(1, 20), indexing="ij")
    return (SPACING * i + offset).ravel(), (SPACING * j + offset).ravel()


def looked_at(faint_y, faint_x, ground, faint_height=0.25, excess=1.0):
    """What is repeated of the faint candidates between strong columns on a ground."""
    y, x = square_lattice(0.0)
    image = (draw_columns(SHAPE, y, x, np.ones(len(y)), SIGMA) + ground).astype(np.float32)
    n, k = len(y), len(faint_y)
    height = np.concatenate([np.ones(n), np.full(k, faint_height)])
    fit = SimpleNamespace(
        y=np.concatenate([y, faint_y]),
        x=np.concatenate([x, faint_x]),
        height=height,
        width_y=np.full(n + k, SIGMA),
        width_x=np.full(n + k, SIGMA),
        clearness=50 * height,
    )
    done = SimpleNamespace(
        fit=fit,
        image=image,
        bad=np.zeros(SHAPE, bool),
        noise=SimpleNamespace(high=1.0, excess=excess),
        known=np.ones(n + k, bool),
        rows=np.arange(n + k),
    )
    steps = np.broadcast_to(STEPS, (n + k, 8, 2)).copy()
    points = SimpleNamespace(
        probability=np.concatenate([np.ones(n), np.full(k, 0.5)]),
        fitted={"steps": steps},
    )
    again = repeated(points, Faint.of(points, done, SIGMA))
    return Repeats(again.share[n:], again.telling[n:]), points, done


@pytest.fixture
def weak_ones():
    return square_lattice(SPACING / 2)


def test_columns_of_a_weak_sublattice_are_repeated(weak_ones):
    y, x = weak_ones
    ground = draw_columns(SHAPE, y, x, np.full(len(y), 0.25), SIGMA)
    again, _, _ = looked_at(y, x, ground + 0.01 * np.random.default_rng(0).standard_normal(SHAPE))
    assert np.isfinite(again.share).all() and np.percentile(again.share, 5) > 0.9
    assert (moved(np.full(len(y), 0.3), again, np.full(len(y), np.nan), np.full(len(y), 9.0)) > 0.8).all()


def test_what_a_model_that_does_not_fit_leaves_over_is_no_column_though_it_is_repeated(weak_ones):
    y, x = weak_ones
    ground = draw_columns(SHAPE, y, x, np.full(len(y), 0.25), SIGMA)
    again, _, _ = looked_at(y, x, ground, excess=1.4)
    np.testing.assert_allclose(moved(np.full(len(y), 0.3), again, np.full(len(y), np.nan), np.full(len(y), 9.0)), 0.3)
    beside = square_lattice(0.0)[0] + 2.4 * SIGMA, square_lattice(0.0)[1]  # as the halves of long columns
    again, _, _ = looked_at(*beside, draw_columns(SHAPE, *beside, np.full(len(y), 0.25), SIGMA))
    assert np.nanmedian(again.share) > 0.7
    np.testing.assert_allclose(
        moved(np.full(len(y), 0.3), again, np.full(len(y), np.nan), np.full(len(y), 9.0)).max(), 0.3
    )


def test_the_grain_of_a_film_is_not(weak_ones):
    """Candidates stand on the highest bump near every site of the weak sublattice that is not there."""
    ground = 0.12 * texture(np.random.default_rng(1), SHAPE, 0.75 * SIGMA)
    reach = np.arange(-2, 3)
    y, x = (w.round().astype(int) for w in weak_ones)
    inside = (y < SHAPE[0] - 3) & (x < SHAPE[1] - 3)
    y, x = y[inside], x[inside]
    around = ground[(y[:, None, None] + reach[:, None]), (x[:, None, None] + reach)].reshape(len(y), -1)
    best = around.argmax(1)
    again, _, _ = looked_at(y + reach[best // 5], x + reach[best % 5], ground)
    assert np.isfinite(again.share).mean() > 0.8 and abs(np.nanmedian(again.share)) < 0.15
    assert np.nanmedian(moved(np.full(len(y), 0.6), again, np.zeros(len(y)), np.full(len(y), 9.0))) < 0.6


def test_few_candidates_and_none_without_a_lattice_are_told_nothing_of(weak_ones):
    y, x = (w[:5] for w in weak_ones)
    assert np.isnan(looked_at(y, x, np.zeros(SHAPE))[0].share).all()
    _, points, done = looked_at(*weak_ones, np.zeros(SHAPE))
    del points.fitted["steps"]
    assert np.isnan(repeated(points, Faint.of(points, done, SIGMA)).share).all()
    p = np.array([0.2, 0.7])
    np.testing.assert_array_equal(moved(p, Repeats(np.full(2, np.nan), np.ones(2)), np.zeros(2), np.ones(2)), p)


def test_columns_around_do_not_raise_what_is_much_fainter_than_its_equivalents():
    """What the noise left in an empty site stands among columns that are repeated."""
    p, ratio = np.full(4, 0.5), np.array([-4.6, -2.0, 0.0, np.nan])
    after = moved(p, Repeats(np.full(4, 0.3), np.ones(4)), ratio, np.full(4, 3.0))
    assert after[0] == pytest.approx(0.5) and 0.5 < after[1] < after[2] == after[3]
    lowered = moved(p, Repeats(np.zeros(4), np.ones(4)), ratio, np.full(4, 3.0))
    assert (lowered < 0.5).all()


def test_grain_that_is_plain_to_see_is_lowered_more_than_peaks_of_the_noise():
    """Of peaks of the noise, chosen for being high, a small share is repeated even if there is a column under them."""
    clearness = np.array([1.0, 3.0, 5.0, 9.0, 40.0])
    one = np.ones(5)
    after = moved(0.5 * one, Repeats(-0.2 * one, one), 0 * one, clearness)
    assert after[0] == after[1] > after[2] > after[3] == after[4]
    np.testing.assert_allclose(after[[1, 3]], [0.354, 0.190], atol=1e-3)
    raised = moved(0.5 * one, Repeats(0.3 * one, one), 0 * one, clearness)
    assert (raised == raised[0]).all() and raised[0] > 0.5


def test_what_the_crystal_raised_is_taken_back_for_bumps_only():
    p, seen = np.full(4, 0.9), np.array([0.3, 0.3, 0.3, 0.95])
    uneven, again = np.array([0.4, 0.1, 0.4, 0.4]), np.array([0.0, 0.0, 0.6, 0.0])
    np.testing.assert_allclose(_taken_back(p, seen, uneven, again), [0.3, 0.9, 0.9, 0.9])
    np.testing.assert_array_equal(_taken_back(p, seen, np.full(4, np.nan), again), p)
