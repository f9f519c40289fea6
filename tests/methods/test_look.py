"""How a job looks at its images: the width of columns that touch, and what it says where there is nothing to see."""

import json
import shutil
import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hs_deepatoms import find_atoms
from hs_deepatoms.atoms import block
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.reliability import reliable
from hs_deepatoms.methods import images, look, sight
from hs_deepatoms.methods.typical_frame import seen_in
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.scenes import simulate_scene
from tests.methods.conftest import lattice_image, matched

HEXAGONAL = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def pairs_image(cell, period, *, sigma=2.5, apart=3.0, ratio=1.0, peak=200.0, background=20.0, seed=0, side=230):
    """Counts of a jittered lattice of pairs of columns in any orientation, and the columns (y, x) in pixels."""
    rng = np.random.default_rng(seed)
    middle = np.mgrid[-20:20, -20:20].reshape(2, -1).T @ cell * period + 4.3
    middle = middle[np.all((middle > 0) & (middle < (side, side + 17)), axis=1)].T
    middle = middle + rng.normal(0, 1, middle.shape)
    angle = rng.uniform(0, np.pi, middle.shape[1])
    half = 0.5 * apart * sigma * np.stack([np.sin(angle), np.cos(angle)])
    y, x = np.concatenate([middle - half, middle + half], axis=1)
    height = np.repeat([peak, ratio * peak], middle.shape[1])
    image = rng.poisson(draw_columns((side, side + 17), y, x, height, sigma) + background).astype(np.float32)
    return image, y, x


def silicon_image(seed=0, shape=(420, 460), sigma=10.0, pixel=0.05, counts=200.0):
    """Si[110] with dumbbells 1.358 angstrom long, 2.7 column sigmas here; and its columns (y, x) in pixels."""
    rng = np.random.default_rng(seed)
    k, m = (v.ravel() for v in np.mgrid[-3:8, -3:10])
    y, x = (np.concatenate([i, i + 0.5]) for i in (k, m))
    y, x = y * 5.431 / pixel + 3.3, x * 3.840 / pixel + 2.1
    y, x = np.concatenate([y, y + 1.358 / pixel]), np.concatenate([x, x])
    image = rng.poisson(counts * draw_columns(shape, y, x, np.ones(len(y)), sigma) + 0.1 * counts)
    return image.astype(np.float32), y, x


def found_inside(image, y, x, radius):
    """Share of the columns found at least two such radii from the rim, and the number of false ones there."""
    atoms = find_atoms(image, show_progressbar=False)
    found, true = (np.column_stack(p) for p in ((atoms["y_px"], atoms["x_px"]), (y, x)))
    pairs = matched(*found.T, *true.T, radius)
    deep, seen = (np.all((p > 2 * radius) & (p < np.array(image.shape) - 2 * radius), axis=1) for p in (true, found))
    hit = np.isin(np.arange(len(y)), pairs[:, 1])
    return hit[deep].mean(), seen.sum() - seen[pairs[:, 0]].sum()


@pytest.mark.parametrize(
    ("cell", "period", "options"),
    [
        (np.eye(2), 24.0, {}),
        (np.eye(2), 33.0, {"peak": 50.0, "background": 5.0}),
        (np.eye(2), 38.0, {}),
        (HEXAGONAL, 25.0, {}),
        (HEXAGONAL, 30.0, {"apart": 3.5}),
        (HEXAGONAL, 28.0, {"ratio": 1 / 3}),
    ],
)
def test_pairs_of_any_period_are_two(cell, period, options):
    """The survey takes them for columns of 1.6 times the width."""
    image, y, x = pairs_image(cell, period, **options)
    found, false = found_inside(image, y, x, 3.0)
    assert found >= 0.98
    assert false <= 0.01 * len(y)


def test_wide_dumbbells_of_silicon_are_found():
    """The survey rather sees nothing there, and columns half as wide again if any."""
    image, y, x = silicon_image()
    found, false = found_inside(image, y, x, 10.0)
    assert found >= 0.98
    assert false == 0


