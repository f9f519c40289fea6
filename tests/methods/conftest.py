"""The standard test image: non-square, different y and x scales and offsets, known columns."""

import numpy as np
import pytest

from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import Recording, record
from hs_deepatoms.simulate.lattices import Crystal, lattice_points
from hs_deepatoms.simulate.sheets import honeycomb, ring_loop


def lattice_image(shape=(180, 260), spacing=15.0, sigma=3.0, angle=0.3, heights=(1.0, 0.5), counts=200.0, seed=0,
                  background=0.3):  # fmt: skip
    """Counts of a rotated crystal with two sublattices, and its columns (y, x) in pixels."""
    rng = np.random.default_rng(seed)
    basis = np.array([(0, 0), (0.5, 0.5)])[: len(heights)]
    crystal = Crystal(np.eye(2), basis, np.array(heights), "test").scaled()
    reach = 0.5 * np.hypot(*shape) + 2 * spacing
    y, x, kind = lattice_points(crystal, spacing, angle, (shape[0] / 2 + 0.3, shape[1] / 2 - 0.2), reach)
    expected = draw_columns(shape, y, x, np.array(heights)[kind], sigma) + background
    image = record(rng, expected, Recording(counts=counts))
    inside = (y > -0.5) & (x > -0.5) & (y < shape[0] - 0.5) & (x < shape[1] - 0.5)
    return image.astype(np.float32), y[inside], x[inside]


def loop_image(seed, shape=(210, 226)):
    """Graphene, bonds 3.2 column sigmas long, with a loop of six fives and six sevens; counts and columns (y, x)."""
    sheet, rng = ring_loop(honeycomb(10, 16)), np.random.default_rng(seed)
    turn, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-6, 6, 2)
    y, x = 12 * (sheet.y - np.mean(sheet.y)), 12 * (sheet.x - np.mean(sheet.x))
    y, x = np.cos(turn) * y + np.sin(turn) * x, np.cos(turn) * x - np.sin(turn) * y
    y, x = y + shape[0] / 2 + shift[0], x + shape[1] / 2 + shift[1]
    image = rng.poisson(20 * draw_columns(shape, y, x, np.ones(y.size), 3.8) + 5).astype(np.float32)
    inside = (y > 0) & (x > 0) & (y < shape[0] - 1) & (x < shape[1] - 1)
    return image, y[inside], x[inside]


def matched(found_y, found_x, y, x, radius):
    """Index pairs (found, true) of mutual nearest neighbours within ``radius``."""
    from scipy.spatial import cKDTree

    found, true = np.column_stack([found_y, found_x]), np.column_stack([y, x])
    if not len(found) or not len(true):
        return np.empty((0, 2), int)
    distance, nearest = cKDTree(true).query(found)
    _, back = cKDTree(found).query(true)
    k = np.arange(len(found))
    good = (distance <= radius) & (back[nearest] == k)
    return np.column_stack([k[good], nearest[good]])


def f1_inside(atoms, y, x, shape, radius, margin):
    """F1 of columns at least ``margin`` pixels inside the image."""
    fy, fx = atoms["y_px"].values, atoms["x_px"].values
    pairs = matched(fy, fx, y, x, radius)

    def inside(a, b):
        return (a >= margin) & (b >= margin) & (a <= shape[0] - 1 - margin) & (b <= shape[1] - 1 - margin)

    hit = inside(y[pairs[:, 1]], x[pairs[:, 1]]).sum()
    return 2 * hit / (inside(y, x).sum() + inside(fy, fx).sum())


@pytest.fixture
def small_tiles(monkeypatch):
    """Frames are cut into tiles of about 200 px; the list says how many blocks every job was cut into."""
    from hs_deepatoms.engine import plan
    from hs_deepatoms.methods import images

    jobs, whole = [], images.plan

    def planned(*args, **options):
        blocks, job = whole(*args, **options)
        jobs.append(len(blocks))
        return blocks, job

    monkeypatch.setattr(plan, "choose_tile", lambda *args, **options: (200, 1))
    monkeypatch.setattr(images, "plan", planned)
    return jobs


@pytest.fixture(scope="session")
def standard():
    return lattice_image()


@pytest.fixture
def signal(standard):
    """The standard image as a calibrated signal: y 0.02 nm/px from 1.5 nm, x 0.025 nm/px from -3 nm."""
    import hyperspy.api as hs

    import hs_deepatoms  # noqa: F401

    s = hs.signals.Signal2D(standard[0].copy())
    for axis, name, scale, offset in zip(
        s.axes_manager.signal_axes, ("x", "y"), (0.025, 0.02), (-3.0, 1.5), strict=True
    ):
        axis.name, axis.scale, axis.offset, axis.units = name, scale, offset, "nm"
    s.metadata.General.title = "standard"
    s.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 200.0)
    return s
