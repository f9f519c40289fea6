"""The command line: what it writes, what it says, and how it fails."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import hs_deepatoms
from hs_deepatoms.cli import main
from hs_deepatoms.cli_words import as_options

PNG = b"\x89PNG"


def _columns(shape=(64, 80), step=12.0):
    """An image of Gaussian columns on a square lattice, and the true positions."""
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]]
    y, x = (grid.ravel() for grid in np.mgrid[8.3 : shape[0] - 6 : step, 7.6 : shape[1] - 6 : step])
    columns = sum(100 * np.exp(-((rows - a) ** 2 + (cols - b) ** 2) / (2 * 2.0**2)) for a, b in zip(y, x, strict=True))
    return np.random.default_rng(0).poisson(columns + 10).astype("float32"), y, x


def _signal(data):
    signal = hs.signals.Signal2D(data)
    for axis, scale in zip(signal.axes_manager.signal_axes, (0.02, 0.03), strict=True):
        axis.scale, axis.units = scale, "nm"
    return signal


@pytest.fixture
def image_file(tmp_path):
    _signal(_columns()[0]).save(tmp_path / "image [1].hspy")
    return tmp_path / "image [1].hspy"


def _run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _find(*arguments):
    return _run("find-atoms", "--method", "log", "--quiet", *arguments)


def test_a_warning_is_one_line(tmp_path):
    """On a pattern that looks like noise: no path, no line of code."""
    _signal(np.random.default_rng(0).normal(size=(180, 200)).astype("float32")).save(tmp_path / "noise.hspy")
    done = _run("find-atoms", "--quiet", tmp_path / "noise.hspy", "--out", tmp_path / "out")
    assert done.exit_code == 0 and "0 atoms" in done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Compiling")]
    assert len(lines) == 1 and lines[0].startswith(f"hs-deepatoms: warning: {tmp_path / 'noise.hspy'}: This looks like")
    assert ".py" not in done.stderr


def test_arguments_are_called_as_they_are_typed(image_file, tmp_path):
    """What the library calls elliptical=True is --elliptical here."""
    done = _run("find-atoms", "--elliptical", "--refine", "none", image_file, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "Got --elliptical with --refine none. Allowed: --refine quick or 'full'." in done.stderr
    done = _run("find-atoms", "--device", "gpu", image_file, "--out", tmp_path / "out")
    assert "Got --device gpu. Allowed: 'auto'" in done.stderr


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("Give spacing= if there are some.", "Give --spacing if there are some."),
        ("contrast='dark', or spacing=, may be right.", "--contrast dark, or --spacing, may be right."),
        ("elliptical=True fits their shape.", "--elliptical fits their shape."),
        ("Got spacing=0.1, 0.4 px.", "Got --spacing 0.1, 0.4 px."),
        ("Got threshold=2. Allowed: own_model=3 px", "Got --threshold 2. Allowed: own_model=3 px"),
        ("Got threshold=nan. refine=None, model=\"x y\"", "Got --threshold nan. --refine None, --model x y"),
        ("spacing=[1, 2], elliptical=False, spacing= in", "spacing=[1, 2], --elliptical False, --spacing in"),
    ],
)  # fmt: skip
def test_as_options(python, typed):
    assert as_options(python) == typed


def test_one_image_writes_table_and_picture(image_file, tmp_path):
    _, y, x = _columns()
    done = _find(image_file, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert f"{len(y)} atoms" in done.stdout
    assert "64 x 80 px" in done.stdout and "nm/px" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "image [1]_atoms.csv",
        "image [1]_atoms.png",
        "image [1]_atoms.zarr",
    ]
    assert (tmp_path / "out/image [1]_atoms.png").read_bytes().startswith(PNG)
    table = hs_deepatoms.load(tmp_path / "out/image [1]_atoms.zarr")
    distance = np.hypot(table["y_px"].values[:, None] - y, table["x_px"].values[:, None] - x)
    assert distance.min(axis=0).max() < 0.5 and distance.min(axis=1).max() < 0.5
    np.testing.assert_allclose(table["y"], 0.03 * table["y_px"])
    assert len(pd.read_csv(tmp_path / "out/image [1]_atoms.csv", comment="#")) == len(y)


@pytest.mark.parametrize(
    ("scale", "units", "text"),
    [(1, "", "64 x 80 px"), (0.02, "", "64 x 80 px, scale 0.02 without units"), (-2, "Å", "64 x 80 px, 2 Å/px")],
)
def test_the_summary_of_a_calibration(scale, units, text):
    from hs_deepatoms.cli import _describe

    signal = hs.signals.Signal2D(np.zeros((64, 80)))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = scale, units
    assert _describe(signal) == text


@pytest.mark.parametrize("sign", [1, -1])
def test_which_model_the_contrast_called_for_is_said(tmp_path, sign):
    image, y, _ = _columns()
    _signal(500 + sign * image.astype(float)).save(tmp_path / "image.hspy")
    done = _run("find-atoms", "--quiet", tmp_path / "image.hspy", "--out", tmp_path)
    assert done.exit_code == 0 and f"{len(y)} atoms" in done.stdout, done.output
    assert f"model {'detector' if sign > 0 else 'dark'}" in done.stdout


@pytest.mark.parametrize("reading", ["--lazy", "--eager"])
def test_a_stack_counts_per_frame(tmp_path, reading):
    image, y, _ = _columns()
    half = image.copy()
    half[:, 40:] = np.random.default_rng(1).poisson(10, half[:, 40:].shape)
    _signal(np.stack([image, image, half])).save(tmp_path / "movie.hspy")
    done = _find(tmp_path / "movie.hspy", "--out", tmp_path, reading)
    assert done.exit_code == 0, done.output
    assert "3 frames" in done.stdout and f"to {len(y)} per frame" in done.stdout


def test_options_reach_find_atoms(image_file, tmp_path, monkeypatch):
    seen = {}

    def spy(signal, **arguments):
        seen.update(arguments)
        raise hs_deepatoms.errors.InvalidArgumentError("stop here")

    monkeypatch.setattr(hs_deepatoms, "find_atoms", spy)
    options = ["--spacing", "0.39", "--threshold", "auto", "--contrast", "dark", "--batch-size", "3", "--device", "cpu"]
    assert _run("find-atoms", image_file, "--out", tmp_path / "out", *options).exit_code == 1
    assert seen["spacing"] == 0.39 and seen["threshold"] == "auto" and seen["contrast"] == "dark"
    assert seen["batch_size"] == 3 and seen["device"] == "cpu" and seen["method"] == "network"
    assert seen["region"] is None
    _run("find-atoms", image_file, "--out", tmp_path / "out", "--region", "0.1", "0.2", "1.1", "1.5")
    assert (seen["region"].left, seen["region"].top, seen["region"].right, seen["region"].bottom) == (
        0.1,
        0.2,
        1.1,
        1.5,
    )
    _run("find-atoms", image_file, "--out", tmp_path / "out", "--spacing", "12")
    assert seen["spacing"] == 12 and isinstance(seen["spacing"], int)
    _run("find-atoms", image_file, "--out", tmp_path / "out", "--spacing", "3.9 Å")
    assert seen["spacing"] == "3.9 Å"


def _several():
    spectrum, image = hs.signals.Signal1D(np.ones(50)), _signal(_columns()[0])
    complex_image, second = image.deepcopy(), image.deepcopy()
    complex_image.change_dtype("complex64")
    titles = ("EELS", "HAADF", "exit wave", "BF")
    for signal, title in zip((spectrum, image, complex_image, second), titles, strict=True):
        signal.metadata.General.title = title
    return [spectrum, image, complex_image, second]


def test_of_several_signals_the_images_are_taken(image_file, tmp_path, monkeypatch):
    monkeypatch.setattr(hs, "load", lambda *a, **k: _several())
    done = _find(image_file, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "skipped signal 0 (EELS)" in done.stdout and "skipped signal 2 (exit wave)" in done.stdout
    assert "signal 1 (HAADF)" in done.stdout and "signal 3 (BF)" in done.stdout
    tables = sorted(path.name for path in (tmp_path / "out").glob("*.csv"))
    assert tables == ["image [1]_1_atoms.csv", "image [1]_3_atoms.csv"]


def test_a_file_without_an_image_is_an_error(image_file, tmp_path, monkeypatch):
    monkeypatch.setattr(hs, "load", lambda *a, **k: [_several()[0], _several()[2]])
    done = _find(image_file, "--out", tmp_path / "out")
    assert _error_lines(done) == 1 and "none of its 2 signals is an image" in done.stderr
    assert not (tmp_path / "out").exists()


def _error_lines(done):
    assert done.exit_code == 1, done.output
    lines = done.stderr.strip().splitlines()
    assert all(line.startswith("hs-deepatoms: error: ") for line in lines), done.stderr
    return len(lines)


@pytest.mark.parametrize("content", ["missing", "garbage", "spectrum", "small", "unknown ending", "text"])
def test_a_bad_file_is_one_line_and_exit_code_1(tmp_path, content):
    file = tmp_path / {"garbage": "bad.dm3", "unknown ending": "bad.xyz", "text": "bad.txt"}.get(content, "bad.hspy")
    if content in ("garbage", "unknown ending", "text"):
        file.write_text("not an image")
    elif content == "spectrum":
        hs.signals.Signal1D(np.ones((4, 50))).save(file)
    elif content == "small":
        _signal(np.ones((7, 30))).save(file)
    done = _find(file, "--out", tmp_path / "out")
    assert _error_lines(done) == 1
    assert file.name in done.stderr and "Traceback" not in done.stderr
    assert content not in ("text", "unknown ending") or "no reader" in done.stderr


def test_one_bad_file_does_not_stop_the_others(image_file, tmp_path):
    done = _find(tmp_path / "none.dm3", image_file, "--out", tmp_path / "out")
    assert _error_lines(done) == 1
    assert (tmp_path / "out/image [1]_atoms.zarr").is_dir()


def test_files_of_one_stem_do_not_overwrite_each_other(image_file, tmp_path):
    other = tmp_path / "other" / image_file.name
    other.parent.mkdir()
    other.write_bytes(image_file.read_bytes())
    assert _find(image_file, other, "--out", tmp_path / "out").exit_code == 0
    assert len(list((tmp_path / "out").glob("*.csv"))) == 2


def test_running_again_replaces_the_results(image_file, tmp_path):
    first = _find(image_file, "--out", tmp_path / "out")
    again = _find(image_file, "--out", tmp_path / "out")
    assert again.exit_code == 0 and again.stdout == first.stdout


def test_debug_shows_the_whole_error(tmp_path):
    hs.signals.Signal1D(np.ones((4, 50))).save(tmp_path / "spectra.hspy")
    done = _find(tmp_path / "spectra.hspy", "--out", tmp_path / "out", "--debug")
    assert isinstance(done.exception, hs_deepatoms.errors.DeepAtomsError)


def test_an_output_that_is_a_file(image_file):
    assert _error_lines(_find(image_file, "--out", image_file)) == 1


def test_demo_of_the_installed_command(tmp_path):
    """The README's first command, as a user runs it: the network that ships, no arguments."""
    command = Path(sysconfig.get_path("scripts")) / "hs-deepatoms"
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run([command, "demo"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    picture = Path(done.stdout.strip().splitlines()[-1].split(": ", 1)[1])
    assert picture.read_bytes().startswith(PNG)
    assert picture.parent == (tmp_path / "hs-deepatoms-demo").resolve()
    found = int(done.stdout.split("of ")[1].split(" true")[0])
    matched = int(done.stdout.split("true atoms ")[1].split(" were")[0])
    assert matched >= 0.95 * found
    assert hs_deepatoms.load(picture.with_name("demo_atoms.zarr")).sizes["atom"] >= matched


def test_help_and_version():
    assert "find-atoms" in _run("--help").stdout and "demo" in _run("--help").stdout
    assert hs_deepatoms.__version__ in _run("--version").stdout
    assert _run("find-atoms").exit_code == 2


def test_a_grey_picture_stored_in_colour_is_read_as_grey():
    import hyperspy.api as hs
    import numpy as np

    from hs_deepatoms.cli import _grey

    colour = np.zeros((20, 30), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
    for name in "RGB":
        colour[name] = np.arange(600).reshape(20, 30) % 251
    colour["A"] = 255
    grey = _grey(hs.signals.Signal2D(colour))
    assert grey.data.dtype == np.uint8
    np.testing.assert_array_equal(grey.data, colour["R"])
    colour["B"] = 7
    assert _grey(hs.signals.Signal2D(colour)).data.dtype.fields


def test_rings_and_export_of_a_table(tmp_path):
    from hs_deepatoms.simulate.sheets import honeycomb, stone_wales

    sheet = stone_wales(honeycomb(4, 6))
    signal = _signal(np.zeros((200, 140), np.float32))
    table = hs_deepatoms.positions(sheet.y * 0.142, sheet.x * 0.142, signal=signal, units="nm")
    table.deepatoms.save(tmp_path / "sheet.zarr")
    done = _run("rings", tmp_path / "sheet.zarr", tmp_path / "none.csv", "--elements", "0=C", "--out", tmp_path / "out")
    assert done.exit_code == 1 and "none.csv" in done.stderr and done.stderr.count("\n") == 1
    assert "2 of 5" in done.stdout and "1 x Stone-Wales" in done.stdout
    rings = pd.read_csv(tmp_path / "out" / "sheet_rings.csv")
    assert len(rings) == len(sheet.bonds) - sheet.y.size + 1
    assert (tmp_path / "out" / "sheet_rings.png").read_bytes().startswith(PNG)
    done = _run("export", tmp_path / "sheet.zarr", "--elements", "C", "--format", "vasp", "--format", "cif",
                "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"sheet.POSCAR", "sheet.cif", "sheet_rings.zarr"}
    failed = _run("export", tmp_path / "sheet.zarr", "--out", tmp_path / "out")
    assert failed.exit_code == 1 and "without an element" in failed.stderr


def test_files_that_hyperspy_stumbles_over(tmp_path):
    (tmp_path / "damaged.ser").write_bytes(b"x" * 100)
    (tmp_path / "folder").mkdir()
    done = _find(tmp_path / "damaged.ser", tmp_path / "folder", "--out", tmp_path / "out")
    lines = done.stderr.splitlines()
    assert done.exit_code == 1 and len(lines) == 2
    assert "damaged.ser: HyperSpy cannot read it" in lines[0] and lines[1].endswith("folder: a folder, not a file")


def test_nothing_is_left_where_nothing_was_written(image_file, tmp_path):
    for options in (["--threshold", "-5"], ["--species", ""], ["--spacing", "2 kg"]):
        done = _find(image_file, "--out", tmp_path / "out", *options)
        assert done.exit_code == 1 and "Allowed:" in done.stderr and not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    assert _find(image_file, "--out", tmp_path / "mine", "--threshold", "-5").exit_code == 1
    assert (tmp_path / "mine").is_dir()


def test_debug_shows_where_a_reader_failed(tmp_path):
    (tmp_path / "damaged.ser").write_bytes(b"x" * 100)
    done = _find(tmp_path / "damaged.ser", "--out", tmp_path / "out", "--debug")
    assert not isinstance(done.exception, SystemExit)


def test_a_seed_is_not_negative(tmp_path):
    assert "0" in _run("demo", "--seed", "-1", "--out", tmp_path).stderr and not list(tmp_path.iterdir())
