"""Both kinds of kernels on the same input: compiled loops, and tensor operations."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import cho_solve_banded

from hs_deepatoms._core.compiled import loops
from hs_deepatoms.atoms import tensors
from hs_deepatoms.atoms.compiled import calls
from hs_deepatoms.atoms.ground import Ground
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.normal import damped
from hs_deepatoms.atoms.peaks import Columns, Window
from hs_deepatoms.atoms.refine import begin_fit, fit_columns
from hs_deepatoms.atoms.state import expected
from hs_deepatoms.simulate.columns import draw_columns

KINDS = [calls, tensors]
SHAPE = (71, 93)


def lattice(spacing=9.0, jitter=0.4):
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(-2, SHAPE[0] + 3, spacing), np.arange(-1, SHAPE[1] + 4, spacing), indexing="ij")
    y, x = y.ravel() + rng.normal(0, jitter, y.size), x.ravel() + rng.normal(0, jitter, x.size)
    image = draw_columns(SHAPE, y, x, rng.uniform(0.5, 1.2, y.size), 2.1) + 0.3 + 0.03 * rng.standard_normal(SHAPE)
    image[20:33, 40:51] = np.nan
    return image, y + 0.2, x - 0.1


@pytest.fixture(params=[False, True], ids=["round", "elliptical"])
def state(request):
    image, y, x = lattice()
    state = replace(begin_fit(image, y, x, 2.1, origin=(5, 40)), elliptical=request.param)
    c, rng = state.columns, np.random.default_rng(1)
    plus, cross = (torch.as_tensor(rng.uniform(-0.3, 0.3, len(y)) * request.param) for _ in range(2))
    width = c.log_width + torch.as_tensor(rng.normal(0, 0.1, len(y)))
    return replace(state, columns=replace(c, log_width=width, plus=plus, cross=cross), drawn=None)


def both(name, *arguments, **options):
    return [getattr(kind, name)(*arguments, **options) for kind in KINDS]


def alike(one, other, part=1e-5):
    one, other = (torch.as_tensor(v).double() for v in (one, other))
    assert one.shape == other.shape
    assert (one - other).abs().max() <= part * other.abs().max()


def weights(state):
    return tensors.weigh(state.noise, state.image, expected(state), state.valid)[:2]


def systems(state, damping=0.01):
    """The same normal equations for either kind."""
    found = []
    for kind in KINDS:
        weight, weighed = weights(state)
        total = kind.sums(state.columns, weighed, weight, state.window, state.sigma, state.elliptical)
        total.hessian.diagonal(dim1=1, dim2=2).add_(1.0)
        i, j = tensors.near_pairs(state.columns, 6 * state.sigma)
        blocks = tensors.pair_blocks(state.columns, i, j, weight, state.window, state.sigma, state.elliptical)
        splines = kind.hessian(state.ground, weight, 1e-3)
        normal = kind.assemble(total, (i, j, blocks), state.columns, state.ground, splines, state.sigma)
        found.append(damped(normal, damping))
    return found


def by_kind(monkeypatch, kind):
    monkeypatch.setattr("hs_deepatoms.atoms.normal.kernels", lambda _: kind)


def test_the_processor_has_loops_and_other_devices_tensors():
    assert kernels(torch.zeros(1)) is calls
    assert kernels(torch.zeros(1, device="meta")) is tensors
    assert all(hasattr(calls, name) for name in tensors.__all__)


def test_drawing(state):
    images = [torch.full(SHAPE, 0.5), torch.full(SHAPE, 0.5)]
    for kind, image in zip(KINDS, images, strict=True):
        kind.draw_on(image, state.columns, state.window, state.elliptical, -0.7)
    alike(*images)


@pytest.mark.parametrize("shape, knot", [(SHAPE, 16.8), ((40, 23), 5.0), ((6, 90), 31.0), ((1, 1), 16.8)])
def test_the_background(shape, knot):
    ground, rng = Ground.over(shape, knot, (3, 77), "cpu"), np.random.default_rng(0)
    image = torch.as_tensor(rng.uniform(0.1, 2, shape), dtype=torch.float32)
    alike(*both("surface", ground, torch.as_tensor(rng.normal(size=ground.size))))
    alike(*both("project", ground, image))
    vector = rng.normal(size=ground.size)
    alike(*(m.times(vector) for m in both("hessian", ground, image, 1e-3)))
    alike(*(cho_solve_banded((m.factor(), True), vector) for m in both("hessian", ground, image, 0.1)), 1e-3)


@pytest.mark.parametrize("noise", [Noise(0.0, 0.01, 0.0, 1e-3), Noise(0.3, 1e-3, 0.1, 1e-3, excess=1.7)])
def test_weights_and_misfit(noise):
    rng = np.random.default_rng(0)
    image, mean = (torch.as_tensor(rng.gamma(1.0, 0.5, SHAPE), dtype=torch.float32) for _ in range(2))
    image[3:5], valid = mean[3:5] + 1e-4, torch.as_tensor(rng.random(SHAPE) > 0.1)
    one, other = both("weigh", noise, image, mean, valid)
    alike(one[0], other[0])
    alike(one[1], other[1])
    assert one[2] == pytest.approx(other[2], rel=1e-5)
    assert both("weigh", noise, image, mean, valid, judged=False)[0][2] == 0


def test_weights_under_columns_are_those_of_all_pixels(state):
    mean, (weight, weighed) = expected(state).clone(), weights(state)
    few = state.columns[[3, 17]]
    tensors.draw_on(mean, few, state.window, state.elliptical, 0.5)
    calls.weigh_under(state.noise, few, state.window, state.image, mean, state.valid, weight, weighed)
    for one, other in zip((weight, weighed), tensors.weigh(state.noise, state.image, mean, state.valid), strict=False):
        alike(one, other)


def test_filters():
    image = torch.as_tensor(np.random.default_rng(0).normal(size=(9, 31)), dtype=torch.float32)
    alike(*both("filtered", image, torch.exp(-0.1 * torch.arange(-6.0, 7) ** 2)))


def test_sums_slopes_and_pairs(state):
    weight, weighed = weights(state)
    size = state.sigma, state.elliptical
    found = both("sums", state.columns, weighed, weight, state.window, *size)
    for one, other in zip(*(vars(total).values() for total in found), strict=True):
        alike(one, other)
    alike(*both("slopes", state.columns, weighed, state.window, *size))
    i, j = tensors.near_pairs(state.columns, 6 * state.sigma)
    alike(*both("pair_blocks", state.columns, i, j, weight, state.window, *size))
    if not state.elliptical:
        alike(*both("far_blocks", state.columns, i, j, weight, state.window, state.sigma))
        alike(*both("local_heights", state.columns, state.image, state.valid, Window.around(1.3, SHAPE)))


@pytest.mark.parametrize("distance", [0.5, 9.6, 400.0])
def test_pairs_of_neighbours(distance):
    _, y, x = lattice()
    y[7], x[7] = 5000.0, -80.0
    c = Columns(*(torch.as_tensor(v) for v in (y, x, y, y, y, y)))
    one, other = (
        {tuple(sorted(p)) for p in zip(i.tolist(), j.tolist(), strict=True)} for i, j in both("near_pairs", c, distance)
    )
    assert one == other and (distance < 1 or one)


def test_solutions(state, monkeypatch):
    rng, found = np.random.default_rng(0), []
    a = torch.as_tensor(rng.normal(size=(len(state.columns), 6 if state.elliptical else 4)))
    b = torch.as_tensor(rng.normal(size=state.ground.size))
    for kind, normal in zip(KINDS, systems(state, 1.0), strict=True):
        by_kind(monkeypatch, kind)
        x, y = kind.solve(normal, a, b, accuracy=1e-9, most=300)
        found.append(torch.cat([x.flatten(), y]))
    alike(*found)
    (p, q), one = normal.times(x, y), torch.cat([a.flatten(), b])
    alike(torch.cat([p.flatten(), q]), one, 1e-6)


def test_a_factor_of_a_system_that_is_much_the_same_gives_the_same_solution(state, monkeypatch):
    a, b = torch.ones(len(state.columns), 6 if state.elliptical else 4).double(), torch.ones(state.ground.size).double()
    for kind, normal, other in zip(KINDS, systems(state, 1.0), systems(state, 1.3), strict=True):
        by_kind(monkeypatch, kind)
        lent = other.eliminated.root
        assert not np.allclose(lent, normal.eliminated.root, rtol=1e-3)
        found = [kind.solve(normal, a, b, root=root, accuracy=1e-9, most=300) for root in (lent, None)]
        alike(*(torch.cat([x.flatten(), y]) for x, y in found))


def test_covariances(state, monkeypatch):
    found = []
    for kind, normal in zip(KINDS, systems(state, 0.0), strict=True):
        by_kind(monkeypatch, kind)
        found.append(kind.covariances(normal))
        few = torch.arange(len(normal.own)) % 3 == 1
        some = kind.covariances(normal, few)
        assert torch.equal(some[few], found[-1][few]) and not some[~few].any()
    for one, other in zip(*found, strict=True):
        alike(one, other, 1e-4)


@pytest.mark.parametrize("how", ["quick", "full"])
@pytest.mark.parametrize("elliptical", [False, True])
def test_fits(how, elliptical, monkeypatch):
    image, y, x = lattice(13.0)
    fits = []
    for kind in KINDS:
        for name in ("equations", "joint", "normal", "refine", "belief"):
            monkeypatch.setattr(f"hs_deepatoms.atoms.{name}.kernels", lambda _, kind=kind: kind)
        fits.append(fit_columns(image, y, x, 2.1, how=how, elliptical=elliptical))
    one, other = fits
    assert np.array_equal(one.origin, other.origin) and np.array_equal(one.converged, other.converged)
    # beyond the frame, where no atoms are reported, to a two-thousandth of an error bar: one step more may be taken,
    # and how far a fit is believed that hardly sees a column hangs on a variance that single precision hardly knows
    beyond = (one.y < -0.5) | (one.x < -0.5) | (one.y > SHAPE[0] - 0.5) | (one.x > SHAPE[1] - 0.5)
    limit = np.where(beyond, 5e-4 * np.hypot(one.y_std, one.x_std).clip(0.2), 1e-4)
    assert (np.hypot(one.y - other.y, one.x - other.x) < limit).all()
    fine = one.converged
    assert fine.sum() > 30 and one.y_std[fine] == pytest.approx(other.y_std[fine], rel=1e-3)


def test_not_a_bit_depends_on_the_number_of_threads(monkeypatch):
    image, y, x = lattice(6.0)
    fits = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(loops, "cores", lambda cores=cores: cores)
        fits.append(fit_columns(np.tile(image, (3, 3)), *(np.tile(v, 2) + np.repeat([0, 93.0], len(v)) for v in (y, x)),
                                2.1, how="quick"))  # fmt: skip
    for fit in fits[1:]:
        for name, values in vars(fits[0]).items():
            assert np.array_equal(values, getattr(fit, name), equal_nan=True), name


def test_fits_at_once():
    image, y, x = lattice()
    alone = fit_columns(image, y, x, 2.1, how="quick")
    with ThreadPoolExecutor(4) as pool:
        for fit in pool.map(lambda _: fit_columns(image, y, x, 2.1, how="quick"), range(8)):
            assert np.array_equal(fit.y, alone.y)


def test_columns_that_are_nowhere_are_left_out():
    c = Columns(*(torch.tensor([v, torch.nan, 1e12, -50.0], dtype=torch.float64) for v in (20.0, 30.0, 1, 0.7, 0, 0)))
    image = torch.zeros(SHAPE)
    calls.draw_on(image, c, Window.around(2.0, SHAPE))
    assert image.isfinite().all() and image.max() == pytest.approx(1.0, rel=1e-3)


def test_numba_waits_for_the_first_fit():
    code = "import sys, hs_deepatoms, hs_deepatoms.atoms.refine; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_the_first_fit_says_why_it_takes_its_time(tmp_path):
    script = """
