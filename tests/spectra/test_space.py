import numpy as np
import pytest

from hs_deepatoms.spectra.rows import SpectrumRows
from hs_deepatoms.spectra.space import SpectrumSpace, fit_space, noise_level, with_channel_variance


def cube(ny=40, nx=50, n=120, counts=80.0, gain=1.0, seed=0):
    """Three spectra mixed, Poisson noise times a gain."""
    rng = np.random.default_rng(seed)
    energy = np.linspace(0, 1, n)
    spectra = np.stack([np.exp(-2 * energy), np.exp(-2 * energy) + (energy > 0.4), 0.5 + (energy > 0.7) * 1.5])
    spectra /= spectra.sum(1, keepdims=True)
    shares = rng.dirichlet(np.ones(3), (ny, nx))
    shapes = shares @ spectra
    totals = counts * n * rng.uniform(0.5, 2.0, (ny, nx))
    return gain * rng.poisson(shapes * totals[..., None] / gain), shapes, totals


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_components_and_gain_of_counts(gain):
    data, shapes, totals = cube(gain=gain)
    rows, used = SpectrumRows(data), np.ones(data.shape[:2], bool)
    space, values = fit_space(rows, used, poisson=True, counted=np.ones(data.shape[2], bool))
    assert space.k == 2
    assert space.gain == pytest.approx(gain, rel=0.05)
    assert values[1] > 2 and values[2] < 1.7
    back = space.spectra(space.scores(shapes.astype(np.float32)))
    around = ((shapes - shapes.mean((0, 1))) ** 2).sum()
    assert ((back - shapes) ** 2).sum() < 0.003 * around
    measured = space.scores(space.shapes(data.astype(np.float32)))
    error = (measured - space.scores(shapes.astype(np.float32))).var((0, 1))
    np.testing.assert_allclose(error, space.score_noise(totals).mean((1, 2)), rtol=0.15)
    assert space.shapes(data)[0, 0].sum() == pytest.approx(1)


@pytest.mark.parametrize("poisson", [True, False])
@pytest.mark.parametrize("counted", [slice(None), slice(3, 9)])
def test_noise_of_spectra_over_their_own_totals(poisson, counted):
    """Of few channels: what the total has of the noise of each counts."""
    rng, some = np.random.default_rng(2), np.zeros(12, bool)
    some[counted] = True
    expected = np.linspace(40.0, 900.0, 12)
    measured = rng.poisson(expected, (40000, 12)) if poisson else rng.normal(expected, 7.0, (40000, 12))
    one, none = np.ones(12), np.zeros((0, 12))
    space = SpectrumSpace(one, one, none, np.ones(0), some, 1.0, poisson, one, 49.0 * one)
    shapes = space.shapes(measured.astype(float))
    said = space.shape_noise(expected / expected[some].sum(), expected[some].sum())
    np.testing.assert_allclose(said, shapes.var(0), rtol=0.03)


@pytest.mark.parametrize("poisson", [True, False])
def test_how_badly_the_mean_shape_is_known(poisson):
    """Whatever the unit of the counts: the noise of means of maps of one shape."""
    rng, shape, means, said = np.random.default_rng(4), np.linspace(0.5, 1.5, 30) / 30, [], []
    for _ in range(60):
        totals = 6000 * rng.uniform(0.5, 2.0, (12, 15, 1))
        data = rng.poisson(shape * totals) if poisson else rng.normal(shape * totals, 14.0)
        every = np.ones(30, bool)
        space, _ = fit_space(SpectrumRows(data), np.ones((12, 15), bool), poisson=poisson, counted=every)
        means.append(space.mean)
        said.append(space.spread)
    assert np.mean(said) == pytest.approx(np.var(means, axis=0).mean(), rel=0.15)


def test_numbers_that_are_no_counts():
    rng = np.random.default_rng(0)
    x = np.linspace(-3, 3, 60)
    clean = np.tanh(x - rng.normal(size=(30, 40, 1)))
    spread = np.where(x > 0, 0.2, 0.05)
    data = clean + spread * rng.normal(size=clean.shape)
    rows, used = SpectrumRows(data), np.ones(data.shape[:2], bool)
    space, _ = fit_space(rows, used, poisson=False, counted=np.zeros(60, bool))
    assert not space.normalised and (space.totals(data) == 1).all()
    space = with_channel_variance(space, rows, used)
    assert space.channel_variance[x > 0.5].mean() == pytest.approx(0.04, rel=0.15)
    assert space.channel_variance[x < -0.5].mean() == pytest.approx(0.0025, rel=0.4)
    assert with_channel_variance(space, rows, used, 5).k == 5


@pytest.mark.parametrize(("spectra", "channels"), [(400, 100), (300, 300), (100, 250), (64, 900)])
def test_level_of_noise_without_signal(spectra, channels):
    rows = np.random.default_rng(0).normal(0, 1.5, (spectra, channels))
    values = np.maximum(np.linalg.eigvalsh(rows.T @ rows / spectra)[::-1], 0)
    assert noise_level(values, spectra) == pytest.approx(2.25, rel=0.03)


def test_more_channels_than_spectra():
    data, shapes, _ = cube(12, 14, 600, counts=30)
    used = np.ones((12, 14), bool)
    space, _ = fit_space(SpectrumRows(data), used, poisson=True, counted=np.ones(600, bool))
    assert space.k == 2 and space.gain == pytest.approx(1, rel=0.05)
    back = space.spectra(space.scores(shapes.astype(np.float32)))
    assert ((back - shapes) ** 2).sum() < 0.1 * ((shapes - shapes.mean((0, 1))) ** 2).sum()


def test_state_makes_the_same_space():
    data, *_ = cube(12, 14, 30)
    space, _ = fit_space(SpectrumRows(data), np.ones((12, 14), bool), poisson=True, counted=np.ones(30, bool))
    again = SpectrumSpace.from_state({name: np.atleast_1d(value) for name, value in space.state().items()})
    np.testing.assert_array_equal(again.scores(space.shapes(data)), space.scores(space.shapes(data)))
    assert again.poisson is True and again.gain == space.gain and again.non_negative is True
    older = {name: np.atleast_1d(value) for name, value in space.state().items() if name != "non_negative"}
    assert SpectrumSpace.from_state(older).non_negative is True
