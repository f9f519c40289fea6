import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.noise import Noise, noise_of
from hs_deepatoms.atoms.refine import fit_columns
from hs_deepatoms.simulate.columns import draw_columns


def lattice(n=18, spacing=14.0, sigma=2.5, peak=50.0, background=5.0, seed=0, loose=1.5):
    """Counts, and columns displaced at random from a square lattice."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * spacing + loose * rng.standard_normal((2, n * n))
    side = int(n * spacing)
    expected = draw_columns((side, side + 3), y, x, np.full(n * n, peak), sigma) + background
    return rng.poisson(expected).astype(np.float32), y, x, rng


def scaled(image):
    low, middle, high = np.percentile(image, [0.5, 50, 99.5])
    return (image - middle) / (high - low), high - low


def inner_error(fit, y, x, shape, margin=9):
    """Errors (m, 2) and stated deviations of the fitted columns inside, by nearest true column."""
    distance, j = cKDTree(np.column_stack([y, x])).query(np.column_stack([fit.y, fit.x]))
    inside = (y[j] > margin) & (y[j] < shape[0] - margin) & (x[j] > margin) & (x[j] < shape[1] - margin)
    use = inside & (distance < 2.5) & fit.converged
    return np.column_stack([fit.y - y[j], fit.x - x[j]])[use], np.column_stack([fit.y_std, fit.x_std])[use]


def bound(peak, background, sigma):
    """Cramer-Rao bound of one coordinate of an isolated column under Poisson noise, pixels."""
    y, x = np.mgrid[-12:13, -12:13]
    bell = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    return ((peak * bell * y / sigma**2) ** 2 / (peak * bell + background)).sum() ** -0.5


@pytest.mark.parametrize("how", ["quick", "full"])
@pytest.mark.parametrize(("peak", "background"), [(10, 5), (200, 20)])
def test_errors_reach_the_bound_and_are_stated(peak, background, how):
    image, y, x, rng = lattice(peak=peak, background=background)
    start = y + 0.4 * rng.standard_normal(len(y)), x + 0.4 * rng.standard_normal(len(x))
    error, std = inner_error(fit_columns(scaled(image)[0], *start, 2.7, how=how), y, x, image.shape)
    rms = np.sqrt((error**2).mean())
    assert rms == pytest.approx(bound(peak, background, 2.5), rel=0.08)
    assert 0.62 < (np.abs(error) < std).mean() < 0.75 and 0.93 < (np.abs(error) < 2 * std).mean() < 0.98


def test_no_pull_towards_a_lattice():
    image, y, x, rng = lattice(peak=200, background=20)
    grid = (np.mgrid[:18, :18].reshape(2, -1) + 0.5) * 14.0
    fit = fit_columns(scaled(image)[0], y + 0.4 * rng.standard_normal(len(y)), x.copy(), 2.5)
    assert np.polyfit(y - grid[0], fit.y - grid[0], 1)[0] == pytest.approx(1, abs=0.02)


def test_heights_widths_and_background():
    image, y, x, _ = lattice(peak=400, background=40)
    pixels, span = scaled(image)
    fit = fit_columns(pixels, y, x, 2.7)
    assert np.median(fit.height) * span == pytest.approx(400, rel=0.02)
    assert np.median(fit.width_y) == pytest.approx(2.5, rel=0.01)
    assert np.median(fit.background) * span + np.median(image) == pytest.approx(40, abs=3)
    assert np.median(fit.intensity) * span == pytest.approx(2 * np.pi * 2.5**2 * 400, rel=0.03)


def test_neighbours_that_overlap():
    rng = np.random.default_rng(1)
    centre = np.mgrid[:12, :12].reshape(2, -1) * 30.0 + 15 + rng.standard_normal((2, 144))
    angle = rng.uniform(0, np.pi, 144)
    half = 3.75 * np.stack([np.sin(angle), np.cos(angle)])
    y, x = np.concatenate([centre - half, centre + half], 1)
    image = rng.poisson(draw_columns((360, 363), y, x, np.full(288, 100.0), 2.5) + 5).astype(np.float32)
    start = y + 0.4 * rng.standard_normal(288), x + 0.4 * rng.standard_normal(288)
    error, std = inner_error(fit_columns(scaled(image)[0], *start, 2.5), y, x, image.shape)
    assert 0.62 < (np.abs(error) < std).mean() < 0.75
    assert np.sqrt((error**2).mean()) < 1.1 * np.sqrt((std**2).mean())


def test_a_missed_neighbour_is_added():
    image, y, x, rng = lattice(peak=200, background=20)
    seen = rng.random(len(y)) > 0.03
    fit = fit_columns(scaled(image)[0], y[seen], x[seen], 2.6, how="full")
    assert (fit.origin < 0).sum() == pytest.approx((~seen).sum(), abs=1)
    error, _ = inner_error(fit, y, x, image.shape)
    assert np.sqrt((error**2).mean()) == pytest.approx(bound(200, 20, 2.5), rel=0.12)


def test_a_false_column_on_empty_ground_keeps_its_place_and_says_so():
    image, y, x, _ = lattice(peak=200, background=20)
    false = np.array([28.0, 98.0]), np.array([126.0, 56.0])  # between four columns
    fit = fit_columns(scaled(image)[0], np.append(y, false[0]), np.append(x, false[1]), 2.5)
    assert fit.converged[:-2].mean() > 0.99 and not fit.converged[-2:].any()
    assert fit.y[-2:] == pytest.approx(false[0])


def test_elliptical_columns():
    rng = np.random.default_rng(3)
    y, x = (np.mgrid[:8, :9].reshape(2, -1) + 0.5) * 16 + rng.standard_normal((2, 72))
    rows, columns = np.mgrid[:128, :144]
    turn, long, short = 0.5, 3.2, 2.2  # the long axis 0.5 rad from +x towards +y
    u = (rows[..., None] - y) * np.cos(turn) - (columns[..., None] - x) * np.sin(turn)
    v = (rows[..., None] - y) * np.sin(turn) + (columns[..., None] - x) * np.cos(turn)
    image = rng.poisson(200 * np.exp(-0.5 * ((u / short) ** 2 + (v / long) ** 2)).sum(-1) + 20.0)
    fit = fit_columns(scaled(image)[0], y, x, 2.6, how="full", elliptical=True)
    assert np.median(fit.width_x) == pytest.approx(long, rel=0.02)
    assert np.median(fit.width_y) == pytest.approx(short, rel=0.02)
    assert np.median(fit.rotation) == pytest.approx(turn, abs=0.03)


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one(n):
    image, y, x, _ = lattice(n=3, peak=200)
    fit = fit_columns(scaled(image)[0], y[:n], x[:n], 2.5)
    assert len(fit.y) == n and len(fit.converged) == n


def test_pixels_that_are_left_out():
    image, y, x, rng = lattice(peak=400, background=20)
    pixels = scaled(image)[0]
    whole = fit_columns(pixels, y, x, 2.5)
    pixels[60] = np.nan
    valid = np.ones(image.shape, bool)
    hot = rng.integers(0, 250, (2, 10))
    pixels[tuple(hot)] = 100
    valid[tuple(hot)] = False
    part = fit_columns(pixels, y, x, 2.5, valid=valid)
    assert np.abs(part.y - whole.y).max() < 0.05 and np.abs(part.x - whole.x).max() < 0.05


def test_noise_relation_is_found():
    rng = np.random.default_rng(0)
    mean = torch.as_tensor(rng.uniform(10, 200, 60_000))
    rest = torch.as_tensor(rng.standard_normal(60_000)) * torch.sqrt(3.0 * mean + 40)
    noise = noise_of(mean, rest, 0)
    assert noise.gain == pytest.approx(3.0, rel=0.05)
    assert float(noise.variance(torch.tensor(100.0))) == pytest.approx(340, rel=0.05)
    assert noise_of(mean, rest, 0, "gaussian").gain == 0


@pytest.mark.parametrize("ratio", [1.0, 1 / 3])
def test_the_missed_half_of_a_pair_is_added(ratio):
    rng = np.random.default_rng(2)
    centre = np.mgrid[:10, :10].reshape(2, -1) * 30.0 + 15 + rng.standard_normal((2, 100))
    angle = rng.uniform(0, np.pi, 100)
    half = 3.75 * np.stack([np.sin(angle), np.cos(angle)])  # three sigmas apart
    y, x = np.concatenate([centre - half, centre + half], 1)
    height = np.repeat([200.0, 200.0 * ratio], 100)
    image = rng.poisson(draw_columns((300, 303), y, x, height, 2.5) + 5).astype(np.float32)
    seen = np.arange(200) < 190  # ten of the second halves are missed
    fit = fit_columns(scaled(image)[0], y[seen], x[seen], 2.5, how="full")
    distance, _ = cKDTree(np.column_stack([fit.y, fit.x])).query(np.column_stack([y, x]))
    assert (distance < 1).mean() >= 0.99 and len(fit.y) <= 202


def unresolved(spacing, noise, sigma=3.0, n=14, seed=0):
    """Smooth noise on columns a few sigmas apart, which heights, widths and background hardly tell from each other."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * spacing * sigma + 0.05 * sigma * rng.standard_normal((2, n * n))
    shape = (int(n * spacing * sigma), int(n * spacing * sigma) + 1)
    image = draw_columns(shape, y, x, rng.uniform(0.8, 1.2, n * n), sigma)
    rough = gaussian_filter(rng.standard_normal(shape), 1.5)
    return scaled(image + noise / rough.std() * rough)[0].astype(np.float32), *(
        p + 0.4 * rng.standard_normal(n * n) for p in (y, x)
    )


