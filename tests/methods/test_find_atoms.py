import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import torch

import hs_deepatoms
from hs_deepatoms import find_atoms
from hs_deepatoms.errors import (
    DeviceError,
    InvalidArgumentError,
    InvalidAxesError,
    InvalidImageError,
    ModelFileError,
)
from hs_deepatoms.simulate.columns import draw_columns
from tests.methods.conftest import f1_inside, lattice_image, loop_image, matched


def find(data, **options):
    return find_atoms(data, show_progressbar=False, **options)


@pytest.fixture(scope="module")
def reference(standard):
    return find(standard[0])


def same_atoms(atoms, reference, tolerance, margin=0.0):
    """Every atom of one table has its partner in the other within ``tolerance`` pixels."""
    a, b = (np.column_stack([t["y_px"].values, t["x_px"].values]) for t in (atoms, reference))
    assert len(a) == len(b), f"{len(a)} atoms, the reference has {len(b)}"
    pairs = matched(a[:, 0], a[:, 1], b[:, 0], b[:, 1], 1.0)
    assert len(pairs) == len(a)
    assert np.abs(a[pairs[:, 0]] - b[pairs[:, 1]]).max() <= tolerance


def to_the_last_bit(atoms, reference):
    """Every column of two tables is equal; who made them and when may differ."""
    assert list(atoms.data_vars) == list(reference.data_vars)
    for name in atoms.data_vars:
        np.testing.assert_array_equal(atoms[name].values, reference[name].values, err_msg=name)


def test_finds_the_columns_of_the_standard_image(standard, reference):
    image, y, x = standard
    assert f1_inside(reference, y, x, image.shape, radius=3.0, margin=4) >= 0.99
    pairs = matched(reference["y_px"].values, reference["x_px"].values, y, x, 3.0)
    error = reference["x_px"].values[pairs[:, 0]] - x[pairs[:, 1]]
    assert np.sqrt((error**2).mean()) < 0.3 and abs(error.mean()) < 0.05


def test_nothing_is_dropped_at_the_border(standard, reference):
    image, y, x = standard
    near = (y < 3) | (x < 3) | (y > image.shape[0] - 4) | (x > image.shape[1] - 4)
    pairs = matched(reference["y_px"].values, reference["x_px"].values, y, x, 3.0)
    assert np.isin(np.flatnonzero(near), pairs[:, 1]).mean() > 0.7


def test_table_is_calibrated_and_keeps_metadata(signal, reference):
    atoms = signal.find_atoms(show_progressbar=False)
    same_atoms(atoms, reference, 1e-3)
    np.testing.assert_allclose(atoms["y"], 1.5 + 0.02 * atoms["y_px"])
    np.testing.assert_allclose(atoms["x"], -3.0 + 0.025 * atoms["x_px"])
    assert atoms["y"].attrs["units"] == atoms["y_std"].attrs["units"] == "nm"
    assert atoms["y_px"].attrs["units"] == "px"
    assert "200" in atoms.attrs["metadata"] and "standard" in atoms.attrs["metadata"]
    entry = atoms.attrs["provenance"]
    for word in ("find_atoms", "sha256", "version", "time", "column_sigma_px", "device"):
        assert word in entry
    assert ((atoms["probability"] >= 0) & (atoms["probability"] <= 1)).all()


@pytest.mark.parametrize(
    ("change", "tolerance"),
    [
        (lambda a: a + 1000.0, 0.05),
        (lambda a: a * 1e-6, 0.05),
        (lambda a: a * 1e6, 0.05),
        (lambda a: a.astype(np.float64), 0.05),
        (lambda a: a.astype(np.uint16), 0.05),
        (lambda a: a.astype(np.float16), 0.15),
        (lambda a: np.round((a - a.min()) / np.ptp(a) * 255).astype(np.uint8), 0.15),
        (lambda a: np.round((a - a.min()) / np.ptp(a) * 65535 - 32768).astype(np.int16), 0.15),
    ],
    ids=["offset", "small", "large", "float64", "uint16", "float16", "uint8", "int16"],
)
def test_intensity_and_type_do_not_matter(standard, reference, change, tolerance):
    same_atoms(find(change(standard[0])), reference, tolerance)


