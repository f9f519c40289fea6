import torch

from hs_deepatoms.atoms.belief import near_pairs
from hs_deepatoms.atoms.peaks import Columns


def columns(y, x):
    y, x = (torch.tensor(v, dtype=torch.float64) for v in (y, x))
    return Columns(y, x, *(torch.ones_like(y) for _ in range(4)))


def test_pairs_nearer_than_a_distance():
    i, j = near_pairs(columns([0.0, 3.0, 0.0], [0.0, 4.0, 20.0]), 5.5)
    assert sorted((*i.tolist(), *j.tolist())) == [0, 1]
    assert [len(v) for v in near_pairs(columns([1.0], [1.0]), 5.0)] == [0, 0]
