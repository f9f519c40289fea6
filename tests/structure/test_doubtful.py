"""Faint atoms that only noise explains are found; those of real defects, and adatoms that are clear, are not."""

import numpy as np
import pytest

from hs_deepatoms.simulate import sheets
from hs_deepatoms.structure.doubtful import doubtful_atoms
from hs_deepatoms.structure.graph import bonds_by_shape
from hs_deepatoms.structure.rings import find_rings

SHEET = sheets.honeycomb(7, 9)
MIDDLE = SHEET.bonds[len(SHEET.bonds) // 2]


def _out(y, x, in_question, probability, regular=6):
    def find(stay):
        rows = np.flatnonzero(stay)
        found = find_rings(y[rows], x[rows], bonds_by_shape(y[rows], x[rows]))
        return found._replace(atoms=np.where(found.atoms < 0, -1, rows[found.atoms]))

    return np.flatnonzero(doubtful_atoms(in_question, probability, find(np.ones(y.size, bool)), find, regular))


def _with(y, x, sheet=SHEET):
    return np.append(sheet.y, y), np.append(sheet.x, x)


@pytest.mark.parametrize("off", [(0.0, 0.0), (0.15, -0.1), (0.0, 0.25)])
def test_noise_on_a_bond(off):
    first, second = MIDDLE
    y, x = _with((SHEET.y[first] + SHEET.y[second]) / 2 + off[0], (SHEET.x[first] + SHEET.x[second]) / 2 + off[1])
    assert _out(y, x, np.ones(y.size, bool), np.append(np.full(SHEET.y.size, 0.9), 0.5)).tolist() == [SHEET.y.size]
    assert _out(y, x, np.zeros(y.size, bool), np.full(y.size, 0.5)).size == 0  # what is no question stays


def test_one_atom_found_twice_and_many_at_once():
    bonds = np.array(SHEET.bonds)
    inner = bonds[(np.bincount(bonds.ravel())[bonds] == 3).all(1)]
    chosen = inner[::17]  # not beside each other
    y, x = _with(SHEET.y[chosen].mean(1), SHEET.x[chosen].mean(1))
    probability = np.append(np.full(SHEET.y.size, 0.7), np.linspace(0.4, 0.6, len(chosen)))
    out = _out(y, x, np.ones(y.size, bool), probability)
    assert len(chosen) > 15 and out.tolist() == list(range(SHEET.y.size, y.size))
    twice = MIDDLE[0]
    y, x = _with(SHEET.y[twice] + 0.3, SHEET.x[twice] + 0.25)
    assert _out(y, x, np.ones(y.size, bool), np.append(np.full(SHEET.y.size, 0.9), 0.5)).tolist() == [SHEET.y.size]


@pytest.mark.parametrize("make", [sheets.stone_wales, sheets.divacancy, sheets.ring_loop, lambda sheet: sheet])
def test_atoms_of_defects_stay_though_all_are_in_question(make):
    sheet = make(SHEET)
    rng = np.random.default_rng(1)
    y, x = (w + rng.normal(0, 0.04, w.size) for w in (sheet.y, sheet.x))
    assert _out(y, x, np.ones(y.size, bool), rng.uniform(0.4, 0.8, y.size)).size == 0


def test_grain_boundary_stays():
    sheet = sheets.grain_boundary(16, 14)[0]
    rng = np.random.default_rng(2)
    assert _out(sheet.y, sheet.x, np.ones(sheet.y.size, bool), rng.random(sheet.y.size)).size == 0
