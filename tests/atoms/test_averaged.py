"""What stands on average where lattice vectors lead from faint candidates, and what it makes of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hs_deepatoms.atoms import averaged as module
from hs_deepatoms.atoms.averaged import averaged, features, raised
from hs_deepatoms.atoms.faint import Faint
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.methods.find_atoms import find_atoms
from hs_deepatoms.simulate.columns import draw_columns

SIGMA, SPACING, SHAPE, NOISE = 1.5, 9.0, (150, 190), 0.3
STEPS = SPACING * np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)], np.float32)
RATIO = np.sqrt(np.pi) * SIGMA / NOISE  # signal-to-noise ratio of a column of height 1


def square_lattice(offset: float) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.meshgrid(np.arange(1, 16), np.arange(1, 20), indexing="ij")
    return (SPACING * i + offset).ravel(), (SPACING * j + offset).ravel()


def looked_at(height: float, gone=(), seed=0):
    """The faint candidates of a weak sublattice of that height, fitted where they are, between strong columns."""
    y, x = square_lattice(0.0)
    faint_y, faint_x = square_lattice(SPACING / 2)
    heights = np.full(len(faint_y), height)
    heights[list(gone)] = 0
    image = draw_columns(SHAPE, y, x, np.full(len(y), 3.0), SIGMA) + draw_columns(
        SHAPE, faint_y, faint_x, heights, SIGMA
    )
    image = (image + NOISE * np.random.default_rng(seed).standard_normal(SHAPE)).astype(np.float32)
    n = len(y)
    all_heights = np.concatenate([np.full(n, 3.0), heights])
    fit = SimpleNamespace(y=np.append(y, faint_y), x=np.append(x, faint_x), height=all_heights,
                          width_y=np.full(2 * n, SIGMA), width_x=np.full(2 * n, SIGMA),
                          clearness=RATIO * all_heights)  # fmt: skip
    noise = Noise(0.0, NOISE**2, 0.0, 1e-6, high=3.0)
    done = SimpleNamespace(fit=fit, image=image, bad=np.zeros(SHAPE, bool), noise=noise, known=np.ones(2 * n, bool),
                           rows=np.arange(2 * n))  # fmt: skip
    probability = np.concatenate([np.ones(n), np.full(n, 0.2)])
    steps = np.broadcast_to(STEPS, (2 * n, 8, 2)).copy()
    evidence = np.tile(np.array([-1.4, 1.0], np.float32), (2 * n, 1))
    points = SimpleNamespace(probability=probability, fitted={"steps": steps, "evidence": evidence})
    mean = averaged(points, Faint.of(points, done, SIGMA), np.ones(2 * n, bool))
    assert np.isnan(mean[:n]).all()  # plain columns are not asked about
    return mean[n:], points, done


def judged(mean: np.ndarray, p=0.2, seen=0.1):
    one = np.ones(len(mean))
    return raised(p * one, mean, features(p * one, seen * one, np.tile([-1.4, 1.0], (len(mean), 1)), mean))


def test_the_mean_tells_a_weak_sublattice_though_its_columns_hardly_stand_out_of_the_noise():
    height = 2.5 / RATIO
    there, nothing = looked_at(height)[0], looked_at(0.0)[0]
    assert np.isfinite(there).all() and np.isfinite(nothing).all()
    assert np.std(there[:, 0]) == pytest.approx(1.0, abs=0.25)  # a ratio to the noise varies by one
    # above the ground around, which the sublattice itself brightens
    assert 1.0 < np.median(there[:, 1]) < 2.0 and abs(np.median(nothing[:, 1])) < 0.2
    assert np.quantile(there[:, 1], 0.05) > np.quantile(nothing[:, 1], 0.95)
    assert np.median(judged(there)) > 0.25 > 0.21 > np.quantile(judged(nothing), 0.9)


def test_an_empty_site_of_a_plain_sublattice_is_not_raised():
    gone = [100, 140, 155, 200]
    mean, _, _ = looked_at(7.0 / RATIO, gone)
    after = judged(mean)
    assert (after[gone] < 0.5).all() and (np.delete(after, gone) > 0.5).mean() > 0.95


def test_nothing_is_told_without_a_crystal_or_places():
    _, points, done = looked_at(0.2)
    faint = Faint.of(points, done, SIGMA)
    n = len(points.probability)
    assert np.isnan(averaged(points, faint, np.zeros(n, bool))).all()
    points.fitted["evidence"][:] = np.nan
    assert np.isnan(averaged(points, faint, np.ones(n, bool))).all()
    points.fitted["evidence"][:] = 0
    points.fitted["steps"][:] *= 100  # out of the image
    assert np.isnan(averaged(points, faint, np.ones(n, bool))).all()
    del points.fitted["evidence"]
    assert np.isnan(averaged(points, faint, np.ones(n, bool))).all()
    p = np.array([0.2, 0.7])
    unknown = np.full((2, 2), np.nan)
    np.testing.assert_array_equal(raised(p, unknown, features(p, p, unknown, unknown)), p)


def test_sums_of_lattice_vectors_do_not_count_the_candidate_itself():
    """A single bright spot in an empty crystal is not its own equivalent."""
    _, points, done = looked_at(0.0)
    n = len(points.probability) // 2
    y, x = (v[n + 150] for v in (done.fit.y, done.fit.x))
    done.image[:] += draw_columns(SHAPE, [y], [x], np.array([5 / RATIO]), SIGMA).astype(np.float32)
    mean = averaged(points, Faint.of(points, done, SIGMA), np.ones(2 * n, bool))[n + 150]
    assert mean[0] > 3 and abs(mean[1]) < 0.6


def test_a_mean_raises_and_never_lowers_and_without_a_jump():
    there = np.linspace(-1, 3, 81)
    mean = np.column_stack([np.full(81, 1.5), there])
    for p in (0.05, 0.3, 0.9):
        after = judged(mean, p)
        assert (after >= p).all() and np.abs(np.diff(after)).max() < 0.12
        np.testing.assert_array_equal(after[there <= module.NOTHING], p)


def test_a_sublattice_of_which_few_columns_are_seen_is_found_and_its_empty_sites_are_not():
    """Without the averages 44 % of these columns are found."""
    rng = np.random.default_rng(3)
    (y, x), (weak_y, weak_x) = square_lattice(0.0), square_lattice(SPACING / 2)
    gone, ground = rng.random(len(weak_y)) < 0.05, 20.0
    weak = 2.3 * np.sqrt(ground / np.pi) / SIGMA  # of a signal-to-noise ratio of 2.3
    expected = ground + draw_columns(SHAPE, y, x, np.full(len(y), 5 * weak), SIGMA)
    expected += draw_columns(SHAPE, weak_y[~gone], weak_x[~gone], np.full((~gone).sum(), weak), SIGMA)
    table = find_atoms(rng.poisson(expected).astype(np.float32), show_progressbar=False)
    place = np.column_stack([table.y_px, table.x_px])
    inside = (weak_y < SHAPE[0] - 5) & (weak_x < SHAPE[1] - 5)
    distance = np.hypot(*(np.column_stack([weak_y, weak_x])[:, None] - place).transpose(2, 0, 1)).min(1)
    found = distance < 1.5 * SIGMA
    assert found[inside & ~gone].mean() > 0.65
    assert found[inside & gone].mean() < 0.34


def test_noise_that_is_correlated_is_no_sublattice():
    """In the hollows of a blurred lattice grains stand that are several times as high as those of white noise."""
    rng = np.random.default_rng(0)
    y, x = (8.0 + 12.0 * w.ravel() for w in np.mgrid[:14, :14])
    image = gaussian_filter(
        rng.poisson(20 + draw_columns((172, 172), y, x, np.full(196, 20.0), 1.9)).astype(float), 1.2
    )
    table = find_atoms(image, show_progressbar=False)
    place, true = np.column_stack([table.y_px, table.x_px]), np.column_stack([y, x])
    distance = np.hypot(*(place[:, None] - true).transpose(2, 0, 1)).min(1)
    assert (distance < 2).sum() == 196 and (distance > 2).sum() <= 2


def test_clearness_is_a_ratio_to_the_noise_whatever_its_grain():
    flat = np.random.default_rng(5).standard_normal(SHAPE)
    for blur in (0.0, 1.5):
        image = (gaussian_filter(flat, blur) if blur else flat).astype(np.float32)
        fit = SimpleNamespace(
            y=np.zeros(0), x=np.zeros(0), height=np.zeros(0), width_y=np.zeros(0), width_x=np.zeros(0)
        )
        done = SimpleNamespace(fit=fit, image=image, bad=np.zeros(SHAPE, bool), known=np.zeros(0, bool),
                               noise=Noise(0.0, float(image.var()), 0.0, 1e-6))  # fmt: skip
        clearness = Faint(done, np.zeros(0, bool), SIGMA).clearness
        assert np.std(clearness) == pytest.approx(1.0, abs=0.12)