@pytest.mark.parametrize(("seed", "times"), [(0, 100), (1, 100), (2, 1.5), (3, 1.5), (4, 2.5)])
def test_ten_hot_pixels_do_not_matter(standard, reference, seed, times):
    image, rng = standard[0].copy(), np.random.default_rng(seed)
    image[rng.integers(0, 180, 10), rng.integers(0, 260, 10)] = times * image.max()
    same_atoms(find(image), reference, 0.05)


@pytest.mark.parametrize("row", [37, 90, 141])
def test_a_lost_line_does_not_matter(row):
    # at a dose where the line's own share of the information is less than the tolerance
    image, _, _ = lattice_image(counts=1500.0)
    whole = find(image)
    image[row] = np.nan
    same_atoms(find(image), whole, 0.05)


@pytest.mark.parametrize("lost", [1, 12])
def test_lines_lost_at_the_rim_are_like_a_smaller_frame(lost):
    y, x = (a.ravel() for a in np.meshgrid(lost - 0.2 + 13.0 * np.arange(12), 7 + 13.0 * np.arange(16), indexing="ij"))
    bright = draw_columns((150, 214), y, x, np.full(len(y), 60.0), 2.5) + 30
    image = np.random.default_rng(3).poisson(bright).astype(float)
    cropped = find(image[lost:])
    image[:lost] = np.nan
    found = find(image)
    at_rim = [int((np.abs(t["y_px"] - at) < 2).sum()) for t, at in ((found, lost - 0.2), (cropped, -0.2))]
    assert at_rim[0] >= at_rim[1] >= 14  # of 16 columns, of each of which there is half
    mask = np.zeros(image.shape, bool)
    mask[:lost] = True
    assert (find(image, signal_mask=mask)["y_px"] > lost - 0.6).all()  # a mask is meant to the pixel


def test_fitted_columns_are_in_the_units_of_the_image(signal, reference):
    atoms = signal.find_atoms(show_progressbar=False)
    assert atoms["quality"].attrs["flag_meanings"].split()[0] == "fitted"
    assert (atoms["quality"] == 0).mean() > 0.97
    assert atoms["width_y"].attrs["units"] == "nm"
    assert float(atoms["width_y"].median()) == pytest.approx(3.0 * 0.02, rel=0.03)
    assert float(atoms["width_x"].median()) == pytest.approx(3.0 * 0.025, rel=0.03)
    # the standard image: 200 counts for the strong columns, half of it for the others, on 60
    strong = atoms["height"] > 150
    assert float(atoms["height"][strong].median()) == pytest.approx(200, rel=0.05)
    assert float(atoms["height"][~strong].median()) == pytest.approx(100, rel=0.05)
    assert float(atoms["background"].median()) == pytest.approx(60, rel=0.1)


def test_heights_of_dark_columns_are_negative(standard, reference):
    image = standard[0]
    dark = find(image.max() - image, contrast="dark")
    fitted = dark["quality"] == 0
    assert (dark["height"][fitted] < 0).all()
    assert float(dark["height"][fitted].mean()) == pytest.approx(-float(reference["height"].mean()), rel=0.05)
    assert float(dark["background"].median()) == pytest.approx(image.max() - 60, rel=0.05)
    assert len(dark["atom"]) == pytest.approx(len(reference["atom"]), abs=4)


def test_refinement_lowers_the_error_and_states_it(standard):
    image, y, x = standard
    errors = {}
    for how in ("none", "quick", "full"):
        atoms = find(image, refine=how)
        pairs = matched(atoms["y_px"].values, atoms["x_px"].values, y, x, 3.0)
        error = atoms["x_px"].values[pairs[:, 0]] - x[pairs[:, 1]]
        errors[how] = np.sqrt((error**2).mean())
        if how != "none":
            std = atoms["x_std"].values[pairs[:, 0]]
            assert 0.6 < (np.abs(error) < std).mean() < 0.8
    assert max(errors["quick"], errors["full"]) < errors["none"] and errors["quick"] < 0.11
    assert "height" not in find(image, refine="none")


