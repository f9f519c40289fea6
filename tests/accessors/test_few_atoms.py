"""No atom, one and two: every method of a table answers with as little as there is, or says what it needs."""

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms._core.errors import DeepAtomsError


def calibrated():
    signal = hs.signals.Signal2D(np.random.default_rng(0).normal(size=(3, 60, 64)))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = 0.02, "nm"
    return signal


def few(n):
    """``n`` atoms in frame 0 and again in frame 1, as any finder gives them."""
    rng = np.random.default_rng(n)
    y, x = (np.tile(rng.uniform(10, 50, n), 2) for _ in range(2))
    columns = {"height": np.ones(2 * n), "intensity": np.ones(2 * n), "probability": np.ones(2 * n)}
    frame = np.repeat([0, 1], n)
    return hs_deepatoms.positions(y, x, frame=frame, signal=calibrated(), units="px", columns=columns)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_every_method(n, tmp_path):
    atoms = few(n)
    species = atoms.deepatoms.classify(1)
    linked = species.deepatoms.link()
    assert linked.sizes["atom"] == species.sizes["atom"] == 2 * n
    tried = {
        "count": lambda: linked.deepatoms.count(),
        "select": lambda: linked.deepatoms.select(frames=0, probability=0.5, border=2),
        "neighbours": lambda: linked.deepatoms.neighbours(),
        "to_units": lambda: linked.deepatoms.to_units("pm"),
        "to_dataframe": lambda: linked.deepatoms.to_dataframe(),
        "to_signal": lambda: linked.deepatoms.to_signal("height"),
        "to_markers": lambda: linked.deepatoms.to_markers(),
        "plot": lambda: linked.deepatoms.plot(),
        "classify": lambda: atoms.deepatoms.classify("auto"),
        "lattice": lambda: linked.deepatoms.lattice(),
        "mean_strain": lambda: linked.deepatoms.lattice().deepatoms.mean_strain(),
        "plot_strain": lambda: linked.deepatoms.lattice().deepatoms.plot_strain(),
        "sublattices": lambda: linked.deepatoms.sublattices(),
        "vacancies": lambda: linked.deepatoms.vacancies(),
        "dopants": lambda: linked.deepatoms.dopants(),
        "tracks": lambda: linked.deepatoms.tracks(),
        "drift": lambda: linked.deepatoms.drift(),
        "displacements": lambda: linked.deepatoms.displacements(),
        "msd": lambda: linked.deepatoms.msd(),
        "transitions": lambda: linked.deepatoms.transitions(),
        "plot_tracks": lambda: linked.deepatoms.plot_tracks(),
        "concat": lambda: hs_deepatoms.concat([linked, linked], dim="image"),
    }
    for name, call in tried.items():
        try:
            assert call() is not None, name
        except DeepAtomsError as error:
            assert "Allowed" in str(error), name
        except Exception as error:
            raise AssertionError(f"{name} with {n} atoms: {error!r}") from error


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("ending", ["zarr", "nc", "csv"])
def test_to_disk_and_back(n, ending, tmp_path):
    atoms = few(n).deepatoms.classify(1)
    path = atoms.deepatoms.save(tmp_path / f"atoms.{ending}")
    back = hs_deepatoms.positions(path, signal=calibrated()) if ending == "csv" else hs_deepatoms.load(path)
    np.testing.assert_allclose(back["y_px"].values, atoms["y_px"].values)
    assert back["atom"].values.tolist() == atoms["atom"].values.tolist()
    assert back.deepatoms.count().values.tolist() == [n, n, 0]
