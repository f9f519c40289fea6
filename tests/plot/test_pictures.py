import hyperspy.api as hs
import matplotlib
import numpy as np
import pytest
from matplotlib.backend_bases import MouseButton, MouseEvent

import hs_deepatoms
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