@pytest.mark.parametrize("shape", [(181, 263), (97, 260), (180, 61)])
def test_odd_sizes_find_the_same_atoms_away_from_the_cut(standard, reference, shape):
    image = np.pad(standard[0], [(0, 1), (0, 3)], mode="edge")[: shape[0], : shape[1]]
    part = find(image)
    height, width = np.minimum(shape, (180, 260))
    inside = (reference["y_px"] < height - 25) & (reference["x_px"] < width - 25)
    pairs = matched(part["y_px"].values, part["x_px"].values, reference["y_px"].values[inside],
                    reference["x_px"].values[inside], 1.0)  # fmt: skip
    assert len(pairs) >= int(inside.sum()) - 1


@pytest.mark.parametrize("chunks", [(180, 260), (50, 260), (180, 33), (41, 77)])
def test_lazy_and_any_chunking(standard, reference, chunks):
    lazy = hs.signals.Signal2D(da.from_array(standard[0], chunks=chunks)).as_lazy()
    to_the_last_bit(lazy.find_atoms(show_progressbar=False), reference)


def test_frames_are_scaled_one_by_one_and_empty_ones_have_no_atoms(standard, reference):
    image = standard[0]
    stack = np.stack([image, 0.1 * image, np.zeros_like(image), np.full_like(image, np.nan), image + 1000])
    atoms = find(stack)
    counts = [int((atoms["nav_0_index"] == k).sum()) for k in range(5)]
    n = len(reference["atom"])
    assert counts == [n, n, 0, 0, n]
    same_atoms(atoms.isel(atom=(atoms["nav_0_index"] == 1).values), reference, 0.05)


@pytest.fixture(scope="module")
def large():
    """An image larger than the tiles of the tests, and the atoms found in it whole."""
    image, _, _ = lattice_image((420, 510), sigma=2.2, spacing=11.0)
    rng = np.random.default_rng(0)
    image[rng.integers(0, 420, 40), rng.integers(0, 510, 40)] = 1.6 * image.max()  # hot pixels, some at rims of tiles
    return image, find(image)


def test_tiles_give_what_the_whole_image_gives_and_chunks_change_no_bit(large, small_tiles):
    image, whole = large
    tiled = find(image)
    same_atoms(tiled, whole, 1e-3)
    for chunks in [(420, 510), (100, 510), (120, 120), (77, 131)]:
        to_the_last_bit(find(da.from_array(image, chunks=chunks)), tiled)
    assert small_tiles[-1] >= 6 and len(set(small_tiles)) == 1


def test_chunks_of_a_stack_change_no_bit(standard):
    stack = np.stack([standard[0], 0.3 * standard[0][::-1], standard[0][:, ::-1]])
    eager = find(stack)
    for chunks in [(1, 180, 260), (2, 50, 260), (3, 41, 77)]:
        to_the_last_bit(find(da.from_array(stack, chunks=chunks), num_workers=1), eager)


def tiles_give_what_the_whole_gives(image, small_tiles, **options):
    before = len(small_tiles)
    tiled = find(image, **options)
    assert small_tiles[before] >= 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hs_deepatoms.engine.plan.choose_tile", lambda *args, **options: (512, 1))
        same_atoms(tiled, find(image, **options), 1e-3)
    assert small_tiles[-1] == 1


def test_tiles_fit_what_stands_beyond_the_rim_as_the_whole_image_does(small_tiles):
    """Columns half inside, seen by the detector or only by their flanks: 0.03 px came of them at this size of image."""
    image, _, _ = lattice_image((290, 377), sigma=2.6, spacing=12.0)
    tiles_give_what_the_whole_gives(image, small_tiles)


