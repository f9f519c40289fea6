"""Training of the head that settles strengths."""

import numpy as np
import torch

from hs_deepatoms.modelfile.files import read_module
from hs_deepatoms.workflows.train_kinds import KindsConfig, batch, main, sample, train

SMALL = KindsConfig(tables=6, steps=25, columns=150, width=8, rounds=1)


def test_tables_of_a_batch_know_nothing_of_each_other():
    samples = [s for k in range(8) if (s := sample(1, k)) is not None][:2]
    value, row, there, pair, *_ = batch(samples)
    first = samples[0].size
    assert row[:first].max() < first <= row[first:].min() and len(value) == first + samples[1].size
    assert pair.shape[:2] == there.shape
    again = sample(1, 0)
    for a, b in zip(samples[0].arrays, again.arrays, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    state = torch.get_rng_state()
    (one, loss), (two, _) = (train(SMALL, verbose=False) for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    other, _ = train(KindsConfig(**{**SMALL.__dict__, "seed": 2}), verbose=False)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert np.isfinite(loss) and torch.equal(state, torch.get_rng_state())


def test_the_command_writes_a_model_file(tmp_path, capsys):
    main([str(tmp_path / "kinds.safetensors"), "--tables", "4", "--steps", "12"])
    net, info = read_module(tmp_path / "kinds.safetensors")
    assert info["sha256"] == capsys.readouterr().out.split()[-1]
    assert info["card"]["training"]["tables"] == 4 and info["card"]["training"]["loss"] > 0
    assert sum(p.numel() for p in net.parameters()) == 9684