@pytest.mark.parametrize("shape", ["elliptical", "tailed"])
def test_a_wide_column_stays_one(shape):
    rng = np.random.default_rng(3)
    middle = (np.mgrid[:8, :9].reshape(2, -1).T * 30.0 + 15 + rng.normal(0, 1, (72, 2))).T
    rows, columns = np.mgrid[:240, :270].astype(float)
    expected = np.full(rows.shape, 20.0)
    for y, x in middle.T:
        if shape == "elliptical":
            expected += 200 * np.exp(-0.5 * (((rows - y) / 5) ** 2 + ((columns - x) / 3.6) ** 2))
        else:
            square = (rows - y) ** 2 + (columns - x) ** 2
            expected += 150 * np.exp(-square / 32) + 50 * np.exp(-square / 150)
    assert found_inside(rng.poisson(expected), *middle, 3.0) == (1.0, 0)


def test_an_empty_table_comes_with_a_warning():
    noise = np.random.default_rng(0).normal(0, 1, (128, 150))
    with pytest.warns(UserWarning, match="noise"):
        assert find_atoms(noise, show_progressbar=False).sizes["atom"] == 0


def test_nothing_where_columns_were_expected_and_much_that_is_left_are_said(monkeypatch):
    image = lattice_image((96, 110))[0]
    real = look.look_at

    def poor(*args, **options):
        from dataclasses import replace

        return replace(real(*args, **options), poor=True)

    monkeypatch.setattr("hs_deepatoms.methods.find_atoms.look_at", poor)
    with pytest.warns(UserWarning, match="unexplained"):
        find_atoms(image, show_progressbar=False)
    monkeypatch.setattr("hs_deepatoms.methods.find_atoms.look_at", real)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_atoms(image, show_progressbar=False)
    with pytest.warns(UserWarning, match="No columns are found, although"):
        find_atoms(image, threshold=0.9999999, show_progressbar=False)


def dark_crystal(number):
    """A crystal of dark narrow columns in noise, as the training simulator draws it."""
    rng = np.random.default_rng([11, number])
    rng.random()
    sigma, side = float(np.exp(rng.uniform(np.log(0.8), np.log(3)))), int(rng.integers(150, 300))
    kind = "crystal" if rng.random() < 0.7 else None
    return simulate_scene(rng, (side, side + 17), sigma, dark=True, kind=kind)


def test_where_the_survey_sees_nothing_columns_that_explain_the_image_are_found_and_doubted():
    """At the usual width and contrast 1,579 columns were found between the dark ones."""
    scene = dark_crystal(53)
    with pytest.warns(UserWarning, match="dark columns .* not sure that there are any.*contrast='bright'"):
        atoms = find_atoms(scene.image, show_progressbar=False)
    pairs = matched(atoms["y_px"].values, atoms["x_px"].values, scene.y, scene.x, 1.3)
    assert len(pairs) > 0.9 * max(atoms.sizes["atom"], len(scene.y))


def test_contrast_and_columns_that_are_in_doubt_are_said_to_be(monkeypatch):
    scene = dark_crystal(81)  # columns between the dark ones explain the image nearly as well
    with pytest.warns(UserWarning, match="explain the image about as well.*contrast='"):
        find_atoms(scene.image, refine="none", show_progressbar=False)
    monkeypatch.setattr("hs_deepatoms.methods.find_atoms.MUCH_DOUBT", -1.0)
    with pytest.warns(UserWarning, match="% are in doubt"):
        find_atoms(lattice_image((96, 110))[0], refine="none", show_progressbar=False)