@pytest.mark.parametrize("k", [0, 7, 8])
def test_tiles_of_a_dense_crystal_at_a_high_dose_give_what_the_whole_image_gives(k, small_tiles):
    """Columns beyond the rim are hardly told from the background there: up to 0.011 px came of it."""
    image, _, _ = lattice_image((290, 377), 14.0, 3.0, angle=0.1 * k + 0.05, heights=(1.0,), counts=1000.0, seed=k,
                                background=0.05)  # fmt: skip
    tiles_give_what_the_whole_gives(image, small_tiles)


def test_tiles_without_a_fit_have_no_atoms_outside_of_the_frame(small_tiles):
    image, _, _ = lattice_image((290, 377), sigma=2.6, spacing=12.0, angle=0.3)
    tiles_give_what_the_whole_gives(image, small_tiles, refine="none")


def test_tiles_of_a_stack_with_masks(large, small_tiles):
    image, whole = large
    stack = da.from_array(np.stack([image, 0.2 * image, image]), chunks=(2, 211, 300))
    mask = np.zeros(image.shape, bool)
    mask[:, 300:] = True
    atoms = find(stack, navigation_mask=np.array([False, False, True]), signal_mask=mask)
    assert sorted(set(atoms["nav_0_index"].values.tolist())) == [0, 1] and (atoms["x_px"] < 300).all()
    first = atoms.isel(atom=(atoms["nav_0_index"] == 0).values)
    part = whole.isel(atom=(whole["x_px"] < 270).values)
    pairs = matched(first["y_px"].values, first["x_px"].values, part["y_px"].values, part["x_px"].values, 0.3)
    assert len(pairs) >= 0.98 * part.sizes["atom"] and small_tiles[-1] >= 18


def test_masked_pixels_do_not_set_the_scale(standard, reference):
    image = standard[0].copy()
    mask = np.zeros(image.shape, bool)
    mask[:60] = True
    image[:60] = 1e6
    atoms = find(image, signal_mask=mask)
    below = reference.isel(atom=(reference["y_px"] > 85).values)
    pairs = matched(atoms["y_px"].values, atoms["x_px"].values, below["y_px"].values, below["x_px"].values, 0.6)
    assert len(pairs) >= 0.97 * below.sizes["atom"] and (atoms["y_px"] > 59).all()


def test_dark_columns(standard):
    image, y, x = standard
    atoms = find(image.max() - image)
    assert f1_inside(atoms, y, x, image.shape, radius=3.0, margin=4) >= 0.97
    assert f1_inside(find(image.max() - image, contrast="dark"), y, x, image.shape, 3.0, 4) >= 0.98


@pytest.mark.parametrize("method", ["log", "max"])
def test_other_methods_share_scale_and_table(method, standard):
    image, y, x = lattice_image(heights=(1.0,))
    atoms = find(image, method=method)
    assert f1_inside(atoms, y, x, image.shape, 3.0, 4) >= 0.97
    assert {"y", "x", "y_px", "x_px"} <= set(atoms.variables)


@pytest.mark.parametrize(("spacing", "sigma"), [(5, 1.0), (9, 1.8), (28, 5.6), (60, 12.0)])
def test_any_scale(spacing, sigma):
    shape = (int(24 * spacing**0.9) + 40, int(20 * spacing**0.9) + 60)
    image, y, x = lattice_image(shape, spacing, sigma, angle=0.5, heights=(1.0, 0.6), counts=150)
    assert f1_inside(find(image), y, x, shape, 0.3 * spacing, spacing) >= 0.97


@pytest.mark.parametrize("kind", ["gauss", "poisson", "film", "vacuum"])
def test_noise_has_no_atoms(kind):
    from scipy.ndimage import gaussian_filter

    found = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        image = {
            "gauss": lambda rng=rng: rng.normal(0, 1, (256, 256)),
            "poisson": lambda rng=rng: rng.poisson(0.5, (256, 256)),
            "film": lambda rng=rng: rng.poisson(30 + 2 * gaussian_filter(rng.normal(0, 10, (256, 256)), 3)),
            "vacuum": lambda rng=rng: rng.poisson(np.where(np.arange(256) > 100, 20, 2) * np.ones((256, 1))),
        }[kind]()
        found += len(find(image)["atom"])
    assert found < 3


