"""Arrows, ellipses and strain maps: what is drawn, where, and how long."""

import matplotlib
import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.plot.vectors import ellipse
from tests.methods.crystals import left_region, perovskite, signal


@pytest.fixture(autouse=True)
def headless():
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(backend)


@pytest.fixture(scope="module")
def atoms():
    made = perovskite(strain=0.01).deepatoms.lattice(reference=left_region())
    return made.deepatoms.off_centring(of="Ti", among="Sr")


def quiver_of(ax):
    return next(one for one in ax.collections if isinstance(one, matplotlib.quiver.Quiver))


def test_arrows_are_magnified_and_the_key_says_so(atoms):
    ax = atoms.deepatoms.plot(arrows="off_centring", scale=4)
    arrows = quiver_of(ax)
    good = np.isfinite(atoms["off_centring_y"].values)
    np.testing.assert_allclose(arrows.V, 4 * atoms["off_centring_y"].values[good])
    np.testing.assert_allclose(arrows.U, 4 * atoms["off_centring_x"].values[good])
    key = next(one for one in ax.artists if isinstance(one, matplotlib.quiver.QuiverKey))
    assert key.label == "off-centring 0.02 nm (drawn × 4)"
    np.testing.assert_allclose(key.U, 4 * 0.02)


def test_arrows_on_an_image_in_other_units(atoms):
    ax = atoms.deepatoms.to_units("pm").deepatoms.plot(signal(), arrows="displacement", scale=2)
    good = np.isfinite(atoms["displacement_y"].values)
    np.testing.assert_allclose(quiver_of(ax).V, 2 * atoms["displacement_y"].values[good], atol=1e-12)


def test_automatic_magnification_keeps_arrows_shorter_than_the_spacing(atoms):
    arrows = quiver_of(atoms.deepatoms.plot(arrows="off_centring"))
    assert 0.05 < np.median(np.hypot(arrows.U, arrows.V)) < 0.39


def test_ellipses(atoms):
    ax = atoms.deepatoms.plot(ellipses=True)
    kind = matplotlib.collections.EllipseCollection
    drawn = next(one for one in ax.collections if isinstance(one, kind))
    assert len(drawn.get_offsets()) == atoms.sizes["atom"]
    assert any("one sigma, drawn ×" in text.get_text() for text in ax.get_legend().get_texts())


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_legend_hides_no_atoms_where_there_is_room(atoms, layout):
    figure, ax = matplotlib.pyplot.subplots(layout=layout)
    atoms.deepatoms.plot(signal(), ax=ax, ellipses=True)
    figure.canvas.draw()
    legend, picture = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert (legend.x0 > picture.x1) == (layout is not None)
    assert legend.x1 <= figure.bbox.x1


def test_half_axes_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    sy, sx, corr = rng.uniform(0.1, 1, 20), rng.uniform(0.1, 1, 20), rng.uniform(-0.9, 0.9, 20)
    for k, (long, short, angle) in enumerate(zip(*ellipse(sy, sx, corr), strict=True)):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s], [s, c]])
        made = turn @ np.diag([long**2, short**2]) @ turn.T  # of (x, y)
        shared = corr[k] * sy[k] * sx[k]
        np.testing.assert_allclose(made, [[sx[k] ** 2, shared], [shared, sy[k] ** 2]], atol=1e-12)


def test_strain_map_lies_on_the_image_with_zero_in_the_middle(atoms):
    ax = atoms.deepatoms.plot_strain(column="strain_xx")
    (drawn,) = ax.get_images()
    assert drawn.norm.vmin == -drawn.norm.vmax and drawn.get_cmap().name == "RdBu_r"
    np.testing.assert_allclose(drawn.get_extent(), (-1.01, 6.99, 6.792, 1.992))
    data = np.ma.filled(drawn.get_array(), np.nan)
    assert abs(np.nanmedian(data[:, :170])) < 0.2 and abs(np.nanmedian(data[:, 240:]) - 1) < 0.2  # percent
    assert "%" in ax.figure.axes[1].get_ylabel()


def test_all_four_maps_and_a_limit(atoms):
    axes = atoms.deepatoms.plot_strain(signal(), limit=0.5)
    assert axes.shape == (2, 2)
    assert all(ax.get_images()[-1].norm.vmax == 0.5 for ax in axes.ravel())


def test_without_any_atoms():
    none = perovskite().isel(atom=slice(0, 0)).deepatoms.lattice()
    none.deepatoms.plot_strain()
    none.deepatoms.plot(arrows="displacement", ellipses=True)


def test_named_errors(atoms):
    with pytest.raises(TableError, match="arrows"):
        atoms.deepatoms.plot(arrows="velocity")
    with pytest.raises(InvalidArgumentError, match="scale"):
        atoms.deepatoms.plot(arrows="displacement", scale=-1)
    with pytest.raises(InvalidArgumentError, match="column"):
        atoms.deepatoms.plot_strain(column="strain_zz")
    with pytest.raises(InvalidArgumentError, match="limit"):
        atoms.deepatoms.plot_strain(column="strain_xx", limit=-1)
    with pytest.raises(TableError, match="strain_xx"):
        perovskite().deepatoms.plot_strain(column="strain_xx")
