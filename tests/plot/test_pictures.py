import hyperspy.api as hs
import matplotlib
import numpy as np
import pytest
from matplotlib.backend_bases import MouseButton, MouseEvent

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, InvalidImageError, TableError
from hs_deepatoms.plot.overlay import save_overlay

Y, X = np.array([4.5, 20.0, 33.25, 8.0]), np.array([7.0, 41.5, 12.0, 50.0])


@pytest.fixture(autouse=True)
def headless():
    """Figures without a screen, closed again; the user's backend is given back."""
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(backend)


def calibrated(data):
    """Different y and x scales and offsets: nothing fits by chance."""
    s = hs.signals.Signal2D(data)
    for axis, name, scale, offset in zip(s.axes_manager.signal_axes, "xy", (0.025, 0.02), (-3.0, 1.5), strict=True):
        axis.name, axis.scale, axis.offset, axis.units = name, scale, offset, "nm"
    return s


@pytest.fixture
def image():
    return calibrated(np.random.default_rng(0).random((40, 60)))


@pytest.fixture
def atoms(image):
    return hs_deepatoms.positions(Y, X, signal=image)


def test_markers_are_calibrated_x_then_y(image, atoms):
    offsets = np.asarray(atoms.deepatoms.to_markers().kwargs["offsets"], float)
    order = np.lexsort((X, Y))
    np.testing.assert_allclose(offsets[:, 0], -3.0 + 0.025 * X[order])
    np.testing.assert_allclose(offsets[:, 1], 1.5 + 0.02 * Y[order])


def test_markers_follow_the_navigation():
    stack = calibrated(np.random.default_rng(0).random((3, 40, 60)))
    table = hs_deepatoms.positions(Y, X, signal=stack, frame=[0, 2, 2, 2])
    stack.plot()
    markers = table.deepatoms.to_markers()
    stack.add_marker(markers)
    seen = []
    for frame in range(3):
        stack.axes_manager.indices = (frame,)
        seen.append(len(markers.get_current_kwargs()["offsets"]))
    assert seen == [1, 0, 3]


def test_plot_draws_the_image_and_every_atom_in_units(image, atoms):
    axes = atoms.deepatoms.plot(image)
    assert "nm" in axes.get_xlabel() and "nm" in axes.get_ylabel()
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets())])
    assert len(drawn) == 4
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(-3.0 + 0.025 * X))


def test_overlay_is_written_whole_and_leaves_the_backend_alone(image, atoms, tmp_path):
    before = matplotlib.get_backend()
    path = save_overlay(atoms, image, tmp_path / "overlay.png")
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[0] > 200 and pixels.std() > 0.05
    reddish = (pixels[..., 0] > 0.6) & (pixels[..., 1] < 0.4)
    assert reddish.sum() > 4
    assert matplotlib.get_backend() == before and [p.name for p in tmp_path.iterdir()] == ["overlay.png"]


def click(editor, y, x, button):
    canvas = editor.ax.figure.canvas
    screen = editor.ax.transData.transform((x, y))
    canvas.callbacks.process("button_press_event", MouseEvent("button_press_event", canvas, *screen, button=button))


def test_editing_by_hand(image, atoms):
    editor = atoms.deepatoms.edit(image)
    click(editor, 1.5 + 0.02 * 30, -3.0 + 0.025 * 25, MouseButton.LEFT)
    click(editor, 1.5 + 0.02 * 20.0, -3.0 + 0.025 * 41.5, MouseButton.RIGHT)
    edited = editor.result()
    assert (editor.n_added, editor.n_removed) == (1, 1)
    assert edited.sizes["atom"] == 4 and atoms.sizes["atom"] == 4
    new = edited.isel(atom=-1)
    assert float(new["y_px"]) == pytest.approx(30, abs=0.2) and float(new["x_px"]) == pytest.approx(25, abs=0.2)
    assert not np.isclose(edited["x_px"], 41.5).any()
    editor.undo()
    assert editor.n_removed == 0
    editor.close()


def image_of(case):
    """Square images whose axes differ in every way."""
    s = hs.signals.Signal2D(np.random.default_rng(0).random((60, 60)))
    x_axis, y_axis = s.axes_manager.signal_axes
    for axis in (x_axis, y_axis):
        axis.scale, axis.units = 0.02, "nm"
    if case == "scale":
        x_axis.scale = 0.06
    elif case == "units":
        x_axis.scale, x_axis.units = 20.0, "pm"
    elif case == "uncalibrated":
        x_axis.scale, x_axis.units = 1.0, ""
    elif case == "no units":
        x_axis.units = y_axis.units = ""
    return s


CASES = ("plain", "scale", "units", "uncalibrated", "no units")


@pytest.mark.parametrize("case", CASES)
def test_markers_have_one_size_and_leave_the_limits_to_the_image(case):
    s = image_of(case)
    table = hs_deepatoms.positions([5.0, 20.0, 35.0, 5.0], [-0.9, 20.0, 35.0, 20.0], signal=s)
    s.plot()
    ax = s._plot.signal_plot.ax
    before = ax.get_xlim(), ax.get_ylim()
    markers = table.deepatoms.to_markers()
    s.add_marker(markers)
    ax.figure.canvas.draw()
    assert (ax.get_xlim(), ax.get_ylim()) == before
    assert markers.kwargs["sizes"] == (8.0,) and type(markers).__name__ == "Points"