@pytest.mark.parametrize("grain", [3.0, 6.0])
def test_grains_of_a_film_are_no_atoms_beside_brighter_ones(grain):
    """Thirty of them were reported beside 64 atoms."""
    from scipy.ndimage import gaussian_filter

    rng, shape = np.random.default_rng(3), (256, 300)
    y, x = (v.ravel() + rng.uniform(-5, 5, v.size) for v in np.mgrid[15:250:30, 18:290:34])
    film = gaussian_filter(rng.normal(size=shape), 1.8)
    atoms = draw_columns(shape, y, x, rng.uniform(55, 105, len(y)), 2.6)
    image = rng.poisson(np.clip(50 + grain * film / film.std(), 2, None) + atoms)
    found, turned = find(image), find(image[::-1, ::-1].copy())
    for there, at in ((found, (y, x)), (turned, (255 - y, 299 - x))):
        assert len(matched(there["y_px"].values, there["x_px"].values, *at, 2.5)) >= len(y) - 1
    assert found.sizes["atom"] + turned.sizes["atom"] <= 1.08 * 2 * len(y)


def test_columns_beyond_any_side_stay_beyond_it():
    """Below and to the right of a frame that the network has to have filled up they were drawn into it by pixels."""
    rng, frames, beyond = np.random.default_rng(1), [], []
    for frame in range(5):
        turn = rng.uniform(0, np.pi / 2)
        i, j = np.mgrid[-12:13, -12:13].reshape(2, -1)
        y = 80 + 13 * (np.cos(turn) * i - np.sin(turn) * j) + rng.normal(0, 0.3, i.size)
        x = 88 + 13 * (np.sin(turn) * i + np.cos(turn) * j) + rng.normal(0, 0.3, i.size)
        frames.append(rng.poisson(draw_columns((160, 176), y, x, np.full(y.size, 1000.0), 2.5) + 100))
        out = np.maximum(np.maximum(-y, y - 159), np.maximum(-x, x - 175))
        beyond += [(frame, *at) for at in zip(y[(out > 1.5) & (out < 4)], x[(out > 1.5) & (out < 4)], strict=True)]
    atoms = find(np.stack(frames))
    found = np.stack([atoms["nav_0_index"], atoms["y_px"], atoms["x_px"]], 1)
    near = [bool((np.abs(found - at) < (0.5, 4, 4)).all(1).any()) for at in np.array(beyond)]
    assert len(near) > 30 and np.mean(near) < 0.1


def test_region_masks_and_navigation_mask(signal, standard, reference):
    roi = hs.roi.RectangularROI(left=-2.0, right=1.5, top=2.0, bottom=4.0)
    part = signal.find_atoms(region=roi, show_progressbar=False)
    assert len(part["atom"]) > 20
    assert (part["x"] >= -2.05).all() and (part["x"] <= 1.55).all()
    assert (part["y"] >= 1.95).all() and (part["y"] <= 4.05).all()
    pairs = matched(part["y_px"].values, part["x_px"].values, reference["y_px"].values, reference["x_px"].values, 1)
    assert len(pairs) >= 0.9 * len(part["atom"])
    mask = np.zeros((180, 260), bool)
    mask[:, :130] = True
    half = signal.find_atoms(signal_mask=mask, show_progressbar=False)
    assert len(half["atom"]) > 20 and (half["x_px"] >= 129.4).all()
    stack = np.stack([standard[0]] * 3)
    atoms = find(stack, navigation_mask=np.array([False, True, False]))
    assert sorted(set(atoms["nav_0_index"].values.tolist())) == [0, 2]