def test_a_finer_width_without_a_column_is_not_taken(monkeypatch):
    image = lattice_image((160, 180))[0]
    source = images.read_images(image, operation="find_atoms")
    seen = look.look_at(source, device="cpu")
    real, calls = sight.columns_of, [seen.sigma]

    def vanishing(source, look_, sigma, window, masked):
        """None at finer widths than that of the survey."""
        calls.append(sigma)
        return Points.none(), real(source, look_, seen.sigma, window, masked)[1]

    one = seen_in(source, seen, 0)
    for room in (look, sight):
        monkeypatch.setattr(room, "columns_of", vanishing)
    monkeypatch.setattr(sight, "PURE_NOISE", 100.0)  # look at all of them
    monkeypatch.setattr(sight, "LITTLE", -100.0)
    monkeypatch.setattr(sight, "EXPLAINED", 100.0)
    width = look._measured(source, seen, one, None, "auto").sigma
    assert len(calls) == 3 and np.isfinite(width) and width > 0.9 * seen.sigma


def test_the_model_for_the_contrast_is_picked_and_named(tmp_path, monkeypatch):
    from hs_deepatoms.modelfile import registry
    from hs_deepatoms.modelfile.files import read_modules, save_modules

    path = registry.shipped_model()
    modules, info = read_modules(path)
    parts = {name: (part["architecture"], part["config"], modules[name]) for name, part in info["modules"].items()}
    shutil.copy(path, tmp_path / "detector.safetensors")
    for name, contrast, threshold in (("abf", "dark", 0.6), ("both", None, 0.7)):
        more = {"threshold": threshold} | ({"contrasts": [contrast]} if contrast else {})
        save_modules(tmp_path / f"{name}.safetensors", parts, preprocessing={**info["preprocessing"], **more},
                     card={"name": name})  # fmt: skip
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    image = lattice_image((96, 104))[0]
    for pixels, model, expected, limit in ((image, "auto", "detector", 0.45), (-image, "both", "both", 0.7)):
        seen = look.look_at(images.read_images(pixels, operation="find_atoms"), model=model, device="cpu")
        assert seen.model.name == expected and seen.threshold == limit
    atoms = find_atoms(-image, refine="none", show_progressbar=False)
    entry = json.loads(atoms.attrs["provenance"])[-1]
    limit = float(reliable(0.6, images.find_model("abf").reliability))
    assert entry["model"]["name"] == "abf" and entry["parameters"]["threshold_used"] == pytest.approx(limit)


def test_a_film_is_left_to_the_model_that_is_less_sure_of_it():
    """Its grain looks like dense dark columns; the model that was trained on such is not asked."""
    rng = np.random.default_rng(3)
    rough = gaussian_filter(rng.normal(size=(256, 256)), 1.5)
    film = rng.poisson(np.clip(40 + 8 * rough / rough.std(), 0, None))
    seen = look.look_at(images.read_images(film, operation="find_atoms"), device="cpu")
    assert seen.dark and seen.model.name == "detector"
    image = lattice_image((96, 104))[0]
    assert look.look_at(images.read_images(-image, operation="find_atoms"), device="cpu").model.name == "dark"