@pytest.mark.parametrize(
    ("how", "spacing", "noise", "n"),
    [("quick", 2.2, 0.002, 18), ("full", 2.5, 0.05, 12), ("full", 2.8, 0.002, 12)],
)
def test_unresolved_columns_stand_still_when_the_image_is_scaled(how, spacing, noise, n):
    """A last digit of the image is not blown up, and no column takes the place of another."""
    image, y, x = unresolved(spacing, noise, n=n)
    std, rng = np.full(len(y), 0.3), np.random.default_rng(1)
    fit = fit_columns(image, y, x, 3.0, std=std, how=how)
    seen = fit.origin >= 0
    away = np.hypot(fit.y[seen] - y[fit.origin[seen]], fit.x[seen] - x[fit.origin[seen]])
    assert away.max() < 3.0
    nudge = 1e-5 * rng.standard_normal((2, len(y)))  # as the detector's places change by rounding
    for again in (image * np.float32(1.001), image + np.float32(1e-6), image + np.float32(100) - np.float32(100)):
        other = fit_columns(again, y + nudge[0], x + nudge[1], 3.0, std=std, how=how)
        assert len(other.y) == len(fit.y)
        assert np.hypot(other.y - fit.y, other.x - fit.x).max() < 0.05


@pytest.mark.parametrize("spacing", [6.0, 10.0])
def test_every_column_of_a_dense_lattice_has_an_error_bar(spacing):
    """Three and five sigmas apart, where neighbours and background share much of their information."""
    image, y, x, rng = lattice(n=20, spacing=spacing, sigma=2.0, peak=200, background=20, loose=0.2)
    start = y + 0.2 * rng.standard_normal(len(y)), x + 0.2 * rng.standard_normal(len(x))
    error, std = inner_error(fit_columns(scaled(image)[0], *start, 2.0), y, x, image.shape)
    assert std.min() > 0.9 * bound(200, 20, 2.0) and std.max() < 3 * np.median(std)
    assert 0.6 < (np.abs(error) < std).mean() < 0.76