def test_spacing_is_a_hint_in_any_unit(signal, reference):
    for spacing in (15, 0.375, "0.375 nm", "375 pm"):
        atoms = signal.find_atoms(spacing=spacing, show_progressbar=False)
        assert len(atoms["atom"]) == pytest.approx(len(reference["atom"]), abs=3)


def test_dataarray_and_plain_array_and_signal_agree(signal, reference):
    array = hs_deepatoms.to_xarray(signal)
    same_atoms(find(array), reference, 1e-3)
    same_atoms(array.deepatoms.find_atoms(show_progressbar=False), reference, 1e-3)


def test_no_global_state_is_touched(standard):
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy(), torch.get_default_dtype()  # noqa: NPY002
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(3)  # what the code inside would not choose
        find(standard[0])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.get_default_dtype() == before[2]


def diffraction():
    s = hs.signals.Signal2D(np.random.default_rng(0).random((32, 40)))
    s.axes_manager[0].units = s.axes_manager[1].units = "1/nm"
    return s


@pytest.mark.parametrize(
    ("data", "error", "word"),
    [
        (hs.signals.Signal1D(np.ones((40, 50))), InvalidImageError, "Signal1D"),
        (np.ones((40, 50), complex), InvalidImageError, "complex"),
        (np.zeros((40, 50), [("R", "u1"), ("G", "u1"), ("B", "u1")]), InvalidImageError, "RGB"),
        (np.zeros((0, 40, 50)), InvalidImageError, "empty"),
        (np.full((40, 50), np.nan), InvalidImageError, "NaN"),
        (np.full((40, 50), 3), InvalidImageError, "Got a constant image: every valid pixel is 3."),
        (np.full((40, 50), np.inf), InvalidImageError, "every pixel is infinite."),
        (da.ones((40, 50), chunks=20)[da.ones(40, chunks=20) > 0], InvalidImageError, "compute_chunk_sizes"),
        (da.full((2, 40, 50), 3, chunks=20), InvalidImageError, "2 images without contrast"),
        (
            np.stack([np.full((40, 50), v) for v in (0, 5, np.nan)]),
            InvalidImageError,
            "Got 3 images without contrast: every valid pixel of the first is 0.",
        ),
        (np.full((3, 40, 50), np.nan), InvalidImageError, "every pixel of the first is NaN."),
        (np.random.default_rng(0).random((12, 50)), InvalidImageError, "16"),
        (np.arange(20.0), InvalidAxesError, "dimension"),
        (diffraction(), InvalidAxesError, "1/nm"),
        ([[1, 2], [3, 4]], InvalidImageError, "list"),
    ],
)
def test_bad_input_says_what_to_do(data, error, word):
    with pytest.raises(error, match="Allowed") as said:
        find(data)
    assert word in str(said.value)


def test_the_blank_frame_described_is_one_that_is_looked_at():
    frames = np.random.default_rng(0).poisson(20, (3, 40, 50)).astype(float)
    frames[1:] = 5
    with pytest.raises(InvalidImageError, match="2 images without contrast: every valid pixel of the first is 5"):
        find(frames, navigation_mask=[True, False, False])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "no/such/file.safetensors"}, ModelFileError),
        ({"device": "cuda:77"}, DeviceError),
        ({"method": "magic"}, InvalidArgumentError),
        ({"contrast": "pink"}, InvalidArgumentError),
        ({"threshold": 2}, InvalidArgumentError),
        ({"threshold": 0.01}, InvalidArgumentError),
        ({"spacing": -3}, InvalidArgumentError),
        ({"spacing": "4 s"}, InvalidArgumentError),
        ({"spacing": 1}, InvalidArgumentError),
        ({"spacing": 180}, InvalidArgumentError),
        ({"spacing": 1e30}, InvalidArgumentError),
        ({"model": 3}, InvalidArgumentError),
        ({"show_progressbar": "yes"}, InvalidArgumentError),
        ({"refine": "perfect"}, InvalidArgumentError),
        ({"batch_size": 0}, InvalidArgumentError),
        ({"signal_mask": np.zeros((3, 3), bool)}, InvalidArgumentError),
        ({"region": hs.roi.RectangularROI(1000, 1000, 1010, 1010)}, InvalidArgumentError),
        ({"region": hs.roi.RectangularROI(10, 10, 14, 14)}, InvalidImageError),
    ],
)
def test_bad_arguments_are_named_errors(standard, options, error):
    with pytest.raises(error, match="Allowed"):
        hs_deepatoms.find_atoms(standard[0], **{"show_progressbar": False, **options})