@pytest.mark.parametrize(("across", "told"), [(2.8, False), (2.5, True)])
def test_columns_that_are_not_round_are_told(across, told):
    y, x = (v.ravel() for v in np.mgrid[8:170:14.0, 9:200:14.0])
    rows, columns = np.mgrid[:172, :203]
    turned = [(rows - a, columns - b) for a, b in zip(y, x, strict=True)]
    image = sum(
        np.exp(-((0.8 * v + 0.6 * w) ** 2 / 2.8**2 + (0.8 * w - 0.6 * v) ** 2 / across**2) / 2) for v, w in turned
    )
    image = np.random.default_rng(0).poisson(300 * image + 20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        find_atoms(image, show_progressbar=False)
    said = [str(w.message) for w in caught if "elliptical=True" in str(w.message)]
    assert [("1.1" in text and "times as long as wide" in text) for text in said] == [True] * told
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        find_atoms(image, elliptical=True, show_progressbar=False)


@pytest.mark.parametrize(("spacing", "said"), [(2, "no columns are found"), (26, "left unexplained")])
def test_a_spacing_that_does_not_fit_is_told(spacing, said):
    image = lattice_image((172, 203), 13.0, heights=(1.0,))[0]
    with pytest.warns(UserWarning, match=f"{spacing} px apart, as spacing= says, .*{said}"):
        find_atoms(image, spacing=spacing, show_progressbar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert find_atoms(image, spacing=13, show_progressbar=False).sizes["atom"] > 100


def test_a_fit_is_made_where_it_is_asked_for(monkeypatch):
    image, made = lattice_image((96, 110))[0], []
    real = block.whole_residue
    monkeypatch.setattr(block, "whole_residue", lambda *a: made.append(1) or real(*a))
    source = images.read_images(image, operation="find_atoms")
    seen = look.look_at(source, device="cpu")
    made.clear()
    one = sight.sight_at(source, seen, seen.sigma, image, None)
    assert len(one.columns.y) > 20 and one.indecision < 0.1 and not made
    assert one.unexplained < 0.5 and one.explains and len(made) == 1


def single_atoms(seed, shape=(152, 200), sigma=2.4, counts=88.0):
    """Counts of single atoms on a rough film."""
    rng = np.random.default_rng(seed)
    y, x = (rng.uniform(4, size - 5, 60) for size in shape)
    alone = [k for k in range(60) if np.hypot(y[:k] - y[k], x[:k] - x[k]).min(initial=99) > 12]
    rough = gaussian_filter(rng.normal(size=shape), 12)
    columns = draw_columns(shape, y[alone], x[alone], rng.uniform(1, 3, len(alone)), sigma)
    return rng.poisson((columns + 1 + 0.2 * rough / rough.std()).clip(0.1) * counts).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 6])
def test_single_atoms_stay_when_a_line_is_cut_off(seed):
    """The measured width may go to the next rung of its ladder; the knots of the background hardly move."""
    image = single_atoms(seed)
    whole, cut = (find_atoms(part, show_progressbar=False) for part in (image, image[:-1, :-1]))
    y, x = whole["y_px"].values, whole["x_px"].values
    pairs = matched(y, x, cut["y_px"].values, cut["x_px"].values, 4.0)
    here, there = pairs.T
    moved = np.hypot(y[here] - cut["y_px"].values[there], x[here] - cut["x_px"].values[there])
    deep = (y < image.shape[0] - 14) & (x < image.shape[1] - 14)
    assert np.isin(np.flatnonzero(deep), here).all()
    assert moved[deep[here]].max() < 0.05


@pytest.fixture
def knots_of(monkeypatch):
    """Distances of the knots of the background, in an image and in what is left of it without a line."""
    seen = []
    monkeypatch.setattr(look, "_at_width", lambda *known, keep=look._at_width: seen.append(keep(*known)) or seen[-1])

    def knots(image):
        for part in (image, image[:-1, :-1], image[:, 1:]):
            find_atoms(part, show_progressbar=False)
        return np.array([one.knot for one in seen])

    return knots


def test_knots_follow_the_width_and_not_its_ladder(knots_of):
    knots = knots_of(single_atoms(6))
    assert 0 < np.ptp(knots) < 0.01 * knots.mean()
    assert 6 * 2.4 < knots.mean() < 10 * 2.4


@pytest.mark.parametrize("seed", [1, 3])
def test_knots_stand_still_where_noise_moves_the_width(knots_of, seed):
    knots = knots_of(single_atoms(seed, counts=5.0))
    assert np.ptp(knots) == 0
    assert 6 * 2.4 < knots[0] < 10 * 2.4


def test_a_width_of_about_a_pixel_does_not_jump_between_the_fit_and_the_survey():
    widths = np.array([look._told(fitted, 1.3) for fitted in np.linspace(0.7, 1.2, 51)])
    assert widths[0] == 1.3 and abs(widths[-1] - 1.2) < 1e-9
    assert np.abs(np.diff(widths)).max() < 0.03
    assert look._told(None, 1.3) == 1.3