import numpy as np
from hs_deepatoms._core.compiled.loops import kernel
@kernel
def mine(x):
    return x + 1
mine(1.0)
theirs = kernel(mine.py_func)
mine.py_func.__module__ = "hs_deepatoms.atoms.compiled.mine"
for argument in (1, 1.0, np.ones(3)):
    theirs(argument)
"""
    file = tmp_path / "script.py"
    file.write_text(script)
    cache = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, file], capture_output=True, text=True, env=cache)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("once after installation") == 1


def test_long_tilted_ellipses_far_apart_share_numbers():
    """The factor that tilts one is huge where its bells along rows and columns are next to nothing."""
    shape, half = (60, 64), np.log(2.0)
    y, x = torch.tensor([30.3, 43.3, 52.1, 30.0, 16.9]), torch.tensor([1.8, -1.5, 4.0, 61.2, 65.3])
    one = torch.ones(5, dtype=torch.float64)
    for sign in (1, -1):
        c = Columns(y.double(), x.double(), one, np.log(1.9) * one, 0 * one, sign * half * one)
        i, j = (v.flatten() for v in torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij"))
        window, weight = Window.around(3.4, shape), torch.full(shape, 900.0)
        blocks = both("pair_blocks", c, i, j, weight, window, 2.4, True)
        assert all(torch.isfinite(b).all() for b in blocks)
        alike(*blocks)
        sums = both("sums", c, weight, weight, window, 2.4, True)
        assert all(torch.isfinite(s.hessian).all() for s in sums)


def test_a_column_that_is_hardly_in_the_image_stops_nothing():
    """Of a corner of it all derivatives are alike, and rounding takes more than is left between them."""
    slopes = torch.linspace(1, 3, 6, dtype=torch.float64)
    lost = torch.outer(slopes, slopes)
    lost.diagonal().mul_(1 - 2e-6)
    own = torch.stack([lost, torch.eye(6, dtype=torch.float64), 2 * torch.eye(6, dtype=torch.float64)])
    assert torch.linalg.eigvalsh(own[0]).min() < 0
    pairs = torch.tensor([0, 1]), torch.tensor([1, 2]), 0.01 * torch.ones(2, 6, 6, dtype=torch.float64)
    for raised in both("majorant", own, pairs):
        assert torch.isfinite(raised).all()
    with pytest.raises(torch.linalg.LinAlgError):
        calls.majorant(own * torch.nan, pairs)


def test_pairs_within_their_own_reach(state):
    c = state.columns
    reach = torch.linspace(0.5, 4.0, len(c), dtype=torch.float64)
    i, j = tensors.near_pairs(c, 9.0)
    one, two = both("within", c, i, j, reach)
    assert 0 < len(one[0]) < len(i)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("n", [1, 700, 5003])
def test_both_kinds_bin_pixels_alike(n):
    rng = np.random.default_rng(0)
    mean, rest = (torch.from_numpy(rng.standard_normal(n).astype(np.float32)) for _ in range(2))
    edges = np.sort(mean.numpy())[[0, n // 3, n // 3, n // 2]]
    loops_bins, tensor_bins = both("binned", mean, rest, edges)
    for one, two in zip(loops_bins, tensor_bins, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)
    counts = loops_bins[0]
    assert counts[0] == 1  # a pixel at an edge belongs to the bin below
    assert counts.sum() == n
    np.testing.assert_allclose(*both("totals", mean, rest), rtol=1e-12)


WITHIN = """
import numpy as np
from hs_deepatoms.atoms.refine import fit_columns
from hs_deepatoms.simulate.columns import draw_columns
rng = np.random.default_rng(0)
y, x = (v.ravel() + rng.normal(0, 0.3, 12) for v in np.mgrid[3:30:8, 4:30:9])
image = rng.poisson(300 * (draw_columns((31, 33), y, x, np.full(12, 1.0), 1.6) + 0.1)) / 300
image[9:13, 20:26] = np.nan
for options in ({"how": "quick"}, {"how": "full", "elliptical": True}):
    fit = fit_columns(image, y + 0.2, x, 1.6, **options)
    near = np.hypot(fit.y[:, None] - y, fit.x[:, None] - x).min(1)
    print(len(near), (near < 0.3).sum())
"""


def test_loops_stay_within_their_arrays():
    """Compiled loops don't look where they read; as plain Python arrays do."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHIN], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for line in run.stdout.splitlines():
        fitted, right = map(int, line.split())
        assert right >= fitted - 1 > 8