@pytest.mark.parametrize("spacing", ["1.2 parsec", "1 m", "1 pm", 1e9, 4.5])
def test_spacings_that_do_not_fit_the_image(signal, spacing):
    for method in (signal.find_atoms, signal.segment):
        with pytest.raises(InvalidArgumentError, match="shorter side of the image, 180 px"):
            method(spacing=spacing)


@pytest.mark.parametrize("threshold", [1.0, 0.05])
def test_the_ends_of_the_threshold_are_not_allowed_and_the_message_says_so(standard, threshold):
    with pytest.raises(InvalidArgumentError, match=r"above 0\.05 and below 1"):
        find(standard[0], threshold=threshold)


def test_a_mask_over_everything(standard):
    with pytest.raises(InvalidImageError, match="everything is masked"):
        find(standard[0], signal_mask=np.ones(standard[0].shape, bool))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_finds_what_the_cpu_finds(standard):
    cpu, gpu = find(standard[0], device="cpu"), find(standard[0], device="cuda")
    same_atoms(gpu, cpu, 0.05)  # bfloat16 inside, float32 where positions are read off
    assert "cuda" in gpu.attrs["provenance"]


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_any_dask_scheduler(standard, reference, scheduler):
    import dask

    lazy = da.from_array(np.stack([standard[0]] * 3), chunks=(1, 90, 260))
    workers = 1 if scheduler == "processes" else 2  # every process imports everything once more
    with dask.config.set(scheduler=scheduler):
        atoms = find(lazy, num_workers=workers)
    n = len(reference["atom"])
    assert len(atoms["atom"]) == 3 * n
    same_atoms(atoms.isel(atom=slice(n, 2 * n)), reference, 1e-3)


def test_distributed(standard, reference):
    distributed = pytest.importorskip("distributed")
    lazy = da.from_array(np.stack([standard[0]] * 2), chunks=(1, 180, 130))
    with distributed.LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        with distributed.Client(cluster):
            atoms = find(lazy)
    assert len(atoms["atom"]) == 2 * len(reference["atom"])


@pytest.mark.parametrize("rim", [1, 2, 5, 40])
def test_a_blank_rim_changes_nothing(standard, reference, rim):
    """Alignment leaves lines of zeros: they hold no columns and set no scale."""
    padded = find(np.pad(standard[0], [(rim, 0), (0, rim)]))
    assert not ((padded["y_px"] < rim - 2.5) | (padded["x_px"] > 261.5)).any()  # but for columns that the rim cuts
    inside = (reference["y_px"] > 20) & (reference["x_px"] < 240)
    pairs = matched(padded["y_px"].values - rim, padded["x_px"].values, reference["y_px"].values[inside],
                    reference["x_px"].values[inside], 0.15)  # fmt: skip
    assert len(pairs) >= 0.97 * int(inside.sum())


def test_saturated_lines_change_nothing(standard, reference):
    image = standard[0].copy()
    image[:, 100:103] = 65535
    found = find(image)
    far = np.abs(reference["x_px"].values - 101) > 15
    pairs = matched(found["y_px"].values, found["x_px"].values, reference["y_px"].values[far],
                    reference["x_px"].values[far], 0.15)  # fmt: skip
    assert len(pairs) == far.sum()


@pytest.mark.parametrize("refine", ["none", "quick", "full"])
def test_no_columns_in_a_hole(standard, refine):
    image = standard[0].copy()
    image[50:110, 70:150] = np.nan
    for mask in (None, np.isnan(image)):
        found = find(image, refine=refine, signal_mask=mask)
        y, x = found["y_px"].values, found["x_px"].values
        assert not ((y > 51) & (y < 108) & (x > 71) & (x < 148)).any()
    assert found.sizes["atom"] > 100