@pytest.mark.parametrize("case", CASES)
def test_pictures_of_square_pixels(case):
    s = image_of(case)
    table = hs_deepatoms.positions([5.0, 20.0, 35.0, 5.0], [10.0, 20.0, 35.0, 20.0], signal=s)
    ax = table.deepatoms.plot(s, ax=matplotlib.pyplot.subplots(figsize=(8, 6))[1])
    ax.figure.canvas.draw()
    box = ax.get_window_extent()
    assert box.width / box.height == pytest.approx(3 if case == "scale" else 1, rel=0.01)
    assert ax.collections[-1].get_sizes()[0] > 36


def test_a_signal_that_is_not_the_image(image, atoms):
    larger = calibrated(np.zeros((50, 60)))
    for draw in (atoms.deepatoms.plot, atoms.deepatoms.to_markers, atoms.deepatoms.edit):
        with pytest.raises(TableError, match="40 x 60"):
            draw(larger)
    for array in (np.zeros((30, 30)), np.zeros((60, 40))):
        with pytest.raises(TableError, match="40 x 60"):
            hs_deepatoms.positions(Y, X, signal=np.zeros((40, 60))).deepatoms.plot(array)
    part = image.isig[5:55, 3:]
    offsets = atoms.deepatoms.to_markers(part).kwargs["offsets"]
    np.testing.assert_allclose(offsets, atoms.deepatoms.to_markers().kwargs["offsets"])
    for axis in image.axes_manager.signal_axes:  # calibrated since, in other units
        axis.units, axis.scale, axis.offset = "pm", axis.scale * 1000, axis.offset * 1000
    np.testing.assert_allclose(atoms.deepatoms.to_markers(image).kwargs["offsets"], 1000 * np.asarray(offsets))


def test_only_signals_are_edited(image, atoms):
    with pytest.raises(InvalidArgumentError, match="HyperSpy signal"):
        atoms.deepatoms.edit(image.data)


def test_a_part_of_an_uncalibrated_image():
    whole = hs.signals.Signal2D(np.zeros((40, 60)))
    table = hs_deepatoms.positions(Y, X, signal=whole)
    offsets = np.asarray(table.deepatoms.to_markers(whole.isig[10:, 5:]).kwargs["offsets"])
    np.testing.assert_allclose(np.sort(offsets[:, 0]), np.sort(X))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"frame": "a"}, InvalidArgumentError),
        ({"frame": True}, InvalidArgumentError),
        ({"frame": 4}, TableError),
        ({"size": -3}, InvalidArgumentError),
        ({"size": "big"}, InvalidArgumentError),
        ({"color": "nocolor"}, InvalidArgumentError),
    ],
)
def test_refused_arguments(image, atoms, arguments, error):
    with pytest.raises(error, match="Allowed"):
        atoms.deepatoms.plot(image.data, **arguments)
    if "frame" not in arguments:
        with pytest.raises(error, match="Allowed"):
            atoms.deepatoms.to_markers(**arguments)


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("what", ["plot", "edit", "stack"])
def test_a_plot_whose_figure_was_closed_opens_again(image, atoms, what, reused):
    """As Jupyter's inline backend closes all figures after a cell; their numbers may belong to others then."""
    from matplotlib import pyplot as plt

    signal = calibrated(np.random.default_rng(0).random((3, 40, 60))) if what == "stack" else image
    if what == "stack":
        atoms = hs_deepatoms.positions(Y, X, signal=signal, frame=[0, 1, 2, 2])

    def draw():
        made = atoms.deepatoms.edit(signal) if what == "edit" else atoms.deepatoms.plot(signal)
        return (made.ax if what == "edit" else made).figure

    first = draw()
    plt.close("all")
    for _ in range(2 * reused):
        plt.figure()
    second = draw()
    assert second is not first and second.number in plt.get_fignums() and plt.figure(second.number) is second
    number = len(plt.get_fignums())
    assert draw() is second and len(plt.get_fignums()) == number  # open: drawn there


def test_an_editor_whose_figure_was_closed_can_be_closed(image, atoms):
    editor = atoms.deepatoms.edit(image)
    matplotlib.pyplot.close("all")
    editor.close()
    assert editor.result().sizes == atoms.sizes


@pytest.mark.parametrize(("frames", "said"), [(3, None), (5, "4 of 5 frames")])
def test_an_overlay_says_that_it_shows_some_of_the_frames(tmp_path, monkeypatch, frames, said):
    from matplotlib.figure import Figure

    signal, titles = calibrated(np.random.default_rng(0).random((frames, 40, 60))), []
    monkeypatch.setattr(Figure, "suptitle", lambda self, text, **options: titles.append(text))
    save_overlay(hs_deepatoms.positions(Y, X, signal=signal, frame=[0, 0, 1, 2]), signal, tmp_path / "overlay.png")
    assert titles == ([said] if said else [])


def test_what_cannot_be_drawn_is_a_named_error():
    atoms = hs_deepatoms.positions(Y, X, signal=np.zeros((40, 60)))
    for given in (np.zeros((40, 60), complex), hs.signals.ComplexSignal2D(np.zeros((40, 60), complex))):
        with pytest.raises(InvalidImageError, match="complex"):
            atoms.deepatoms.plot(given)
    with pytest.raises(InvalidImageError, match="complex"):
        atoms.deepatoms.edit(hs.signals.ComplexSignal2D(np.zeros((40, 60), complex)))
    for ax in ("axes", matplotlib.pyplot.figure()):
        with pytest.raises(InvalidArgumentError, match="Got ax of type"):
            atoms.deepatoms.plot(ax=ax)