def test_error_bars_hold_what_few_steps_leave_over():
    """Bright columns three sigmas apart: four steps do not quite arrive."""
    errors = []
    for seed in range(2):
        image, y, x, rng = lattice(n=20, spacing=6.0, sigma=2.0, peak=2000, background=20, loose=0.2, seed=seed)
        start = y + 0.2 * rng.standard_normal(len(y)), x + 0.2 * rng.standard_normal(len(x))
        errors.append(inner_error(fit_columns(scaled(image)[0], *start, 2.0, how="quick"), y, x, image.shape))
    error, std = (np.concatenate(v) for v in zip(*errors, strict=True))
    assert np.sqrt((error**2).mean()) < 1.06 * np.sqrt((std**2).mean())


def test_nothing_is_added_to_an_image_without_noise():
    _, y, x, _ = lattice(n=10)
    image = draw_columns((140, 143), y, x, np.full(100, 1.0), 2.5)
    fit = fit_columns(image, y, x, 2.5, how="full")
    assert len(fit.y) == 100 and np.abs(fit.y - y).max() < 0.02


def test_hardly_a_valid_pixel():
    image, y, x, _ = lattice(n=6)
    valid = np.zeros(image.shape, bool)
    valid[3, 4] = True
    assert len(fit_columns(scaled(image)[0], y, x, 2.5, valid=valid).y) == 36