def test_a_region_holds_what_the_whole_image_has_there(signal):
    import hyperspy.api as hs

    whole = signal.find_atoms(show_progressbar=False)
    for region in (hs.roi.RectangularROI(-2, 2, 1.5, 4), hs.roi.CircleROI(0, 3.3, 1.1)):
        part, same = signal.find_atoms(region=region, show_progressbar=False), whole.deepatoms.select(region=region)
        assert part.sizes["atom"] == same.sizes["atom"]
        pairs = matched(part["y_px"].values, part["x_px"].values, same["y_px"].values, same["x_px"].values, 0.2)
        assert len(pairs) == same.sizes["atom"]


@pytest.mark.parametrize("peak", [50, 200])
def test_equal_columns_that_just_touch_are_two(peak):
    """Pairs 3 sigma apart look like single wide columns to a survey of widths."""
    from hs_deepatoms.simulate.columns import draw_columns

    rng = np.random.default_rng(peak)
    middle = np.mgrid[:9, :10].reshape(2, -1) * 30.0 + 15 + rng.standard_normal((2, 90))
    angle = rng.uniform(0, np.pi, 90)
    half = 3.75 * np.stack([np.sin(angle), np.cos(angle)])
    y, x = np.concatenate([middle - half, middle + half], axis=1)
    found = find(rng.poisson(draw_columns((270, 303), y, x, np.full(180, float(peak)), 2.5) + 0.1 * peak))
    assert found.sizes["atom"] == 180
    assert len(matched(found["y_px"].values, found["x_px"].values, y, x, 1.0)) == 180


@pytest.fixture
def loop():
    """An image of a defect, and the atoms found in it whole."""
    image = loop_image(4, (260, 330))[0]
    return image, find(image)


def test_tiles_agree_about_the_core_of_a_defect(loop, small_tiles):
    image, whole = loop
    lazy = find(da.from_array(image, chunks=(110, 97)))
    assert small_tiles[-1] >= 4
    deep = [t.isel(atom=((t["y_px"] > 60) & (t["y_px"] < 200) & (t["x_px"] > 60) & (t["x_px"] < 270)).values)
            for t in (lazy, whole)]  # fmt: skip
    same_atoms(*deep, 0.03)
    assert lazy.deepatoms.rings()["ring_count"].sel(ring_size=[5, 7]).values.tolist() == [6, 6]


def test_a_wrong_species_is_called_by_the_argument_that_was_given():
    with pytest.raises(InvalidArgumentError, match=r"species=0\..*species=\['Sr', 'Ti'\]"):
        find_atoms(np.zeros((20, 30)), species=0)


@pytest.mark.parametrize("rows", range(148, 156))
def test_columns_on_the_last_row_are_found_whatever_the_size(rows):
    """However many rows are missing to the multiple that the network wants."""
    y, x = (c.ravel() for c in np.meshgrid(np.arange(rows - 1, -1, -10.0), np.arange(6.0, 200, 10), indexing="ij"))
    image = draw_columns((rows, 203), y, x, np.full(y.size, 300.0), 2.0) + 30
    image = np.random.default_rng(rows).poisson(image).astype(np.float32)
    for turned in (image, image[::-1]):
        atoms = find(turned, refine="none")
        last = np.abs(atoms["y_px"].values - (rows - 1 if turned is image else 0)) < 1.5
        assert last.sum() == 20


def test_a_mask_of_single_pixels_takes_no_columns_away(standard, reference):
    mask = np.random.default_rng(0).uniform(size=standard[0].shape) < 0.05
    atoms = find(standard[0], signal_mask=mask)
    pairs = matched(*(t[n].values for t in (atoms, reference) for n in ("y_px", "x_px")), 0.5)
    assert len(pairs) >= 0.99 * reference.sizes["atom"]
