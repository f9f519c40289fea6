"""What the crystal around says about doubtful columns, and what it may not say."""

import numpy as np
import pytest

from hs_deepatoms import find_atoms
from hs_deepatoms.simulate.columns import draw_columns
from tests.methods.conftest import f1_inside, loop_image, matched


def find(data, **options):
    return find_atoms(data, show_progressbar=False, **options)


def lattice_points(shape, cell, basis):
    """Sites (y, x) of a lattice up to a little beyond an image of this shape; and (n,) which of the basis each is."""
    i, j = (v.ravel() for v in np.mgrid[-60:60, -60:60])
    sites = [np.array(shape) / 2 + (i + u)[:, None] * cell[0] + (j + v)[:, None] * cell[1] for u, v in basis]
    which = np.repeat(np.arange(len(basis)), len(i))
    sites = np.concatenate(sites)
    near = ((sites > -12) & (sites < np.array(shape) + 12)).all(1)
    return *sites[near].T, which[near]


def at_strength(rng, shape, y, x, sigma, strength):
    """Counts of columns as high as their background, with this signal-to-noise ratio over it."""
    level = strength**2 / (np.pi * sigma**2)
    return rng.poisson(draw_columns(shape, y, x, np.full(len(y), level), sigma) + level)


def test_vacancies_stay_empty():
    rng = np.random.default_rng(2)
    yy, xx = (a.ravel() for a in np.mgrid[10:250:14.0, 10:330:14.0])
    gone = rng.random(len(yy)) < 0.06
    image = rng.poisson(40 * draw_columns((260, 340), yy[~gone], xx[~gone], np.ones((~gone).sum()), 2.8) + 8)
    atoms = find(image)
    at_gone = matched(atoms["y_px"].values, atoms["x_px"].values, yy[gone], xx[gone], 4.0)
    assert len(at_gone) <= 0.05 * gone.sum()
    assert f1_inside(atoms, yy[~gone], xx[~gone], image.shape, 4.0, 5) >= 0.98


@pytest.mark.parametrize("seed", [4, 12, 20])
def test_the_core_of_a_defect_is_found_though_the_crystal_has_no_sites_there(seed):
    """Without the fit's word the crystal takes four of seed 4's columns, and five of seed 20's."""
    image, y, x = loop_image(seed)
    atoms = find(image)
    pairs = matched(atoms["y_px"].values, atoms["x_px"].values, y, x, 3.0)
    deep = (y > 4) & (x > 4) & (y < image.shape[0] - 5) & (x < image.shape[1] - 5)
    assert np.isin(np.flatnonzero(deep), pairs[:, 1]).all()
    false = np.delete(np.column_stack([atoms["y_px"], atoms["x_px"]]), pairs[:, 0], axis=0)
    assert not np.all((false > 6) & (false < np.array(image.shape) - 7), axis=1).any()
    count = atoms.deepatoms.rings()["ring_count"]
    assert count.sel(ring_size=[5, 7]).values.tolist() == [6, 6]


def test_holes_of_a_honeycomb_are_no_dark_columns(monkeypatch):
    """The survey takes this image for one of dark columns; the bright ones explain it better."""
    from hs_deepatoms.methods import look

    image = loop_image(12)[0]
    source = look.images.read_images(image, operation="find_atoms")
    assert not look.look_at(source, device="cpu").dark
    monkeypatch.setattr(look, "_compared", lambda source, one, *_: one)
    monkeypatch.setattr(look, "_inverted", lambda *_: None)
    assert look.look_at(source, device="cpu").dark
    assert look.look_at(source, contrast="dark", device="cpu").dark


def test_faint_vacancies_of_one_kind_of_column_stay_empty():
    """Judged by fitted heights alone 29 of 528 were filled in twenty such images; at their sites it is 8."""
    shape, spacing, empty, filled = (278, 321), 14.0, 0, 0
    cell = spacing * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    y, x, _ = lattice_points(shape, cell, [(0, 0)])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        gone = rng.random(len(y)) < 0.08
        atoms = find(at_strength(rng, shape, y[~gone], x[~gone], spacing / 5, 8.0))
        assert f1_inside(atoms, y[~gone], x[~gone], shape, 4.0, 20) >= 0.99
        inside = gone & (y > 20) & (y < 258) & (x > 20) & (x < 301)
        pairs = matched(atoms["y_px"].values, atoms["x_px"].values, y[inside], x[inside], 0.35 * spacing)
        empty, filled = empty + inside.sum(), filled + len(pairs)
    assert empty > 60 and filled <= 0.05 * empty