@pytest.mark.parametrize("how", ["quick", "full"])
@pytest.mark.parametrize("seed", range(6))
def test_columns_over_no_data_are_not_called_fitted(how, seed):
    """Half of the image is masked, and single pixels of it are not: nothing breaks, and no height runs away."""
    image, y, x, rng = lattice(n=9, peak=200, background=20, seed=seed)
    valid = np.ones(image.shape, bool)
    valid[:, image.shape[1] // 2 :] = rng.random((image.shape[0], image.shape[1] - image.shape[1] // 2)) < 0.002
    start = y + 0.5 * rng.standard_normal(len(y)), x + 0.5 * rng.standard_normal(len(x))
    fit = fit_columns(scaled(image)[0], *start, 2.5, valid=valid, how=how)
    assert np.isfinite(fit.y).all() and fit.converged[fit.x < image.shape[1] / 2 - 6].all()
    assert np.abs(fit.height[fit.converged]).max() < 5


def test_a_fit_gives_its_memory_back_at_once():
    """Nothing of it waits for the cyclic garbage collector."""
    import gc

    from hs_deepatoms.atoms.normal import Elimination

    image, y, x, _ = lattice(n=6)
    gc.collect()
    gc.disable()
    try:
        fit_columns(scaled(image)[0], y, x, 2.5)
        assert not any(isinstance(thing, Elimination) for thing in gc.get_objects())
    finally:
        gc.enable()


def test_clearness_tells_columns_from_empty_places():
    """A place with nothing in it stands near 0 errors; columns by their matched-filter ratio."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:60, :80]
    y, x = np.array([15.0, 30.0, 44.0]), np.array([20.0, 40.0, 62.0])
    expected = 40 + sum(30 * np.exp(-((rows - a) ** 2 + (columns - b) ** 2) / 8) for a, b in zip(y, x, strict=True))
    fit = fit_columns(rng.poisson(expected).astype(np.float32) / 40, np.append(y, 15.0), np.append(x, 60.0), 2.0)
    of = np.argsort(fit.origin)
    ideal = 30 * 2 * np.sqrt(np.pi / 55)  # height, sigma, counts under the column
    assert np.abs(fit.clearness[of][:3] / ideal - 1).max() < 0.25
    assert abs(fit.clearness[of][3]) < 3.5


@pytest.mark.parametrize("how", ["quick", "full"])
def test_columns_beyond_the_rim_leave_those_inside_alone(how):
    """Flanks of columns that nobody detected shine in: error bars hold for the columns beside them and farther in."""
    errors, inner = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[-1:10, -1:11].reshape(2, -1) * 13.0 + rng.uniform(4, 9, (2, 1)) + rng.normal(0, 0.5, (2, 132))
        shape = (118, 131)
        image = rng.poisson(draw_columns(shape, y, x, np.full(y.size, 1000.0), 2.6) + 10).astype(np.float32)
        seen = (y > 0) & (x > 0) & (y < shape[0] - 1) & (x < shape[1] - 1)
        y, x = y[seen], x[seen]
        start = y + 0.3 * rng.standard_normal(y.size), x + 0.3 * rng.standard_normal(y.size)
        fit = fit_columns(scaled(image)[0], *start, 2.6, how=how).found_before()
        z = np.stack([(fit.y - y) / fit.y_std, (fit.x - x) / fit.x_std])
        far = np.minimum.reduce([y, x, shape[0] - 1 - y, shape[1] - 1 - x]) > 6.5
        errors.append(z[:, ~far & fit.converged].ravel())
        inner.append(z[:, far & fit.converged].ravel())
    errors, inner = np.concatenate(errors), np.concatenate(inner)
    for z in (errors, inner):
        assert 0.9 < np.sqrt((z**2).mean()) < 1.1 and np.abs(z).max() < 4.5


@pytest.mark.parametrize(("peak", "level", "most"), [(30.0, 5.0, 0.172), (1000.0, 10.0, 0.0455), (2e4, 200.0, 0.018)])
def test_columns_at_the_rim_are_placed_with_those_beyond_it(peak, level, most):
    """Turned crystals whose columns stand at any distance from the rim: were those beyond it left out, or only in part,
    the error (pixels, rms) would be 0.18 and 0.05; were they looked for once only, 0.0225 in the last case."""
    errors = []
    for seed in range(16, 28):
        rng, turn = np.random.default_rng(seed), 0.1 + 0.05 * (seed - 16)
        i, j = np.mgrid[-12:13, -12:13].reshape(2, -1)
        y = 59 + 12.0 * (np.cos(turn) * i - np.sin(turn) * j) + rng.normal(0, 0.4, i.size)
        x = 65 + 12.0 * (np.sin(turn) * i + np.cos(turn) * j) + rng.normal(0, 0.4, i.size)
        near = (y > -12) & (x > -12) & (y < 130) & (x < 143)
        y, x, height = y[near], x[near], np.where((i + j) % 2, peak, 0.6 * peak)[near]
        image = rng.poisson(draw_columns((118, 131), y, x, height, 2.4) + level).astype(np.float32)
        seen = (y > 0) & (x > 0) & (y < 117) & (x < 130)
        y, x = y[seen], x[seen]
        start = y + 0.4 * rng.standard_normal(y.size), x + 0.4 * rng.standard_normal(y.size)
        fit = fit_columns(scaled(image)[0], *start, 2.4, std=np.full(y.size, 0.4), how="quick").found_before()
        rim = np.minimum.reduce([y, x, 117 - y, 130 - x]) < 6
        errors.append(np.stack([fit.y - y, fit.x - x])[:, rim & fit.converged].ravel())
    assert np.sqrt((np.concatenate(errors) ** 2).mean()) < most


def test_columns_in_a_hole_leave_those_beside_it_alone():
    """Nobody can see a column on pixels without a value, but its flanks shine out of them."""
    errors = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[1:11, 1:12].reshape(2, -1) * 13.0 + rng.uniform(-4, 4, (2, 1)) + rng.normal(0, 0.3, (2, 110))
        image = rng.poisson(draw_columns((157, 170), y, x, np.full(y.size, 200.0), 2.6) + 20).astype(np.float32)
        image = scaled(image)[0]
        image[50:101, 61:117] = np.nan
        away = np.hypot(np.maximum(np.abs(y - 75) - 25.5, 0), np.maximum(np.abs(x - 88.5) - 28, 0))
        y, x, away = (v[away > 0.5] for v in (y, x, away))
        start = y + 0.3 * rng.standard_normal(y.size), x + 0.3 * rng.standard_normal(y.size)
        fit = fit_columns(image, *start, 2.6, how="quick").found_before()
        beside = (away < 10) & fit.converged
        errors.append(np.stack([(fit.y - y) / fit.y_std, (fit.x - x) / fit.x_std])[:, beside].ravel())
    assert np.sqrt((np.concatenate(errors) ** 2).mean()) < 1.5  # 2.6 without them


@pytest.mark.parametrize("seed", [4, 5])
def test_a_part_of_an_image_is_fitted_as_the_whole(seed):
    """At a low dose steps ended before columns were there."""
    rng, sigma, shape = np.random.default_rng(seed), 1.6, (270, 300)
    spacing, peak, level, loose = 8.8, 5.0, 3.0, 0.3
    y, x = np.mgrid[: 270 // spacing + 1, : 300 // spacing + 1].reshape(2, -1) * spacing + 1
    y, x = (v + rng.normal(0, loose, len(v)) for v in (y, x))
    image = rng.poisson(peak * draw_columns(shape, y, x, rng.uniform(0.8, 1.2, len(y)), sigma) + level) / peak
    seen = 1.77 * sigma * np.sqrt(peak) / np.sqrt(0.5 + level / peak)
    known = {"usual": seen, "faintest": seen, "log_width": np.log(sigma), "height": 1.0, "high": 1.2}
    noise = Noise(1 / peak, 0.0, 0.0, 1e-4, **known)
    y, x = (v + rng.normal(0, 0.2, len(v)) for v in (y, x))
    whole = fit_columns(image, y, x, sigma, how="quick", noise=noise)
    part = np.flatnonzero((y < 172) & (x < 182))
    wanted = (y[part] < 90) & (x[part] < 100)
    tile = fit_columns(image[:168, :178], y[part], x[part], sigma, how="quick", noise=noise, wanted=wanted)
    mine = part[wanted]
    found = [np.searchsorted(f.origin, o) for f, o in ((whole, mine), (tile, np.flatnonzero(wanted)))]
    away = np.hypot(*(getattr(whole, v)[found[0]] - getattr(tile, v)[found[1]] for v in "yx"))
    assert len(away) > 100
    assert away.max() < 1e-3