def test_centres_of_a_faint_honeycomb_are_no_columns():
    """The detector suspects columns there, and a fit finds peaks of the noise."""
    rng, shape, bond = np.random.default_rng(3), (266, 301), 14.0
    cell = (
        bond * np.sqrt(3) * np.array([[np.cos(0.2), np.sin(0.2)], [np.cos(0.2 + np.pi / 3), np.sin(0.2 + np.pi / 3)]])
    )
    y, x, which = lattice_points(shape, cell, [(0, 0), (1 / 3, 1 / 3), (2 / 3, 2 / 3)])
    column = which < 2
    atoms = find(at_strength(rng, shape, y[column], x[column], bond / 5, 8.0))
    centres = ~column & (y > 5) & (y < 261) & (x > 5) & (x < 296)
    filled = matched(atoms["y_px"].values, atoms["x_px"].values, y[centres], x[centres], 0.3 * bond)
    assert centres.sum() > 100 and len(filled) <= 2
    assert f1_inside(atoms, y[column], x[column], shape, 4.0, 5) >= 0.99


def test_beside_a_block_without_values_columns_are_where_they_are():
    """By the detector's place, which the filling draws into the block, those right beside it were dropped."""
    rng = np.random.default_rng(7)
    shape, sigma = (104, 122), 2.5
    y, x = (np.mgrid[:8, :9].reshape(2, -1) * 13.0 + 6) + rng.normal(0, 0.1, (2, 72))
    y[y.round() == 45] = 45.3 + rng.normal(0, 0.1, (y.round() == 45).sum())
    image = rng.poisson(draw_columns(shape, y, x, np.full(72, 2000.0), sigma) + 200).astype(np.float32)
    image[46:80, 40:100] = np.nan  # begins 0.2 px from a row of columns
    beside = (np.abs(y - 45.3) < 0.6) & (x > 44) & (x < 95) & (y < 45.5)
    table = find(image)
    i, j = matched(table["y_px"].values, table["x_px"].values, y, x, 2.0).T
    assert beside.sum() >= 3 and np.isin(np.flatnonzero(beside), j).all()
    error = np.hypot(table["y_px"].values[i] - y[j], table["x_px"].values[i] - x[j])
    assert error[~beside[j]].max() < 0.08
    deep = (table["y_px"].values > 46.3) & (table["y_px"].values < 79) & (table["x_px"].values > 41)
    assert not (deep & (table["x_px"].values < 99)).any()


def test_peaks_of_plain_noise_beside_single_atoms_are_few():
    hits = reported = 0
    for seed in (1, 3, 7):
        rng = np.random.default_rng(seed)
        y, x = (np.mgrid[:5, :6].reshape(2, -1) * 40.0 + 25) + rng.uniform(-11, 11, (2, 30))
        height = 7 / (2.5 * np.sqrt(np.pi / 40))  # a signal-to-noise ratio of 7
        table = find(rng.poisson(draw_columns((210, 250), y, x, np.full(30, height), 2.5) + 40.0))
        hits += len(matched(table["y_px"].values, table["x_px"].values, y, x, 4.0))
        reported += table.sizes["atom"]
    assert hits >= 88 and reported - hits <= 12  # 23 false ones before


def test_saturated_columns_are_not_taken_for_dark_ones_between_them():
    """Two dark gaps to a bright column explained its flat top as well."""
    rng, shape, sigma = np.random.default_rng(1), (150, 170), 2.6
    spacing, turn = 3.8 * sigma, 1.3
    cells = np.array([[1, 0], [0.5, np.sqrt(3) / 2]]) * spacing
    cells = cells @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    y, x, _ = lattice_points(shape, tuple(cells), [(0, 0)])
    columns = draw_columns(shape, y, x, np.ones(len(y)), sigma)
    low, high = columns.min(), columns.max()
    rng.poisson(columns)
    image = rng.poisson(3000 * np.minimum(columns, low + 0.45 * (high - low)) + 300)
    assert f1_inside(find(image), y, x, shape, 3.0, 8) >= 0.98


def test_dense_dark_columns_are_not_taken_for_the_bright_spots_between_them():
    """Of columns in squares of 3.7 sigmas not one was where it is."""
    rng, shape, sigma, spacing = np.random.default_rng(0), (140, 160), 1.04, 3.8
    cell = (spacing * np.array([0.96, 0.28]), spacing * np.array([-0.28, 0.96]))
    y, x, _ = lattice_points(shape, cell, [(0, 0)])
    columns = draw_columns(shape, y, x, np.ones(len(y)), sigma)
    table = find(rng.poisson(2800 * (2 * columns.max() - columns)))
    assert f1_inside(table, y, x, shape, 1.0, 5) >= 0.99
